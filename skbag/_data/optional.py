"""Packages that skbag does without, unless a user asks for what they do."""

EXTRAS = {
    "dask": "dask",
    "distributed": "dask",
    "gensim": "vectors",
    "matplotlib": "plot",
    "safetensors": "static",
    "tokenizers": "static",
}


def missing(package: str, what: str) -> ImportError:
    """Return the error for ``what``, which needs a package that is not installed."""
    return ImportError(
        f"{what} needs the package {package}: pip install {package}, or from a clone of skbag "
        f"pip install '.[{EXTRAS[package]}]'."
    )
