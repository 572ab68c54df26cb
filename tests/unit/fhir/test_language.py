"""References, bundles, outcomes, lifecycles, the capability statement, FHIRPath."""

from typing import Any

import pytest

from segue.fhir import bundles, lifecycle, requests
from segue.fhir.conformance import capability_statement
from segue.fhir.fhirpath import FhirPathError, evaluate
from segue.fhir.narrative import narrative_fault
from segue.fhir.outcomes import STATUS, FhirError, fhir_error, outcome
from segue.fhir.profiles import definitions
from segue.fhir.references import (
    conditional_references,
    parse_reference,
    reference,
    resolve_conditional,
    rewrite,
    walk_references,
)
from segue.fhir.validate import Gate
from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from tests.unit.fhir.examples import EXAMPLES

URN = "urn:uuid:5a1b7c6e-0000-4000-8000-000000000001"


# References


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Patient/1", ("Patient", "1")),
        ("Patient/1/_history/2", ("Patient", "1")),
        ("http://h/fhir/Patient/1", ("Patient", "1")),
        ("#1", None),
        (URN, None),
        ("Patient?identifier=1", None),
        ("Patient/a b", None),
        ("patient/1", None),
    ],
)
def test_a_reference_is_read_as_a_key(text: str, key: tuple[str, str] | None) -> None:
    assert parse_reference(text) == key


def test_a_reference_to_another_server_names_nothing_here() -> None:
    assert parse_reference("http://other/Patient/1", base="http://h/fhir") is None
    assert parse_reference("http://h/fhir/Patient/1", base="http://h/fhir/") == ("Patient", "1")


def test_a_made_reference_reads_back() -> None:
    key = ResourceKey("Task", "t1")
    assert parse_reference(reference(key, "x")["reference"]) == key


def test_every_reference_is_walked() -> None:
    paths = [path for path, _ in walk_references(EXAMPLES["encounter"])]
    assert paths == [
        "subject",
        "participant[0].individual",
        "location[0].location",
        "serviceProvider",
    ]


def test_references_are_rewritten_wherever_they_stand() -> None:
    resource = {
        "subject": {"reference": URN},
        "other": {"reference": "Patient/2"},
        "uri": URN,
        "instantiatesUri": [URN, "x"],
        "text": {"div": f'<div><a href="{URN}">x</a></div>'},
        "note": f"see {URN}",
    }
    assert rewrite(resource, {URN: "Patient/1"}) == {
        "subject": {"reference": "Patient/1"},
        "other": {"reference": "Patient/2"},
        "uri": "Patient/1",
        "instantiatesUri": ["Patient/1", "x"],
        "text": {"div": '<div><a href="Patient/1">x</a></div>'},
        "note": f"see {URN}",
    }


# Bundles


def _transaction(*requests: tuple[str, str]) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"request": {"method": method, "url": url}, "resource": {"resourceType": "Basic"}}
            for method, url in requests
        ],
    }


def test_a_transaction_is_processed_in_the_order_of_the_specification() -> None:
    bundle = _transaction(
        ("GET", "Task?status=x"), ("PUT", "Task/1"), ("POST", "Task"), ("DELETE", "Task/2")
    )
    ordered = requests.in_order(requests.entries(bundle))
    assert [e.method for e in ordered] == ["DELETE", "POST", "PUT", "GET"]
    assert [e.index for e in ordered] == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("url", "type_", "id_", "query", "rest"),
    [
        ("Task", "Task", None, (), ""),
        ("/Task/1", "Task", "1", (), ""),
        ("Task?identifier=a%7Cb", "Task", None, (("identifier", "a|b"),), ""),
        ("Task/1/_history/2", "Task", "1", (), "_history/2"),
        ("Task/_history", "Task", None, (), "_history"),
        ("Patient/1/$everything", "Patient", "1", (), "$everything"),
    ],
)
def test_a_request_url_is_taken_apart(
    url: str, type_: str, id_: str | None, query: tuple[tuple[str, str], ...], rest: str
) -> None:
    [entry] = requests.entries(_transaction(("GET", url)))
    assert (entry.type, entry.id, entry.query, entry.rest) == (type_, id_, query, rest)


