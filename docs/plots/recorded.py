"""What the benchmarks have printed, read from docs/benchmarks and README.md, and the style of the pictures."""

from pathlib import Path

import numpy as np

DOCS = Path(__file__).resolve().parent.parent
BLUE, ORANGE, GREEN, RED, GREY = "#2563a8", "#d9822b", "#3a8f5c", "#b2182b", "#8a8f98"

STYLE = {
    "figure.figsize": (5.2, 3.2),
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": f"cycler('color', {[BLUE, ORANGE, GREEN, RED, GREY]})",
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "path",
}


def tables(name):
    """Return the tables of a file of results, by the heading above each: a list of dicts, one per row."""
    return _tables((DOCS / "benchmarks" / name).read_text(encoding="utf-8"))


def readme_table(heading):
    """Return the tables of one section of README.md, in their order."""
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return list(_tables(section, numbered=True).values())


def _tables(text, numbered=False):
    found, heading, head = {}, "", None
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line[3:]
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if head is None:
            head = cells
            key = len(found) if numbered else heading
            while key in found:
                key = f"{key}, more"
            found[key] = []
        elif not set(line) <= set("|-: "):
            found[key].append(dict(zip(head, cells, strict=True)))
    return found


def numbers(rows, column):
    """Return a column of a table as floats."""
    return np.array([float(row[column]) for row in rows])
