"""Datatypes: what FHIR gets, and that nothing that is sent can break them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.mapping.datatypes import decimal_of
from segue.mapping.directory import DATATYPES
from segue.mapping.functions import FUNCTIONS
from segue.mapping.tables import Tools
from segue.mapping.values import scratch
from tests.unit.mapping.samples import core

NEEDS = {
    "constant": {"value": "x"},
    "order_detail": {"code": 2},
    "participant": {"type": "ATND"},
    "role_participant": {
        "role": 3,
        "start": 5,
        "end": 6,
        "provider": 9,
        "organization": 14,
        "phone": 12,
    },
    "role_practitioner": {"provider": 9, "organization": 14, "phone": 12},
    "reference_to": {"map": "X", "element": "party"},
    "encounter_diagnosis": {"map": "X"},
    "us_core_category": {"url": "us-core-race", "of": "race"},
    "extension": {"url": "urn:x", "value": "valueString"},
    "coverage_class": {"type": "plan"},
    "label": {"code": "R"},
    "team_member": {"role": 3, "start": 5, "end": 6, "organization": 14, "action": 2},
    "role_performer": {"role": 3, "organization": 14, "action": 2},
    "subscriber": {"map": "X"},
    "made_reference": {"map": "X"},
    "related_document": {"code": "replaces"},
    "listed": {"datatype": "EI"},
    "listed_extension": {"url": "urn:x", "value": "valueString", "datatype": "ST"},
    "preferred": {"datatype": "CX", "component": 5, "values": ["MR"]},
    "standing_reference": {"map": "X"},
    "numbered": {"type": "MC"},
    "coded_component": {"code": "1", "display": "x"},
}
ALL = {**DATATYPES, **FUNCTIONS}
SENT = st.text(alphabet='^&~\\|" .-+0123456789ABYNSZé', max_size=40)


def tools():
    return Tools(core().tables)


def test_the_list_of_options_covers_every_function():
    import inspect

    for name, factory in ALL.items():
        parameters = inspect.signature(factory).parameters.values()
        required = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
        assert required <= set(NEEDS.get(name, {})), name


@given(raw=SENT, others=st.lists(SENT, max_size=8))
@pytest.mark.parametrize("name", sorted(ALL))
def test_nothing_that_is_sent_raises(name, raw, others):
    run = scratch()
    run.fields = ["ZZZ", *others]
    ALL[name](tools(), **NEEDS.get(name, {}))(raw, run)


@pytest.mark.parametrize("raw", ["^^", "&", " ", "^ ^", '""^""'])
@pytest.mark.parametrize("name", ["CX", "XPN", "XTN", "XCN_Practitioner", "ST", "DTM", "PL"])
def test_bare_delimiters_are_no_content(name, raw):
    run = scratch()
    assert DATATYPES[name](tools())(raw, run) is None
    assert run.directory == {}


def made(name, raw, **options):
    return DATATYPES[name](tools(), **options)(raw, scratch())


def test_an_identifier_takes_the_system_of_its_assigner():
    assert made("CX", "7^^^HOSPA^MR")["system"] == "urn:oid:1.2.3"
    assert made("CX", "7")["system"] == "urn:oid:1.2.3"
    assert made("CX", "7^^^&1.2.840.1&ISO")["system"] == "urn:oid:1.2.840.1"
    assert made("CX", "7^^^HIE^PI")["system"] == "urn:segue:authority:HIE"
    assert made("CX", "7^^^HIE^ODD")["type"] == {"text": "ODD"}


def test_a_name_keeps_all_its_parts_and_its_use():
    name = made("XPN", "DOE&VON^JANE^Q^JR^DR^MD^L")
    assert name == {
        "family": "DOE",
        "given": ["JANE", "Q"],
        "suffix": ["JR", "MD"],
        "prefix": ["DR"],
        "use": "official",
    }


def test_an_address_keeps_lines_use_and_type():
    address = made("XAD", "1 MAIN ST&MAIN^APT 2^TOWN^MA^01234^USA^M^^NORFOLK")
    assert address == {
        "line": ["1 MAIN ST", "APT 2"],
        "city": "TOWN",
        "state": "MA",
        "postalCode": "01234",
        "country": "USA",
        "district": "NORFOLK",
        "type": "postal",
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("(555)555-1234^PRN^PH", {"system": "phone", "value": "(555)555-1234", "use": "home"}),
        (
            "^WPN^FX^^1^555^5551234^9",
            {"system": "fax", "value": "+1 555 5551234 x9", "use": "work"},
        ),
        ("^NET^Internet^a@b.example", {"system": "email", "value": "a@b.example"}),
        ("555^PRN^CP", {"system": "phone", "value": "555", "use": "mobile"}),
        ("^^^^^^^^^^^+15551234", {"system": "phone", "value": "+15551234"}),
    ],
)
def test_a_contact_point_has_system_value_and_use(raw, expected):
    assert made("XTN", raw) == expected


def test_a_coding_keeps_both_codes_and_an_unknown_system_is_the_sites():
    concept = made("CWE", "A1^Alpha^99LOC^B2^Beta^SCT")
    assert concept["coding"][0]["system"] == "urn:segue:coding-system:HOSPA:99LOC"
    assert concept["coding"][1]["system"] == "http://snomed.info/sct"
    assert concept["text"] == "Alpha"


def test_a_birth_date_keeps_its_precision():
    assert [made("DT", raw) for raw in ("19550214", "195502", "1955", "195502140830")] == [
        "1955-02-14",
        "1955-02",
        "1955",
        "1955-02-14",
    ]


@pytest.mark.parametrize("text", ["9" * 400, "1E999999", "1E-999999", "NaN", "Infinity", "1,5"])
def test_a_number_that_nobody_measures_is_left_out_and_named(text):
    run = scratch()
    assert decimal_of(text, run) is None
    assert [code for _, code, _ in run.found] == ["bad-number"]


def test_escapes_are_read_in_text():
    from segue.hl7v2.parse import parse

    message = parse("MSH|^~\\&|A")
    run = scratch(unescape=message.unescape)
    assert DATATYPES["ST"](tools())(r"A\T\B \F\ C", run) == "A&B | C"
