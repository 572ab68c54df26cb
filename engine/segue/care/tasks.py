"""Tasks: one for each need of an anchor, with owner, due, evidence and state.

A Task's id and dedup key are `visit|need|generation`, never a time and never the
person, so that corrections and merges keep them. Its requirements, their clock
derivations and what the window lost on the way are inputs; evidence is output.

Source: http://hl7.org/fhir/R4/task.html
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from segue.care.evidence import Seen
from segue.care.parties import HUB, HUB_REFERENCE
from segue.care.protocols import Action, Applied
from segue.care.requirements import (
    FOREVER,
    Anchor,
    Book,
    Claim,
    Requirement,
    attempts,
    booked,
    decide,
)
from segue.care.statements import actor_of, check_statement, references
from segue.care.view import TaskStatement
from segue.fhir.lifecycle import TASK_ENDED, allowed
from segue.model.identity import stable_id
from segue.model.instants import rfc3339

__all__ = ["NEED_SYSTEM", "REASONS", "Names", "actor_of", "build", "check_statement", "need_key"]

NEED_SYSTEM: Final = "urn:segue:need"
REASON_SYSTEM: Final = "urn:segue:status-reason"
_BSER: Final = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"
_UCUM: Final = "http://unitsofmeasure.org"


def _concept(system: str, code: str, display: str = "") -> dict[str, Any]:
    coding = {"system": system, "code": code}
    if display:
        coding["display"] = display
    return {"coding": [coding]}


_INPUT: Final = {
    code: _concept("urn:segue:task-input", code)
    for code in ("requirement", "clock", "noticed-at", "window-lost", "blocked-by")
}
_OUTPUT: Final = {
    code: _concept("urn:segue:task-output", code)
    for code in ("evidence", "attempt", "delivery-receipt")
}
_BUSINESS: Final = {
    "attempted-1": _concept("urn:segue:business-status", "attempted-1", "One attempt, no contact"),
    "attempted-x2": _concept(
        "urn:segue:business-status", "attempted-x2", "Two timely attempts, no contact"
    ),
    "5.1.1": _concept(_BSER, "5.1.1", "Service Request Event Scheduled"),
    "5.1.2": _concept(_BSER, "5.1.2", "Scheduled Service Request Event Unattended"),
    "5.1.3": _concept(_BSER, "5.1.3", "Scheduled Service Request Event Cancelled"),
    "5.1.4": _concept(_BSER, "5.1.4", "Service Request Event Completed"),
    "7.0": _concept(_BSER, "7.0", "Service Request Fulfillment Completed"),
}
REASONS: Final = {
    code: _concept(REASON_SYSTEM, code)
    for code in (
        "deceased",
        "anchor-voided",
        "merged",
        "superseded",
        "re-anchored",
        "readmitted",
        "admitted",
        "in-facility",
        "window-closed",
    )
}
_BOOKING_STATUS: Final = {
    "booked": "5.1.1",
    "arrived": "5.1.1",
    "checked-in": "5.1.1",
    "fulfilled": "5.1.4",
    "noshow": "5.1.2",
    "cancelled": "5.1.3",
}
_NO_CLAIM: Final = Claim()
_WAITING: Final = frozenset({"requested", "received", "accepted", "ready"})
_RECEIPTS: Final = frozenset({"receipt-of-encounter", "receipt-of-document"})


@dataclass(frozen=True, slots=True)
class Names:
    """References and labels that all resources of a person or stay share."""

    patient: Mapping[str, Any]
    encounter: Mapping[str, Any]
    plan: Mapping[str, Any]
    meta: Mapping[str, Any] | None


@lru_cache(maxsize=8192)
def need_key(visit: str, need: str, generation: int) -> tuple[str, str]:
    """Id and dedup key of the Task of a need.

    >>> need_key("HOSPA|V1", "contact", 1)[1]
    'HOSPA|V1|contact|1'
    """
    return stable_id("Task", visit, need, str(generation)), f"{visit}|{need}|{generation}"


_instant = lru_cache(maxsize=4096)(rfc3339)


@dataclass(slots=True)
class _Course:
    """Where a Task stands, why, and since when (µs)."""

    status: str
    reason: Mapping[str, Any] | None
    changed: int


def build(
    need: str, applied: Sequence[Applied], anchor: Anchor, book: Book, names: Names
) -> dict[str, Any] | None:
    """The Task of a need as it should be now.

    Returns:
        The Task; None where only traces of what people did are wanted and there are
        none.
    """
    task_id, key = need_key(anchor.visit.key, need, anchor.generation)
    action = applied[0].action
    others = [need_key(number, need, anchor.generation) for number in anchor.visit.numbers]
    stated = _stated(book, task_id, others)
    said = _heard(stated, action, anchor) if stated else []
    claim = _claim(said, action, anchor) if said else _NO_CLAIM
    requirements = [decide(one, anchor, book, claim) for one in applied]
    tries = attempts(anchor, book) if action.rule == "two-way-contact" else []
    pending = action.rule == "receipt-of-document" and bool(claim.references)
    settled = _settled_at(requirements)
    course = _Course("draft" if action.draft else "requested", None, 0)
    if said:
        _words(course, said, min(settled - 1, anchor.until), pending=pending)
    if course.status not in TASK_ENDED:
        course = _course(action, course, settled, requirements, anchor, book)
    if anchor.traces_only and course.status == "cancelled" and not (said or tries):
        return None
    authored = anchor.noticed if anchor.noticed is not None else anchor.at.us
    task: dict[str, Any] = {
        "resourceType": "Task",
        "id": task_id,
        "identifier": [
            {"system": "urn:segue", "value": task_id},
            {"system": NEED_SYSTEM, "value": key},
            *({"use": "old", "system": NEED_SYSTEM, "value": other} for _, other in others),
        ],
        "instantiatesCanonical": action.definition,
        "basedOn": [names.plan],
        "status": course.status,
        "intent": "plan" if action.draft else "order",
        "code": action.code,
        "description": action.description,
        "for": names.patient,
        "encounter": names.encounter,
        "authoredOn": _instant(authored),
        "lastModified": _instant(max(authored, course.changed)),
        "requester": HUB_REFERENCE,
        "performerType": [action.role],
        "owner": _owner(action, anchor),
        "restriction": {"period": {"end": _due(requirements)}},
        "input": _inputs(need, requirements, anchor),
    }
    if names.meta is not None:
        task["meta"] = names.meta
    if course.reason is not None:
        task["statusReason"] = course.reason
    business = _business(action, course, tries, anchor, book)
    if business is not None:
        task["businessStatus"] = business
    outputs, period = _outputs(requirements, tries, claim)
    if period is not None and course.status == "completed":
        task["executionPeriod"] = period
    if said:
        _add_words(task, said, outputs)
    if outputs:
        task["output"] = outputs
    return task


def _stated(book: Book, task_id: str, others: Sequence[tuple[str, str]]) -> Sequence[TaskStatement]:
    """What was said of a Task, also under the other numbers that its visit had (A42, A50)."""
    said = book.statements.get(task_id, [])
    for other, _ in others:
        said = [*said, *book.statements.get(other, ())]
    return sorted(said, key=lambda one: one.recorded) if others else said


def _due(requirements: Sequence[Requirement]) -> str:
    """Earliest due of the open requirements; of all once every one is decided."""
    if len(requirements) == 1:
        return requirements[0].due
    pending = [one for one in requirements if one.state == "open"] or requirements
    return min(pending, key=lambda one: one.due_us).due


def _owner(action: Action, anchor: Anchor) -> Mapping[str, Any]:
    if action.owner == "hub":
        return HUB_REFERENCE
    if action.owner == "practice" and anchor.practice is not None:
        return anchor.practice.reference
    return anchor.hospital.reference


def _owner_site(action: Action, anchor: Anchor) -> str:
    if action.owner == "hub":
        return HUB
    if action.owner == "practice" and anchor.practice is not None:
        return anchor.practice.site
    return anchor.hospital.site


def _heard(
    statements: Iterable[TaskStatement], action: Action, anchor: Anchor
) -> list[TaskStatement]:
    """Statements of those who may speak of the Task: its owner; the practice of a receipt."""
    speakers = {_owner_site(action, anchor), ""}
    if action.rule in _RECEIPTS and anchor.practice is not None:
        speakers.add(anchor.practice.site)
    return [one for one in statements if one.source in speakers]


def _claim(said: Sequence[TaskStatement], action: Action, anchor: Anchor) -> Claim:
    claim = Claim()
    for one in said:
        outputs = one.elements.get("output")
        if one.elements.get("status") != "completed" or not outputs or action.draft:
            continue
        claim.recorded = min(claim.recorded, one.recorded)
        claim.references.extend(references(outputs))
        practice = anchor.practice
        if (
            action.rule in _RECEIPTS
            and practice is not None
            and one.source == practice.site
            and one.recorded >= anchor.at.us
        ):
            claim.receipt = min(claim.receipt or FOREVER, one.recorded)
    return claim


def _settled_at(requirements: Sequence[Requirement]) -> int:
    """When the last requirement was decided, FOREVER while one is open."""
    last = 0
    for one in requirements:
        if one.seen is None and not one.lost:
            return FOREVER
        last = max(last, one.decided_at)
    return last


def _words(course: _Course, said: Sequence[TaskStatement], last: int, *, pending: bool) -> None:
    """Where the owner's words alone would lead the Task; they end with it."""
    for one in said:
        if one.recorded > last or course.status in TASK_ENDED:
            break
        _hear(course, one, pending=pending)


