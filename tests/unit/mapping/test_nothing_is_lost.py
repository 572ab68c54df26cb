"""Whatever a field of an ADT segment holds is mapped, or named and kept verbatim."""

import json
from pathlib import Path
from typing import Any

import pytest

from segue.mapping.context import Mapped
from tests.unit.mapping.samples import MAPPINGS, PID, PV1, mapped, message, segment

FIELDS: dict[str, dict[str, Any]] = json.loads((MAPPINGS / "standard.json").read_text())

BASE = {
    "EVN": {1: "A01", 2: "20260705134200-0400"},
    "PID": {1: "1", 3: "100^^^HOSPA^MR", 5: "DOE^JANE"},
    "ARV": {3: "DEM"},
    "NK1": {1: "1", 2: "DOE^JO", 3: "SPO"},
    "PV1": {1: "1", 2: "I", 3: "4W^1^A", 19: "V1^^^HOSPA^VN"},
    "DB1": {1: "1", 2: "PT"},
    "ROL": {1: "r1", 2: "AD", 3: "CP", 4: "77^ROE"},
    "PRT": {1: "p1", 2: "AD", 4: "CP", 5: "77^ROE"},
    "OBX": {1: "1", 2: "ST", 3: "8302-2^H^LN", 5: "v", 11: "F"},
    "AL1": {1: "1", 2: "DA", 3: "P^PEN^L"},
    "IAM": {1: "1", 3: "P^PEN^L", 6: "A"},
    "DG1": {1: "1", 3: "I50^HF^I10", 6: "A"},
    "PR1": {1: "1", 3: "93000^ECG^C4", 5: "20260705"},
    "GT1": {1: "1", 3: "DOE^JOHN"},
    "IN1": {1: "1", 2: "PLAN", 3: "PAYX", 4: "PAYER"},
    "IN3": {1: "1"},
    "MRG": {1: "200^^^HOSPA^MR"},
    "OH1": {3: "E^Emp^L"},
    "OH2": {4: "J^Job^L"},
    "OH3": {3: "J^Job^L"},
    "OH4": {3: "20200101"},
    "PRB": {1: "AD", 2: "20260705", 3: "P^prob^L", 4: "PI1"},
    **{name: {} for name in ("PD1", "PV2", "ACC", "UB1", "UB2", "PDA", "DRG", "SFT", "IN2", "NTE")},
}
"""What a segment must have to mean something."""
SET_IDS = {f"{name}-1" for name in BASE} - {"PD1-1", "PV2-1", "ACC-1", "UB1-1", "UB2-1", "PDA-1"}
SET_IDS -= {"DRG-1", "SFT-1", "IN2-1", "ROL-1", "PRT-1", "MRG-1", "GOL-1"}
SAID = {"DB1-2", "DG1-2", "DG1-21", "IAM-6", "OBX-2", "OH1-2", "OH2-2", "OH3-2", "OH4-2"}
SAID |= {"PR1-2", "PR1-20", "PRB-2", "PRT-2", "ROL-2"}
"""They say how to read the others: a kind, a coding system, an action."""


def told(name: str, fields: dict[int, str]) -> str:
    """All that comes of a message with such a segment."""
    own = segment(name, **{f"f{n}": value for n, value in fields.items()}) if fields else f"{name}|"
    lines = [PID, PV1]
    if name in ("IN2", "IN3"):
        lines.append(segment("IN1", **{f"f{n}": v for n, v in BASE["IN1"].items()}))
    if name in ("PID", "PV1"):
        lines[name == "PV1"] = own
    elif name != "EVN":
        lines.append(own)
    event = "A40" if name == "MRG" else "A01"
    return picture(mapped(message(event, *lines, evn=own if name == "EVN" else "")))


def picture(found: Mapped) -> str:
    parts: list[Any] = [found.verbatim, found.directory, found.wanted]
    parts += [(one.code, one.where) for one in found.issues]
    for fact in found.facts:
        parts += [fact.identity, fact.prior, fact.links, fact.visit, fact.details, fact.labels]
        parts += [fact.occurred, fact.recorded, fact.person, fact.stay]
    parts.append(found.making() if found.making else None)
    return repr(parts)


@pytest.mark.parametrize("name", BASE)
def test_no_field_is_dropped_in_silence(name: str) -> None:
    lost = []
    for n in range(1, FIELDS[name]["fields"] + 3):
        base = {number: value for number, value in BASE[name].items() if number != n}
        without = told(name, base)
        for value in ("ZQ7", "20250301", "5", "ZQ7^ZQ8^ZQ9", "Y"):
            if f"{name}-{n}" not in SET_IDS | SAID and told(name, base | {n: value}) == without:
                lost.append(f"{name}-{n} {value}")
    assert lost == []


