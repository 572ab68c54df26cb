"""What was done for the person: evidence that can close tasks.

Evidence is dated by itself, never by when it arrived, and what happened before the
anchor of a clock never counts. A voicemail is an attempt, not a contact; a booked
appointment is not a visit.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import Any, Final, NamedTuple

from segue.care.clocks import end_of_day, start_of_day
from segue.care.stays import STAY
from segue.care.view import Evidence, Person
from segue.model.instants import microseconds

VISIT_CLASSES: Final = frozenset({"AMB", "HH", "VR"})
"""Office, home and virtual visits (ActEncounterCode)."""

STANDING: Final = frozenset({"booked", "arrived", "checked-in", "fulfilled"})
"""Statuses of an appointment that was neither cancelled nor missed."""

DISCHARGE_SUMMARIES: Final = frozenset({"18842-5", "11490-0", "34105-7"})
"""LOINC document types of a discharge summary."""

MEDICATION_LISTS: Final = frozenset({"10160-0", "29549-3", "56445-0", "medications"})
"""LOINC and FHIR codes of a reconciled medication list."""


class Seen(NamedTuple):
    """Something that happened.

    Attributes:
        low, high: µs of its start; a date without a time spans the whole day.
        end: µs of its end. recorded: µs when the hub learned of it.
        reference: `Communication/abc`. source: the site that said so.
        encounter: reference of the encounter that it speaks of, "" if none.
    """

    low: int
    high: int
    end: int
    reference: str
    source: str
    recorded: int
    encounter: str = ""


class Booking(NamedTuple):
    """An appointment."""

    start: int
    recorded: int
    status: str
    reference: str
    source: str


@dataclass(slots=True)
class Evidences:
    """A person's evidence by kind, each in order of time.

    Attributes:
        contacts: two-way contacts. attempts: those that did not reach anybody.
        visits: finished office, home and virtual visits.
        lists: reconciled medication lists. summaries: final discharge summaries.
        given: everything, by reference: what an owner may point to.
        conditions: references of the conditions that the person has; codes: (system, code)
            of those and of former ones.
    """

    contacts: list[Seen] = field(default_factory=list)
    attempts: list[Seen] = field(default_factory=list)
    visits: list[Seen] = field(default_factory=list)
    bookings: list[Booking] = field(default_factory=list)
    lists: list[Seen] = field(default_factory=list)
    summaries: list[Seen] = field(default_factory=list)
    given: dict[str, Seen] = field(default_factory=dict)
    conditions: list[str] = field(default_factory=list)
    codes: list[tuple[str, str]] = field(default_factory=list)


def collect(person: Person, zone: tzinfo) -> Evidences:
    """Sort a person's evidence. `zone` is where dates without a time are days."""
    found = Evidences()
    for one in _current(person.evidence):
        reader = _READERS.get(one.resource.get("resourceType", ""))
        if reader is not None:
            reader(found, one, zone)
    known = {seen.reference for seen in found.visits}
    for visit in person.visits:
        if (
            visit.status == "finished"
            and visit.start is not None
            and not visit.history
            and visit.classes
            and visit.classes[-1].code in VISIT_CLASSES
            and not any(period.code in STAY for period in visit.classes)
            and (reference := f"Encounter/{visit.encounter}") not in known
        ):
            low, high = _span(visit.start.text, zone)
            end = visit.end.us if visit.end is not None else high
            recorded = visit.noticed.get("discharge", end)
            insort(found.visits, Seen(low, high, end, reference, visit.site, recorded))
    return found


def readable(resources: Mapping[str, Mapping[str, Any]]) -> Set[str]:
    """Which of some resources, by reference, could be evidence of anything."""
    found = Evidences()
    for reference, resource in resources.items():
        reader = _READERS.get(str(resource.get("resourceType", "")))
        if reader is not None:
            reader(found, Evidence(reference, 1, dict(resource), "", 0), UTC)
    return found.given.keys()


def _current(evidence: Iterable[Evidence]) -> Iterable[Evidence]:
    """The newest version of each resource."""
    newest: dict[str, Evidence] = {}
    for one in evidence:
        held = newest.get(one.reference)
        if held is None or one.version >= held.version:
            newest[one.reference] = one
    return newest.values()


def _communication(found: Evidences, one: Evidence, zone: tzinfo) -> None:
    """Two-way: completed, received, and with the patient or a relative in it."""
    resource = one.resource
    status = resource.get("status")
    if one.history or status not in ("completed", "not-done"):
        return
    if status == "not-done":
        if resource.get("statusReason"):
            when = resource.get("sent") or resource.get("received")
            insort(found.attempts, _seen(one, when, zone))
    elif resource.get("received") and _reaches_patient(resource):
        seen = _seen(one, resource["received"], zone)
        insort(found.contacts, seen)
        found.given[one.reference] = seen


