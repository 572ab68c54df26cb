"""Clocks: when something is due, and the derivation that shows why.

A clock is a row of data (`fhir_profiles/clocks.yaml`). Day clocks count calendar
dates: the anchor's date is taken in the facility's zone, the end is 23:59:59 of
the last day in the zone that the row names. Hour clocks run in elapsed time, so
that a change to or from summer time does not shorten or lengthen them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import yaml

from segue.care.calendars import FEDERAL_OBSERVED, closed_because
from segue.model.instants import Moment, instant_of, microseconds

Unit = Literal["business-day", "calendar-day", "hour", "second", "midnight", "visit-count"]

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND


class ClockError(ValueError):
    """A clock that cannot be read or derived."""


class NoSuchClockError(ClockError, KeyError):
    """A code that no clock has; the message names those that exist."""

    def __str__(self) -> str:
        # KeyError would show the message in quotes.
        return str(self.args[0])


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """One row of the clock table.

    Attributes:
        anchor: what it starts from, such as `discharge`.
        n: how many units; negative for hours before the anchor.
        day0: whether the anchor's own day counts.
        opens: whether the window opens at the anchor or at 00:00 of the next day.
        zone: whose zone places the end of the last day.
        hard: statute or measure; missing it can fail a task.
        warn: hours after the anchor; escalate: the same.
        target: the day that is aimed at, where it is before the due.
        within: days over which a visit-count clock counts.
    """

    code: str
    title: str
    anchor: str
    unit: Unit
    n: int
    hard: bool
    source: str
    day0: Literal["excluded", "included"] = "excluded"
    opens: Literal["anchor", "next-day"] = "anchor"
    zone: Literal["facility", "practice"] = "facility"
    warn: int | None = None
    escalate: int | None = None
    target: int | None = None
    within: int | None = None


@dataclass(frozen=True, slots=True)
class Derivation:
    """A due date with the way to it.

    Attributes:
        anchor, opens, due: RFC 3339 with the local offset, without fractions.
        opens_us, due_us: the same in microseconds UTC; `due_us` is the *end* of the
            last second, so that whatever is not after it is in time.
        next_day_us: 00:00 of the day after the anchor's, µs, in the zone of the due.
        text: the derivation as JSON, as `segue clock --json` prints it.
    """

    code: str
    anchor: str
    opens: str
    due: str
    opens_us: int
    due_us: int
    next_day_us: int
    hard: bool
    text: str

    def as_json(self) -> dict[str, Any]:
        """The derivation as an object: code, anchor, zones, opens, due, steps, source."""
        loaded: dict[str, Any] = json.loads(self.text)
        return loaded


class Clocks(Mapping[str, Clock]):
    """The clock table, by code."""

    __slots__ = ("_rows", "sources")

    def __init__(self, rows: Mapping[str, Clock], sources: Mapping[str, str]) -> None:
        self._rows = dict(rows)
        self.sources = dict(sources)

    def __getitem__(self, code: str) -> Clock:
        """The clock of a code.

        Raises:
            NoSuchClockError: there is none.
        """
        try:
            return self._rows[code]
        except KeyError:
            known = ", ".join(self._rows)
            raise NoSuchClockError(f"no clock '{code}'; there are {known}") from None

    def __iter__(self) -> Any:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def load(path: Path) -> Clocks:
    """Read the clock table.

    Raises:
        ClockError: a row has a key too many or too few, or an unknown source.
    """
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    sources: dict[str, str] = table["sources"]
    rows = {}
    for code, given in table["clocks"].items():
        row = dict(given)
        named = row.pop("sources", [])
        unknown = [key for key in named if key not in sources]
        if unknown or not named:
            raise ClockError(f"{path.name}: clock {code}: unknown or no source {unknown}")
        try:
            rows[code] = Clock(code=code, source=", ".join(named), **row)
        except TypeError as error:
            raise ClockError(f"{path.name}: clock {code}: {error}") from None
    return Clocks(rows, sources)


@lru_cache(maxsize=1)
def shipped() -> Clocks:
    """The clock table that comes with Segue."""
    from segue.fhir.profiles import shipped as folder

    return load(folder() / "clocks.yaml")


def derive(
    code: str,
    anchor: Moment | datetime,
    zone: ZoneInfo | None,
    due_zone: ZoneInfo | None = None,
    clocks: Clocks | None = None,
    *,
    local: frozenset[date] = frozenset(),
) -> Derivation:
    """When a clock that starts at an anchor is due.

    Args:
        code: of the clock, `C-1`.
        anchor: aware instant, or a Moment (which may be a date only).
        zone: of the facility; None takes the offset that the anchor was sent with.
        due_zone: of the practice; default the facility's.
        clocks: the table; default the shipped one.
        local: closed days of the practice. They never move a hard clock.

    Raises:
        ClockError: unknown code, or a clock that counts visits instead of time.

    >>> from zoneinfo import ZoneInfo
    >>> thursday = datetime(2026, 7, 2, 18, 0, tzinfo=UTC)
    >>> derive("C-1", thursday, ZoneInfo("America/New_York")).due
    '2026-07-07T23:59:59-04:00'
    """
    clock = (shipped() if clocks is None else clocks)[code]
    moment = anchor if isinstance(anchor, Moment) else Moment(_text(anchor), microseconds(anchor))
    return derivation(clock, moment, zone, due_zone or zone, local)


@lru_cache(maxsize=2048)
def derivation(
    clock: Clock,
    anchor: Moment,
    zone: ZoneInfo | None,
    due_zone: ZoneInfo | None,
    local: frozenset[date] = frozenset(),
) -> Derivation:
    """As `derive`, for a row of the table; kept for anchors seen before."""
    day, shown, here = place(anchor, zone)
    there = due_zone or here
    # A date without a time starts with its first instant at the facility.
    start = (
        anchor.us if anchor.has_time else _us(datetime(day.year, day.month, day.day, tzinfo=here))
    )
    if clock.unit in ("business-day", "calendar-day"):
        end_zone = there if clock.zone == "practice" else here
        span = _days(clock, day, end_zone, frozenset() if clock.hard else local)
    elif clock.unit == "visit-count":
        raise ClockError(f"clock {clock.code} counts visits, it has no due date")
    else:
        span = _elapsed(clock, start, day, here)
    next_day = clock.opens == "next-day"
    opens = span.next_day if next_day else shown
    text = (
        f'{{"code":"{clock.code}","anchor":"{shown}","zone":"{_name(here)}",'
        f'"due_zone":"{_name(there)}",{span.calendar}"opens":"{opens}",'
        f'"due":"{span.due}","steps":{span.steps},"source":"{clock.source}"}}'
    )
    return Derivation(
        clock.code,
        shown,
        opens,
        span.due,
        span.next_day_us if next_day else start,
        span.due_us,
        span.next_day_us,
        clock.hard,
        text,
    )


@dataclass(frozen=True, slots=True)
class _Span:
    due: str
    due_us: int
    next_day: str
    next_day_us: int
    calendar: str
    steps: str


@lru_cache(maxsize=4096)
def _days(clock: Clock, day: date, zone: tzinfo, local: frozenset[date]) -> _Span:
    steps: list[dict[str, Any]] = []
    if clock.unit == "business-day":
        last = _count_business_days(clock, day, local, steps)
        calendar = f'"calendar":"{FEDERAL_OBSERVED}",'
    else:
        last = _count_days(clock, day, steps)
        calendar = ""
    due, due_us = end_of_day(last, zone)
    opens = day + timedelta(days=1)
    morning = datetime(opens.year, opens.month, opens.day, tzinfo=zone)
    return _Span(due, due_us, _text(morning), _us(morning), calendar, _json(steps))


def _count_business_days(
    clock: Clock, day: date, local: frozenset[date], steps: list[dict[str, Any]]
) -> date:
    steps.append({"date": day.isoformat(), "counts": False, "why": "day 0"})
    counted = 0
    while counted < clock.n:
        day += timedelta(days=1)
        why = closed_because(day, local)
        if why is None:
            counted += 1
            steps.append({"date": day.isoformat(), "counts": True, "n": counted})
        else:
            steps.append({"date": day.isoformat(), "counts": False, "why": why})
    return day


def _count_days(clock: Clock, day: date, steps: list[dict[str, Any]]) -> date:
    """Every day counts, so the first and the last are enough to show."""
    if clock.day0 == "included":
        first, last = day, day + timedelta(days=clock.n - 1)
    else:
        first, last = day + timedelta(days=1), day + timedelta(days=clock.n)
        steps.append({"date": day.isoformat(), "counts": False, "why": "day 0"})
    steps.append({"date": first.isoformat(), "counts": True, "n": 1})
    if last != first:
        steps.append({"date": last.isoformat(), "counts": True, "n": clock.n})
    return last


def _elapsed(clock: Clock, start: int, day: date, zone: tzinfo) -> _Span:
    tomorrow = day + timedelta(days=1)
    morning = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=zone)
    began = instant_of(start)
    if clock.unit == "midnight":
        midnights = [day + timedelta(days=n) for n in range(1, clock.n + 1)]
        steps = [
            {"date": d.isoformat(), "counts": True, "n": n} for n, d in enumerate(midnights, 1)
        ]
        last = midnights[-1]
        due = datetime(last.year, last.month, last.day, tzinfo=zone)
    else:
        length = timedelta(hours=clock.n) if clock.unit == "hour" else timedelta(seconds=clock.n)
        due = (began + length).astimezone(zone)
        steps = []
        for n, what in ((clock.warn, "warn"), (clock.escalate, "escalate")):
            if n is not None:
                at = (began + timedelta(hours=n)).astimezone(zone)
                steps.append({"date": _text(at), "counts": True, "n": n, "why": what})
        steps.append({"date": _text(due), "counts": True, "n": clock.n})
        shift = due.utcoffset() != began.astimezone(zone).utcoffset()
        if shift:
            steps.append(
                {"date": due.date().isoformat(), "counts": False, "why": "the local clock was set"}
            )
    return _Span(_text(due), _us(due), _text(morning), _us(morning), "", _json(steps))


def midnights(start: Moment, end: Moment, zone: ZoneInfo) -> int:
    """How many local midnights lie between two instants.

    >>> from zoneinfo import ZoneInfo
    >>> chicago = ZoneInfo("America/Chicago")
    >>> begun = datetime(2026, 9, 14, 18, 10, tzinfo=UTC)
    >>> ordered = datetime(2026, 9, 16, 14, 0, tzinfo=UTC)
    >>> midnights(Moment("", microseconds(begun)), Moment("", microseconds(ordered)), chicago)
    2
    """
    first = instant_of(start.us).astimezone(zone).date()
    return (instant_of(end.us).astimezone(zone).date() - first).days


@lru_cache(maxsize=8192)
def place(anchor: Moment, zone: ZoneInfo | None) -> tuple[date, str, tzinfo]:
    """The calendar date of a moment at a place, the moment as shown there, and the zone.

    Without a zone the offset that the moment was sent with is the place's; a date
    without a time keeps its date.
    """
    if not anchor.has_time:
        parts = [int(part) for part in anchor.text.split("-")] + [1, 1]
        day = date(parts[0], parts[1], parts[2])
        here: tzinfo = zone or UTC
        return day, _text(datetime(day.year, day.month, day.day, tzinfo=here)), here
    instant = instant_of(anchor.us)
    if zone is not None:
        local = instant.astimezone(zone)
        return local.date(), _text(local), zone
    offset = datetime.fromisoformat(anchor.text).utcoffset() or timedelta(0)
    here = timezone(offset)
    local = instant.astimezone(here)
    return local.date(), _text(local), here


@lru_cache(maxsize=4096)
def end_of_day(day: date, zone: tzinfo) -> tuple[str, int]:
    """23:59:59 of a day as text, and the last microsecond of it."""
    end = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=zone)
    return _text(end), _us(end) + SECOND - 1


@lru_cache(maxsize=4096)
def start_of_day(day: date, zone: tzinfo) -> int:
    """The first microsecond of a day."""
    return _us(datetime(day.year, day.month, day.day, tzinfo=zone))


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="seconds")


def _us(instant: datetime) -> int:
    return microseconds(instant)


def _name(zone: tzinfo) -> str:
    return zone.key if isinstance(zone, ZoneInfo) else str(zone)


def _json(steps: list[dict[str, Any]]) -> str:
    return json.dumps(steps, separators=(",", ":"))
