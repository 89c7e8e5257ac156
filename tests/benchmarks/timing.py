"""Interleaved timing: what a noisy machine does to one side of a ratio, it does to the other."""

import math
import time
from collections.abc import Callable, Iterable

_TURN = 0.02  # seconds: OpenMP's threads spin for some milliseconds after a call, and would disturb the next contender


def best_of(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Best time of each contender in seconds; in each round every contender has a turn of at least two calls."""
    best = dict.fromkeys(contenders, math.inf)
    for _ in range(rounds):
        for name, run in contenders.items():
            turn_ends, calls = time.perf_counter() + _TURN, 0
            while calls < 2 or time.perf_counter() < turn_ends:
                start = time.perf_counter()
                result = run()
                best[name] = min(best[name], time.perf_counter() - start)
                calls += 1
                del result  # outside the time, and before the next contender asks for memory
    return best


def geometric_mean(ratios: Iterable[float]) -> float:
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def table(header: list[str], rows: list[list[object]]) -> str:
    """A Markdown table."""
    cells = [header, ["---"] * len(header), *([format_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def format_cell(cell: object) -> str:
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)
