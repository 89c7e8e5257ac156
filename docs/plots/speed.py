import re

import matplotlib.pyplot as plt
import numpy as np
from recorded import BLUE, GREY, readme_table

rows = readme_table("Speed")[0][::-1]
labels = [re.sub(r"\s*\(.*?\)", "", row["what"]).replace("`", "").replace(", against", "\nagainst") for row in rows]
mean, lowest = (np.array([float(row[name]) for row in rows]) for name in ("mean", "lowest cell"))

figure, ax = plt.subplots(figsize=(5.6, 3.6))
place = np.arange(len(rows))
ax.barh(place, mean - 1, left=1, height=0.55, color=BLUE, label="mean")
ax.plot(lowest, place, "|", color="black", markersize=13, markeredgewidth=2, label="lowest cell")
for y, value in enumerate(mean):
    ax.annotate(f"{value:g}", (value, y), (4, 0), textcoords="offset points", va="center", fontsize=9)
ax.axvline(1, color=GREY, linewidth=1)
ax.set_xscale("log")
ax.set_xlim(0.8, 60)
ax.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
ax.minorticks_off()
ax.set_yticks(place, labels, fontsize=8.5)
ax.grid(axis="y", visible=False)
ax.set_xlabel("times as fast")
ax.legend(loc="lower right")
