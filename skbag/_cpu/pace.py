"""How many threads mini-batches are run by: what was faster lately."""

from dataclasses import dataclass, field

_TURN = 0.01  # seconds
_LOOK = _TURN / 4  # long enough for threads to wake up
_FIRST = 4  # mini-batches, as long as nothing is known
_PATIENCE = 8, 1024  # turns between two looks at what was slower: at first, and at most


@dataclass
class Pace:
    """Splits mini-batches into turns of some milliseconds, and chooses one thread or ``n_threads`` for each.

    Threads wait for one another twice in every mini-batch. That pays where each has a processor to itself, and costs as
    much as fifty times the work where another program takes one away in between. Which is the case can only be
    measured. What a turn computes does not depend on the threads.
    """

    n_threads: int
    seconds: dict[int, float] = field(default_factory=dict)  # of a mini-batch, by the number of threads
    _patience: int = _PATIENCE[0]
    _wait: int = _PATIENCE[0]

    def turn(self, n_left: int) -> tuple[int, int]:
        """Return how many threads take the next turn, and how many of the n_left mini-batches that are left."""
        if self.n_threads == 1:
            return 1, n_left
        if 1 not in self.seconds:
            return 1, min(n_left, _FIRST)
        chosen, length = self._best(), _TURN
        self._wait -= 1
        if self.n_threads not in self.seconds or self._wait == 0:
            chosen, length = 1 + self.n_threads - chosen, _LOOK
        return chosen, min(n_left, max(1, int(length / min(self.seconds.values()))))

    def note(self, n_threads: int, n_batches: int, seconds: float) -> None:
        """Take what a turn took."""
        looked, before = self._wait == 0, self._best() if len(self.seconds) == 2 else 0
        self.seconds[n_threads] = max(seconds / n_batches, 1e-9)  # a coarse clock says 0
        if looked:
            self._patience = min(2 * self._patience, _PATIENCE[1]) if self._best() == before else _PATIENCE[0]
            self._wait = self._patience

    def _best(self) -> int:
        return min(self.seconds, key=lambda n_threads: self.seconds[n_threads])
