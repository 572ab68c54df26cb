"""The person as protocols see them, made from the folded states.

Visits come from feeds (folded) and from clients (their own Encounter resources).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any
from zlib import crc32

import msgspec

from segue.care.dates import moment_of
from segue.care.dispositions import STATUS_OF
from segue.care.elements import expand, stands_again
from segue.care.fold import only_named
from segue.care.person import death, open_sources, practice
from segue.care.registers import held, resolve
from segue.care.states import PersonState, Told, VisitState
from segue.care.view import CareSetting, ClassPeriod, Evidence, Person, Visit, VoidedDischarge
from segue.model.instants import Moment

Views = dict[str, tuple[VisitState, Visit]]
"""Views of visits by visit key, each with the state that it was made of."""


def person_view(
    person: PersonState,
    visits: Mapping[str, VisitState],
    setting: CareSetting,
    views: Views | None = None,
) -> Person:
    """The input of coordination.

    Args:
        person: the folded person.
        visits: all folded visits of the person by key.
        setting: names the destination of each practice id.
        views: views made before, by visit key, with the states they are of; those that
            still hold are used again, new ones are added.
    """
    sources = open_sources(person)
    birth_date: str | None = held(sources, "Patient", "birthDate")
    died, recorded = death(person)
    if died is not None:
        ends = [
            visit.anchored["discharge"]
            for key, visit in visits.items()
            if key in person.visits and person.visits[key].died and "discharge" in visit.anchored
        ]
        recorded = min((at for at in (recorded, *ends) if at is not None), default=None)
    bodies = {one.reference: one.resource for one in person.evidence}
    told = [visits[key] for key in sorted(visits) if visits[key].status]
    seen = [
        visit_view(state) if views is None else _known_view(state, views)
        for state in told
        if not only_named(state)
    ]
    folded = _told_evidence(sources, told)
    known = {visit.encounter for visit in seen}
    for one in person.evidence:
        kind = one.resource.get("resourceType")
        if kind == "Encounter" and one.resource.get("id") not in known:
            visit = visit_from_encounter(one.resource, bodies)
            visit.identity = person.key
            visit.site = one.source
            visit.history = one.history
            visit.noticed = dict.fromkeys(_anchors(visit), one.recorded)
            visit.anchored = dict(visit.noticed)
            seen.append(visit)
        elif kind == "Patient":
            birth_date = birth_date or one.resource.get("birthDate")
            if died is None and (died := _death(one)) is not None:
                recorded = one.recorded
    number, destination = _practice(person, setting)
    return Person(
        key=person.key,
        patient=person.patient,
        birth_date=birth_date,
        deceased=died,
        practice=destination,
        practice_id=number,
        visits=seen,
        evidence=[*person.evidence, *folded] if folded else person.evidence,
        statements=person.statements,
        receipts=person.receipts,
        labels=sorted({label for _, told in sources for label in told.labels}),
        deceased_recorded=recorded,
    )


TOLD = frozenset({"Appointment", "CarePlan", "DocumentReference", "Goal", "ServiceRequest", "Task"})
"""Types that messages beside ADT make, and that take part in plans as a client's do."""

_BULKY = frozenset({"content", "extension"})


def _told_evidence(
    sources: Sequence[tuple[str, Told]], visits: Iterable[VisitState]
) -> list[Evidence]:
    """What messages tell of appointments, documents and plans, as evidence.

    The version changes when anything does: it is the time of the newest statement, or
    stands for the content.
    """
    found: list[Evidence] = []
    for name, told in sources:
        for reference in told.resources:
            kind, _, id_ = reference.partition("/")
            if kind not in TOLD:
                continue
            groups = told.resources[reference]
            newest = max(stamp for stamp, _ in groups)
            slim = _slim(kind, id_, resolve([(name, told)], reference))
            if len(slim) > 2:
                found.append(Evidence(reference, newest[0], slim, told.site, newest[0]))
    for visit in visits:
        for reference, elements in visit.others.items():
            kind, _, id_ = reference.partition("/")
            if kind not in TOLD:
                continue
            slim = _slim(kind, id_, elements)
            encounter = {"reference": f"Encounter/{visit.encounter}"}
            slim["context"] = {**slim.get("context", {}), "encounter": [encounter]}
            if visit.labels:
                slim["meta"] = {"security": [{"code": label} for label in visit.labels]}
            dated = _moment(slim.get("date") or slim.get("authoredOn"))
            version = crc32(_encode(slim))
            found.append(Evidence(reference, version, slim, visit.site, dated.us if dated else 0))
    return found


