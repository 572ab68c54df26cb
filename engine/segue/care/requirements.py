"""What a Task asks for: requirements, and the evidence that meets them.

A requirement is one action of one protocol with its clock. The date of the evidence
decides whether it was met or late; a hard clock is closed once its evidence can no
longer be expected.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from segue.care.clocks import DAY, Derivation, derivation, end_of_day, place, start_of_day
from segue.care.evidence import STANDING, Booking, Evidences, Seen
from segue.care.parties import Party
from segue.care.protocols import Action, Applied
from segue.care.stays import INPATIENT
from segue.care.view import DeliveryReceipt, TaskStatement, Visit
from segue.model.instants import Moment, instant_of

State = Literal["open", "met", "late", "closed"]

FOREVER: Final = 1 << 62

POINTED_TO: Final[dict[str, tuple[str, ...]]] = {
    "two-way-contact": ("Communication/", "Encounter/"),
    "appointment": ("Appointment/",),
    "office-visit": ("Encounter/",),
    "medication-list": ("List/",),
    "medication-list-before-visit": ("List/",),
    "discharge-summary": ("DocumentReference/",),
    "contact-or-visit": ("Communication/", "Encounter/", "Observation/", "QuestionnaireResponse/"),
}
"""What an owner may point to as output, by evidence rule."""


@dataclass(slots=True)
class Anchor:
    """What the Tasks of one anchor have in common.

    Attributes:
        at: the anchor; date and zone of the facility, zone of the practice.
        generation: 1 + cancelled discharges recorded before it.
        noticed: µs of arrival of what justifies it, None if not known.
        until: µs after which nothing counts any more, and why: the next stay's
            discharge (`readmitted`), death (`deceased`), a cancel (`anchor-voided`).
        held: why suspendable Tasks wait, since when.
        traces_only: only Tasks that somebody acted on are to be shown.
        arrival: inputs about the arrival, made once for all Tasks.
    """

    visit: Visit
    event: str
    at: Moment
    generation: int
    zone: ZoneInfo | None
    due_zone: ZoneInfo | None
    hospital: Party
    practice: Party | None
    lag: int
    noticed: int | None
    until: int = FOREVER
    ended: str | None = None
    held: str | None = None
    held_at: int = 0
    traces_only: bool = False
    unknown_disposition: bool = False
    against_advice: bool = False
    arrival: list[dict[str, Any]] | None = None


def generation_of(visit: Visit) -> int:
    """Generation of the Tasks of the discharge in force."""
    recorded = visit.anchored.get("discharge")
    if recorded is None:
        return 1 + len(visit.voided)
    return 1 + sum(voided < recorded for voided in visit.voided)


@dataclass(slots=True)
class Book:
    """What is known of the person beyond the anchor.

    Attributes:
        statements: by Task id, in the order they were recorded.
        records: destinations whose acceptance means filed in the record.
    """

    now: int
    evidence: Evidences
    statements: dict[str, list[TaskStatement]]
    receipts: Sequence[DeliveryReceipt]
    records: frozenset[str]
    wake: int = FOREVER


@dataclass(slots=True)
class Requirement:
    """One requirement, decided as far as it can be.

    Attributes:
        due: as shown; due_us: the last microsecond that is in time.
        state: by the date of the evidence. lost: closed before evidence was there.
        close: µs at which a hard clock is closed, FOREVER for soft ones.
        bound: the appointment or visit that made the due earlier.
    """

    action: Action
    clock: Derivation
    others: tuple[Derivation, ...]
    due: str
    due_us: int
    close: int
    state: State = "open"
    lost: bool = False
    seen: Seen | None = None
    bound: str | None = None

    @property
    def decided_at(self) -> int:
        """When the hub knew: µs of the evidence's arrival or of the closing."""
        return self.close if self.lost or self.seen is None else self.seen.recorded

    def text(self) -> str:
        """The requirement as the JSON of a Task input."""
        bound = f',"by":"{self.bound}"' if self.bound else ""
        others = ",".join(f'{{"clock":"{one.code}","due":"{one.due}"}}' for one in self.others)
        beside = f',"else":[{others}]' if others else ""
        return (
            f'{{"action":"{self.action.id}","protocol":"{self.action.protocol}",'
            f'"clock":"{self.clock.code}","opens":"{self.clock.opens}","due":"{self.due}",'
            f'"state":"{self.state}"{bound}{beside}}}'
        )


@dataclass(slots=True)
class Claim:
    """What the owner's `completed` statements point to, and when they were made."""

    references: list[str] = field(default_factory=list)
    recorded: int = FOREVER
    receipt: int | None = None


