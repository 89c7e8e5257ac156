"""Sphinx configuration. Build with: python -m sphinx -W -b html docs docs/_build/html."""

import os
import re
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small here: threads would wait for one another

import skbag

sys.path.insert(0, str(Path(__file__).parent / "plots"))  # what the scripts of pictures share

from recorded import STYLE

project = "skbag"
author = "The skbag developers"
copyright = author
version = release = skbag.__version__

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "README.md"]
default_role = "py:obj"

toc_object_entries_show_parents = "hide"  # "fit()" beside a page, not "EmbeddingBagClassifier.fit()"
autodoc_typehints = "none"  # the docstrings say it, with shapes
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_validation_checks = {"all", "ES01", "EX01", "SA01"}  # all but these

plot_formats = ["svg"]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = False
plot_rcparams = STYLE
plot_apply_rcparams = True

html_theme = "pydata_sphinx_theme"
suppress_warnings = ["config.cache"]  # the key of a gallery is a function
html_title = f"skbag {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["skbag.css"]
html_theme_options = {"show_prev_next": False, "secondary_sidebar_items": ["page-toc"], "navigation_with_keys": False}
html_sidebars = {name: [] for name in ("index", "benchmarks", "design", "changelog")}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "image_scrapers": ("matplotlib",),
    "reset_modules": ("matplotlib",),
    "backreferences_dir": None,
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": (),
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}


def put_changelog(app, docname, source):
    """Put CHANGELOG.md into its page, as reStructuredText."""
    if docname != "changelog":
        return
    text = (Path(__file__).parent.parent / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n")[2]
    text = re.sub(r"`([^`]+)`", r"``\1``", text)
    text = re.sub(r"\[([^]]+)\]\(([^)]+)\)", r"`\1 <\2>`__", text)
    for marks, line in (("##", "-"), ("###", "~")):
        text = re.sub(rf"(?m)^{marks} (.*)$", lambda m, line=line: f"{m[1]}\n{line * len(m[1])}", text)
    source[0] = source[0].partition("\n\n")[0] + "\n\n" + text


def setup(app):
    app.connect("source-read", put_changelog)