_encode = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode


def _slim(kind: str, id_: str, elements: Mapping[str, Any]) -> dict[str, Any]:
    """A resource without what may be long."""
    kept = {path: v for path, v in elements.items() if path.partition("#")[0] not in _BULKY}
    return expand(kind, id_, kept)


def _known_view(state: VisitState, views: Views) -> Visit:
    known = views.get(state.key)
    if known is not None and (known[0] is state or looks_the_same(known[0], state)):
        view = known[1]
    else:
        view = visit_view(state)
    views[state.key] = (state, view)
    return view


_UNSEEN = frozenset(
    {"newest", "told", "tracks", "statuses", "window", "loose", "warnings", "pending"}
)
_seen_of = attrgetter(*(one.name for one in fields(VisitState) if one.name not in _UNSEEN))


def looks_the_same(before: VisitState, after: VisitState) -> bool:
    """Whether protocols cannot tell two states of a visit apart: only the place moved."""
    if _seen_of(before) != _seen_of(after) or _leaves(before) != _leaves(after):
        return False
    old, new = before.tracks, after.tracks
    if old.keys() == new.keys():
        return all(runs == old[track] or track[0] == "l" for track, runs in new.items())
    return all(
        old.get(track) == new.get(track) for track in {*old, *new} if not track.startswith("l")
    )


def visit_view(state: VisitState) -> Visit:
    """A folded visit as protocols see it."""
    diagnoses = _diagnoses(state)
    return Visit(
        key=state.key,
        encounter=state.encounter,
        identity=state.identity,
        site=state.site,
        status=state.status,
        classes=[
            ClassPeriod(value.get("code", ""), start, end)
            for value, start, end in state.tracks.get("class", ())
            if start is not None
        ],
        start=state.start,
        end=state.end,
        discharged=state.discharged,
        disposition=state.disposition if state.discharged else None,
        admission_type=state.admission_type,
        service=state.service,
        diagnoses=[code for _, code in diagnoses],
        reason=_stated_reason(state.elements),
        voided=list(state.voided),
        noticed=dict(state.noticed),
        anchored=dict(state.anchored),
        history=state.history,
        labels=list(state.labels),
        practitioners=_practitioners(state),
        conditions=[name for name, _ in diagnoses],
        struck=[VoidedDischarge(*one) for one in state.undone],
        expected=_expected(state) if "expected" in state.anchored else None,
        numbers=state.numbers,
        leaves=_leaves(state),
    )


def _leaves(state: VisitState) -> list[tuple[Moment, Moment | None]]:
    return [
        (start, end)
        for status, start, end in state.statuses
        if status == "onleave" and start is not None
    ]


def _expected(state: VisitState) -> Moment | None:
    """When an announced discharge is expected (PV2-9)."""
    told = state.elements.get("extension#planned-end") or ()
    return next((at for one in told if (at := _moment(one.get("valueDateTime")))), None)


def visit_from_encounter(
    resource: Mapping[str, Any], bodies: Mapping[str, Mapping[str, Any]] | None = None
) -> Visit:
    """A client's Encounter as a visit.

    Args:
        resource: the Encounter.
        bodies: other resources by reference, for the codes of its diagnoses.

    Returns:
        The visit with key `Encounter/<id>`; `identity` and `site` are left to the caller.
    """
    period = resource.get("period") or {}
    start, end = _moment(period.get("start")), _moment(period.get("end"))
    status = resource.get("status", "unknown")
    hospitalization = resource.get("hospitalization") or {}
    logical_id = resource.get("id", "")
    finished = status == "finished"
    return Visit(
        key=f"Encounter/{logical_id}",
        encounter=logical_id,
        identity="",
        site="",
        status=status,
        classes=_client_classes(resource, start, end),
        start=start,
        end=end if finished else None,
        discharged=finished,
        disposition=_disposition(hospitalization.get("dischargeDisposition") or {}),
        diagnoses=_client_diagnoses(resource, bodies or {}),
        conditions=[
            reference
            for diagnosis in resource.get("diagnosis", ())
            if (reference := diagnosis.get("condition", {}).get("reference", "")) in (bodies or {})
        ],
        reason=_reason(resource),
        client=True,
        practitioners=[
            participant["individual"]["reference"]
            for participant in resource.get("participant", ())
            if participant.get("individual", {}).get("reference")
        ],
    )


def _anchors(visit: Visit) -> list[str]:
    return ["admission", "discharge"] if visit.discharged else ["admission"]


