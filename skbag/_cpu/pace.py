"""How many threads mini-batches are run by: what was faster lately."""

from dataclasses import dataclass, field
from math import inf

_TURN = 0.01  # seconds
_LOOK = _TURN / 4  # long enough for threads to wake up
_FIRST = 4  # mini-batches, as long as nothing is known
_REST = 8 * _TURN  # between two looks, at least
_SOON = 2 * _TURN  # before the first look after a change
_SHARE = 0.01  # of the time may be lost by looks
_INTERRUPTED = 4  # times as long as the turn before: no accident


@dataclass
class Pace:
    """Splits mini-batches into turns of some milliseconds, and chooses one thread or ``n_threads`` for each.

    Threads wait for one another twice in every mini-batch. That pays where each has a processor to itself, and costs as
    much as fifty times the work where another program takes one away in between. Which is the case can only be
    measured. What a turn computes does not depend on the threads.

    What was slower is looked at again after a rest that makes up for what the last look lost, or when the other way has
    become slower than it was; only a look changes what is chosen. It has two turns: in the first the caches of another
    processor fill.
    """

    n_threads: int
    chosen: int = 1
    seconds: dict[int, list[float]] = field(default_factory=dict)  # of a mini-batch in the last one or two turns
    _rest: float = _REST
    _lost: float | None = None  # by the first turn of a look

    @classmethod
    def of_long_steps(cls, n_threads: int) -> "Pace":
        """Return one that begins with all threads."""
        return cls(n_threads, n_threads, {1: [inf], n_threads: [_TURN]})

    def turn(self, n_left: int) -> tuple[int, int]:
        """Return how many threads take the next turn, and how many of the n_left mini-batches that are left."""
        if self.n_threads == 1:
            return 1, n_left
        if not self.seconds:
            return 1, min(n_left, _FIRST)
        looks = self._rest <= 0 or self._lost is not None or len(self.seconds) == 1
        fastest = min(self._best(self.chosen), self._best(self._other))
        return self._other if looks else self.chosen, min(n_left, max(1, int((_LOOK if looks else _TURN) / fastest)))

    def note(self, n_threads: int, n_batches: int, seconds: float) -> None:
        """Take what a turn took."""
        each = max(seconds / n_batches, 1e-9)  # a coarse clock says 0
        lost = n_batches * (each - self._best(self.chosen))
        if n_threads == self.chosen:
            self._rest -= seconds
            before = self.seconds.get(n_threads, [])[-1:]  # one turn alone may have been interrupted
            self.seconds[n_threads] = [*(old for old in before if each < _INTERRUPTED * old), each]
            if self._best(self._other) < self._best(n_threads):
                self._rest = 0  # whatever slowed these turns down may slow down the other way as well
        elif self._lost is None:
            self._lost = lost
        else:
            self.seconds[n_threads] = [each]
            self._rest, self._lost = max(_REST, (lost + self._lost) / _SHARE), None
            if each < self._best(self.chosen):
                self.chosen, self._rest = n_threads, _SOON

    @property
    def _other(self) -> int:
        return 1 + self.n_threads - self.chosen

    def _best(self, n_threads: int) -> float:
        return min(self.seconds.get(n_threads, [inf]))
