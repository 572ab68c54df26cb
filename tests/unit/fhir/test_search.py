import subprocess
import sys
from typing import Any

import pytest

from segue.fhir.datetimes import HIGHEST, LOWEST, interval
from segue.fhir.outcomes import FhirError
from segue.fhir.profiles import definitions
from segue.fhir.search.conditions import (
    DateCondition,
    EvaluatedCondition,
    IdCondition,
    Include,
    Interval,
    LastUpdatedCondition,
    Query,
    ReverseInclude,
    Sort,
    StringCondition,
    TokenCondition,
)
from segue.fhir.search.hashes import parameter_hash, parameter_salt, reference_hash, token_hash
from segue.fhir.search.parameters import (
    indexed_of,
    parameter,
    parameters,
    types,
)
from segue.fhir.search.query import lock_number, parse
from segue.fhir.search.values import folded, references, terms
from segue.model.changes import SearchTerms
from segue.model.identity import stable_id
from tests.unit.fhir.examples import EXAMPLES, V3, changed

ACT = V3 + "ActCode"


def found(resource: dict[str, Any], *asked: tuple[str, str] | Query) -> bool:
    """Whether a search finds the resource: the meaning of a Query, in a few lines."""
    pairs = [one for one in asked if isinstance(one, tuple)]
    (query,) = [one for one in asked if isinstance(one, Query)] or [
        parse(resource["resourceType"], pairs, strict=True)
    ]
    rows = terms(resource)
    return all(_holds(condition, rows, resource) for condition in query.conditions)


def _holds(condition: object, rows: SearchTerms, resource: dict[str, Any]) -> bool:
    match condition:
        case TokenCondition():
            return condition.holds(rows)
        case DateCondition(number):
            own = tuple(row for row in rows.dates if row[0] == number)
            return condition.holds(SearchTerms(dates=own))
        case StringCondition(number):
            texts = tuple(row for row in rows.strings if row[0] == number)
            return condition.holds(SearchTerms(strings=texts))
        case IdCondition(ids):
            return resource["id"] in ids
        case EvaluatedCondition():
            return condition.test(resource)
    raise AssertionError(condition)


FINDS = [
    ("patient", [("identifier", "urn:oid:2.16.840.1.113883.19.5|100234")]),
    ("patient", [("identifier", "100234")]),
    ("patient", [("name", "nunez")]),
    ("patient", [("name", "ad")]),
    ("patient", [("family", "NÚÑ"), ("given", "q")]),
    ("patient", [("gender", "male,female")]),
    ("patient", [("gender", "http://hl7.org/fhir/administrative-gender|female")]),
    ("patient", [("birthdate", "1948")]),
    ("patient", [("birthdate", "lt1948-03-13")]),
    ("patient", [("general-practitioner", "Practitioner/p1")]),
    ("patient", [("_id", "x,f1938307ae700d9612be61db307a04ed")]),
    ("encounter", [("patient", "f1938307ae700d9612be61db307a04ed")]),
    ("encounter", [("patient", "Patient/f1938307ae700d9612be61db307a04ed")]),
    ("encounter", [("subject", "Patient/f1938307ae700d9612be61db307a04ed")]),
    ("encounter", [("subject:Patient", "f1938307ae700d9612be61db307a04ed")]),
    ("encounter", [("subject", "f1938307ae700d9612be61db307a04ed")]),
    ("encounter", [("class", f"{ACT}|IMP"), ("status", "finished")]),
    ("encounter", [("class", "IMP,AMB"), ("status:not", "planned")]),
    ("encounter", [("date", "ge2026-07-05"), ("date", "le2026-07-11")]),
    ("encounter", [("date", "gt2026-07-05")]),
    ("encounter", [("date", "ap2026-07-06")]),
    ("encounter", [("location", "Location/4w")]),
    ("encounter", [("discharge-disposition", "home")]),
    ("encounter", [("service-provider", "hospa")]),
    ("condition", [("patient", "p1"), ("code", "I50.9"), ("clinical-status", "active")]),
    ("condition", [("onset-date", "2026-07")]),
    ("condition", [("encounter", "e1")]),
    ("coverage", [("patient", "p1")]),
    ("care plan", [("patient", "p1"), ("category", "assess-plan"), ("status", "active")]),
    ("care plan", [("date", "sa2026-07-04")]),
    ("care plan", [("condition", "Condition/c1"), ("goal", "g1")]),
    ("care plan", [("activity-reference", "Task/t1")]),
    ("care team", [("participant", "Practitioner/p1")]),
    ("goal", [("target-date", "2026-08-09"), ("lifecycle-status", "active")]),
    ("task", [("owner", "Organization/pcpb"), ("status", "requested")]),
    ("task", [("based-on", "CarePlan/cp1"), ("code", "urn:segue:task-need|visit")]),
    ("task", [("identifier", r"urn:segue:task-key|HOSPA\|V78421\|visit\|1")]),
    ("task", [("encounter", "Encounter/e1"), ("authored-on", "2026-07-05T12:12:00Z")]),
    ("task", [("authored-on", "2026-07-05T08:12:00-04:00")]),
    ("task", [("authored-on", "2026-07-05T08:12:00 -04:00".replace(" ", ""))]),
    ("provenance", [("target", "Patient/p1"), ("patient", "p1")]),
    ("location", [("name", "4 w")]),
    ("related person", [("patient", "p1")]),
]
MISSES = [
    ("patient", [("identifier", "urn:x|100234")]),
    ("patient", [("identifier", "|100234")]),
    ("patient", [("name", "unez")]),
    ("patient", [("gender", "male")]),
    ("patient", [("birthdate", "gt1948-03-12")]),
    ("encounter", [("patient", "Patient/other")]),
    ("encounter", [("status:not", "finished,planned")]),
    ("encounter", [("date", "2026-07-05")]),
    ("encounter", [("date", "sa2026-07-05")]),
    ("encounter", [("date", "eb2026-07-05")]),
    ("encounter", [("class", "urn:x|IMP")]),
    ("task", [("status", "requested"), ("owner", "Organization/other")]),
    ("task", [("_id", "other")]),
]


