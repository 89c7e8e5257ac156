"""Text files with labels, as fastText reads them."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from numbers import Integral
from typing import Any

import numpy as np

_OPENERS: dict[str, Callable[[str], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_GZIP = b"\x1f\x8b"  # what its files begin with
_WORDS = re.compile("[^ \t\n\v\f\r\0]+")
_OTHER_SPACES = re.compile("[\0\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_Line = tuple[int, list[str], str]  # its number, its labels, its text


def iter_labelled_texts(
    path: str | os.PathLike[str],
    *,
    label_prefix: str = "__label__",
    multilabel: bool = False,
    batch_size: int = 10_000,
    encoding: str = "utf-8",
) -> Iterator[tuple[list[str], Any]]:
    r"""Read a text file with labels some lines at a time, for ``partial_fit``.

    Parameters
    ----------
    path : str or path-like
        As for `read_labelled_texts`.
    label_prefix : str, default="__label__"
        What labels begin with.
    multilabel : bool, default=False
        Whether a line may have any number of labels. If not it must have one.
    batch_size : int, default=10_000
        Number of texts at once.
    encoding : str, default="utf-8"
        Of the file; a byte order mark of UTF-8 is left out.

    Returns
    -------
    iterator of (texts, labels)
        At most ``batch_size`` texts, a list of str, and their labels: an ndarray of str of shape (n_texts,), or a list
        of lists of str with ``multilabel``.

    Raises
    ------
    OSError, ValueError
        As `read_labelled_texts`, when the line is reached; what is wrong with a parameter at once.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skbag import EmbeddingBagClassifier
    >>> from skbag.text import HashingNgramVectorizer, iter_labelled_texts
    >>> hashing, model = HashingNgramVectorizer(2**12), EmbeddingBagClassifier(random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "train.txt")
    ...     _ = path.write_text("__label__pets cats and dogs\n__label__money stocks fell\n" * 10)
    ...     for texts, labels in iter_labelled_texts(path, batch_size=4):
    ...         model = model.partial_fit(hashing.transform(texts), labels, classes=["money", "pets"])
    >>> model.predict(hashing.transform(["two cats"]))
    array(['pets'], dtype='<U5')
    """
    if not (isinstance(label_prefix, str) and label_prefix.strip() == label_prefix != ""):
        raise ValueError(f"label_prefix must be a str, not empty and without spaces around it, got {label_prefix!r}.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"batch_size must be an integer of at least 1, got {batch_size!r}.")
    try:
        "\n".encode(encoding)
    except LookupError:
        raise ValueError(f"encoding must be one of texts that Python knows, got {encoding!r}.") from None
    return _batches(os.fsdecode(path), label_prefix, bool(multilabel), int(batch_size), encoding)


def read_labelled_texts(
    path: str | os.PathLike[str],
    *,
    label_prefix: str = "__label__",
    multilabel: bool | None = None,
    encoding: str = "utf-8",
) -> tuple[list[str], Any]:
    r"""Read a text file with labels, fastText's format for supervised training.

    A line is a text, and its words that begin with ``label_prefix`` are its labels, wherever they stand:
    ``__label__pets __label__cats the cat sat on the mat``. Words stand between spaces, tabs and the like of ASCII, as
    in fastText: other spaces of Unicode, U+00A0 for one, are parts of words.

    Parameters
    ----------
    path : str or path-like
        A text file; compressed if it ends in ``.gz``, ``.bz2`` or ``.xz``.
    label_prefix : str, default="__label__"
        What labels begin with.
    multilabel : bool or None, default=None
        Whether a line may have any number of labels. If not it must have one. None is what the file shows.
    encoding : str, default="utf-8"
        Of the file; a byte order mark of UTF-8 is left out.

    Returns
    -------
    texts : list of str
        What is left of the lines without their labels; words with one space between them. Empty lines are left out.
    labels : ndarray of str of shape (n_texts,) or list of lists of str
        Without the prefix. Lists, which may be empty, with ``multilabel``: for
        ``sklearn.preprocessing.MultiLabelBinarizer``.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file has no text, or a line cannot be decoded; without ``multilabel`` if a line has no label or several;
        if no line has a label, or ``label_prefix`` is empty. The message names the line.

    See Also
    --------
    iter_labelled_texts : Some lines at a time.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skbag.text import read_labelled_texts
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "train.txt")
    ...     _ = path.write_text("__label__pets the cat sat on the mat\n__label__money stocks fell\n")
    ...     texts, labels = read_labelled_texts(path)
    >>> texts
    ['the cat sat on the mat', 'stocks fell']
    >>> labels
    array(['pets', 'money'], dtype='<U5')
    """
    given = {"label_prefix": label_prefix, "encoding": encoding, "multilabel": multilabel is not False}
    batches = list(iter_labelled_texts(path, batch_size=2**62, **given))  # type: ignore[arg-type]
    if not batches:
        raise ValueError(f"{os.fsdecode(path)!r} has no lines with text.")
    texts, labels = batches[0]
    if multilabel is not False and not any(labels):
        raise ValueError(
            f"No line of {os.fsdecode(path)!r} has a word that begins with label_prefix={label_prefix!r}; the first "
            f"text begins {texts[0][:60]!r}."
        )
    if multilabel is None and all(len(some) == 1 for some in labels):
        return texts, np.array([some[0] for some in labels])
    return texts, labels


def _batches(
    path: str, prefix: str, multilabel: bool, batch_size: int, encoding: str
) -> Iterator[tuple[list[str], Any]]:
    opener = _OPENERS.get(os.path.splitext(path)[1])
    with opener(path) if opener else open(path, "rb") as file:
        lines = _lines(file, path, prefix, encoding)
        while some := list(islice(lines, batch_size)):
            texts = [text for _, _, text in some]
            if multilabel:
                yield texts, [labels for _, labels, _ in some]
                continue
            for number, labels, _ in some:
                if len(labels) != 1:
                    raise ValueError(
                        f"line {number} of {path!r} has {len(labels)} words that begin with {prefix!r}, {labels}, and "
                        "must have one: set multilabel=True for any number of labels."
                    )
            yield texts, np.array([labels[0] for _, labels, _ in some])


def _words_of(line: str) -> list[str]:
    r"""Return the words of a line, which stand between fastText's spaces: " ", \t, \n, \v, \f, \r and \0.

    ``str.split`` knows others, as U+00A0 and U+3000, which are parts of words and labels here.
    """
    if _OTHER_SPACES.search(line):
        return _WORDS.findall(line)
    return line.split()


def _is_wide(encoding: str) -> bool:
    """Whether a byte may look like the end of a line and be part of a letter, as in UTF-16."""
    return "\n".encode(encoding) != b"\n"


def _decoded(file: Any, encoding: str) -> Iterator[str]:
    """Yield the lines of a file, without the byte order mark of UTF-8."""
    if _is_wide(encoding):
        with io.TextIOWrapper(file, encoding, newline="\n") as text:
            yield from text
        return
    mark = codecs.BOM_UTF8 if codecs.lookup(encoding).name == "utf-8" else b""
    for k, line in enumerate(file):
        yield (line if k else line.removeprefix(mark)).decode(encoding)


def _lines(file: Any, path: str, prefix: str, encoding: str) -> Iterator[_Line]:
    """Yield the lines that are not empty."""
    number, lines = 0, _decoded(file, encoding)
    while True:
        number += 1
        try:
            line = next(lines, None)
        except UnicodeError as error:
            byte = f": byte {error.object[error.start]:#04x}" if isinstance(error, UnicodeDecodeError) else ""
            if number == 1 and isinstance(error, UnicodeDecodeError) and error.object.startswith(_GZIP):
                raise ValueError(f"{path!r} is compressed: its name must end in '.gz'.") from None
            later = " or a later one" if _is_wide(encoding) else ""  # they are read ahead
            raise ValueError(
                f"line {number}{later} of {path!r} is not {encoding}{byte}. Set encoding to that of the file."
            ) from None
        except (EOFError, lzma.LZMAError, zlib.error) as error:
            raise ValueError(f"{path!r} is damaged, or no {os.path.splitext(path)[1]} file: {error}.") from None
        if line is None:
            return
        words = _words_of(line)
        if words:
            labels = [word.removeprefix(prefix) for word in words if word.startswith(prefix)]
            yield number, labels, " ".join(word for word in words if not word.startswith(prefix))
