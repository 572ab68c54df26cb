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
    """Adds up CPU time between marks.

    >>> stages = Stages(clock=iter((0.0, 0.5, 0.75)).__next__)
    >>> stages.start(); stages.end("parse"); stages.end("map")
    >>> stages.seconds["parse"], stages.seconds["map"]
    (0.5, 0.25)
    """

    clock: Callable[[], float] = thread_time
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    entries: int = 0
    _mark: float = 0.0

    def start(self) -> None:
        """Set the mark."""
        self._mark = self.clock()

    def end(self, stage: str) -> None:
        """Count the time since the mark for a stage, and set the mark anew."""
        now = self.clock()
        self.seconds[stage] += now - self._mark
        self._mark = now

    def microseconds(self) -> dict[str, float]:
        """CPU µs per entry of each stage."""
        entries = self.entries or 1
        return {name: total / entries * 1e6 for name, total in self.seconds.items()}