@pytest.mark.parametrize(("name", "pairs"), FINDS)
def test_a_search_finds_what_it_describes(name: str, pairs: list[tuple[str, str]]) -> None:
    assert found(EXAMPLES[name], *pairs)


@pytest.mark.parametrize(("name", "pairs"), MISSES)
def test_a_search_leaves_out_the_rest(name: str, pairs: list[tuple[str, str]]) -> None:
    assert not found(EXAMPLES[name], *pairs)


def test_a_code_without_system_is_found_by_a_bar() -> None:
    resource = changed("patient", "identifier.0", {"value": "7"})
    assert found(resource, ("identifier", "|7"))


def test_an_open_period_reaches_without_end() -> None:
    resource = changed("encounter", "period.end", ...)
    assert found(resource, ("date", "ge2030"))
    start = interval("2026-07-05T08:12:00-04:00")[0]
    assert terms(resource).dates == ((parameter_hash("Encounter", "date"), start, HIGHEST),)


def test_an_unknown_start_reaches_back_without_end() -> None:
    resource = changed("encounter", "period", {"end": "2026-07-05"})
    assert terms(resource).dates[0][1] == LOWEST


@pytest.mark.parametrize("name", EXAMPLES)
def test_rows_are_sorted_and_unique(name: str) -> None:
    rows = terms(EXAMPLES[name])
    for group in (rows.tokens, rows.dates, rows.strings):
        assert list(group) == sorted(set(group))


def test_a_subject_that_is_a_patient_costs_one_row() -> None:
    number = reference_hash("Condition", "patient", "Patient/p1")
    rows = terms({"resourceType": "Condition", "subject": {"reference": "Patient/p1"}})
    assert rows.tokens == (number,)
    group = terms({"resourceType": "Condition", "subject": {"reference": "Group/g"}})
    assert group.tokens == (reference_hash("Condition", "subject", "Group/g"),)


def test_a_provenance_is_indexed_by_target_and_patient_only() -> None:
    assert {p.code for p in indexed_of("Provenance")} == {"target", "patient"}
    resource = changed("provenance", "target", [{"reference": "Task/t1"}])
    assert terms(resource).tokens == (reference_hash("Provenance", "target", "Task/t1"),)


def test_versions_and_local_references_are_no_targets() -> None:
    resource = changed("task", "owner", {"reference": "#x"})
    without = changed("task", "owner", ...)
    assert terms(resource) == terms(without)


def test_tags_are_found() -> None:
    resource = changed("task", "meta", {"tag": [{"system": "urn:segue:tag", "code": "retracted"}]})
    assert found(resource, ("_tag", "urn:segue:tag|retracted"))


def test_keys_are_the_same_in_every_process() -> None:
    code = (
        "from segue.fhir.search.hashes import token_hash as h;"
        "print(h('Task', 'status', None, 'requested'))"
    )
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(run.stdout) == token_hash("Task", "status", None, "requested")


