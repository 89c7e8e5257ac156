"""Files that are written whole, or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Give the name of a file beside a path, which takes the place of what is there when the block has ended.

    If that fails, what was there stays, and an OSError names the path.
    """
    beside = f"{path}.{uuid4().hex}{os.path.splitext(path)[1]}"
    try:
        yield beside
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            os.remove(beside)
        if isinstance(error, OSError) and error.filename == beside:
            error.filename = path
        raise
