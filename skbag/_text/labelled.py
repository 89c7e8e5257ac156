"""Text files with labels, as fastText reads them."""

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray


def iter_labelled_texts(
    path: str | os.PathLike[str], *, label_prefix: str = "__label__", encoding: str = "utf-8", batch_size: int = 10_000
) -> Iterator[tuple[list[str], Any]]:
    """Read a text file with labels some lines at a time, for ``partial_fit``.

    Parameters
    ----------
    path : str or path-like
        As for `read_labelled_texts`.
    label_prefix : str, default="__label__"
        What labels begin with.
    encoding : str, default="utf-8"
        Of the file.
    batch_size : int, default=10_000
        Number of texts at once.

    Yields
    ------
    texts : list of str
    labels : ndarray of str of shape (n_texts,) or list of lists of str
        An array where each of these lines has one label. Other lines of the same file may have more: for labels that
        are not exclusive use ``MultiLabelBinarizer(classes=...)``, which takes both if the array is reshaped to one
        column.

    Raises
    ------
    TypeError, ValueError
        As `read_labelled_texts`, when the line is reached.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.pipeline import make_pipeline
    >>> from skbag import EmbeddingBagClassifier
    >>> from skbag.text import HashingNgramVectorizer, iter_labelled_texts
    >>> hashing, model = HashingNgramVectorizer(2**12), EmbeddingBagClassifier(random_state=0)
    >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
    ...     _ = file.write("__label__pets cats and dogs\\n__label__money stocks fell\\n")
    ...     file.flush()
    ...     for texts, labels in iter_labelled_texts(file.name, batch_size=1000):
    ...         model = model.partial_fit(hashing.transform(texts), labels, classes=["money", "pets"])
    >>> model.predict(hashing.transform(["two cats"]))
    array(['pets'], dtype='<U5')
    """
    if not (isinstance(label_prefix, str) and label_prefix.strip() == label_prefix != ""):
        raise ValueError(f"label_prefix must be a str, not empty and without spaces around it, got {label_prefix!r}.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batch_size must be an integer of at least 1, got {batch_size!r}.")
    return _batches(os.fspath(path), label_prefix, encoding, int(batch_size))


def read_labelled_texts(
    path: str | os.PathLike[str], *, label_prefix: str = "__label__", encoding: str = "utf-8"
) -> tuple[list[str], Any]:
    """Read a text file with labels, fastText's format for supervised training.

    A line is a text, and its words that begin with ``label_prefix`` are its labels, wherever they stand:
    ``__label__pets __label__cats the cat sat on the mat``.

    Parameters
    ----------
    path : str or path-like
        A text file; compressed if it ends in ``.gz``, ``.bz2`` or ``.xz``.
    label_prefix : str, default="__label__"
        What labels begin with.
    encoding : str, default="utf-8"
        Of the file.

    Returns
    -------
    texts : list of str
        What is left of the lines without their labels; words with one space between them. Empty lines are left out.
    labels : ndarray of str of shape (n_texts,) or list of lists of str
        Without the prefix; an array where each line has one label, otherwise lists, some of which may be empty, for
        ``sklearn.preprocessing.MultiLabelBinarizer``.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If a line cannot be decoded, or no line has a label: the message names the first line; if ``label_prefix`` is
        empty.

    See Also
    --------
    iter_labelled_texts : Some lines at a time.

    Examples
    --------
    >>> import tempfile
    >>> from skbag.text import read_labelled_texts
    >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
    ...     _ = file.write("__label__pets the cat sat on the mat\\n__label__money stocks fell\\n")
    ...     file.flush()
    ...     texts, labels = read_labelled_texts(file.name)
    >>> texts
    ['the cat sat on the mat', 'stocks fell']
    >>> labels
    array(['pets', 'money'], dtype='<U5')
    """
    batches = list(iter_labelled_texts(path, label_prefix=label_prefix, encoding=encoding, batch_size=2**62))
    if not batches:
        raise ValueError(f"{os.fspath(path)!r} has no lines with text.")
    texts, labels = batches[0]
    if not isinstance(labels, np.ndarray) and not any(labels):
        raise ValueError(
            f"No line of {os.fspath(path)!r} has a word that begins with label_prefix={label_prefix!r}; the first one "
            f"begins {texts[0][:60]!r}."
        )
    return texts, labels


def _batches(path: str, prefix: str, encoding: str, batch_size: int) -> Iterator[tuple[list[str], Any]]:
    with _opened(path) as file:
        lines = filter(None, map(str.split, _decoded(file, path, encoding)))
        while some := list(islice(lines, batch_size)):
            yield _parted(some, prefix)


def _parted(lines: list[list[str]], prefix: str) -> tuple[list[str], NDArray[Any] | list[list[str]]]:
    """Return the texts and the labels of lines that were split into words."""
    texts, labels = [], []
    for words in lines:
        labels.append([word.removeprefix(prefix) for word in words if word.startswith(prefix)])
        texts.append(" ".join(word for word in words if not word.startswith(prefix)))
    if all(len(some) == 1 for some in labels):
        return texts, np.array([some[0] for some in labels])
    return texts, labels


def _opened(path: str) -> Any:
    if path.endswith(".gz"):
        import gzip as module
    elif path.endswith(".bz2"):
        import bz2 as module
    elif path.endswith(".xz"):
        import lzma as module
    else:
        return open(path, "rb")
    return module.open(path, "rb")


def _decoded(file: Any, path: str, encoding: str) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        try:
            yield line.decode(encoding)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"line {number} of {path!r} is not {encoding}: byte {line[error.start]:#04x}. Set encoding to that of the file."
            ) from None
