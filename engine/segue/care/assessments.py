"""The LACE score of a stay as RiskAssessment, with its parts as an Observation.

`probability[x]` of a RiskAssessment must be a percentage (ras-1), so the points and
their interval are the value of the Observation that the assessment rests on.

Source: http://hl7.org/fhir/R4/riskassessment.html
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from segue.care.charlson import points
from segue.care.dispositions import meaning
from segue.care.evidence import Evidences
from segue.care.risk import Interval, Score, lace
from segue.care.stays import Stay, StayVisit, emergency_visits
from segue.care.tasks import Names
from segue.care.view import Person
from segue.model.identity import stable_id

_SYSTEM: Final = "urn:segue:score"
_UCUM: Final = "http://unitsofmeasure.org"
_NAMES: Final = {
    "L": "Length of stay",
    "A": "Acuity of admission",
    "C": "Comorbidity",
    "E": "Emergency visits in six months",
}
_METHOD: Final = {"coding": [{"system": _SYSTEM, "code": "LACE", "display": "LACE index"}]}
_PARTS: Final = {
    key: {"coding": [{"system": _SYSTEM, "code": f"LACE-{key}", "display": name}]}
    for key, name in _NAMES.items()
}
_TIER: Final = {
    tier: {
        "coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/risk-probability", "code": tier}
        ]
    }
    for tier in ("low", "moderate", "high")
}
_OUTCOME: Final = {"text": "Death or unplanned readmission within 30 days of discharge"}


def score(
    person: Person, stay: Stay, one: StayVisit, evidence: Evidences, last_day: date | None
) -> Score:
    """LACE of a visit, by what is known.

    Args:
        person: whose visits are the index of emergency visits.
        stay: which the visit is part of; transfers count as one stay.
        one: the visit.
        evidence: known conditions.
        last_day: date of the discharge, None before it.
    """
    visit = one.visit
    began = one.day
    for other in stay.visits:
        if other is one:
            break
        if other.last_day is not None and not _went_home(other):
            began = min(began, other.day)
    if visit.admission_type in ("E", "U", "A") or any(p.code == "EMER" for p in visit.classes):
        acute: bool | None = True
    else:
        acute = None if visit.admission_type is None else False
    return lace(
        los=None if last_day is None else (last_day - began).days,
        acute=acute,
        charlson=_comorbidity(person, one, evidence, discharged=last_day is not None),
        ed_visits=emergency_visits(person.visits, stay, one),
    )


def _went_home(one: StayVisit) -> bool:
    return meaning(one.visit.disposition) in ("community", "ama", "unknown")


def _comorbidity(
    person: Person, one: StayVisit, evidence: Evidences, *, discharged: bool
) -> Interval | None:
    """Exact once a discharge list or a history of conditions exists; before, a lower bound."""
    own = [(system, code) for system, code, _ in one.visit.diagnoses]
    earlier = [
        (system, code)
        for visit in person.visits
        if visit is not one.visit and visit.start is not None and visit.start.us < one.admitted.us
        for system, code, _ in visit.diagnoses
    ]
    known = evidence.codes or earlier
    if not own and not known:
        return None
    total = points([*own, *earlier, *evidence.codes])
    exact = bool(known) or discharged
    return Interval(total, total if exact else max(total, 4))


def resources(one: StayVisit, found: Score, names: Names) -> list[dict[str, Any]]:
    """The Observation with the parts, and the RiskAssessment that rests on it."""
    visit = one.visit
    final = visit.discharged and visit.end is not None
    when = visit.end.text if final and visit.end is not None else one.admitted.text
    status = "final" if final else "preliminary"
    observed = stable_id("Observation", visit.key, "LACE")
    assessed = stable_id("RiskAssessment", visit.key, "LACE")
    parts = [
        {"code": _PARTS[key], "valueRange": _range(part.low, part.high)}
        for key, part in found.parts.items()
    ]
    observation: dict[str, Any] = {
        "resourceType": "Observation",
        "id": observed,
        "identifier": [{"system": "urn:segue", "value": observed}],
        "status": status,
        "code": _METHOD,
        "subject": names.patient,
        "encounter": names.encounter,
        "effectiveDateTime": when,
        "valueRange": _range(found.low, found.high),
        "component": parts,
    }
    if not final:
        observation["note"] = [{"text": "Comorbidity is from the admission list and may rise."}]
    prediction: dict[str, Any] = {"outcome": _OUTCOME}
    if found.tier is not None:
        prediction["qualitativeRisk"] = _TIER[found.tier]
    assessment: dict[str, Any] = {
        "resourceType": "RiskAssessment",
        "id": assessed,
        "identifier": [{"system": "urn:segue", "value": assessed}],
        "status": status,
        "method": _METHOD,
        "subject": names.patient,
        "encounter": names.encounter,
        "occurrenceDateTime": when,
        "basis": [{"reference": f"Observation/{observed}"}],
        "prediction": [prediction],
    }
    if found.tier is None:
        assessment["note"] = [{"text": _undetermined(found)}]
    for resource in (observation, assessment):
        if names.meta is not None:
            resource["meta"] = names.meta
    return [observation, assessment]


def _undetermined(found: Score) -> str:
    asked: Sequence[str] = (found.decides,) if found.decides else found.open
    causes = ", ".join(f"{key} ({_NAMES[key].lower()})" for key in asked)
    return f"LACE {found.low} to {found.high}, tier undetermined; open: {causes}"


def _range(low: int, high: int) -> Mapping[str, Any]:
    return _RANGES[low, high]


def _points(value: int) -> dict[str, Any]:
    return {"value": value, "unit": "{score}", "system": _UCUM, "code": "{score}"}


_RANGES: Final = {
    (low, high): {"low": _points(low), "high": _points(high)}
    for low in range(20)
    for high in range(low, 20)
}
