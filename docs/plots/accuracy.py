import matplotlib.pyplot as plt
import numpy as np
from recorded import readme_table

rows = readme_table("Speed")[1]
names = list(rows[0])[1:]
values = np.array([[row[name].rstrip("s").split(",") for name in names] for row in rows], dtype=float)
sets = [row[""] for row in rows]

figure, (left, right) = plt.subplots(1, 2, figsize=(5.6, 3.4), sharey=True)
place = np.arange(len(sets))[::-1]
marks = zip(names, "os^", (0.15, 0, -0.15), strict=True)
for k, (name, mark, shift) in enumerate(marks):
    label = name.replace("with `", "").replace("`", "").replace('"', "")
    label = f"  the same, {label}" if "loss" in label else label
    left.plot(values[:, k, 0], place + shift, mark, label=label)
    right.plot(values[:, k, 1], place + shift, mark)
left.set(yticks=place, yticklabels=sets, xlabel="test accuracy", xlim=(0.8, 0.92), ylim=(-0.5, len(sets) - 0.5))
right.set(xlabel="seconds of fit, one thread", xscale="log")
right.set_xticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])
figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", fontsize=8.5, ncols=1)
