"""Whether a destination is worth trying: one alert per outage, one probe at a time."""

from dataclasses import dataclass
from math import inf
from typing import Literal

Allowed = Literal["all", "probe", "nothing"]


@dataclass(slots=True)
class Breaker:
    """Opens after some failures in a row, and lets single parcels through to probe.

    Times are seconds of a monotonic clock.

    Attributes:
        threshold: parcels in a row that must fail before it opens.
        first: seconds until the first probe; each failed probe doubles them.
        ceiling: most seconds between probes. halted: the same after 401 or 403, where
            a person must act first.
    """

    threshold: int = 3
    first: float = 1.0
    ceiling: float = 15.0
    halted: float = 60.0
    failures: int = 0
    probe_at: float = inf
    _probes: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the destination is paused."""
        return self.probe_at != inf

    def allows(self, now: float) -> Allowed:
        """What may be sent now; the caller sends one probe at a time."""
        if self.probe_at == inf:
            return "all"
        return "probe" if now >= self.probe_at else "nothing"

    def failed(self, now: float, *, halt: bool = False, asked: float = 0.0) -> bool:
        """A parcel failed as a whole; say whether that opened the breaker.

        Args:
            now: of the failure.
            halt: it is for a person to act (401, 403).
            asked: seconds for which the peer wants to be left alone (`Retry-After`).
        """
        self.failures += 1
        was_open = self.is_open
        if halt:
            self.probe_at = now + self.halted
        elif was_open:
            self._probes += 1
            self.probe_at = now + min(self.ceiling, self.first * 2**self._probes)
        elif self.failures >= self.threshold:
            self._probes = 0
            self.probe_at = now + self.first
        if self.is_open:
            self.probe_at = max(self.probe_at, now + asked)
        return self.is_open and not was_open

    def succeeded(self) -> bool:
        """The peer answered to the purpose; say whether that closed the breaker."""
        was_open = self.is_open
        self.failures = self._probes = 0
        self.probe_at = inf
        return was_open
