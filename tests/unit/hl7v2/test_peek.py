import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.hl7v2.errors import NoHeader
from segue.hl7v2.parse import parse
from segue.hl7v2.peek import Peek, peek
from tests.unit.hl7v2.samples import ADMIT, shared_messages


def test_the_envelope_is_read():
    seen = peek(ADMIT.encode())
    assert (seen.sender_app, seen.sender_facility, seen.control_id) == ("ADT1", "HOSPA", "HA000102")
    assert (seen.type, seen.event, seen.structure) == ("ADT", "A01", "ADT_A01")
    assert (seen.version, seen.processing_id) == ("2.5.1", "P")
    assert seen.pid3 == [("100234", "HOSPA", "MR"), ("999-99-9999", "SSA", "SS")]
    assert seen.issues == []


def test_a_sender_and_an_assigner_known_only_by_oid_are_read():
    text = ADMIT.replace("|HOSPA|", "|^1.2.3^ISO|", 1).replace("HOSPA&1.2.3", "&1.2.3")
    seen = peek(text.encode())
    assert seen.sender_facility == "1.2.3"
    assert seen.pid3[0].authority == "1.2.3"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\r", "\n"),
        lambda t: t.replace("\r", "\r\n"),
        lambda t: "\ufeff" + t,
        lambda t: "\x0b" + t + "\x1c\r",
        lambda t: t.replace("\rPID", "\r  PID"),
        lambda t: t.replace("\rPID", "\rpid"),
        lambda t: t[1:],
    ],
)
def test_a_messy_payload_has_the_same_envelope(change):  # type: ignore[no-untyped-def]
    seen, clean = peek(change(ADMIT).encode()), peek(ADMIT.encode())
    assert seen[:9] == clean[:9]


def test_null_and_empty_identifiers_are_left_out():
    text = ADMIT.replace("100234^^^HOSPA&1.2.3&ISO^MR~999-99-9999^^^SSA^SS", '""~^^^X~7')
    assert peek(text.encode()).pid3 == [("7", "", "")]


def test_pid_2_counts_where_pid_3_is_empty():
    text = ADMIT.replace("PID|1||100234^^^HOSPA&1.2.3&ISO^MR~999-99-9999^^^SSA^SS", "PID|1|55|")
    assert peek(text.encode()).pid3 == [("55", "", "")]


def test_an_escaped_identifier_is_read_as_the_message_reads_it():
    text = ADMIT.replace("100234", "10\\T\\4")
    assert peek(text.encode()).pid3[0].value == parse(text).get("PID-3") == "10&4"


@pytest.mark.parametrize("raw", [b"", b"hello", b"MSH", b"\x00\x01"])
def test_what_has_no_header_is_unreadable_and_says_why(raw: bytes):
    seen = peek(raw)
    assert not seen.readable
    assert [issue.code for issue in seen.issues] == ["no-header"]


def agree(raw: bytes) -> None:
    seen = peek(raw)
    try:
        message = parse(raw)
    except NoHeader:
        assert not seen.readable
        return
    assert seen.readable
    assert (seen.type, seen.event, seen.structure) == tuple(message.trigger[:3])
    assert seen.separators == message.separators
    assert seen.control_id == (message.get("MSH-10") or "").strip('"')


def test_peek_and_parse_agree_on_the_shared_corpus():
    for path in shared_messages():
        raw = path.read_bytes()
        agree(raw)
        value = parse(raw).get("PID-3")
        if value and value != '""':
            assert peek(raw).pid3[0].value == value, path.name


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_no_bytes_at_all_make_it_raise(tail: bytes):
    for raw in (tail, b"MSH" + tail, b"MSH|^~\\&|" + tail, ADMIT.encode() + tail):
        seen = peek(raw)
        assert seen.readable == (seen.header != [] and "charset-unreadable" not in codes(seen))


def codes(seen: Peek) -> set[str]:
    return {issue.code for issue in seen.issues}


def test_the_header_of_what_no_character_set_fits_is_enough_to_answer():
    seen = peek(ADMIT.encode() + b"NTE|1||\x81\xff\r")
    assert (seen.readable, seen.control_id) == (False, peek(ADMIT.encode()).control_id)


def test_what_stands_behind_a_stray_batch_segment_is_not_looked_at():
    raw = b"20260230MSH|^~\\&|A\rFHS|B|HUB\rEVN|A40|2026\rPID|1||7\r"
    seen = peek(raw)
    assert (seen.event, seen.pid3) == (parse(raw).event, [])