def decide(applied: Applied, anchor: Anchor, book: Book, claim: Claim) -> Requirement:
    """The requirement that an action makes at an anchor, with its evidence."""
    action = applied.action
    clock = derivation(applied.clock, anchor.at, anchor.zone, anchor.due_zone)
    others: tuple[Derivation, ...] = ()
    if applied.others:
        others = tuple(
            derivation(other, anchor.at, anchor.zone, anchor.due_zone) for other in applied.others
        )
    requirement = Requirement(
        action, clock, others, clock.due, clock.due_us, _closing(clock, others, anchor.lag)
    )
    if action.rule == "medication-list-before-visit":
        _bind_to_visit(requirement, anchor, book)
    seen = _RULES[action.rule](requirement, anchor, book, claim)
    if seen is None or seen.low > anchor.until:
        seen = _claimed(requirement, anchor, book, claim) if claim.references else None
    if seen is not None:
        requirement.seen = seen
        margin = (action.tolerance or 0) * DAY
        requirement.state = "met" if seen.low <= requirement.due_us + margin else "late"
        requirement.lost = seen.recorded >= requirement.close
    elif anchor.held is not None and action.suspend and anchor.held_at < requirement.close:
        pass
    elif book.now >= requirement.close and requirement.close <= anchor.until:
        requirement.state, requirement.lost = "closed", True
    elif requirement.close < book.wake and anchor.ended is None:
        book.wake = requirement.close
    return requirement


def requirements_of(task: dict[str, Any]) -> list[dict[str, Any]]:
    """The requirements that a Task shows in its inputs."""
    return [
        json.loads(one["valueString"])
        for one in task.get("input", ())
        if one["type"]["coding"][0]["code"] == "requirement"
    ]


def _closing(clock: Derivation, others: Sequence[Derivation], lag: int) -> int:
    """A hard clock closes when its last alternative is over and the evidence lag with it."""
    if not clock.hard:
        return FOREVER
    last = clock.due_us
    for one in others:
        if one.hard:
            last = max(last, one.due_us)
    return last + 1 + lag


def _bind_to_visit(requirement: Requirement, anchor: Anchor, book: Book) -> None:
    """Medications are reconciled not later than the day of the visit, once it is known."""
    visit = next(iter(_visits(anchor, book, anyone=False, opens=_day_1(requirement))), None)
    at, reference = (visit.low, visit.reference) if visit else (None, "")
    if visit is None:
        booking = booked(anchor, book)
        if booking is not None and booking.status in ("booked", "arrived", "fulfilled"):
            at, reference = booking.start, booking.reference
    if at is None:
        return
    zone = _end_zone(anchor)
    due, due_us = end_of_day(instant_of(at).astimezone(zone).date(), zone)
    if due_us < requirement.due_us:
        requirement.due, requirement.due_us, requirement.bound = due, due_us, reference


def booked(anchor: Anchor, book: Book) -> Booking | None:
    """The practice's appointment that counts: the first that stands, else the newest."""
    mine = [
        one
        for one in book.evidence.bookings
        if one.start >= anchor.at.us
        and one.start <= anchor.until
        and _by_practice(one.source, anchor)
    ]
    standing = [one for one in mine if one.status in STANDING]
    if standing:
        return standing[0]
    fallen = [one for one in mine if one.status in ("noshow", "cancelled")]
    return max(fallen, key=lambda one: one.recorded, default=None)


def attempts(anchor: Anchor, book: Book) -> list[Seen]:
    """The practice's attempts to reach the patient since the anchor."""
    return [
        one
        for one in book.evidence.attempts
        if anchor.at.us <= one.high and one.low <= anchor.until and _by_practice(one.source, anchor)
    ]


def _two_way_contact(
    requirement: Requirement, anchor: Anchor, book: Book, _claim: Claim
) -> Seen | None:
    """A contact by the practice, or its visit after the discharge (also on the day)."""
    contacts = [
        one
        for one in book.evidence.contacts
        if one.high >= requirement.clock.opens_us and _by_practice(one.source, anchor)
    ]
    return min([*contacts, *_visits(anchor, book, anyone=False, opens=anchor.at.us)], default=None)


def _appointment(
    _requirement: Requirement, anchor: Anchor, book: Book, claim: Claim
) -> Seen | None:
    """An appointment after the anchor that stands, or the visit, where nobody booked it.

    It is the practice's, or one that the owner points to.
    """
    for one in book.evidence.bookings:
        counts = _by_practice(one.source, anchor) or one.reference in claim.references
        if counts and one.status in STANDING and anchor.at.us <= one.start <= anchor.until:
            # An appointment of a visit does not say when it was made.
            at = one.recorded or anchor.at.us
            return Seen(at, at, at, one.reference, one.source, one.recorded)
    return min(_visits(anchor, book, anyone=False, opens=anchor.at.us), default=None)


def _office_visit(
    requirement: Requirement, anchor: Anchor, book: Book, _claim: Claim
) -> Seen | None:
    action = requirement.action
    opens = _day_1(requirement) if action.not_day_0 else requirement.clock.opens_us
    return min(_visits(anchor, book, anyone=action.anyone, opens=opens), default=None)


def _contact_or_visit(
    requirement: Requirement, anchor: Anchor, book: Book, _claim: Claim
) -> Seen | None:
    """Any two-way contact or visit around the due date."""
    margin = (requirement.action.tolerance or 0) * DAY
    zone = _end_zone(anchor)
    due_day = instant_of(requirement.due_us).astimezone(zone).date()
    opens = max(start_of_day(due_day, zone) - margin, anchor.at.us)
    last = requirement.due_us + margin
    found = [
        one
        for one in (*book.evidence.contacts, *book.evidence.visits)
        if one.high >= opens and one.low <= last
    ]
    return min(found, default=None)