@pytest.mark.parametrize(
    "bundle",
    [
        {"resourceType": "Bundle", "type": "collection"},
        {"resourceType": "Patient"},
        {"resourceType": "Bundle", "type": "batch", "entry": [{}]},
        _transaction(("POKE", "Task")),
        _transaction(("PUT", "task/1")),
        _transaction(("PUT", "Task/a b")),
        {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [{"request": {"method": "POST", "url": "Task"}}],
        },
    ],
)
def test_what_is_no_request_is_refused(bundle: dict[str, Any]) -> None:
    with pytest.raises(FhirError) as caught:
        requests.entries(bundle)
    assert caught.value.status == 400


def test_a_transaction_touches_each_resource_once() -> None:
    twice = requests.entries(_transaction(("PUT", "Task/1"), ("DELETE", "Task/1")))
    with pytest.raises(FhirError, match="entry 0"):
        requests.check_distinct(twice)
    requests.check_distinct(requests.entries(_transaction(("PUT", "Task/1"), ("GET", "Task/1"))))


def test_conditional_references_are_resolved_or_refused() -> None:
    resource = {"subject": {"reference": "Patient?identifier=a|b"}, "x": [{"reference": "Task/1"}]}
    assert conditional_references(resource) == ["Patient?identifier=a|b"]
    found = [ResourceKey("Patient", "9")]
    done = resolve_conditional(resource, lambda _type, _query: found)
    assert done["subject"] == {"reference": "Patient/9"}
    for keys in ([], found * 2):
        with pytest.raises(FhirError) as caught:
            resolve_conditional(resource, lambda _type, _query, keys=keys: keys)
        assert caught.value.status == 412


def test_the_bundles_that_are_made_are_valid(gate: Gate) -> None:
    patient = EXAMPLES["patient"]
    at = "2026-07-05T12:00:00Z"
    key = ResourceKey("Patient", patient["id"])
    made = [
        bundles.searchset(
            [("http://h/fhir/Patient/1", patient)],
            included=[("http://h/fhir/Organization/hospa", EXAMPLES["organization"])],
            total=1,
            links=[("self", "http://h/fhir/Patient?name=x")],
            issues=outcome([Issue("warning", "not-supported", "colour", "ignored")]),
        ),
        bundles.searchset([], total=0),
        bundles.history(
            [
                bundles.history_entry("http://h/fhir/Patient/1", key, 3, at, None),
                bundles.history_entry("http://h/fhir/Patient/1", key, 2, at, patient),
                bundles.history_entry("http://h/fhir/Patient/1", key, 1, at, patient),
            ],
            total=3,
        ),
        bundles.response(
            "transaction",
            [
                bundles.response_entry(
                    "201 Created",
                    location="http://h/fhir/Patient/1/_history/1",
                    version=1,
                    last_modified=at,
                    resource=patient,
                    outcome=outcome([]),
                )
            ],
        ),
    ]
    for bundle in made:
        assert gate.issues(bundle) == []


def test_an_error_in_an_entry_tells_its_place() -> None:
    error = requests.at_entry(fhir_error("gone", "deleted", "x", "Patient.id"), 3)
    assert error.status == 410
    assert error.issues[0].where == "Bundle.entry[3] Patient.id"


# Outcomes


def test_an_outcome_is_valid_fhir(gate: Gate) -> None:
    found = gate.issues({"resourceType": "Patient", "gender": "F", "x": 1})
    made = outcome(found)
    assert gate.issues(made) == []
    assert [i["code"] for i in made["issue"]] == ["code-invalid", "structure"]
    assert made["issue"][0]["expression"] == ["Patient.gender"]
    assert gate.issues(outcome([])) == []


def test_the_categories_have_the_statuses_of_the_specification() -> None:
    wanted = {
        "incorrect": 400, "unauthorised": 401, "forbidden": 403, "not-found": 404,
        "not-acceptable": 406, "conflict": 409, "gone": 410, "precondition": 412,
        "too-large": 413, "unsupported-media": 415, "unprocessable": 422,
    }  # fmt: skip
    assert wanted.items() <= STATUS.items()
    assert all(FhirError(category, ()).status == STATUS[category] for category in STATUS)


# Lifecycles


@pytest.mark.parametrize("end", sorted(lifecycle.TASK_ENDED))
@pytest.mark.parametrize("actor", ["hub", "owner", "requester"])
def test_nothing_follows_a_task_that_has_ended(end: str, actor: lifecycle.Actor) -> None:
    assert lifecycle.allowed_from("Task", end, actor) == ()
    assert lifecycle.allowed("Task", end, end, actor)


