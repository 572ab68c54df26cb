import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segue.hl7v2 import normalise as module
from segue.hl7v2.errors import Hl7Error
from segue.hl7v2.normalise import WARNINGS, normalise
from segue.hl7v2.parse import parse
from tests.unit.hl7v2.samples import ADMIT, shared_messages

RAW = ADMIT.encode()
LINES = ADMIT.rstrip("\r").split("\r")


def codes(raw: bytes, **options: object) -> list[str]:
    return [issue.code for issue in normalise(raw, **options).issues]  # type: ignore[arg-type]


def test_a_clean_message_is_left_as_it_is():
    found = normalise(RAW)
    assert found.text == ADMIT
    assert found.issues == []


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (RAW.replace(b"\r", b"\n"), "line-ends-lf"),
        (RAW.replace(b"\r", b"\r\n"), "line-ends-crlf"),
        (RAW.replace(b"\r", b"\n", 2), "line-ends-mixed"),
        (RAW.replace(b"\r", b"\r\r", 2), "blank-line"),
        (b"\xef\xbb\xbf" + RAW, "byte-order-mark"),
        (b"\x0b" + RAW + b"\x1c\r", "frame-marks"),
        (RAW + b"\x1c\r", "frame-marks"),
        (b"Content-Type: x\r\n\r\n" + RAW, "junk-before-header"),
        (RAW[1:], "header-cut"),
        (RAW.replace(b"JANE", b"JA\x00NE").replace(b"JA\x00NE", b"\x00JANE"), "control-characters"),
        (RAW.replace(b"\rPID", b"\r  PID"), "leading-blanks"),
        (RAW.replace(b"\rPID", b"\rpid"), "lower-case-segment"),
        (b"msh" + RAW[3:], "lower-case-segment"),
        (b"FHS|^~\\&\rBHS|^~\\&\r" + RAW, "batch-envelope"),
        (RAW + b"BTS|1\rFTS|1\r", "batch-envelope"),
        (RAW + RAW, "several-messages"),
    ],
)
def test_each_repair_gives_the_same_segments_and_says_its_code(raw: bytes, code: str):
    found = normalise(raw)
    assert found.lines == LINES
    assert [issue.code for issue in found.issues] == [code]


def test_a_line_that_is_no_segment_continues_the_field_before_it():
    raw = RAW.replace(b"tall \\T\\ thin", b"first\nsecond\n\nafter a gap|with a bar")
    found = normalise(raw)
    assert len(found.lines) == len(LINES)
    assert found.lines[-1].endswith("|first\nsecond\n\nafter a gap|with a bar")
    assert "continuation-line" in codes(raw)


def test_a_line_after_the_header_that_is_no_segment_does_not_spoil_the_header():
    found = normalise(b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\nPIDX|1||2\nEVN|A01\n")
    assert found.lines == ["MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5", "EVN|A01"]
    assert "unreadable-line" in [issue.code for issue in found.issues]


def test_a_known_segment_without_any_field_is_kept():
    found = normalise(RAW + b"PV2\r")
    assert found.lines[-1] == "PV2|"
    assert codes(RAW + b"PV2\r") == ["bare-segment"]


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"hello", b"MSH", b"MSHARK|x", b"x" * 2000 + RAW])
def test_bytes_without_a_header_are_an_error_value(raw: bytes):
    found = normalise(raw)
    assert found.text == ""
    assert [(i.code, i.severity) for i in found.issues] == [("no-header", "error")]
    with pytest.raises(Hl7Error, match="no MSH segment"):
        parse(raw)


@pytest.mark.parametrize(
    ("second_field", "character", "code"),
    [
        ("^~\\&", "&", None),
        ("^~\\&#", "&", None),
        ("^~\\", "&", "encoding-characters-short"),
        ("^~\\\\&", "&", "encoding-characters-repeated"),
        ("", "&", "encoding-characters-missing"),
        ("ADT1", "&", "encoding-characters-odd"),
        ("$%@!", "!", None),
    ],
)
def test_encoding_characters_of_any_length_are_read(
    second_field: str, character: str, code: str | None
):
    found = normalise(f"MSH|{second_field}|A\r".encode())
    assert found.separators.subcomponent == character
    assert [issue.code for issue in found.issues] == ([code] if code else [])


def test_separators_of_the_senders_own_choice_are_used():
    message = parse(b"MSH#!@%*#APP#FAC#####ADT!A01#7#P#2.5\rPID#1##12345!!!MRN##DOE!JOHN\r")
    assert message.get("PID-5.2") == "JOHN"
    assert message.event == "A01"


def with_charset(declared: str, name: bytes) -> bytes:
    head = RAW.split(b"\r", 1)[0] + b"||||||" + declared.encode()
    return head + b"\rPID|1||7||" + name + b"^X\r"


@pytest.mark.parametrize(
    ("declared", "codec", "name"),
    [
        ("UNICODE UTF-8", "utf-8", "JÖRG"),
        ("UTF-8", "utf-8", "佐藤"),
        ("8859/1", "iso8859-1", "JÖRG"),
        ("8859/2", "iso8859-2", "Łukasz"),
        ("8859/5", "iso8859-5", "Иван"),
        ("8859/15", "iso8859-15", "ŒUVRE"),
        ("GB 18030-2000", "gb18030", "王小明"),
        ("BIG-5", "big5", "許功蓋"),  # second bytes that are | and \ in ASCII
        ("KS X 1001", "euc_kr", "김철수"),
        ("SHIFT-JIS", "cp932", "ソニー"),
        ("~ISO IR87", "iso2022_jp", "山田太郎"),
        ("ISO IR6~ISO IR87", "iso2022_jp", "山田"),
        ("WINDOWS-1250", "cp1250", "Łukasz"),
    ],
)
def test_text_is_decoded_as_msh_18_declares(declared: str, codec: str, name: str):
    message = parse(with_charset(declared, name.encode(codec)))
    assert message.get("PID-5.1") == name
    assert message.issues == []


