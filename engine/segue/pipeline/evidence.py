"""Clients' resources as evidence: whose they are, and what protocols see of them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from segue.care.states import PersonState
from segue.care.view import Evidence
from segue.fhir.references import parse_reference, walk_references
from segue.model.identity import ResourceKey

TYPES = frozenset(
    {
        "Appointment",
        "CarePlan",
        "CareTeam",
        "Communication",
        "Condition",
        "Consent",
        "Coverage",
        "DocumentReference",
        "Encounter",
        "Goal",
        "List",
        "Observation",
        "Procedure",
        "QuestionnaireResponse",
        "ServiceRequest",
        "Task",
    }
)
"""Types that can close a task, feed a score, or take part in a plan."""

IN_HISTORY = frozenset(
    {
        "CarePlan",
        "CareTeam",
        "Condition",
        "Consent",
        "Coverage",
        "Encounter",
        "Goal",
        "Procedure",
        "ServiceRequest",
    }
)
"""Those that still say something when they only fill the index: history closes no task."""

_SUBJECTS = ("subject", "patient", "for", "beneficiary", "individual", "policyHolder")
_BULKY = frozenset(
    {"text", "content", "contained", "extension", "item", "payload", "presentedForm"}
)


def evidence(
    resource: Mapping[str, Any], version: int, source: str, recorded: int, *, history: bool = False
) -> Evidence:
    """A stored resource as evidence: without narrative, attachments and answers.

    Args:
        resource: as stored, with its id.
        version: of it.
        source: the site that posted it, "" where the client speaks for none.
        recorded: microseconds UTC of the write.
        history: it only fills the index.
    """
    slim = {name: value for name, value in resource.items() if name not in _BULKY}
    reference = f"{resource['resourceType']}/{resource['id']}"
    return Evidence(reference, version, slim, source, recorded, history)


def is_evidence(type_: str, *, history: bool) -> bool:
    """Whether protocols are to see a resource of this type.

    >>> is_evidence("Communication", history=True), is_evidence("Condition", history=True)
    (False, True)
    """
    return type_ in (IN_HISTORY if history else TYPES)


def with_evidence(person: PersonState, item: Evidence) -> PersonState:
    """The person with this evidence, in place of an older version of it."""
    kept = [one for one in person.evidence if one.reference != item.reference]
    found = sorted([*kept, item], key=lambda one: (one.recorded, one.reference))
    return replace(person, evidence=found)


def without_evidence(person: PersonState, reference: str) -> PersonState:
    """The person without this evidence."""
    kept = [one for one in person.evidence if one.reference != reference]
    return person if len(kept) == len(person.evidence) else replace(person, evidence=kept)


def owners(resource: Mapping[str, Any]) -> Iterator[ResourceKey]:
    """Whom a resource may belong to, best first.

    Its subject; else any Patient that it names; else what else it names, for that may
    belong to somebody.

    >>> next(owners({"resourceType": "Task", "for": {"reference": "Patient/1"}}))
    ResourceKey(type='Patient', id='1')
    """
    first, patients, others = [], [], []
    for path, reference in walk_references(resource):
        key = parse_reference(reference["reference"], "")
        if key is None:
            continue
        if key.type != "Patient":
            others.append(key)
        elif path.partition("[")[0] in _SUBJECTS:
            first.append(key)
        else:
            patients.append(key)
    seen: set[ResourceKey] = set()
    for key in (*first, *patients, *others):
        if key not in seen:
            seen.add(key)
            yield key