ORDER = {1: "1", 2: "P1", 3: "F1", 4: "G^Glucose^L"}
OTHERS: dict[str, tuple[list[str], dict[str, dict[int, str]]]] = {
    "SIU^S12": (["SCH"], {
        "SCH": {1: "P1", 2: "F1", 7: "^FU", 11: "^^30^20260716100000^20260716103000", 25: "BOOKED"},
        "AIS": {1: "1", 3: "S^Svc^L"}, "AIP": {1: "1", 3: "77^CUT^SAM"},
        "AIL": {1: "1", 3: "CLINIC^1"}, "AIG": {1: "1", 3: "G1^ECG"}, "NTE": {1: "1", 3: "n"},
        "RGS": {1: "1"}, "TQ1": {1: "1"},
    }),
    "MDM^T02": (["TXA"], {
        "TXA": {1: "1", 2: "DS", 4: "20260705", 12: "D1", 17: "AU"},
        "OBX": {1: "1", 2: "TX", 3: "8302-2^H^LN", 5: "v"}, "OBR": ORDER, "ORC": {1: "RE"},
    }),
    "ORU^R01": (["ORC", "OBR", "OBX"], {
        "OBR": ORDER | {7: "20260705", 25: "F"}, "ORC": {1: "RE", 2: "P1", 3: "F1"},
        "OBX": {1: "1", 2: "ST", 3: "8302-2^H^LN", 5: "v", 11: "F"}, "NTE": {1: "1", 3: "n"},
        "SPM": {1: "1", 2: "S1", 4: "BLD^B^L"}, "PRT": {1: "p1", 2: "AD", 4: "RI", 5: "77^ROE"},
    }),
    "PPR^PC1": (["PRB"], {
        "PRB": {1: "AD", 2: "20260705", 3: "P^prob^L", 4: "PI1"},
        "GOL": {1: "AD", 2: "20260705", 3: "G^goal^L", 4: "GI1"},
        "PTH": {1: "AD", 2: "P^path^L", 3: "PT1", 4: "20260705"}, "OBR": ORDER, "ORC": {1: "NW"},
        "VAR": {1: "V1", 2: "20260705"}, "NTE": {1: "1", 3: "n"},
    }),
    "REF^I12": (["RF1"], {
        "RF1": {1: "A", 3: "LAB", 4: "SO", 6: "R1"}, "PRD": {1: "RP", 2: "ROE^J"},
        "CTD": {1: "RP", 2: "X^Y"}, "OBR": ORDER, "NTE": {1: "1", 3: "n"},
        "OBX": {1: "1", 2: "ST", 3: "8302-2^H^LN", 5: "v", 11: "F"},
    }),
}  # fmt: skip
"""Other messages: the segments that stand before the one that is tried, and what all need."""
HOW = {"AIS-2", "AIP-2", "AIL-2", "AIG-2", "RGS-2", "PRB-2", "GOL-2", "OBX-2", "PRT-2"}
"""Actions, and times of actions; and how a value is to be read."""


@pytest.mark.parametrize("kind", OTHERS)
def test_no_field_of_another_message_is_dropped_in_silence(kind: str) -> None:
    before, segments = OTHERS[kind]

    def told(name: str, fields: dict[int, str]) -> str:
        lines = [PID, PV1]
        for one in dict.fromkeys([*before, name]):
            held = fields if one == name else segments[one]
            lines.append(segment(one, **{f"f{n}": v for n, v in held.items()}) if held else one)
        return picture(mapped(message("A01", *lines).replace("ADT^A01", kind)))

    lost = []
    for name, base in segments.items():
        for n in range(2, FIELDS[name]["fields"] + 3):
            without = {number: text for number, text in base.items() if number != n}
            plain = told(name, without)
            lost += [
                f"{name}-{n} {value}"
                for value in ("ZQ7", "20250301", "5", "Y")
                if f"{name}-{n}" not in HOW and told(name, without | {n: value}) == plain
            ]
    assert [one for one in lost if not one.startswith("SCH-11 ")] == []