def _reaches_patient(resource: dict[str, Any]) -> bool:
    parties = [resource.get("sender") or {}, *(resource.get("recipient") or ())]
    return any(
        kind in str(party.get("reference", ""))
        for party in parties
        for kind in ("Patient/", "RelatedPerson/")
    )


def _encounter(found: Evidences, one: Evidence, zone: tzinfo) -> None:
    resource = one.resource
    start = (resource.get("period") or {}).get("start")
    if one.history or resource.get("status") != "finished" or start is None:
        return
    if (resource.get("class") or {}).get("code") in VISIT_CLASSES:
        seen = _seen(one, start, zone, resource["period"].get("end"))
        insort(found.visits, seen)
        found.given[one.reference] = seen


def _appointment(found: Evidences, one: Evidence, zone: tzinfo) -> None:
    start = one.resource.get("start")
    if one.history or start is None:
        return
    low, _ = _span(start, zone)
    status = str(one.resource.get("status", ""))
    insort(found.bookings, Booking(low, one.recorded, status, one.reference, one.source))
    if status in STANDING:
        found.given[one.reference] = _seen(one, start, zone)


def _list(found: Evidences, one: Evidence, zone: tzinfo) -> None:
    resource = one.resource
    if one.history or resource.get("status") != "current":
        return
    if str((resource.get("source") or {}).get("reference", "")).startswith(("Patient/", "Device/")):
        return
    seen = _seen(one, resource.get("date"), zone)
    found.given[one.reference] = seen
    if _codes(resource.get("code")) & MEDICATION_LISTS:
        insort(found.lists, seen)


def _document(found: Evidences, one: Evidence, zone: tzinfo) -> None:
    resource = one.resource
    if one.history or resource.get("status") != "current":
        return
    if resource.get("docStatus", "final") not in ("final", "amended"):
        return
    encounters = (resource.get("context") or {}).get("encounter") or [{}]
    seen = _seen(one, resource.get("date"), zone)._replace(
        encounter=str(encounters[0].get("reference", ""))
    )
    found.given[one.reference] = seen
    if _codes(resource.get("type")) & DISCHARGE_SUMMARIES:
        insort(found.summaries, seen)


def _condition(found: Evidences, one: Evidence, _zone: tzinfo) -> None:
    resource = one.resource
    verification = _codes(resource.get("verificationStatus"))
    if verification & {"entered-in-error", "refuted"}:
        return
    if not _codes(resource.get("clinicalStatus")) & {"inactive", "remission", "resolved"}:
        found.conditions.append(one.reference)
    for coding in (resource.get("code") or {}).get("coding") or ():
        found.codes.append((str(coding.get("system", "")), str(coding.get("code", ""))))


def _report(found: Evidences, one: Evidence, zone: tzinfo) -> None:
    """Answers and measurements: evidence only where an owner points to them."""
    resource = one.resource
    if not one.history and resource.get("status") in ("final", "amended", "completed", "corrected"):
        when = resource.get("effectiveDateTime") or resource.get("authored")
        found.given[one.reference] = _seen(one, when, zone)


_READERS: Final[dict[str, Callable[[Evidences, Evidence, tzinfo], None]]] = {
    "Communication": _communication,
    "Encounter": _encounter,
    "Appointment": _appointment,
    "List": _list,
    "DocumentReference": _document,
    "Condition": _condition,
    "Observation": _report,
    "QuestionnaireResponse": _report,
}


def _seen(one: Evidence, when: str | None, zone: tzinfo, end: str | None = None) -> Seen:
    if when is None:
        low = high = one.recorded
    else:
        low, high = _span(when, zone)
    last = high if end is None else _span(end, zone)[1]
    return Seen(low, high, last, one.reference, one.source, one.recorded)


@lru_cache(maxsize=1024)
def _span(text: str, zone: tzinfo) -> tuple[int, int]:
    """First and last microsecond that a FHIR dateTime can mean."""
    if "T" in text:
        at = microseconds(datetime.fromisoformat(text))
        return at, at
    year, month, of_month, *_ = [*(int(part) for part in text.split("-")), 1, 1]
    day = date(year, month, of_month)
    return start_of_day(day, zone), end_of_day(day, zone)[1]


def _codes(concept: Any) -> set[str]:
    return {str(coding.get("code", "")) for coding in (concept or {}).get("coding") or ()}
