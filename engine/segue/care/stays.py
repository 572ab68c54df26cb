"""Stays: acute visits that belong together, and what came before and after them.

A stay is one or more acute inpatient or observation visits where the next
admission date is at most one calendar day after the discharge date, as readmission
measures count it. A post-acute visit (class NONAC) is a stay of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from segue.care.clocks import place
from segue.care.view import CareSetting, Visit
from segue.model.identity import stable_id
from segue.model.instants import Moment

INPATIENT: Final = frozenset({"IMP", "ACUTE", "NONAC"})
STAY: Final = INPATIENT | {"OBSENC"}
NOT_REAL: Final = frozenset({"cancelled", "entered-in-error", "planned"})


@dataclass(slots=True)
class StayVisit:
    """A visit of a stay with the dates that clocks and scores need.

    Attributes:
        admitted: start of the first inpatient or observation class.
        inpatient: start of the current run of inpatient classes, None if there is none.
        day: calendar date of `admitted` at the facility; last_day: of the discharge.
        kind: the class at the end (ActEncounterCode).
        here: zone of the facility.
    """

    visit: Visit
    admitted: Moment
    inpatient: Moment | None
    day: date
    last_day: date | None
    kind: str
    here: tzinfo

    @property
    def post_acute(self) -> bool:
        """Whether it is a skilled nursing, rehabilitation or long-term visit."""
        return self.kind == "NONAC"


@dataclass(slots=True)
class Stay:
    """Visits that count as one stay, in order of admission."""

    visits: list[StayVisit]

    @property
    def first(self) -> StayVisit:
        """The visit that the stay is named after."""
        return self.visits[0]

    @property
    def id(self) -> str:
        """Id of its EpisodeOfCare."""
        return stable_id("EpisodeOfCare", self.visits[0].visit.key)


def stay_visit(visit: Visit, setting: CareSetting) -> StayVisit | None:
    """The visit as part of a stay; None for outpatient, ED-only and cancelled visits."""
    if visit.status in NOT_REAL:
        return None
    admitted = inpatient = None
    running = False
    for period in visit.classes:
        if period.code in STAY:
            if admitted is None:
                admitted = period.start
            if period.code not in INPATIENT:
                running = False
            elif not running:
                inpatient = period.start
                running = True
        else:
            running = False
    if admitted is None:
        return None
    site = setting.sites.get(visit.site)
    day, _, here = place(admitted, site.zone if site else None)
    last = None
    if visit.discharged and visit.end is not None:
        last = place(visit.end, site.zone if site else None)[0]
    return StayVisit(visit, admitted, inpatient, day, last, visit.classes[-1].code, here)


def stays(visits: Iterable[Visit], setting: CareSetting) -> list[Stay]:
    """The stays among a person's visits, in order of admission; history left out."""
    placed = [
        found
        for visit in visits
        if not visit.history and (found := stay_visit(visit, setting)) is not None
    ]
    placed.sort(key=_by_admission)
    found_stays: list[Stay] = []
    open_stay: Stay | None = None
    end: date | None = None
    for one in placed:
        if one.post_acute:
            found_stays.append(Stay([one]))
            continue
        if open_stay is not None and (end is None or (one.day - end).days <= 1):
            open_stay.visits.append(one)
            if end is not None:
                end = None if one.last_day is None else max(end, one.last_day)
        else:
            open_stay = Stay([one])
            found_stays.append(open_stay)
            end = one.last_day
    return found_stays


def _by_admission(one: StayVisit) -> tuple[int, str]:
    return one.admitted.us, one.visit.key


def episodes(visits: Iterable[Visit], setting: CareSetting) -> Mapping[str, str]:
    """Which EpisodeOfCare each visit belongs to: visit key to id."""
    return {one.visit.key: stay.id for stay in stays(visits, setting) for one in stay.visits}


def emergency_visits(
    visits: Iterable[Visit], stay: Stay, before: StayVisit, months: int = 6
) -> int:
    """How many emergency visits began in the months before an admission.

    The ones that led to the stay do not count: those of its own visits, and an
    emergency visit under another number that ended on the day of admission or was
    still open then. History counts.
    """
    own = {one.visit.key for one in stay.visits}
    since = _months_before(before.day, months)
    count = 0
    for visit in visits:
        if visit.key in own or visit.status in NOT_REAL:
            continue
        start = next((p.start for p in visit.classes if p.code == "EMER"), None)
        if start is None or start.us >= before.admitted.us:
            continue
        day = place(start, _zone(before))[0]
        if day < since or _led_to(visit, before):
            continue
        count += 1
    return count


def _led_to(visit: Visit, admission: StayVisit) -> bool:
    if any(period.code in STAY for period in visit.classes):
        return False
    if visit.end is None:
        return visit.status != "finished" and not visit.history
    return place(visit.end, _zone(admission))[0] >= admission.day


def _months_before(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    last = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - date(year, month + 1, 1)).days
    return date(year, month + 1, min(day.day, last))


def _zone(one: StayVisit) -> ZoneInfo | None:
    return one.here if isinstance(one.here, ZoneInfo) else None