@pytest.mark.parametrize(
    ("declared", "raw", "name", "expected"),
    [
        ("", "JÖRG".encode(), "JÖRG", ["charset-undeclared"]),
        ("", "JÖRG".encode("cp1252"), "JÖRG", ["charset-undeclared", "charset-fallback"]),
        ("ASCII", "JÖRG".encode("cp1252"), "JÖRG", ["charset-wrong", "charset-fallback"]),
        ("UNICODE UTF-8", "JÖRG".encode("cp1252"), "JÖRG", ["charset-wrong", "charset-fallback"]),
        ("KLINGON", "JÖRG".encode(), "JÖRG", ["charset-unknown"]),
        ("8859/1", "O’NEIL".encode("cp1252"), "O’NEIL", ["charset-windows"]),
        ("8859/1", "JÖRG".encode(), "JÃ\x96RG", ["charset-doubtful"]),
        ("UNICODE UTF-8", "J\ufffdRG".encode(), "J\ufffdRG", ["replacement-character"]),
    ],
)
def test_a_wrong_or_missing_charset_is_never_repaired_in_silence(
    declared: str, raw: bytes, name: str, expected: list[str]
):
    message = parse(with_charset(declared, raw))
    assert message.get("PID-5.1") == name
    assert [issue.code for issue in message.issues] == expected


def test_text_that_no_charset_fits_is_an_error_value():
    raw = with_charset("UNICODE UTF-8", b"J\x81RG")
    found = normalise(raw, ("cp1252",))
    assert found.text == ""
    assert found.issues[-1].code == "charset-unreadable"
    assert found.issues[-1].severity == "error"


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_unicode_is_recognised_without_msh_18(codec: str):
    message = parse(ADMIT.replace("JANE", "JÖRG").encode(codec))
    assert message.get("PID-5.2") == "JÖRG"


def test_a_word_processors_soft_line_end_is_a_line_end_in_the_field():
    message = parse(RAW.replace(b"tall", b"tall\x0band"))
    assert message.get("OBX-5") == "tall\nand & thin"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
@example(b"MSH|")
@example(b"MSH|\r\r\n\x0b\x1c")
def test_no_bytes_at_all_make_it_raise(tail: bytes):
    for raw in (tail, b"MSH" + tail, b"MSH|^~\\&" + tail, RAW + tail, tail + RAW):
        found = normalise(raw)
        assert bool(found.lines) == (not any(i.severity == "error" for i in found.issues))
        if found.lines:
            parse(raw)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="MSHPIDZ1|^~\\& \r\n\tab\x0b", max_size=120))
def test_normalising_twice_is_normalising_once(tail: str):
    once = normalise((ADMIT + tail).encode())
    twice = normalise(once.text.encode())
    assert twice.lines == once.lines


def test_every_message_of_the_shared_corpus_is_read_with_the_right_number_of_segments():
    for path in shared_messages():
        raw = path.read_bytes()
        message = parse(raw)
        mark = re.escape(message.separators.field)
        expected = re.findall(rf"(?m)^[A-Z][A-Z0-9]{{2}}{mark}", message.text.replace("\r", "\n"))
        assert len(message.segments) == len(expected), path.name
        # The same count from the bytes, without any of our code.
        plain = re.findall(
            rb"(?m)^(?:\xef\xbb\xbf)?[A-Z][A-Z0-9]{2}" + mark.encode(), raw.replace(b"\r", b"\n")
        )
        assert len(message.segments) == len(plain), path.name
        for segment in message.segments:
            for n in range(1, len(segment.fields)):
                message.get(f"{segment.name}-{n}.1")


@pytest.mark.parametrize(
    "text",
    ["x\n" * 300_000, "\n" * 300_000, "\\" * 300_000, "\\.sp99\\" * 50_000, "OBX|1\n" * 50_000],
)
def test_hostile_text_is_read_in_linear_time_and_bounded_space(text: str):
    message = parse(ADMIT + "NTE|1||" + text + "\r")
    assert len(message.get("NTE-3") or "") <= 6 * len(text)


def test_numbers_of_any_length_do_no_harm():
    digits = "9" * 5000
    raw = f"MSH|^~\\&|||||{digits}||ADT^A47|1|P|{digits}\rOBX|1||||\\.sp{digits}\\\r"
    assert parse(raw).structure == "ADT_A44"


def test_every_code_in_use_is_explained():
    assert all(text.endswith(".") for text in WARNINGS.values())
    assert set(WARNINGS) >= module._HARMLESS | module._FATAL


@pytest.mark.parametrize(("usual", "rare"), [("\r", "\n"), ("\n", "\r"), ("\r\n", "\n")])
def test_a_line_end_of_the_other_kind_ends_a_segment_only_where_one_follows(
    usual: str, rare: str
) -> None:
    text = f"first{rare}BMI|23{rare}{rare}last"
    lines = ["MSH|^~\\&|A", "EVN|A08", f"OBX|1|TX|||{text}", "NTE|1"]
    found = normalise(usual.join(lines).encode() + usual.encode())
    assert [line[:3] for line in found.lines] == ["MSH", "EVN", "OBX", "NTE"]
    assert found.lines[2] == "OBX|1|TX|||first\nBMI|23\n\nlast"
    assert [issue.code for issue in found.issues] == ["line-ends-mixed", "continuation-line"]
    ended = normalise(usual.join(lines).replace(f"{usual}NTE", f"{rare}NTE").encode())
    assert [line[:3] for line in ended.lines] == ["MSH", "EVN", "OBX", "NTE"]
