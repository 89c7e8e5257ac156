import matplotlib.pyplot as plt
import numpy as np
from recorded import BLUE, GREY, ORANGE, numbers, tables

found = tables("2026-11-29-h200.txt")
figure, (left, right) = plt.subplots(1, 2, figsize=(5.6, 3.2))
kinds = [row for row in found["Kinds of bags, weighted mean, dim 128"] if row["skewed"] == "False"]
left.plot(numbers(kinds, "members"), numbers(kinds, "table GB/s") / 1e3, "o-", markersize=4)
copy = numbers(tables("2026-11-28-h200.txt")["Weighted sum, float32, uniform ids"], "copy GB/s")[0] / 1e3
left.axhline(copy, color=GREY, linewidth=1)
left.set(
    xscale="log", xlabel="members of a bag", ylabel="TB/s of the table", title="10,000,000 members", ylim=(0, None)
)
left.text(3e3, copy - 0.1, "a copy", color=GREY, fontsize=8, va="top")

steps = found["One step of 65536 bags x 50, softmax of 3 classes, mean"]
places = np.arange(len(steps))
for k, (column, name, color) in enumerate((("torch sgd ms", "torch", ORANGE), ("sgd ms", "skbag", BLUE))):
    right.bar(places + 0.36 * (k - 0.5), numbers(steps, column), 0.34, label=name, color=color)
right.set(ylabel="ms", title="a step of 65,536 bags of 50", ylim=(0, 11))
right.set_xticks(places, [rf"$10^{len(row['rows']) - 1}$ x {row['dim']}" for row in steps], fontsize=8)
right.set(xlabel="rows x width of the table")
right.grid(axis="x", visible=False)
right.legend(fontsize=8, loc="upper left")
