"""Points in time as they were sent, and the sources of time and of chance."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

Clock = Callable[[], datetime]
"""Gives the present instant, aware, in UTC."""

NewId = Callable[[], str]
"""Gives a fresh id."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Moment(NamedTuple):
    """A point in time with the precision and the offset it was sent with.

    Attributes:
        text: FHIR dateTime: `2026-07-05T13:42:00-04:00`, or `2026-07-05`,
            `2026-07`, `2026` where no more was known.
        us: microseconds since 1970-01-01T00:00Z of the instant, or of the first
            instant of the date (in the zone it was read in, else UTC).
    """

    text: str
    us: int

    @property
    def has_time(self) -> bool:
        """Whether it is an instant and not only a date."""
        return "T" in self.text


def microseconds(instant: datetime) -> int:
    """Microseconds since the epoch of an aware instant.

    >>> microseconds(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return (instant - _EPOCH) // _MICROSECOND


def instant_of(us: int) -> datetime:
    """The aware UTC instant of microseconds since the epoch.

    >>> instant_of(1000000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + timedelta(microseconds=us)


def rfc3339_us(us: int) -> str:
    """RFC 3339 in UTC with microseconds: in `lastUpdated` the commit order is visible.

    >>> rfc3339_us(1500000)
    '1970-01-01T00:00:01.500000Z'
    """
    return instant_of(us).isoformat(timespec="microseconds").replace("+00:00", "Z")


def rfc3339(us: int) -> str:
    """RFC 3339 in UTC with milliseconds, as all of Segue's JSON shows instants.

    >>> rfc3339(1500000)
    '1970-01-01T00:00:01.500Z'
    """
    return instant_of(us).isoformat(timespec="milliseconds").replace("+00:00", "Z")
