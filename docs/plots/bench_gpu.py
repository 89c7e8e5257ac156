import matplotlib.pyplot as plt
from recorded import GREY, numbers, tables

found = tables("2026-11-28-h200.txt")
pooling = found["Pooling, table of 1000000 rows, 10000000 members"]
figure, (left, right) = plt.subplots(1, 2, figsize=(5.6, 3.2))
for members, mark in (("5", "o-"), ("50", "s--"), ("500", "^:")):
    some = [row for row in pooling if row["mode"] == "mean" and row["members"] == members]
    left.plot(numbers(some, "dim"), numbers(some, "torch/skbag"), mark, markersize=4, label=f"{members} members")
left.axhline(1, color=GREY, linewidth=1)
left.set(xscale="log", xlabel="width", ylabel="times as fast as torch", title="pooling, mean", ylim=(0, 4))
left.set_xticks([16, 64, 300], ["16", "64", "300"])
left.minorticks_off()
left.legend(loc="lower right", fontsize=8)

rows = found["transform of a host matrix, dim 128"]
bags = numbers(rows, "bags x 50")
right.plot(bags, numbers(rows, "CPU, 2 threads ms"), "s--", markersize=4, label="CPU, two threads")
right.plot(bags, numbers(rows, "transform ms"), "o-", markersize=4, label="GPU, with copies")
right.plot(bags, numbers(rows, "kernel ms"), "^:", markersize=4, label="GPU, kernel alone")
right.set(xscale="log", yscale="log", xlabel="bags of 50 members", ylabel="ms", title="transform of a matrix in memory")
right.title.set_fontsize(9)
right.legend(fontsize=8)
