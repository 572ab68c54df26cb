"""Patient/$match: who a Patient may be, graded.

Source: https://hl7.org/fhir/R4/patient-operation-match.html
"""

from decimal import Decimal
from typing import Any

from segue.api.exchange import body_of
from segue.api.operations import Invocation, Resource
from segue.care.matching.grade import rules_in
from segue.fhir.canonical import loads
from segue.fhir.outcomes import fhir_error
from segue.pipeline.candidates import Candidate, candidates

GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
MOST = 50


def match(asked: Invocation) -> Resource:
    """Patients that may be the one that was sent, best first, with score and grade.

    Parameters: `resource` (a Patient), `onlyCertainMatches`, `count`.

    Raises:
        FhirError: 400; there is no Patient, or a parameter is not what it should be.
    """
    patient = asked.value("resource")
    if not isinstance(patient, dict) or patient.get("resourceType") != "Patient":
        raise fhir_error("incorrect", "required", "send a Patient as `resource`", "resource")
    certain = str(asked.value("onlyCertainMatches", False)).lower() == "true"
    try:
        count = min(int(asked.value("count", MOST)), MOST)
    except ValueError:
        raise fhir_error("incorrect", "value", "count is a number", "count") from None
    if count < 0:
        raise fhir_error("incorrect", "value", "count is not negative", "count")
    hub = asked.hub
    with hub.store.read() as reader:
        found = candidates(reader, patient, rules_in(hub.matching), now=hub.now())
    if certain:
        # Several certain ones would be no certainty.
        found = [one for one in found if one.match.grade == "certain"]
        found = found if len(found) == 1 else []
    entries = [_entry(asked.root, one) for one in found[:count]]
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(entries)}
    return {**bundle, "entry": entries} if entries else bundle


def _entry(root: str, one: Candidate) -> dict[str, Any]:
    return {
        "fullUrl": f"{root}/Patient/{one.stored.key.id}",
        "resource": loads(body_of(one.stored)),
        "search": {
            "extension": [{"url": GRADE, "valueCode": one.match.grade}],
            "mode": "match",
            "score": Decimal(f"{one.match.score:.4f}"),
        },
    }