def _course(
    action: Action,
    spoken: _Course,
    settled: int,
    requirements: Sequence[Requirement],
    anchor: Anchor,
    book: Book,
) -> _Course:
    """Evidence comes before what happened to the patient, and both before words."""
    if settled != FOREVER:
        if any(one.lost for one in requirements):
            return _Course("failed", REASONS["window-closed"], settled)
        return _Course("completed", None, settled)
    if anchor.ended is not None and (anchor.ended != "readmitted" or action.suspend):
        at = spoken.changed if anchor.until == FOREVER else anchor.until
        return _Course("cancelled", REASONS[anchor.ended], at)
    if anchor.held is not None and action.suspend:
        return _Course("on-hold", REASONS[anchor.held], max(spoken.changed, anchor.held_at))
    if action.rule == "office-visit" and spoken.status in _WAITING:
        booking = booked(anchor, book)
        if booking is not None:
            return _Course("in-progress", None, max(spoken.changed, booking.recorded))
    return spoken


def _hear(course: _Course, statement: TaskStatement, *, pending: bool) -> None:
    status = statement.elements.get("status")
    if status is None or course.status == "draft":
        return
    if status == "completed":
        # Completion is the evidence's; until then the owner has at least begun.
        if pending:
            course.status, course.reason = "in-progress", None
            course.changed = statement.recorded
        return
    if allowed("Task", course.status, str(status), "owner"):
        course.status = str(status)
        course.reason = statement.elements.get("statusReason")
        course.changed = statement.recorded


