"""Real data that is on every machine where skbag is: numpy, scipy, scikit-learn and the standard library themselves.

`load_docstrings` gives texts with labels. One document is the docstring of one function, or of one class with its
methods; its label is the package that defines it. What would give the label away is removed: doctest lines (they import
the package), dotted names (``scipy.stats.norm``) and the words that the labels are made of (``scipy``, ``stats``).
Documents with the same text are kept once. Similar ones remain, as in any manual: two distributions of one package
share most of their words.

`load_histories` gives sequences of names. One sequence is what the code of one function reads, by name, in the order of
first use: attributes, globals and methods. It is to a function what a list of bought articles is to a customer.

Nothing is downloaded, and the same versions of the packages give the same data in the same order.
"""

import contextlib
import importlib
import inspect
import io
import pkgutil
import re
import warnings

import numpy as np

PACKAGES = (
    "asyncio",
    "email",
    "logging",
    "xml",
    "numpy.ma",
    "numpy.polynomial",
    "numpy.random",
    "scipy.integrate",
    "scipy.interpolate",
    "scipy.linalg",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.signal",
    "scipy.sparse",
    "scipy.spatial",
    "scipy.special",
    "scipy.stats",
    "sklearn.cluster",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.metrics",
)

_WORDS = "|".join(sorted({word for package in PACKAGES for word in package.split(".")}))
_GIVEAWAYS = (
    re.compile(r"^\s*(>>>|\.\.\.).*$", re.MULTILINE),
    re.compile(r"\w+(\.\w+)+"),
    re.compile(rf"\b({_WORDS})\b", re.IGNORECASE),
)
_SKIPPED = re.compile(r"test|conftest|__main__|_precompute|windows|array_api")


def load_docstrings(min_words=15):
    """Return (texts, labels): two lists of strings."""
    labels = {}
    for package in PACKAGES:
        for _, member in _members(package):
            text = _text(member)
            if len(text.split()) >= min_words:
                labels.setdefault(text, package)
    return list(labels), list(labels.values())


def load_histories(min_length=5):
    """Return a list of tuples of names, each tuple once."""
    histories = {}
    for package in PACKAGES:
        for _, member in _members(package):
            for function in [member, *(vars(member).values() if inspect.isclass(member) else ())]:
                code = getattr(getattr(function, "__func__", function), "__code__", None)
                if code is not None and len(code.co_names) >= min_length:
                    histories[code.co_names] = None
    return list(histories)


def _members(package):
    """Return (full name, function or class) of all that a package defines, sorted by name."""
    found = {}
    for module in _modules(package):
        public = getattr(module, "__all__", ())
        for name, member in vars(module).items():
            if not callable(member):
                continue
            home = None if isinstance(member, np.ufunc) else getattr(member, "__module__", None)
            if home is None and module.__name__ == package and name in public:
                home = package  # compiled functions do not say where they come from
            if isinstance(home, str) and f"{home}.".startswith(f"{package}."):
                found.setdefault(f"{home}.{getattr(member, '__qualname__', name)}", member)
    return sorted(found.items(), key=lambda item: item[0])


def _modules(package):
    """Return a package and everything below it but its tests, imported without a word."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        modules = [importlib.import_module(package)]
        for info in pkgutil.walk_packages(modules[0].__path__, f"{package}.", onerror=lambda name: None):
            if not _SKIPPED.search(info.name):
                with contextlib.suppress(ImportError):  # made for another system, or for a package that is not here
                    modules.append(importlib.import_module(info.name))
    return modules


def _text(member):
    """Return the docstring of a function, or those of a class and its own methods, without what names the package."""
    docs = [member.__doc__]
    if inspect.isclass(member):
        docs += [getattr(value, "__doc__", None) for _, value in sorted(vars(member).items()) if callable(value)]
    text = "\n".join(doc for doc in docs if isinstance(doc, str))
    for pattern in _GIVEAWAYS:
        text = pattern.sub(" ", text)
    return text