def test_the_credentials_of_a_user_are_kept_with_no_patient() -> None:
    found = mapped(message("A01", "UAC|KERB^Kerberos^HL70615|secret", PID, PV1))
    assert "secret" not in picture(found)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("DG1|1||I50.2^HF^I10|Heart failure, acute||ADMIT|||||||||first", {"DG1-6", "DG1-15"}),
        ("DG1|1||I50.2^HF^I10^^^^^^HF|Heart failure, acute||F", {"DG1-4"}),
        ("PR1|1||93000^ECG^C4||20260705||30", {"PR1-7"}),
        ("OBX|1|ST|8302-2^H^LN||tall|cm|||||F", {"OBX-6"}),
        ("OBX|1|NM|8302-2^H^LN||170|cm|||||F", set()),
        ("ROL|1|AD|AT|77^ROE||||||||^WPN^PH^^1^617^5550101", {"ROL-1", "ROL-12"}),
        ("IN1|1|PLAN|PAYX|PAYER|||||GROUP B", {"IN1-9"}),
        ("PV2||||||||||||||||||||||N", {"PV2-22"}),
    ],
)  # fmt: skip
def test_what_is_looked_at_and_not_used_is_kept(sent: str, kept: set[str]) -> None:
    assert set(mapped(message("A01", PID, PV1, sent)).unmapped) == kept


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("PID|1||100^^^HOSPA^MR||DOE^JANE||19550214|F" + "^" * 22 + "x", {"PID-8.23": "x"}),
        ("PID|1||1^^^HOSPA^MR~2^^^X^PI^^^^^^^^y", {"PID-3(2).13": "y"}),
        ("PID|1||1^^^HOSPA&1.2&ISO&z^MR||DOE^JANE||19550214^D", {"PID-3.4.4": "z"}),
        ("PV1|1|I|4W^^^^^^^^^^^a&b||||7^ROE&F&G&H&I&K", {"PV1-3.12": "a&b", "PV1-7.2.6": "K"}),
        ("GT1|1||DOE^JO^^^^^^^^^^^^^^w", {"GT1-3.16": "w"}),
        ("OBX|1|ST|8302-2^H^LN||a^b&c^d||||||F", {}),
        ("NTE|1||R&D ^ more", {"NTE-3": "R&D ^ more"}),
        ("PID|1||1^^^HOSPA^MR^^^^^^^^^^^~2||DOE^JANE" + "^" * 20, {}),
    ],
)  # fmt: skip
def test_what_a_field_holds_beyond_its_datatype_is_named_and_kept(
    line: str, kept: dict[str, str]
) -> None:
    lines = [PID, PV1 + "|" * 40, line]
    for place, name in enumerate(("PID", "PV1")):
        if line.startswith(name):
            lines[place : place + 1] = [line + "|" * 16 + "V1"] if name == "PV1" else [line]
            lines.pop()
    for _ in range(2):  # also where it comes again
        found = mapped(message("A01", *lines)).verbatim
        assert {at: text for at, text in found.items() if at in kept or "." in at} == kept


def test_what_a_header_holds_beyond_its_datatypes_is_kept() -> None:
    sent = message("A01", PID, PV1).replace("|ADT^A01", "|ADT^A01^ADT_A01^extra", 1)
    assert mapped(sent).verbatim["MSH-9.4"] == "extra"


def test_the_place_of_a_message_about_no_visit_is_kept() -> None:
    assert mapped(message("A31", PID, PV1)).unmapped == ["PV1-3", "PV1-19"]


def test_what_an_appointment_cannot_hold_is_kept() -> None:
    sch = "SCH|P1|F1|3||||^FU||||^^30^20260716100000||||||||||||||BOOKED"
    parts = ["AIP|1||77^CUT^SAM|||20260716|||ten|min||MAYBE", "AIL|1||CLINIC^1"]
    sent = message("A01", sch, PID, PV1, "RGS|1", *parts).replace("ADT^A01", "SIU^S12")
    assert mapped(sent).unmapped == ["SCH-3", "AIP-6", "AIP-9", "AIP-10", "AIP-12"]
    timed = sent.replace("|20260716|", "|20260716100000|").replace("MAYBE", "Confirmed")
    assert mapped(timed).unmapped == ["SCH-3", "AIP-9", "AIP-10"]


def test_a_description_is_the_text_of_a_diagnosis() -> None:
    (fact,) = mapped(message("A01", PID, PV1, "DG1|1||I50.2^HF^I10|Heart failure, acute")).facts
    (code,) = [one.elements["code"] for one in fact.stay if one.type == "Condition"]
    assert (code["text"], code["coding"][0]["display"]) == ("Heart failure, acute", "HF")


def test_the_list_of_fields_is_that_of_the_standard() -> None:
    assert Path(MAPPINGS / "standard.json").exists()
    assert set(BASE) <= set(FIELDS)


@pytest.mark.parametrize(
    ("kind", "own", "type_"),
    [
        ("SIU^S12", "SCH|P1|F1|||||||||||||||||||||||" + '""', "Appointment"),
        ("ORU^R01", "OBR|1||F1|G^Glucose^L|||20260705" + "|" * 18 + '""', "DiagnosticReport"),
        ("MDM^T02", 'TXA|1|DS|TX|20260705||||||||D1|||||""||""', "DocumentReference"),
    ],
)
def test_a_null_deletes_nothing_that_a_resource_must_have(kind: str, own: str, type_: str) -> None:
    found = mapped(message("A01", PID, own).replace("ADT^A01", kind))
    (made,) = [one for one in found.facts[0].person if one.type == type_]
    assert made.elements["status"]


def test_a_referral_has_details_only_beside_its_code() -> None:
    for code, kept in (("", ["RF1-4"]), ("LAB^Laboratory", [])):
        sent = message("A01", f"RF1|A||{code}|SO^Second opinion||R1", PID)
        assert mapped(sent.replace("ADT^A01", "REF^I12")).unmapped == kept
