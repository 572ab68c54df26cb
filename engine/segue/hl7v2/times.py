"""Dates and times as HL7 v2 writes them, with the precision they were sent with.

Zone of a time without offset, in this order: the site's zone, MSH-7's offset, none
(then only the date is taken). An offset of its own always holds. In the autumn hour
that comes twice the earlier instant is taken: dues are then rather too early.

Source: HL7 v2.5.1 section 2A.22 (DTM), FHIR R4 dateTime.
"""

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from segue.model.instants import Moment, instant_of

Reading = tuple[Moment | None, str | None]
"""A moment (None: not readable, or nothing sent) and a warning code."""

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_SECOND = 1_000_000
_ISO = re.compile(
    r"(\d{4})[-/.](\d{2})(?:[-/.](\d{2})(?:[T ]?(\d{2}):(\d{2})(?::(\d{2})(\.\d+)?)?)?)?"
    r"\s*(Z|[+-]\d{2}:?\d{0,2})?"
)
_SPACED = re.compile(r"(\d{8})[T ](\d{2}:?\d{2}(?::?\d{2})?(?:\.\d+)?)\s*(Z|[+-]\d{2}:?\d{0,2})?")


@lru_cache(maxsize=16384)
def moment(text: str, zone: ZoneInfo | None = None, message_offset: str | None = None) -> Reading:
    """Read a DTM (TS.1).

    Args:
        text: as sent; "" gives (None, None).
        zone: the site's.
        message_offset: of MSH-7, as `offset_of` gives it.

    Returns:
        The moment, and a code of `normalise.WARNINGS`: `bad-time`, `time-format`,
        `hour-24`, `leap-second`, `no-zone`, `ambiguous-local-time`,
        `nonexistent-local-time`, `offset-disagrees`; None where all is well.

    >>> moment("20261031233000", ZoneInfo("America/New_York"), "-0500")
    (Moment(text='2026-10-31T23:30:00-04:00', us=1793503800000000), 'offset-disagrees')
    >>> moment("202602")
    (Moment(text='2026-02', us=1769904000000000), None)
    >>> moment("20260230"), moment("202607051342")[0].text
    ((None, 'bad-time'), '2026-07-05')
    """
    body = text.strip()
    if not body:
        return None, None
    offset: int | None = None
    digits, fraction = body, ""
    if not (body.isascii() and body.isdigit()):
        mark = max(body.rfind("+"), body.rfind("-"))
        if mark > 0:
            offset = _offset(body[mark:])
            digits = body[:mark]
        elif body[-1] in "Zz":
            offset, digits = 0, body[:-1]
        digits, _, fraction = digits.rstrip().partition(".")
        if (
            not (digits.isascii() and digits.isdigit())
            or (mark > 0 and offset is None)
            or (fraction and not (fraction.isascii() and fraction.isdigit()))
        ):
            return _otherwise_written(body, zone, message_offset)
    length = len(digits)
    if length not in (4, 6, 8, 10, 12, 14) or (fraction and length != 14):
        return None, "bad-time"
    try:
        days = _ordinal(digits[:8])
        if length <= 8:
            written = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"[: length + length // 2 - 2]
            if offset is None:
                offset = _start_offset(days, zone, message_offset)
            return Moment(written, ((days - _EPOCH_DAY) * 86_400 - offset) * _SECOND), None
        return _instant(digits, fraction, days, offset, zone, message_offset)
    except (ValueError, OverflowError):
        return None, "bad-time"


def offset_of(text: str) -> str | None:
    """The offset that a time carries itself, None where it has none.

    >>> offset_of("20261102100000-0500"), offset_of("20261102")
    ('-0500', None)
    """
    if "+" not in text and "-" not in text:
        return None
    for sign in "+-":
        before, _, digits = text.strip().rpartition(sign)
        if before.replace(".", "").isdigit() and _offset(sign + digits) is not None:
            return sign + digits
    return None