def _medication_list(
    requirement: Requirement, anchor: Anchor, book: Book, _claim: Claim
) -> Seen | None:
    return _first(book.evidence.lists, max(requirement.clock.opens_us, anchor.at.us))


def _discharge_summary(
    requirement: Requirement, anchor: Anchor, book: Book, _claim: Claim
) -> Seen | None:
    encounter = f"Encounter/{anchor.visit.encounter}"
    return next(
        (
            one
            for one in book.evidence.summaries
            if one.high >= anchor.at.us and one.encounter in ("", encounter)
        ),
        None,
    )


def _receipt_of_encounter(
    _requirement: Requirement, anchor: Anchor, book: Book, claim: Claim
) -> Seen | None:
    """The practice's record filed the encounter as an inpatient one."""
    reference = f"Encounter/{anchor.visit.encounter}"
    filed = _filed(anchor, book, {reference}, lambda one: one.class_code in INPATIENT)
    return filed or _confirmed(anchor, claim)


def _receipt_of_document(
    _requirement: Requirement, anchor: Anchor, book: Book, claim: Claim
) -> Seen | None:
    """The practice's record filed the document that the hospital declared complete."""
    summaries = {
        one.reference for one in book.evidence.summaries if one.high >= anchor.at.us
    }.intersection(claim.references)
    if not summaries:
        return _confirmed(anchor, claim)
    filed = _filed(anchor, book, summaries, lambda one: one.type_code is not None)
    if filed is not None and claim.recorded != FOREVER:
        return filed._replace(recorded=max(filed.recorded, claim.recorded))
    return filed or _confirmed(anchor, claim)


def _statement(_requirement: Requirement, anchor: Anchor, _book: Book, claim: Claim) -> Seen | None:
    if claim.recorded == FOREVER:
        return None
    at = max(claim.recorded, anchor.at.us)
    return Seen(at, at, at, "", "", claim.recorded)


_Rule = Callable[[Requirement, Anchor, Book, Claim], Seen | None]

_RULES: Final[dict[str, _Rule]] = {
    "two-way-contact": _two_way_contact,
    "appointment": _appointment,
    "office-visit": _office_visit,
    "contact-or-visit": _contact_or_visit,
    "medication-list": _medication_list,
    "medication-list-before-visit": _medication_list,
    "discharge-summary": _discharge_summary,
    "receipt-of-encounter": _receipt_of_encounter,
    "receipt-of-document": _receipt_of_document,
    "statement": _statement,
}


def _claimed(requirement: Requirement, anchor: Anchor, book: Book, claim: Claim) -> Seen | None:
    """Evidence of the right kind that the owner pointed to; the anchor still bounds it."""
    kinds = POINTED_TO.get(requirement.action.rule)
    if kinds is None or requirement.action.rule == "appointment":
        return None
    opens = _day_1(requirement) if requirement.action.not_day_0 else anchor.at.us
    return min(
        (
            seen
            for reference in claim.references
            if reference.startswith(kinds)
            and (seen := book.evidence.given.get(reference)) is not None
            and seen.high >= opens
            and seen.low <= anchor.until
        ),
        default=None,
    )


def _visits(anchor: Anchor, book: Book, *, anyone: bool, opens: int) -> list[Seen]:
    return [
        one
        for one in book.evidence.visits
        if one.high >= opens
        and one.low <= anchor.until
        and (anyone or _by_practice(one.source, anchor))
    ]


def _first(found: Sequence[Seen], opens: int) -> Seen | None:
    return next((one for one in found if one.high >= opens), None)


def _filed(
    anchor: Anchor,
    book: Book,
    references: set[str],
    fits: Callable[[DeliveryReceipt], bool],
) -> Seen | None:
    practice = anchor.practice
    if practice is None or practice.destination not in book.records:
        return None
    at = min(
        (
            one.at
            for one in book.receipts
            if one.destination == practice.destination
            and one.reference in references
            and one.at >= anchor.at.us
            and fits(one)
        ),
        default=None,
    )
    return None if at is None else Seen(at, at, at, "", practice.site, at)


def _confirmed(anchor: Anchor, claim: Claim) -> Seen | None:
    """The practice itself said that it has it."""
    at = claim.receipt
    return None if at is None or at < anchor.at.us else Seen(at, at, at, "", "", at)


def _by_practice(source: str, anchor: Anchor) -> bool:
    """While no practice is known, the hospital stands in for it."""
    return source == (anchor.practice or anchor.hospital).site


def _day_1(requirement: Requirement) -> int:
    """The window without the day of the anchor."""
    return max(requirement.clock.opens_us, requirement.clock.next_day_us)


def _end_zone(anchor: Anchor) -> tzinfo:
    return anchor.due_zone or place(anchor.at, anchor.zone)[2]
