"""The present instant: the system's, or a simulated one that all processes share.

A simulated clock feeds the domain alone (`now`, timers, lastUpdated). Leases,
back-off and time-outs use the monotonic clock and do not notice it.
"""

import mmap
import struct
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from segue.model.instants import instant_of, microseconds

_LAYOUT = struct.Struct("<qqd")


class DomainClock(Protocol):
    """What every process of an engine reads the time from."""

    @property
    def simulated(self) -> bool:
        """Whether it is not the system's time."""
        ...

    def __call__(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...

    def us(self) -> int:
        """The present instant in microseconds since the epoch."""
        ...


class SystemClock:
    """The machine's own time."""

    simulated = False

    def __call__(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251

    def us(self) -> int:
        """The present instant in microseconds since the epoch."""
        return time.time_ns() // 1000


class SharedClock:
    """A simulated time kept in one small file, mapped by every process.

    The file holds (simulated µs, real µs at that moment, rate). A rate of 0 stands
    still between `advance_to` calls; 60 lets a minute pass each second.
    """

    simulated = True

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as handle:
            self._map = mmap.mmap(handle.fileno(), _LAYOUT.size)

    @classmethod
    def create(cls, file: Path, start: str) -> "SharedClock":
        """Start a clock from `SEGUE_CLOCK`: an instant with offset, then `@RATE`.

        A file that is there already goes on: a restart does not turn time back.

        Raises:
            ValueError: no aware instant, or no number after the `@`.
        """
        text, _, rate = start.partition("@")
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise ValueError(f"SEGUE_CLOCK={start}: the instant needs an offset, such as -04:00")
        speed = float(rate) if rate else 0.0
        begin = microseconds(instant)
        if file.exists() and file.stat().st_size == _LAYOUT.size:
            base, _, _ = _LAYOUT.unpack(file.read_bytes())
            begin = max(begin, base)
        file.write_bytes(_LAYOUT.pack(begin, time.time_ns() // 1000, speed))
        return cls(file)

    def __call__(self) -> datetime:
        """The present simulated instant, aware, in UTC."""
        return instant_of(self.us())

    def us(self) -> int:
        """The present simulated instant in microseconds since the epoch."""
        base, real, rate = _LAYOUT.unpack_from(self._map)
        if not rate:
            return int(base)
        return int(base + (time.time_ns() // 1000 - real) * rate)

    def advance_to(self, us: int) -> None:
        """Move on to an instant; never back.

        Raises:
            ValueError: it lies before the present simulated instant.
        """
        if us < self.us():
            raise ValueError("the simulated clock does not run backwards")
        _, _, rate = _LAYOUT.unpack_from(self._map)
        _LAYOUT.pack_into(self._map, 0, us, time.time_ns() // 1000, rate)
