"""From folded states to FHIR R4 resources.

Element paths become nested elements, labelled items become lists, and what the
mapping cannot know is added: subject and encounter references, links between the
Patients of one person, periods and histories of the Encounter, labels and tags.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from segue.care.coordinate import episodes_of
from segue.care.elements import Resource, expand, in_order
from segue.care.identity import standing
from segue.care.person import (
    PRACTICE,
    deceased,
    open_sources,
    person_elements,
)
from segue.care.person_view import person_view
from segue.care.registers import heard_of, resolve
from segue.care.states import PersonState, Run, SourcePatient, Told, VisitState
from segue.care.view import CareSetting
from segue.model.instants import Moment

TAGS = "urn:segue:tag"
INFERRED = {"system": TAGS, "code": "inferred", "display": "No message started this visit"}
"""meta.tag of an Encounter that was never announced by an admission or registration."""

_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_CONFIDENTIALITY_CODES = frozenset("ULMNRV")
_UNKNOWN_CLASS = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor",
    "code": "UNK",
    "display": "unknown",
}

_PATIENT_ELEMENT = {
    "AllergyIntolerance": "patient",
    "Consent": "patient",
    "Coverage": "beneficiary",
    "DetectedIssue": "patient",
    "EpisodeOfCare": "patient",
    "FamilyMemberHistory": "patient",
    "Immunization": "patient",
    "RelatedPerson": "patient",
    "Task": "for",
}
"""Where a resource names its patient, if that is not `subject`."""

_WITH_ENCOUNTER = frozenset(
    {"AllergyIntolerance", "CarePlan", "ClinicalImpression", "Condition", "DiagnosticReport"}
    | {"Flag", "Immunization", "MedicationRequest", "Observation", "Procedure", "Task"}
    | {"QuestionnaireResponse", "ServiceRequest", "Communication", "Composition"}
)
"""Resources with an element `encounter`."""

_SUBJECT_LISTS = frozenset({"Account"})

_WITHOUT_TIMES = frozenset({"proposed", "cancelled", "waitlist"})
"""Statuses of an Appointment that need no start and end (R4 invariant app-3)."""


def resources(
    person: PersonState, visits: Mapping[str, VisitState], setting: CareSetting
) -> list[Resource]:
    """All resources that the fold of one person yields, without care resources.

    Args:
        person: the folded person.
        visits: the folded visits by key.
        setting: of the sites, in whose days stays are reckoned.
    """
    made = person_resources(person)
    belongs = episodes_of(person_view(person, visits, setting), setting)
    for key in sorted(visits):
        made += visit_resources(person, visits[key], belongs.get(key))
    return made


def person_resources(person: PersonState, names: Collection[str] | None = None) -> list[Resource]:
    """The Patients of a person (the surviving one first) and what belongs to the person.

    Args:
        person: the folded person.
        names: `Patient` and `Type/id` of those that are asked for; None: all.
    """
    if not person.patients:
        return []
    made: list[Resource] = []
    if names is None or "Patient" in names:
        made.append(_patient(person))
        for identity, into in person.replaced.items():
            made.append(_replaced(identity, person.patients[identity], person.patients[into].id))
    sources = open_sources(person)
    labels = _person_labels(person)
    for name in heard_of(sources):
        if name == "Patient" or (names is not None and name not in names):
            continue
        elements = person_elements(person, name)
        if not elements:
            continue
        kind, _, logical_id = name.partition("/")
        resource = expand(kind, logical_id, elements)
        _refer(resource, person.patient, None)
        _secure(resource, labels)
        made.append(resource)
    return made


def shared_account(persons: Iterable[PersonState], name: str) -> Resource | None:
    """The Account that several persons' messages name (PID-18), as all of them say it is.

    It has a subject for each of them (R4 Account.subject is 0..*); where sources differ,
    the newest statement holds, as it does for one person.

    Args:
        persons: the folded persons.
        name: `Account/id`.

    Returns:
        None where nobody names it.
    """
    told = [
        (person, source, one)
        for person in sorted(persons, key=lambda each: each.key)
        for source, one in open_sources(person)
        if name in one.resources
    ]
    # What is known under a security label is not told with what everybody may see.
    told = [one for one in told if not one[2].labels] or told
    sources: list[tuple[str, Told]] = []
    subjects: dict[str, None] = {}
    for person, source, one in told:
        if not resolve([(source, one)], name):
            continue
        reference = {"reference": f"Patient/{person.patient}"}
        subjects[reference["reference"]] = None
        groups = [
            (stamp, {path: _own(path, value, reference) for path, value in group.items()})
            for stamp, group in one.resources[name]
        ]
        sources.append((f"{source} {person.key}", Told(one.site, resources={name: groups})))
    elements = resolve(sources, name)
    if not elements:
        return None
    kind, _, logical_id = name.partition("/")
    account = expand(kind, logical_id, elements)
    account["subject"] = [{"reference": reference} for reference in sorted(subjects)]
    _secure(account, sorted({label for _, _, one in told for label in one.labels}))
    return account


def _own(path: str, value: Any, patient: dict[str, str]) -> Any:
    """An element of an Account; a guarantor without a resource is the patient (GT1-11 SEL)."""
    if value is None or not path.startswith("guarantor"):
        return value
    return [{"party": patient, **one} for one in value]


def visit_resources(
    person: PersonState, visit: VisitState, episode: str | None = None
) -> list[Resource]:
    """The Encounter of a visit (first) and the other resources of the visit.

    Args:
        person: the folded person.
        visit: the folded visit.
        episode: id of the EpisodeOfCare that it belongs to, if any.
    """
    if not visit.status or not visit.encounter:
        return []
    made = [_encounter(person, visit)]
    if episode is not None:
        sent = made[0].get("episodeOfCare", ())
        made[0]["episodeOfCare"] = [{"reference": f"EpisodeOfCare/{episode}"}, *sent]
    for name, elements in visit.others.items():
        kind, _, logical_id = name.partition("/")
        resource = expand(kind, logical_id, elements)
        _refer(resource, person.patient, visit.encounter)
        if visit.labels:
            _secure(resource, visit.labels)
        made.append(resource)
    return made


def _patient(person: PersonState) -> Resource:
    elements = person_elements(person, "Patient")
    elements.pop(PRACTICE, None)
    patient = expand("Patient", person.patient, elements)
    stated = person.patients[person.key].stated
    identifiers = _identifiers(person, list(patient.get("identifier", ())))
    patient["identifier"] = identifiers if stated else in_order(identifiers)
    if person.key in person.deleted:
        patient["active"] = False
    elif not stated:
        patient.setdefault("active", True)
    died = deceased(person)
    if died is not None:
        patient.pop("deceasedBoolean", None)
        if died.text:
            patient["deceasedDateTime"] = died.text
        else:
            patient["deceasedBoolean"] = True
    if person.replaced:
        patient["link"] = [
            {"other": {"reference": f"Patient/{gone}"}, "type": "replaces"}
            for gone in sorted(person.patients[identity].id for identity in person.replaced)
        ]
    _secure(patient, _person_labels(person))
    return patient


def _identifiers(person: PersonState, identifiers: list[Any]) -> list[Any]:
    """All identifiers that any source gives, and those of replaced identities as old."""
    sources = open_sources(person)
    if len(sources) > 1:
        for _, told in sources:
            for _, group in told.resources.get("Patient", ()):
                for path, items in group.items():
                    if items and path.startswith("identifier"):
                        identifiers += _missing(items, identifiers)
    if len(person.patients) > 1 or not identifiers:
        gone: set[str] = set()
        for edge in standing(person.edges):
            if edge.kind != "link":
                gone.add(edge.gone)
                gone.discard(edge.kept)
        for identity, source in person.patients.items():
            own = source.identifier or _identifier(identity)
            if identity in gone:
                own = {**own, "use": "old"}
                identifiers = [item for item in identifiers if not _same_identifier(own, item)]
            identifiers += _missing([own], identifiers)
    return identifiers


def _missing(items: list[Any], identifiers: list[Any]) -> list[Any]:
    return [
        item for item in items if not any(_same_identifier(item, other) for other in identifiers)
    ]


def _replaced(identity: str, source: SourcePatient, survivor: str) -> Resource:
    return {
        "resourceType": "Patient",
        "id": source.id,
        "active": False,
        "identifier": [source.identifier or _identifier(identity)],
        "link": [{"other": {"reference": f"Patient/{survivor}"}, "type": "replaced-by"}],
    }


def _identifier(identity: str) -> dict[str, Any]:
    """An Identifier of a patient whom only a merge has named."""
    authority, _, value = identity.partition("|")
    system = f"urn:segue:authority:{authority.replace(' ', '-')}"
    return {"system": system, "value": value} if authority else {"value": value}


def _same_identifier(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.get("value") == other.get("value") and one.get("system") == other.get("system")


def _encounter(person: PersonState, visit: VisitState) -> Resource:
    elements = visit.elements
    if not visit.discharged and any(path.startswith("hospitalization.d") for path in elements):
        elements = {
            path: value
            for path, value in elements.items()
            if not path.startswith(("hospitalization.dischargeD", "hospitalization.destination"))
        }
    encounter = expand("Encounter", visit.encounter, elements)
    encounter["status"] = visit.status
    encounter["subject"] = {"reference": f"Patient/{person.patient}"}
    if visit.start is not None or visit.end is not None:
        encounter["period"] = _period(visit.start, visit.end)
    if len(visit.statuses) > 1:
        encounter["statusHistory"] = [
            {"status": status, "period": _period(start, end)}
            for status, start, end in visit.statuses[:-1]
        ]
    current: Any = None
    locations: list[tuple[int, Resource]] = []
    participants: list[tuple[str, Resource]] = []
    for track, runs in visit.tracks.items():
        if track == "class":
            current = runs[-1][0]
            if len(runs) > 1:
                encounter["classHistory"] = [
                    {"class": value, "period": _period(start, end)}
                    for value, start, end in runs[:-1]
                ]
        elif track[0] == "l":
            for run in runs:
                _locate(locations, run)
        else:
            participants += [
                (track, _during(item, start, end)) for items, start, end in runs for item in items
            ]
    encounter["class"] = current or visit.fallback or _UNKNOWN_CLASS
    if visit.numbers:
        encounter["identifier"] = _numbers(visit, encounter.get("identifier", []))
    locations.sort(key=lambda entry: entry[0])
    places = [item for _, item in locations]
    places += [{**item, "status": "planned"} for item in visit.pending]
    if places:
        encounter["location"] = places
    if participants:
        participants.sort(key=lambda entry: entry[0])
        encounter["participant"] = [item for _, item in participants]
    if visit.inferred:
        encounter["meta"] = {**encounter.get("meta", {}), "tag": [INFERRED]}
    if visit.labels:
        _secure(encounter, visit.labels)
    return encounter


def _numbers(visit: VisitState, identifiers: list[Any]) -> list[Any]:
    """Identifiers of a visit under several numbers: those that it no longer goes by are old."""
    shown = {item.get("value") for item in identifiers}
    old = []
    for number in sorted({visit.key, *visit.numbers}):
        if number.partition("|")[2] not in shown:
            old.append({**_identifier(number), "use": "old"})
    return [*identifiers, *old]


def _locate(locations: list[tuple[int, Resource]], run: Run) -> None:
    items, start, end = run
    at = start or end
    for item in items:
        placed = _during(item, start, end)
        placed.setdefault("status", "active" if end is None else "completed")
        locations.append((at.us if at else 0, placed))


def _during(item: Mapping[str, Any], start: Moment | None, end: Moment | None) -> Resource:
    placed = dict(item)
    # ROL-5 and ROL-6 say it themselves.
    if "period" not in placed and (start is not None or end is not None):
        placed["period"] = _period(start, end)
    return placed


def _period(start: Moment | None, end: Moment | None) -> dict[str, str]:
    period: dict[str, str] = {}
    if start is not None and (end is None or start.us <= end.us):
        period["start"] = start.text
    if end is not None:
        period["end"] = end.text
    return period


def _refer(resource: Resource, patient: str, encounter: str | None) -> None:
    """Add the references to the patient and to the encounter."""
    kind = resource["resourceType"]
    reference = {"reference": f"Patient/{patient}"}
    if kind in _SUBJECT_LISTS:
        resource["subject"] = [reference]
        if "guarantor" in resource:
            # A guarantor that no other resource was made for is the patient (GT1-11 SEL).
            resource["guarantor"] = [{"party": reference, **one} for one in resource["guarantor"]]
    elif kind == "Appointment":
        _complete_appointment(resource, reference)
    else:
        resource[_PATIENT_ELEMENT.get(kind, "subject")] = reference
    if kind == "DocumentReference" and "content" not in resource:
        # A document that was only announced: R4 wants an attachment even so.
        title = resource.get("description") or resource.get("type", {}).get("text")
        number = resource.get("masterIdentifier", {}).get("value")
        resource["content"] = [{"attachment": {"title": title or number or "announced"}}]
    if encounter is None:
        return
    if kind in _WITH_ENCOUNTER:
        resource["encounter"] = {"reference": f"Encounter/{encounter}"}
    elif kind == "DocumentReference":
        there = [{"reference": f"Encounter/{encounter}"}]
        resource["context"] = {**resource.get("context", {}), "encounter": there}


def _complete_appointment(appointment: Resource, patient: dict[str, str]) -> None:
    """Let the patient take part; without its times it is only proposed."""
    others = appointment.get("participant", ())
    appointment["participant"] = [{"actor": patient, "status": "accepted"}, *others]
    if not ("start" in appointment and "end" in appointment):
        appointment.pop("start", None)
        appointment.pop("end", None)
        status = appointment.get("status")
        if status in ("noshow", "entered-in-error"):
            appointment["status"] = "cancelled"
        elif status not in _WITHOUT_TIMES:
            appointment["status"] = "proposed"


def _person_labels(person: PersonState) -> list[str]:
    return sorted({label for _, told in open_sources(person) for label in told.labels})


def _secure(resource: Resource, labels: Iterable[str]) -> None:
    """Label a resource (meta.security)."""
    security = [
        {
            "system": _CONFIDENTIALITY if label in _CONFIDENTIALITY_CODES else _ACT_CODE,
            "code": label,
        }
        for label in labels
    ]
    if security:
        meta = resource.get("meta", {})
        own = [one for one in meta.get("security", ()) if one not in security]
        resource["meta"] = {**meta, "security": [*security, *own]}