def dtm(us: int, zone: ZoneInfo | None = None) -> str:
    """Write an instant as HL7 v2 DTM to the millisecond, with offset.

    Args:
        us: microseconds since 1970 UTC.
        zone: to show it in; UTC if None.

    >>> dtm(1793503800000000, ZoneInfo("America/New_York"))
    '20261031233000.000-0400'
    """
    return (
        instant_of(us)
        .astimezone(zone or UTC)
        .strftime("%Y%m%d%H%M%S.{:03d}%z")
        .format(us // 1000 % 1000)
    )


def dtm_of(moment: Moment) -> str:
    """Write a moment as HL7 v2 DTM, as precise as it is.

    >>> dtm_of(Moment("2026-07-05T13:42:00-04:00", 0)), dtm_of(Moment("2026-07", 0))
    ('20260705134200-0400', '202607')
    """
    day, _, clock = moment.text.partition("T")
    return day.replace("-", "") + clock.replace(":", "").replace("Z", "+0000")


def _instant(
    digits: str,
    fraction: str,
    days: int,
    offset: int | None,
    zone: ZoneInfo | None,
    message_offset: str | None,
) -> Reading:
    hour = int(digits[8:10])
    minute = int(digits[10:12] or 0)
    second = int(digits[12:14] or 0)
    code = None
    if hour == 24 and not minute and not second:
        days, hour, code = days + 1, 0, "hour-24"
    if second == 60:
        second, code = 59, "leap-second"
    if hour > 23 or minute > 59 or second > 59:
        return None, "bad-time"
    if code:
        whole = date.fromordinal(days)
        digits = f"{whole:%Y%m%d}{hour:02d}{minute:02d}{second:02d}"
    if offset is None:
        if zone is not None:
            offset, problem = _zone_offset(days, hour, minute, second, zone)
            code = problem or code
            if message_offset is not None and not problem and _offset(message_offset) != offset:
                code = "offset-disagrees"
        elif message_offset is None or (offset := _offset(message_offset)) is None:
            start = (days - _EPOCH_DAY) * 86_400 * _SECOND
            return Moment(f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}", start), "no-zone"
    seconds = (days - _EPOCH_DAY) * 86_400 + hour * 3600 + minute * 60 + second - offset
    micros = 0
    if fraction:
        fraction = fraction[:6]
        micros = int(fraction.ljust(6, "0"))
        fraction = "." + fraction
    minutes = abs(offset) // 60
    return (
        Moment(
            f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{hour:02d}:{minute:02d}:{second:02d}"
            f"{fraction}{'-' if offset < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}",
            seconds * _SECOND + micros,
        ),
        code,
    )


@lru_cache(maxsize=4096)
def _ordinal(digits: str) -> int:
    """The day's number; the first one of a month or year. Raises ValueError."""
    return date(int(digits[:4]), int(digits[4:6] or 1), int(digits[6:8] or 1)).toordinal()


def _start_offset(days: int, zone: ZoneInfo | None, message_offset: str | None) -> int:
    if zone is not None:
        day = date.fromordinal(days)
        return _seconds(datetime(day.year, day.month, day.day, tzinfo=zone))
    return (message_offset is not None and _offset(message_offset)) or 0


def _zone_offset(
    days: int, hour: int, minute: int, second: int, zone: ZoneInfo
) -> tuple[int, str | None]:
    """Seconds east of UTC, and a warning where the local time is not unique."""
    whole_day = _day_offset(days, zone)
    if whole_day is not None:
        return whole_day, None
    day = date.fromordinal(days)
    numbers = (day.year, day.month, day.day, hour, minute, second)
    first = _seconds(datetime(*numbers, tzinfo=zone))
    later = _seconds(datetime(*numbers, tzinfo=zone, fold=1))
    if first == later:
        return first, None
    return first, "ambiguous-local-time" if first > later else "nonexistent-local-time"


@lru_cache(maxsize=4096)
def _day_offset(days: int, zone: ZoneInfo) -> int | None:
    """The offset of a day on which it does not change, else None."""
    day, after = date.fromordinal(days), date.fromordinal(days + 1)
    begin = _seconds(datetime(day.year, day.month, day.day, tzinfo=zone))
    end = _seconds(datetime(after.year, after.month, after.day, tzinfo=zone))
    return begin if begin == end else None


def _seconds(local: datetime) -> int:
    offset = local.utcoffset()
    seconds = offset.days * 86_400 + offset.seconds if offset else 0
    # Before zones were standardised offsets had seconds, which FHIR cannot write.
    return round(seconds / 60) * 60


@lru_cache(maxsize=256)
def _offset(text: str) -> int | None:
    """Seconds east of UTC of `-0500`, `-05:00`, `-05` or `Z`; None if it is none."""
    if text in ("Z", "z"):
        return 0
    digits = text[1:].replace(":", "")
    if not (digits.isascii() and digits.isdigit()):
        return None
    if text[:1] not in ("+", "-") or len(digits) not in (2, 4):
        return None
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 14 or minutes > 59:
        return None
    seconds = hours * 3600 + minutes * 60
    return -seconds if text[0] == "-" else seconds


def _otherwise_written(body: str, zone: ZoneInfo | None, message_offset: str | None) -> Reading:
    """ISO 8601 and the like, which some systems send."""
    found = _ISO.fullmatch(body) or _SPACED.fullmatch(body)
    if not found:
        return None, "bad-time"
    plain = "".join(group or "" for group in found.groups()).replace(":", "")
    result, code = moment(plain, zone, message_offset)
    return result, (code or "time-format")