@pytest.mark.parametrize("state", lifecycle.TASK_OPEN)
def test_the_hub_can_cancel_and_fail_every_open_task(state: str) -> None:
    assert lifecycle.allowed("Task", state, "cancelled", "hub")
    assert lifecycle.allowed("Task", state, "failed", "hub")


@pytest.mark.parametrize("state", [s for s in lifecycle.TASK_OPEN if s != "draft"])
def test_evidence_completes_every_task_that_was_asked_for(state: str) -> None:
    assert lifecycle.allowed("Task", state, "completed", "hub")


@pytest.mark.parametrize("state", [s for s in lifecycle.TASK_OPEN if s != "on-hold"])
def test_a_task_rests_and_goes_on_where_it_was(state: str) -> None:
    assert lifecycle.allowed("Task", state, "on-hold", "hub")
    assert lifecycle.allowed("Task", "on-hold", state, "hub")


@pytest.mark.parametrize(
    ("before", "after", "actor", "may"),
    [
        ("draft", "requested", "requester", True),
        ("draft", "requested", "owner", False),
        ("requested", "received", "owner", True),
        ("requested", "received", "requester", False),
        ("received", "accepted", "owner", True),
        ("requested", "rejected", "owner", True),
        ("accepted", "rejected", "owner", False),
        ("requested", "cancelled", "requester", True),
        ("requested", "cancelled", "owner", False),
        ("requested", "completed", "owner", False),
        ("accepted", "in-progress", "owner", True),
        ("in-progress", "completed", "owner", True),
        ("in-progress", "failed", "owner", True),
        ("in-progress", "requested", "owner", False),
        ("on-hold", "in-progress", "owner", True),
        ("requested", "entered-in-error", "requester", True),
        ("requested", "entered-in-error", "owner", False),
    ],
)
def test_each_edge_belongs_to_somebody(
    before: str, after: str, actor: lifecycle.Actor, may: bool
) -> None:
    assert lifecycle.allowed("Task", before, after, actor) is may


@pytest.mark.parametrize("type_", lifecycle.TRANSITIONS)
def test_the_states_are_those_of_the_value_set(type_: str) -> None:
    name = {"Task": "task-status", "CarePlan": "request-status", "Encounter": "encounter-status"}
    known = set(definitions().plain_codes(name[type_]))
    assert {state for edge in lifecycle.TRANSITIONS[type_] for state in edge} <= known


# Narrative, conformance, FHIRPath


@pytest.mark.parametrize(
    "div",
    [
        "<div>",
        "<p>x</p>",
        "<div> </div>",
        '<div onclick="x">x</div>',
        '<div><a href="JavaScript:x">x</a></div>',
        "<div><iframe>x</iframe></div>",
        '<!DOCTYPE x [<!ENTITY a "b">]><div>&a;</div>',
    ],
)
def test_a_narrative_that_is_unsafe_or_empty_is_faulted(div: str) -> None:
    assert narrative_fault(div)


def test_a_narrative_may_use_html_entities() -> None:
    assert narrative_fault('<div xmlns="http://www.w3.org/1999/xhtml">a&nbsp;b</div>') is None


def test_the_capability_statement_is_valid_and_says_r4(gate: Gate) -> None:
    statement = capability_statement(
        ["Patient", "Task"],
        version="0.1.0",
        date="2026-07-05",
        base_url="http://h/fhir",
        secured=True,
    )
    assert gate.issues(statement) == []
    assert statement["fhirVersion"] == "4.0.1"
    names = {p["name"] for p in statement["rest"][0]["resource"][1]["searchParam"]}
    assert {"_id", "patient", "owner"} <= names


def test_fhirpath_reads_and_decides() -> None:
    assert evaluate(EXAMPLES["patient"], "Patient.name.given") == ["Ada", "Q"]
    assert evaluate(EXAMPLES["patient"], "Patient.gender = %sex", {"sex": "female"}) == [True]
    assert evaluate(EXAMPLES["patient"], "Patient.photo") == []


def test_a_wrong_expression_is_an_error_that_names_it() -> None:
    with pytest.raises(FhirPathError, match="name where"):
        evaluate({}, "name where (")
