import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.hl7v2.batch import split
from segue.hl7v2.parse import parse
from tests.unit.hl7v2.samples import ADMIT, shared_messages

ONE = ADMIT.encode()
TWO = ADMIT.replace("HA000102", "HA000103").encode()
FHS, BHS = b"FHS|^~\\&|A\r", b"BHS|^~\\&|A\r"


@pytest.mark.parametrize(
    ("raw", "messages", "codes"),
    [
        (ONE, [ONE], []),
        (b"", [b""], []),
        (b"no HL7 at all", [b"no HL7 at all"], []),
        (b"\x0b" + ONE + b"\x1c\r", [b"\x0b" + ONE + b"\x1c\r"], []),
        (ONE + TWO, [ONE, TWO], []),
        (b"\x0b" + ONE + b"\x1c\r\x0b" + TWO + b"\x1c\r", [ONE, TWO], []),
        (FHS + BHS + ONE + TWO + b"BTS|2\rFTS|1\r", [ONE, TWO], []),
        (FHS + BHS + ONE + b"BTS|1\r" + BHS + TWO + b"BTS|1\rFTS|2\r", [ONE, TWO], []),
        (BHS + ONE + b"BTS\r", [ONE], []),
        (BHS + ONE + TWO + b"BTS|3\r", [ONE, TWO], ["batch-count"]),
        (FHS + BHS + ONE + b"BTS|1\rFTS|4\r", [ONE], ["batch-count"]),
        (FHS + ONE + TWO + b"FTS|2\r", [ONE, TWO], []),
        (BHS + ONE, [ONE], ["batch-unclosed"]),
        (BHS + ONE + BHS + TWO + b"BTS|1\r", [ONE, TWO], ["batch-unclosed"]),
        (FHS + BHS + ONE + b"BTS|1\r", [ONE], ["batch-unclosed"]),
        (ONE + b"BTS|1\r", [ONE], ["batch-unclosed"]),
        (FHS + BHS + b"BTS|0\rFTS|1\r", [], ["batch-empty"]),
    ],
)
def test_a_payload_is_taken_apart(raw: bytes, messages: list[bytes], codes: list[str]):
    batch = split(raw)
    assert batch.messages == messages
    assert [issue.code for issue in batch.issues] == codes


def test_line_feeds_separate_messages_as_well():
    raw = (b"\xef\xbb\xbf" + BHS + ONE + TWO + b"BTS|2\r").replace(b"\r", b"\n")
    batch = split(raw)
    assert [parse(m).get("MSH-10") for m in batch.messages] == ["HA000102", "HA000103"]
    assert batch.issues == []


def test_a_header_inside_a_field_is_text():
    raw = ONE.replace(b"tall", b"MSH|^~ was sent, then BTS|9")
    assert split(raw).messages == [raw]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([b"MSH|", b"FHS|", b"BHS|", b"BTS|x", b"FTS", b"BTS|2", b"PID|1"])),
    st.sampled_from([b"\r", b"\n", b"\r\n"]),
)
def test_no_file_at_all_makes_it_raise(lines: list[bytes], end: bytes):
    batch = split(end.join(lines))
    assert len(batch.messages) == max(
        lines.count(b"MSH|"), 0 if any(x[1:3] in (b"HS", b"TS") for x in lines) else 1
    )


def test_every_shared_file_is_one_message_given_back_untouched():
    for path in shared_messages():
        raw = path.read_bytes()
        assert split(raw).messages == [raw], path.name
