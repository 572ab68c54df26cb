import re
from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.fhir.canonical import loads
from segue.fhir.narrative import PLAIN, narrative_fault
from segue.fhir.profiles import definitions
from segue.fhir.validate import Gate
from tests.unit.fhir.examples import EXAMPLES, changed
from tests.unit.fhir.wrong import WRONG

SLOW_BY_DESIGN = {"patient with primitive extensions", "contained", "parameters"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_valid(gate: Gate, name: str) -> None:
    assert gate.issues(EXAMPLES[name]) == []
    assert gate.is_valid(EXAMPLES[name])


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - SLOW_BY_DESIGN))
def test_the_usual_form_is_accepted_by_the_schema_alone(gate: Gate, name: str) -> None:
    assert gate._quickly(EXAMPLES[name])


_XHTML = '<div xmlns="http://www.w3.org/1999/xhtml">'


@pytest.mark.parametrize(
    ("inner", "plain"),
    [
        ("<h2>Plan</h2><p>Seen &amp; done.</p><ul><li>García</li><li>2</li></ul>", True),
        ("<p>Seen <b>today</b>.</p>", False),  # proper, but for the parser to say
        ("<p> </p>", False),
        ("<p>Seen</li>", False),
        ("<p>a ]]> b</p>", False),
        ("<p>a \x01 b</p>", False),
        ("<p>Seen &foo</p>", False),
        ("<script>x</script>", False),
        ("<p>Seen</p><", False),
    ],
)
def test_plain_narratives_need_no_parser(inner: str, plain: bool) -> None:
    div = f"{_XHTML}{inner}</div>"
    assert (re.search(PLAIN, div) is not None) is plain
    assert not plain or narrative_fault(div) is None


@pytest.mark.parametrize(
    ("resource", "where", "code"),
    [pytest.param(*row[1:], id=row[0]) for row in WRONG],
)
def test_what_is_wrong_is_refused_with_its_place(
    gate: Gate, resource: dict[str, Any], where: str, code: str
) -> None:
    assert not gate.is_valid(resource)
    found = {(issue.where, issue.code) for issue in gate.issues(resource)}
    assert (where, code) in found


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ("occurrenceTiming", {"repeat": {"boundsPeriod": {"start": "2026", "end": "2025"}}}),
        (
            "occurrenceTiming",
            {"repeat": {"boundsRange": {"low": {"value": 5}, "high": {"value": 1}}}},
        ),
        ("quantityRange", {"low": {"value": 5}, "high": {"value": 1}}),
        ("occurrencePeriod", {"start": "2026", "end": "2025"}),
    ],
    ids=["period in a data type", "range in a data type", "range", "period"],
)
def test_what_ends_before_it_begins_is_refused_wherever_it_stands(
    gate: Gate, element: str, value: dict[str, Any]
) -> None:
    order = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/1"},
    }
    assert gate.is_valid(order)
    assert not gate.is_valid(order | {element: value})


def test_a_refusal_says_what_would_be_right(gate: Gate) -> None:
    [issue] = gate.issues(changed("patient", "gender", "F"))
    assert issue.text == (
        "no code of administrative-gender: use one of male, female, other, unknown"
    )
    [issue] = gate.issues(changed("patient", "birthdate", "1948-03-12"))
    assert issue.text == "Patient has no element birthdate; did you mean birthDate?"
    [issue] = gate.issues(changed("encounter", "subject", {"reference": "Device/1"}))
    assert "must point to Group or Patient" in issue.text


@pytest.mark.parametrize(("name", "resource"), [(row[0], row[1]) for row in WRONG])
def test_a_refusal_repeats_no_value(gate: Gate, name: str, resource: dict[str, Any]) -> None:
    secret = deepcopy(resource)
    if secret.get("resourceType") == "Patient":
        secret["identifier"] = [{"system": "urn:x y", "value": "  100234  "}]
    assert not any("100234" in issue.text for issue in gate.issues(secret))


@pytest.mark.parametrize("resource", [None, 1, "x", [], {}, {"resourceType": 5}])
def test_what_is_no_resource_is_refused_without_an_exception(gate: Gate, resource: Any) -> None:
    assert not gate.is_valid(resource)
    assert gate.issues(resource)


def test_decimals_pass_as_they_are(gate: Gate) -> None:
    assert gate.is_valid(changed("observation", "valueQuantity.value", Decimal("72.10")))


def test_a_condition_without_clinical_status_may_be_entered_in_error(gate: Gate) -> None:
    resource = changed("condition", "verificationStatus.coding.0.code", "entered-in-error")
    del resource["clinicalStatus"]
    assert gate.is_valid(resource)


def test_leap_years_and_leap_seconds_are_dates(gate: Gate) -> None:
    assert gate.is_valid(changed("patient", "birthDate", "2000-02-29"))
    assert gate.is_valid(changed("task", "authoredOn", "2016-12-31T23:59:60Z"))


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, (dict, list)):
            yield from _places(item, (*path, key))
        else:
            yield (*path, key)


_PLACES = [(name, path) for name, example in EXAMPLES.items() for path in _places(example)]
_VALUES: list[Any] = [
    ..., None, [], {}, "", " ", "x", "a b", "#x", True, False, 0, 1, -1, 2**40, 1.5, "2026-07-05",
    "2026-02-30", "Patient/1", "Device/1", "http://x.org/Patient/1", ["x"], [None], [{}],
    {"id": "x"}, {"x": 1}, {"reference": "Patient/1"}, {"reference": "#x"}, {"text": "x"},
    {"value": 1}, {"start": "2026", "end": "2025"}, {"coding": [{"code": "x"}]},
    {"extension": [{"url": "http://x.org", "valueCode": "x"}]},
    {"resourceType": "Basic", "code": {"text": "x"}},
]  # fmt: skip
_NEW = ["id", "extension", "_status", "_gender", "value", "valueString", "contained", "period",
        "system", "start", "text", "reference", "type", "code", "unknown"]  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(
    place=st.sampled_from(_PLACES),
    value=st.sampled_from(_VALUES),
    new=st.none() | st.sampled_from(_NEW),
)
def test_the_schema_accepts_nothing_that_the_full_judgement_refuses(
    place: tuple[str, tuple[Any, ...]], value: Any, new: str | None
) -> None:
    gate = _GATE
    name, path = place
    resource = deepcopy(EXAMPLES[name])
    spot: Any = resource
    for step in path[:-1]:
        spot = spot[step]
    if new is not None and isinstance(spot, dict) and value is not ...:
        spot[new] = value
    elif value is ...:
        del spot[path[-1]]
    else:
        spot[path[-1]] = value
    if gate._quickly(resource):
        assert gate.issues(resource) == []


_GATE = Gate(definitions())


def _resources(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.rglob("*.json")):
        content = loads(path.read_bytes())
        if isinstance(content, dict) and "resourceType" in content:
            yield path.name, content


# Three of its URIs hold a space.
KNOWN_WRONG = {"conceptmap-direct-alerts.json"}


@pytest.mark.parametrize(
    "folder",
    [
        "synthea",
        "us_core_610_package_examples",
        "davinci-pdex_examples",
        "HL7_davinci-alerts",
        "HL7_davinci-atr",
    ],
)
def test_resources_of_others_are_valid(gate: Gate, shared_data: Path, folder: str) -> None:
    seen = 0
    for name, resource in _resources(shared_data / "fhir" / folder):
        seen += 1
        if name not in KNOWN_WRONG:
            assert gate.is_valid(resource), (name, gate.issues(resource)[:3])
        else:
            assert not gate.is_valid(resource)
    assert seen
