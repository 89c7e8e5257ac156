import matplotlib.pyplot as plt
from recorded import BLUE, GREEN, ORANGE, RED, tables

rows = tables("2026-11-21-cpu.txt")["Texts"]
sets = {"imdb": "IMDB", "20newsgroups_bydate": "20 newsgroups", "trec": "TREC", "sst2_glue_phrases": "SST-2"}
colors = {"EmbeddingBagClassifier": BLUE, "LinearSVC": ORANGE, "SGDClassifier": GREEN, "fastText": RED}
figure, axes = plt.subplots(2, 2, figsize=(5.6, 4.8))
for ax, (key, title) in zip(axes.flat, sets.items(), strict=True):
    for row in rows:
        if row["set"] != key:
            continue
        name = row["features"] if row["features"] == "fastText" else row["classifier"]
        face = "none" if row["features"] == "counts" else colors[name]
        ax.plot(float(row["fit, s"]), float(row["test accuracy"]), "o", color=colors[name], markerfacecolor=face)
    ax.set(title=title, xscale="log")
    ax.margins(0.15)
for ax in axes[1]:
    ax.set_xlabel("seconds of fit")
for ax in axes[:, 0]:
    ax.set_ylabel("test accuracy")
handles = [plt.Line2D([], [], marker="o", linestyle="", color=color) for color in colors.values()]
names = [*colors]
handles += [plt.Line2D([], [], marker="o", linestyle="", color="0.4", markerfacecolor=face) for face in ("0.4", "none")]
figure.legend(handles, [*names, "TF-IDF", "counts"], loc="outside lower center", ncols=2)
