"""Sphinx configuration. Build with: python -m sphinx -W -b html docs docs/_build/html."""

import sys
from pathlib import Path

import skbag

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))  # the examples share a module

project = "skbag"
author = "The skbag developers"
copyright = author
version = release = skbag.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "py:obj"

autodoc_typehints = "none"  # the docstrings say it, with shapes
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_validation_checks = {"all", "ES01", "EX01", "SA01"}  # all but these

html_theme = "pydata_sphinx_theme"
html_title = f"skbag {release}"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"(^|[\\/])_",
    "image_scrapers": (),
    "reset_modules": (),
    "backreferences_dir": None,
    "abort_on_example_error": True,
}