def test_keys_fit_a_signed_64_bit_column() -> None:
    numbers = [token_hash("Task", "code", "urn:x", str(n)) for n in range(1_000)]
    assert all(-(2**63) <= n < 2**63 for n in numbers)
    assert len(set(numbers)) == 1_000
    assert min(numbers) < 0 < max(numbers)


def test_no_two_parameters_share_a_number_and_so_never_meet_at_a_value() -> None:
    pairs = {(one.type, one.code) for type_ in types() for one in indexed_of(type_)}
    pairs |= {(type_, code) for type_ in types() for code in ("_tag", "_security")}
    assert len({parameter_salt(*pair) for pair in pairs}) == len(pairs) > 500


def test_rows_of_one_value_are_neighbours_in_the_index() -> None:
    patient = [
        reference_hash(type_, "patient", "Patient/1") >> 32 for type_ in ("Task", "Goal", "Account")
    ]
    assert len(set(patient)) == 1
    assert patient[0] != reference_hash("Task", "patient", "Patient/2") >> 32


def test_rows_of_what_is_of_one_visit_are_neighbours_in_the_index() -> None:
    def place(visit: str) -> set[int]:
        ids = {type_: stable_id(type_, visit) for type_ in ("Encounter", "Goal", "Task")}
        numbers = [reference_hash("Provenance", "target", f"{t}/{id_}") for t, id_ in ids.items()]
        numbers += [token_hash("Task", "identifier", "urn:segue", id_) for id_ in ids.values()]
        numbers += [token_hash("Task", "identifier", None, id_) for id_ in ids.values()]
        assert len(set(numbers)) == len(numbers)
        return {number >> 44 for number in numbers}

    assert len(place("HOSPA|V1")) == 1
    assert place("HOSPA|V1") != place("HOSPA|V2")


def test_an_identifier_in_its_system_stands_beside_the_value_alone() -> None:
    alone, coded = (token_hash("Patient", "identifier", s, "100234") for s in (None, "urn:x"))
    assert alone != coded
    assert alone >> 44 == coded >> 44


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("1970", "1970-01-01", "1970-12-31"),
        ("1970-02", "1970-02-01", "1970-02-28"),
        ("1970-12", "1970-12-01", "1970-12-31"),
    ],
)
def test_a_partial_date_is_the_whole_stretch(text: str, low: str, high: str) -> None:
    assert interval(text) == (interval(low)[0], interval(high)[1])


def test_an_instant_is_as_wide_as_its_precision() -> None:
    assert interval("1970-01-01T00:00:00Z") == (0, 1_000_000)
    assert interval("1970-01-01T00:00:00.123Z") == (123_000, 124_000)
    assert interval("1970-01-01T00:00:00.123456789Z") == (123_456, 123_457)
    assert interval("1970-01-01T01:00Z") == (3_600_000_000, 3_660_000_000)
    assert interval("9999-12")[1] == HIGHEST


def test_the_result_parameters_are_read() -> None:
    query = parse(
        "Encounter",
        [
            ("_count", "5000"), ("_sort", "-date,_id,_lastUpdated"), ("_total", "none"),
            ("_include", "Encounter:patient"), ("_include:iterate", "Encounter:location:Location"),
            ("_revinclude", "Provenance:target"), ("_elements", "status, class"),
            ("_cursor", "abc"), ("_format", "json"), ("_lastUpdated", "gt2026-07-05"),
        ],
    )  # fmt: skip
    assert query.count == 1_000
    assert query.sort == (
        Sort("date", parameter_hash("Encounter", "date"), descending=True),
        Sort("id"),
        Sort("lastUpdated"),
    )
    assert query.total == "none"
    assert query.include == (
        Include("Encounter", "patient"),
        Include("Encounter", "location", "Location", iterate=True),
    )
    assert query.revinclude == (ReverseInclude("Provenance", "target"),)
    assert query.elements == ("status", "class")
    assert query.cursor == "abc"
    assert query.conditions == (LastUpdatedCondition((Interval("gt", *interval("2026-07-05")),)),)
    assert ("_cursor", "abc") not in query.used
    assert not query.ignored


@pytest.mark.parametrize("pair", [("_summary", "count"), ("_count", "0")])
def test_a_count_alone_can_be_asked_for(pair: tuple[str, str]) -> None:
    assert parse("Task", [pair]).summary_count


