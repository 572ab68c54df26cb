"""Parts of resources for `_summary` and `_elements`."""

from typing import Any

import pytest

from segue.fhir.outcomes import FhirError
from segue.fhir.profiles import definitions
from segue.fhir.subset import SUBSETTED, Subset

KNOWN = definitions()
ENCOUNTER: dict[str, Any] = {
    "resourceType": "Encounter",
    "id": "1",
    "meta": {"versionId": "1"},
    "text": {"status": "generated", "div": "<div/>"},
    "modifierExtension": [{"url": "urn:x"}],
    "status": "finished",
    "_status": {"id": "s"},
    "class": {"code": "IMP"},
    "subject": {"reference": "Patient/1"},
    "period": {"start": "2026"},
    "diagnosis": [{"condition": {"reference": "Condition/1"}, "rank": 1}],
    "location": [{"location": {"reference": "Location/1"}}],
}


def shown(*pairs: tuple[str, str]) -> set[str]:
    view = Subset.of(pairs)
    assert view is not None
    found = view.apply(ENCOUNTER, KNOWN)
    assert found["meta"] == {"versionId": "1", "tag": [SUBSETTED]}
    always = {"resourceType", "id", "meta", "modifierExtension", "status", "_status", "class"}
    assert always <= found.keys()
    return set(found) - always


def test_each_summary_shows_its_elements() -> None:
    assert shown(("_summary", "true")) == {"subject", "diagnosis"}
    assert shown(("_summary", "text")) == {"text"}
    assert shown(("_summary", "data")) == {"subject", "period", "diagnosis", "location"}
    assert Subset.of([("_summary", "false")]) is None
    assert Subset.of([("_summary", "count")]) is None


def test_a_summary_reaches_into_parts() -> None:
    view = Subset.of([("_summary", "true")])
    assert view is not None
    found = view.apply(ENCOUNTER, KNOWN)
    assert found["diagnosis"] == [{"condition": {"reference": "Condition/1"}}]


def test_elements_are_named_with_or_without_type() -> None:
    assert shown(("_elements", "period,Encounter.location, Patient.name")) == {"period", "location"}
    assert shown(("_summary", "text"), ("_elements", "subject.reference")) == {"subject"}


def test_an_unknown_summary_is_refused() -> None:
    with pytest.raises(FhirError, match="_summary is one of"):
        Subset.of([("_summary", "short")])


def test_the_tag_stands_once() -> None:
    view = Subset.of([("_elements", "status")])
    assert view is not None
    again = view.apply(view.apply(ENCOUNTER, KNOWN), KNOWN)
    assert again["meta"]["tag"] == [SUBSETTED]
