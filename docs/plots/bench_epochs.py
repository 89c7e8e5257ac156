import matplotlib.pyplot as plt
import numpy as np
from recorded import BLUE, GREY, numbers, tables

rows = tables("2026-11-30-cpu.txt")["One epoch, million members per second"]
figure, ax = plt.subplots(figsize=(5.6, 3.8))
place = np.arange(len(rows))[::-1]
ax.barh(place + 0.2, numbers(rows, "2 threads"), height=0.38, color=BLUE, label="skbag, two threads")
ax.barh(place - 0.2, numbers(rows, "torch"), height=0.38, color=GREY, label="torch, sparse SGD")
names = [f"{int(row['rows']):,} rows, width {row['dim']}, batches of {row['batch']}" for row in rows]
ax.set_yticks(place, names, fontsize=8)
ax.set_xlabel("million members per second")
ax.grid(axis="y", visible=False)
ax.legend(loc="lower right")
