"""CPU seconds by stage of the work, for the benchmark and for /metrics.

Thread time and not wall time: the figures stay comparable on a busy machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import thread_time

STAGES: tuple[str, ...] = (
    "parse",
    "map",
    "load",
    "fold",
    "care",
    "compare",
    "validate",
    "rows",
    "sql",
)
"""In the order of the journey of one message; `load` and `sql` are the store's."""


@dataclass(slots=True)
class Stages:
    """Adds up CPU time between marks, of every n-th batch.

    Reading a thread's CPU clock is a system call, and a message passes dozens of marks:
    sampling keeps the measuring from being a stage of its own. What is measured counts
    n-fold, so `seconds` stands for all batches and only grows.

    >>> stages = Stages(clock=iter((0.0, 0.5, 0.75)).__next__)
    >>> stages.batch(1); stages.start(); stages.end("parse"); stages.end("map")
    >>> stages.seconds["parse"], stages.seconds["map"]
    (0.5, 0.25)
    """

    clock: Callable[[], float] = thread_time
    every: int = 1
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    measured: int = 0
    _batches: int = 0
    _on: bool = True
    _mark: float = 0.0

    def batch(self, entries: int) -> None:
        """A batch of so many entries begins."""
        # The last of each n: the first batch of a process also warms it up.
        self._on = self._batches % self.every == self.every - 1
        self._batches += 1
        if self._on:
            self.measured += entries

    def start(self) -> None:
        """Set the mark."""
        if self._on:
            self._mark = self.clock()

    def end(self, stage: str) -> None:
        """Count the time since the mark for a stage, and set the mark anew."""
        if self._on:
            now = self.clock()
            self.seconds[stage] += (now - self._mark) * self.every
            self._mark = now

    def microseconds(self) -> dict[str, float]:
        """CPU µs per entry of each stage."""
        measured = self.every * self.measured or 1
        return {name: total / measured * 1e6 for name, total in self.seconds.items()}
