import pytest

from segue.hl7v2.ack import ERRORS, AckCode, AckError, ack, conditions, read_ack, wants
from segue.hl7v2.parse import parse
from segue.hl7v2.peek import peek
from segue.model.instants import Moment
from tests.unit.hl7v2.samples import ADMIT

NOW = Moment("2026-07-05T13:45:01-04:00", 0)
ERROR = AckError("204", "PID^1^3^1^4", "unknown assigner")


def answer(incoming: str, code: AckCode = "AA", **options: object) -> list[str]:
    seen = peek(incoming.encode())
    whole = parse(incoming)
    first = ack(whole, code, control_id="S1", now=NOW, **options)  # type: ignore[arg-type]
    assert ack(seen, code, control_id="S1", now=NOW, **options) == first  # type: ignore[arg-type]
    return first.decode().split("\r")[:-1]


@pytest.mark.parametrize("code", ["AA", "AE", "AR", "CA", "CE", "CR"])
def test_the_answer_goes_back_to_the_sender_and_names_the_message(code: AckCode):
    header, msa = answer(ADMIT, code)
    assert header == ("MSH|^~\\&|SEGUE|HIE|ADT1|HOSPA|20260705134501-0400||ACK^A01^ACK|S1|P|2.5.1")
    assert msa == f"MSA|{code}|HA000102"
    assert read_ack("\r".join([header, msa]).encode()).code == code


def test_the_senders_separators_and_charset_are_used():
    text = "MSH#!@%*#APP#FAC#HUB#X#2026##ADT!A01#7#P#2.5######8859/1\r"
    header, msa, err = answer(text, "AE", text="larger", errors=[ERROR])
    assert header.startswith("MSH#!@%*#HUB#X#APP#FAC#")
    assert header.endswith("#8859/1")
    assert err.startswith("ERR##PID!1!3!1!4#204!Unknown key identifier!HL70357#E")
    assert "größer" in ack(
        peek(text.encode()), "AE", control_id="1", now=NOW, text="größer"
    ).decode("latin-1")
    assert msa.startswith("MSA#AE#7#")


@pytest.mark.parametrize("version", ["2.1", "2.3", "2.3.1", "2.4"])
def test_up_to_v2_4_errors_are_repetitions_of_err_1(version: str):
    text = ADMIT.replace("|2.5.1\r", f"|{version}\r", 1)
    lines = answer(text, "AE", errors=[ERROR, AckError("207")])
    assert lines[2:] == [
        "ERR|PID^1^3^204&Unknown key identifier&HL70357~^^^207&Application internal error&HL70357"
    ]


@pytest.mark.parametrize("version", ["2.5", "2.5.1", "2.6", "2.9.1", ""])
def test_from_v2_5_each_error_has_a_segment_with_severity(version: str):
    text = ADMIT.replace("|2.5.1\r", f"|{version}\r", 1)
    lines = answer(text, "AE", errors=[ERROR, AckError("207", severity="W")])
    assert lines[2:] == [
        "ERR||PID^1^3^1^4|204^Unknown key identifier^HL70357|E||||unknown assigner",
        "ERR|||207^Application internal error^HL70357|W",
    ]


def test_a_payload_without_header_is_still_answered():
    for nothing in (None, peek(b"hello")):
        raw = ack(nothing, "AR", control_id="S1", now="20260705", text="no MSH")
        assert raw == b"MSH|^~\\&|||||20260705||ACK|S1|P|2.5.1\rMSA|AR||no MSH\r"


def test_a_header_that_was_cut_off_is_answered_with_what_could_be_read():
    raw = ack(peek(b"MSH|^~\\&|ADT1|HOS"), "AR", control_id="S1", now="2026")
    assert raw.startswith(b"MSH|^~\\&|||ADT1|HOS|2026||ACK|S1|P|2.5.1\rMSA|AR|")


@pytest.mark.parametrize(
    ("accept", "application", "expected"),
    [
        ("", "", (False, "NE", "AL")),
        ("AL", "", (True, "AL", "NE")),
        ("", "ER", (True, "NE", "ER")),
        ("NE", "AL", (True, "NE", "AL")),
        ("al", "su", (True, "AL", "SU")),
    ],
)
def test_original_mode_is_where_both_conditions_are_empty(
    accept: str, application: str, expected: tuple[bool, str, str]
):
    text = ADMIT.replace("2.5.1\r", f"2.5.1|||{accept}|{application}\r", 1)
    assert tuple(conditions(parse(text))) == expected
    assert tuple(conditions(peek(text.encode()))) == expected


@pytest.mark.parametrize(
    ("condition", "on_success", "on_error"),
    [("AL", True, True), ("NE", False, False), ("ER", False, True), ("SU", True, False)],
)
def test_a_condition_says_when_to_answer(condition: str, on_success: bool, on_error: bool):
    assert wants(condition, success=True) is on_success
    assert wants(condition, success=False) is on_error


@pytest.mark.parametrize("version", ["2.3", "2.5.1"])
def test_what_we_answer_we_can_read(version: str):
    text = ADMIT.replace("|2.5.1\r", f"|{version}\r", 1)
    raw = ack(
        parse(text),
        "AE",
        control_id="S1",
        now=NOW,
        text="bad & ugly",
        errors=[AckError("204", "PID^1^3"), AckError("101", "PV1^1^2")],
    )
    found = read_ack(raw)
    assert found == ("AE", "HA000102", ("204", "101"), "bad & ugly")
    assert not found.accepted


@pytest.mark.parametrize(
    "junk", [b"", b"OK", b"\x06", b"HTTP/1.1 200 OK\r\n", b"MSH|^~\\&|A\r", ADMIT.encode(),
             b"MSH|^~\\&|A\rMSA|ZZ|1\r", b"MSH|^~\\&|A\rMSA\r"],
)  # fmt: skip
def test_junk_is_no_acknowledgement(junk: bytes):
    assert read_ack(junk).code == ""


def test_an_error_condition_in_msa_6_counts_where_there_is_no_err():
    raw = b"MSH|^~\\&|A\rMSA|AR|7|sorry|||207^internal\r"
    assert read_ack(raw) == ("AR", "7", ("207",), "sorry")


def test_the_table_of_error_conditions_is_that_of_hl7():
    numbers = {*range(100, 105), 198, 199, *range(200, 208), 0}
    assert {int(code) for code in ERRORS} == numbers