def _practice(person: PersonState, setting: CareSetting) -> tuple[str | None, str | None]:
    """(id, destination) of the ongoing care provider; the first id that has a destination."""
    first: str | None = None
    for site, number in practice(person):
        profile = setting.sites.get(site)
        if profile is not None and number in profile.practices:
            return number, profile.practices[number]
        first = first or number
    return first, None


def _death(one: Evidence) -> Moment | None:
    at = one.resource.get("deceasedDateTime")
    if at:
        return _moment(at)
    return Moment("", 0) if one.resource.get("deceasedBoolean") is True else None


def _stated_reason(elements: Mapping[str, Any]) -> str | None:
    stated = {path: value for path, value in elements.items() if path.startswith("reasonCode")}
    return _reason(expand("Encounter", "", stated)) if stated else None


def _diagnoses(state: VisitState) -> list[tuple[str, tuple[str, str, str]]]:
    """References and codes of the visit's Conditions, in the order of Encounter.diagnosis."""
    order: dict[str, int] = {}
    for path, items in state.elements.items():
        if path.startswith("diagnosis") and isinstance(items, list):
            for item in items:
                reference = item.get("condition", {}).get("reference", "")
                order[reference] = item.get("rank", len(state.others))
    found: list[tuple[int, str, tuple[str, str, str]]] = []
    for name, elements in state.others.items():
        if not name.startswith("Condition/"):
            continue
        # Only what is given in parts must be put together first.
        condition = elements if _is_flat(elements) else expand("Condition", "", elements)
        wrong = _first_code(condition.get("verificationStatus")) == "entered-in-error"
        if wrong and not stands_again(condition):
            continue
        found.append((order.get(name, len(state.others)), name, _code(condition.get("code"))))
    found.sort()
    return [(name, code) for _, name, code in found]


def _is_flat(elements: Mapping[str, Any]) -> bool:
    return not any(
        path.startswith(("code.", "code#", "verificationStatus.", "verificationStatus#"))
        for path in elements
    )


def _client_diagnoses(
    resource: Mapping[str, Any], bodies: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for diagnosis in resource.get("diagnosis", ()):
        condition = diagnosis.get("condition", {})
        body = bodies.get(condition.get("reference", ""))
        if body is not None:
            found.append(_code(body.get("code")))
        elif display := condition.get("display"):
            found.append(("", "", display))
    return found


def _client_classes(
    resource: Mapping[str, Any], start: Moment | None, end: Moment | None
) -> list[ClassPeriod]:
    classes: list[ClassPeriod] = []
    for entry in resource.get("classHistory", ()):
        period = entry.get("period", {})
        begun = _moment(period.get("start")) or start
        if begun is not None:
            code = entry.get("class", {}).get("code", "")
            classes.append(ClassPeriod(code, begun, _moment(period.get("end"))))
    classes.sort(key=lambda period: period.start.us)
    current = resource.get("class", {}).get("code", "")
    last = classes[-1] if classes else None
    if last is not None and last.code == current and last.end in (None, end):
        return classes
    begun = (last.end if last is not None else None) or start
    if begun is not None:
        classes.append(ClassPeriod(current, begun, end))
    return classes


def _disposition(concept: Mapping[str, Any]) -> str | None:
    for coding in concept.get("coding", ()):
        code = str(coding.get("code", ""))
        if code in STATUS_OF:
            return STATUS_OF[code]
        if code.isdigit():
            return code.zfill(2)
    return None


def _code(concept: Any) -> tuple[str, str, str]:
    if not concept:
        return ("", "", "")
    coding = (concept.get("coding") or [{}])[0]
    display = coding.get("display") or concept.get("text") or ""
    return (coding.get("system", ""), coding.get("code", ""), display)


def _first_code(concept: Any) -> str:
    return _code(concept)[1]


def _reason(resource: Mapping[str, Any]) -> str | None:
    for concept in resource.get("reasonCode", ()):
        _, code, display = _code(concept)
        text = concept.get("text") or display or code
        if text:
            return str(text)
    return None


def _practitioners(state: VisitState) -> list[str]:
    """References of all participants; who came last is last."""
    seen: list[tuple[int, str]] = []
    for track, runs in state.tracks.items():
        if track[0] != "p":
            continue
        for items, start, _ in runs:
            for item in items:
                if reference := item.get("individual", {}).get("reference"):
                    seen.append((start.us if start else 0, reference))
    ordered: dict[str, None] = {}
    for _, reference in sorted(seen, reverse=True):
        ordered.setdefault(reference)
    return list(reversed(ordered))


def _moment(text: Any) -> Moment | None:
    return moment_of(text) if isinstance(text, str) else None
