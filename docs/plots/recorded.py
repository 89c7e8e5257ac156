"""What the benchmarks have printed, read from docs/benchmarks and README.md, and a style for the pictures."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

DOCS = Path(__file__).resolve().parent.parent
BLUE, ORANGE, GREEN, RED, GREY = "#2563a8", "#d9822b", "#3a8f5c", "#b2182b", "#8a8f98"

plt.rcParams.update(
    {
        "figure.figsize": (5.2, 3.2), "figure.constrained_layout.use": True, "font.size": 10, "axes.titlesize": 10.5,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.fontsize": 9,
        "axes.grid": True, "grid.color": "#e6e6e6", "axes.axisbelow": True, "svg.fonttype": "path",
        "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, RED, GREY]),
    }
)  # fmt: skip


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
