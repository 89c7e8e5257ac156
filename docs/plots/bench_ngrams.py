import matplotlib.pyplot as plt
from recorded import BLUE, GREY, ORANGE, numbers, tables

shown = {
    "HashingNgramVectorizer, words and pairs, 2 threads": BLUE,
    "HashingNgramVectorizer, words and pairs, 1 thread": BLUE,
    "fastText reads": ORANGE,
    "HashingVectorizer, words and pairs": GREY,
    "CountVectorizer, words and pairs": GREY,
}
by_name = {row[""]: row for row in tables("2026-11-29-text.txt")["Texts to features (bench_ngrams.py speed)"]}
speeds = numbers([by_name[name] for name in shown], "MB per second")
names = [name.replace(", words", ",\nwords").replace("fastText reads", "fastText reads words") for name in shown]
figure, ax = plt.subplots(figsize=(5.6, 2.8))
bars = ax.barh(names[::-1], speeds[::-1], height=0.6, color=list(shown.values())[::-1])
ax.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
ax.tick_params(axis="y", labelsize=8)
ax.set(xlabel="MB of text per second", xlim=(0, 1.12 * speeds.max()))
ax.grid(axis="y", visible=False)