def test_what_is_not_known_is_named_or_refused() -> None:
    pairs = [("colour", "red"), ("status", "")]
    assert parse("Task", pairs).ignored == ("colour", "status")
    assert parse("Task", pairs) == Query("Task", ignored=("colour", "status"))
    with pytest.raises(FhirError, match="colour") as caught:
        parse("Task", pairs, strict=True)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "pair",
    [
        ("authored-on", "yesterday"), ("authored-on", "ge2026-13"), ("authored-on:missing", "x"),
        ("status:in", "http://x"), ("code:exact", "x"), ("authored-on:not", "2026"),
        ("patient.colour", "x"), ("patient:Group.name", "x"), ("status.name", "x"),
        ("_has:Encounter:patient:status", "x"), ("_has:Task:patient", "x"),
        ("_has:Colour:patient:status", "x"), ("_has:Task:status:code", "x"),
        ("_filter", "x"), ("_list", "x"), ("_count", "many"),
        ("_include", "Task:status"), ("_include", "Task:patient:Colour"), ("_include", "Colour"),
        ("_revinclude", "Nothing:target"), ("based-on", "1"),
        ("code:below", "urn:x|a"), ("identifier:of-type", "a|b"),
        ("_id:not", "x"), ("_total", "maybe"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(FhirError) as caught:
        parse("Task", [pair])
    assert caught.value.status == 400
    assert caught.value.issues[0].text


@pytest.mark.parametrize(
    "pairs",
    [
        [("_id", ",".join("a" * 1_001))],
        [("status", ",".join("a" * 1_001))],
        [("authored-on", ",".join(["2026"] * 201))],
        [("status", ",".join("a" * 500))] * 5,
        [("status", "a")] * 101,
        [("_include", "Task:patient")] * 101,
        [("_sort", ",".join(["_id"] * 11))],
    ],
    ids=["ids", "tokens", "dates", "values", "conditions", "includes", "sorts"],
)
def test_a_search_without_measure_is_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(FhirError) as caught:
        parse("Task", pairs)
    assert caught.value.status == 400


def test_a_reference_with_our_own_base_is_the_relative_one() -> None:
    absolute = parse("Task", [("patient", "http://h/fhir/Patient/1")], base="http://h/fhir")
    assert absolute.conditions == parse("Task", [("patient", "Patient/1")]).conditions


def test_a_version_in_a_reference_is_not_looked_at() -> None:
    versioned = parse("Task", [("patient", "Patient/1/_history/3")])
    assert versioned.conditions == parse("Task", [("patient", "1")]).conditions


def test_the_lock_of_a_conditional_create_knows_no_order() -> None:
    one = parse("Patient", [("identifier", "a|b"), ("gender", "female")])
    other = parse("Patient", [("gender", "female"), ("identifier", "a|b")])
    assert lock_number(one) == lock_number(other)
    assert lock_number(one) != lock_number(parse("Patient", [("identifier", "a|c")]))


def test_includes_read_the_references_of_a_parameter() -> None:
    assert references(EXAMPLES["encounter"], "location") == ["Location/4w"]
    assert references(EXAMPLES["provenance"], "patient") == ["Patient/p1"]
    assert references(EXAMPLES["encounter"], "part-of") == []


def test_text_is_compared_without_case_and_accents() -> None:
    assert folded("ÅNGSTRÖM  Straße") == "angstrom strasse"
    assert len(folded("x" * 500)) == 100


def test_every_parameter_speaks_of_a_known_type_and_element() -> None:
    table = definitions()
    for known in parameters():
        assert set(known.targets) <= table.resources
        for path in known.paths:
            if not path.steps:
                continue
            assert path.steps[0].partition("[")[0] in table.structure(known.type).properties


@pytest.mark.parametrize(
    ("type_", "codes"),
    [
        ("Patient", "identifier name gender birthdate family death-date"),
        ("Encounter", "patient date identifier class type status location discharge-disposition"),
        ("CarePlan", "patient category status date"),
        ("CareTeam", "patient status role participant"),
        ("Goal", "patient lifecycle-status target-date description"),
        ("Condition", "patient category clinical-status encounter code onset-date asserted-date"
                      " recorded-date abatement-date"),
        ("ServiceRequest", "patient category authored code status"),
        ("PractitionerRole", "specialty practitioner"),
        ("Organization", "name address"),
        ("Location", "name address"),
        ("DocumentReference", "patient category date type"),
    ],
)  # fmt: skip
def test_us_core_searches_have_their_parameters(type_: str, codes: str) -> None:
    assert all(parameter(type_, code) for code in codes.split())
