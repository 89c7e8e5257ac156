import matplotlib.pyplot as plt
from recorded import GREY, numbers, tables

rows = tables("2026-11-21-cpu.txt")["float32 sum with weights, and mean without"]
figure, axes = plt.subplots(1, 2, figsize=(5.6, 3.2), sharey=True)
for ax, n_rows in zip(axes, ("10000", "1000000"), strict=True):
    some = [row for row in rows if row["rows"] == n_rows]
    dims = numbers(some, "dim")
    for column, label, mark in (
        ("torch/sum", "torch, sum with weights", "o-"),
        ("torch/mean", "torch, mean", "s--"),
        ("scipy/sum", "SciPy's X @ table", "^:"),
    ):
        ax.plot(dims, numbers(some, column), mark, markersize=4, label=label)
    ax.axhline(1, color=GREY, linewidth=1)
    ax.set(xscale="log", yscale="log", title=f"{int(n_rows):,} rows", xlabel="width")
    ax.set_xticks([8, 32, 128], ["8", "32", "128"])
    ax.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    ax.minorticks_off()
axes[0].set_ylabel("times as fast as")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