def _business(
    action: Action, course: _Course, tries: Sequence[Seen], anchor: Anchor, book: Book
) -> Mapping[str, Any] | None:
    if action.rule == "office-visit":
        if course.status == "completed":
            return _BUSINESS["7.0"]
        booking = booked(anchor, book)
        code = _BOOKING_STATUS.get(booking.status) if booking is not None else None
        return _BUSINESS[code] if code is not None else None
    if tries and course.status != "completed":
        return _BUSINESS["attempted-1" if len(tries) == 1 else "attempted-x2"]
    return None


def _inputs(need: str, requirements: Sequence[Requirement], anchor: Anchor) -> list[dict[str, Any]]:
    inputs: list[dict[str, Any]] = []
    for one in requirements:
        inputs.append({"type": _INPUT["requirement"], "valueString": one.text()})
    for one in requirements:
        inputs.append({"type": _INPUT["clock"], "valueString": one.clock.text})
    if anchor.noticed is not None:
        if anchor.arrival is None:
            anchor.arrival = _arrival(anchor.noticed, anchor.at.us)
        inputs.extend(anchor.arrival)
    if need == "bill-tcm":
        if anchor.unknown_disposition:
            inputs.append({"type": _INPUT["blocked-by"], "valueString": "disposition-unknown"})
        elif anchor.against_advice:
            inputs.append({"type": _INPUT["blocked-by"], "valueString": "against-medical-advice"})
    return inputs


def _arrival(noticed: int, anchor: int) -> list[dict[str, Any]]:
    lost = {
        "value": max(noticed - anchor, 0) // 60_000_000,
        "unit": "min",
        "system": _UCUM,
        "code": "min",
    }
    return [
        {"type": _INPUT["noticed-at"], "valueInstant": _instant(noticed)},
        {"type": _INPUT["window-lost"], "valueDuration": lost},
    ]


def _outputs(
    requirements: Sequence[Requirement], tries: Sequence[Seen], claim: Claim
) -> tuple[list[dict[str, Any]], dict[str, str] | None]:
    outputs: list[dict[str, Any]] = []
    period: dict[str, str] | None = None
    shown: set[str] = set()
    for one in tries:
        outputs.append({"type": _OUTPUT["attempt"], "valueReference": {"reference": one.reference}})
    for requirement in requirements:
        seen = requirement.seen
        if seen is None:
            continue
        if requirement.action.rule in _RECEIPTS:
            outputs.append(
                {"type": _OUTPUT["delivery-receipt"], "valueInstant": _instant(seen.low)}
            )
        elif seen.reference and seen.reference not in shown:
            shown.add(seen.reference)
            outputs.append(
                {"type": _OUTPUT["evidence"], "valueReference": {"reference": seen.reference}}
            )
            start, end = _instant(seen.low), _instant(max(seen.end, seen.low))
            period = {"start": start, "end": end}
    return outputs, period


def _add_words(
    task: dict[str, Any], said: Sequence[TaskStatement], outputs: list[dict[str, Any]]
) -> None:
    """What the owner added: notes, a person who does it, outputs, their own status words."""
    shown = set(references(outputs))
    for one in said:
        elements = one.elements
        for output in elements.get("output") or ():
            pointed = references([output])
            if not pointed or pointed[0] not in shown:
                shown.update(pointed)
                if output not in outputs:
                    outputs.append(output)
        if elements.get("note"):
            task["note"] = elements["note"]
        if elements.get("owner"):
            task["restriction"] = {**task["restriction"], "recipient": [task["owner"]]}
            task["owner"] = elements["owner"]
        if elements.get("businessStatus") and "businessStatus" not in task:
            task["businessStatus"] = elements["businessStatus"]
        if elements.get("executionPeriod") and "executionPeriod" not in task:
            task["executionPeriod"] = elements["executionPeriod"]
