"""What importing the package does, and what it offers."""

import importlib.resources
import re
import types

import pytest
from helpers import run_python

import skbag

NEVER = {"numba", "llvmlite", "numba_cuda", "cuda", "cupy", "cupyx", "torch", "tensorflow", "jax"}
NOT_BY_US = {"pandas", "polars", "pyarrow", "matplotlib"}  # scikit-learn may load these
PUBLIC = set(skbag.__all__) - {"__version__"}


@pytest.fixture(scope="module")
def imported():
    """What a new interpreter has loaded after ``import skbag``: all modules, and those that scikit-learn had not."""
    code = """
import sys
import scipy.sparse, sklearn.base
known = set(sys.modules)
import skbag
print(*sys.modules)
print(*set(sys.modules) - known)
"""
    everything, ours = run_python(code).splitlines()
    return everything.split(), ours.split()


def roots(modules):
    return {name.partition(".")[0] for name in modules}


def test_importing_loads_no_compiler_and_no_gpu_library(imported):
    everything, ours = imported
    assert "skbag" in ours
    assert not NEVER & roots(everything)
    assert not NOT_BY_US & roots(ours)


def test_importing_loads_no_kernel(imported):
    assert not [name for name in imported[0] if name.startswith(("skbag._cpu", "skbag._cuda"))]


def test_public_names():
    estimators = {"EmbeddingBagClassifier", "EmbeddingBagRegressor", "EmbeddingBagVectorizer"}
    assert estimators | {"QuantizedTable", "bags_to_csr", "embedding", "embedding_bag"} == PUBLIC
    assert len(skbag.__all__) == len(set(skbag.__all__))
    names = {name for name in vars(skbag) if not name.startswith("_")}
    assert {name for name in names if not isinstance(getattr(skbag, name), types.ModuleType)} == PUBLIC


def test_star_import():
    namespace = {}
    exec("from skbag import *", namespace)
    assert set(namespace) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_names_are_documented(name):
    thing = getattr(skbag, name)
    assert thing.__module__.startswith("skbag")
    assert len(thing.__doc__.splitlines()) > 10
    assert "Parameters\n" in thing.__doc__
    assert ">>>" in thing.__doc__


def test_the_version_is_that_of_the_installed_package():
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", skbag.__version__)


def test_the_package_says_that_it_is_typed():
    assert importlib.resources.files("skbag").joinpath("py.typed").is_file()
