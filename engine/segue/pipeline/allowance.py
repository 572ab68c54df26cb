"""How much of what did not come whole is kept: a broken or hostile peer fills no disk.

Whole messages are bounded by what their senders mean to say; halves are not, and whoever
sends them is owed no answer. So each feed has an hourly allowance for them.
"""

from collections.abc import Callable

BYTES_AN_HOUR = 16 * 1_048_576
LEAST = 16_384
"""Bytes that even the smallest counts for: 1,024 an hour of a feed, at most."""


class Allowance:
    """Bytes that feeds may still have kept; they come back evenly, within an hour.

    >>> allowance = Allowance(lambda: 0.0)
    >>> allowance.take("adt", BYTES_AN_HOUR - LEAST), allowance.take("adt", 10)
    (True, True)
    >>> allowance.take("adt", 10), allowance.take("lab", 10)
    (False, True)
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """Begin with full allowances.

        Args:
            seconds: a monotonic clock.
        """
        self._seconds = seconds
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, feed: str, size: int) -> bool:
        """Whether so many bytes more may be kept for a feed; they are then taken."""
        now = self._seconds()
        left, since = self._left.get(feed, (float(BYTES_AN_HOUR), now))
        left = min(BYTES_AN_HOUR, left + (now - since) / 3600 * BYTES_AN_HOUR)
        cost = max(size, LEAST)
        fits = cost <= left
        self._left[feed] = (left - cost if fits else left, now)
        return fits
