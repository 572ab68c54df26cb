"""When the care was given that a resource is about: the `start` and `end` of operations.

Source: https://hl7.org/fhir/R4/patient-operation-everything.html ("care dates, not record
currency dates")
"""

from collections.abc import Mapping
from typing import Any

from segue.fhir.datetimes import HIGHEST, interval
from segue.fhir.outcomes import fhir_error
from segue.fhir.search.parameters import parameter
from segue.fhir.search.values import rows_of

Span = tuple[int, int]
"""From, to: microseconds UTC, half open."""

_DATES: Mapping[str, tuple[str, ...]] = {
    "Appointment": ("date",),
    "CarePlan": ("date",),
    "CareTeam": ("date",),
    "Claim": ("created",),
    "ClinicalImpression": ("date",),
    "Communication": ("sent", "received"),
    "CommunicationRequest": ("occurrence", "authored"),
    "Composition": ("date",),
    "DetectedIssue": ("identified",),
    "DiagnosticReport": ("date", "issued"),
    "DocumentReference": ("period", "date"),
    "Encounter": ("date",),
    "EpisodeOfCare": ("date",),
    "ExplanationOfBenefit": ("created",),
    "Flag": ("date",),
    "ImagingStudy": ("started",),
    "Immunization": ("date",),
    "List": ("date",),
    "MedicationAdministration": ("effective-time",),
    "MedicationDispense": ("whenhandedover", "whenprepared"),
    "MedicationRequest": ("date", "authoredon"),
    "MedicationStatement": ("effective",),
    "Observation": ("date",),
    "Procedure": ("date",),
    "QuestionnaireResponse": ("authored",),
    "RiskAssessment": ("date",),
    "ServiceRequest": ("occurrence", "authored"),
    "Specimen": ("collected",),
    "Task": ("period", "authored-on"),
}
"""Type to the search parameters that tell its time; the first that has one counts."""

_LASTING = {
    "Condition": (("onset-date", "recorded-date"), ("abatement-date",)),
    "Goal": (("start-date",), ()),
}
"""What goes on from the first of these times to the first of those, or until now."""


def span(start: str | None, end: str | None) -> Span | None:
    """The time that `start` and `end` name, dates or dateTimes; None where neither is given.

    Raises:
        FhirError: 400; one is no date.

    >>> span(None, None), span("1970-01-02", "1970-01-02")
    (None, (86400000000, 172800000000))
    """
    if start is None and end is None:
        return None
    low, high = 0 - HIGHEST, HIGHEST
    for name, text in (("start", start), ("end", end)):
        if text is None:
            continue
        try:
            found = interval(text.replace(" ", "+"))
        except (ValueError, OverflowError):
            message = f"{name}: expected a FHIR date or dateTime"
            raise fhir_error("incorrect", "value", message, name) from None
        low, high = (found[0], high) if name == "start" else (low, found[1])
    return low, high


def within(resource: dict[str, Any], time: Span) -> bool:
    """Whether care of that time is what a resource is about; what has no time always is.

    >>> visit = {"resourceType": "Encounter", "period": {"start": "2026-07-01"}}
    >>> within(visit, span("2026-07-02", None)), within(visit, span(None, "2026-06-30"))
    (True, False)
    """
    type_ = resource["resourceType"]
    if type_ in _LASTING:
        begun, ended = (_times(resource, codes) for codes in _LASTING[type_])
        low = min((one[0] for one in begun), default=0 - HIGHEST)
        times = [(low, max((one[1] for one in ended), default=HIGHEST))]
    else:
        times = _times(resource, _DATES.get(type_, ()))
    return not times or any(low < time[1] and high > time[0] for low, high in times)


def _times(resource: dict[str, Any], codes: tuple[str, ...]) -> list[Span]:
    for code in codes:
        known = parameter(resource["resourceType"], code)
        if known is not None and (found := rows_of(known, resource).dates):
            return [(low, high) for _, low, high in found]
    return []
