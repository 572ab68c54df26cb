"""FHIR dates and instants as half-open intervals of microseconds UTC.

A value stands for the whole stretch that its precision leaves open: `2026-07` for the
month, `…T08:12:00Z` for that second. A date without a zone is taken in UTC.
Source: https://hl7.org/fhir/R4/search.html#date
"""

from datetime import UTC, date, datetime
from functools import lru_cache

LOWEST = -(2**62)
"""Stands for "since ever"."""

HIGHEST = 2**62
"""Stands for "without end"."""

SECOND = 1_000_000
DAY = 86_400 * SECOND
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def _day(year: int, month: int, day: int) -> int:
    return (date(year, month, day).toordinal() - _EPOCH_DAY) * DAY


@lru_cache(maxsize=8_192)
def interval(text: str) -> tuple[int, int]:
    """The first instant of a date, dateTime or instant, and the first one after it.

    Raises:
        ValueError: it is none of them.

    >>> interval("1970-01-02")
    (86400000000, 172800000000)
    >>> interval("1970-01-01T00:00:01.5Z")
    (1500000, 1600000)
    """
    length = len(text)
    if length > 10:
        return _instant(text)
    if length == 10:
        low = _day(int(text[:4]), int(text[5:7]), int(text[8:]))
        return low, low + DAY
    if length == 7:
        year, month = int(text[:4]), int(text[5:])
        low = _day(year, month, 1)
        following = (year, month + 1) if month < 12 else (year + 1, 1)
        return low, _day(*following, 1) if following[0] < 10_000 else HIGHEST
    if length == 4:
        year = int(text)
        return _day(year, 1, 1), _day(year + 1, 1, 1) if year < 9_999 else HIGHEST
    message = "not a FHIR date, dateTime or instant"
    raise ValueError(message)


def _instant(text: str) -> tuple[int, int]:
    if text[17:19] == "60":
        # A leap second counts as the last second of its minute.
        text = text[:17] + "59" + text[19:]
    if len(text) == 16 or (len(text) > 16 and text[16] != ":"):
        width = 60 * SECOND
    elif len(text) > 20 and text[19] == ".":
        digits = 0
        while text[20 + digits : 21 + digits].isdigit():
            digits += 1
        width = 10 ** max(6 - digits, 0)
    else:
        width = SECOND
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    low = (elapsed.days * 86_400 + elapsed.seconds) * SECOND + elapsed.microseconds
    return low, low + width


def not_after(start: object, end: object) -> bool:
    """Whether one dateTime is not after another, as far as their precision tells.

    >>> not_after("2026-07-05T08:00:00-04:00", "2026-07-05T11:00:00Z")
    False
    >>> not_after("2026-07-05", "2026-07")
    True
    """
    if not isinstance(start, str) or not isinstance(end, str):
        return True
    if len(start) > 10 and len(end) > 10:
        if start[19:] == end[19:]:
            return start <= end
        return interval(start)[0] <= interval(end)[0]
    shared = min(len(start), len(end), 10)
    return start[:shared] <= end[:shared]
