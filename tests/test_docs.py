"""The code in README.md and in the pages of docs runs, and prints what it says."""

import ast
import doctest
import importlib.util
import re
import sys
from pathlib import Path

import pytest

import skbag.dask
import skbag.inspection
import skbag.text

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path for path in (ROOT / "docs").rglob("*.rst") if not {"_build", "auto_examples", "api"} & {*path.parts}
)
NEEDED = {"joblib", "numba", "numpy", "scipy", "skbag", "sklearn"}  # what installing skbag brings
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(r"(?:^\.\. needs: (?P<needs>.*)\n\n)?^\.\. code-block:: python\n\n(?P<code>(?: {3,}.*\n|\n)+)", re.M)


def missing(needs):
    """Return the packages that are not installed."""
    return [name for name in (needs or "").split() if importlib.util.find_spec(name) is None]


def name_of(path):
    return path.relative_to(ROOT / "docs").with_suffix("").as_posix()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Dask's threads as they end
@pytest.mark.parametrize("path", [path for path in PAGES if ">>>" in path.read_text(encoding="utf-8")], ids=name_of)
def test_page(path):
    text, absent, examples, code = path.read_text(encoding="utf-8"), set(), 0, ""
    for block in BLOCK.finditer(text):
        examples += block["code"].count(">>> ")
        absent |= {*missing(block["needs"])}
        if not missing(block["needs"]):
            code += block["code"] + "\n"
    assert examples == text.count(">>> "), "an example stands outside of a block of Python"
    test = doctest.DocTestParser().get_doctest(code, {}, path.name, str(path), 0)
    printed = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=printed.append)
    assert not printed, "".join(printed)
    if absent:
        pytest.skip(f"but for the blocks that need {', '.join(sorted(absent))}")


@pytest.mark.parametrize(
    "module", [skbag, skbag.text, skbag.dask, skbag.inspection], ids=lambda module: module.__name__
)
def test_reference_has_all_public_names(module):
    section = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8").split(f"currentmodule:: {module.__name__}\n")[1]
    listed = set(re.findall(r"^   (\w+)$", section.split("currentmodule::")[0], re.M))
    assert listed == {name for name in module.__all__ if not name.startswith("__")}


def test_blocks_that_need_what_is_not_here_can_be_read():
    blocks = [block["code"] for path in PAGES for block in BLOCK.finditer(path.read_text(encoding="utf-8"))]
    plain = [code for code in blocks if ">>>" not in code]
    assert plain
    for code in plain:
        ast.parse("if True:\n" + code)


def test_readme():
    code = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert len(code) > 2
    names = {}
    for block in code:
        exec(compile(block, "README.md", "exec"), names)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_example_stands_alone(path):
    """What a reader downloads is one file: it imports nothing that is not installed."""
    siblings = {other.stem for other in path.parent.glob("*.py")}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports for alias in node.names} | {
        getattr(node, "module", None) for node in imports
    }
    assert not names & siblings
    modules = [node.module for node in imports if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
    top = {module.partition(".")[0] for module in modules}
    assert top <= {*sys.stdlib_module_names, *NEEDED, "matplotlib"}, (
        "the header of the gallery names all that is needed"
    )
    assert "__file__" not in path.read_text(encoding="utf-8")
