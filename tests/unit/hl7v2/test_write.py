import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segue.hl7v2.errors import Unwritable
from segue.hl7v2.escapes import MOST_BLANKS, escape, unescape
from segue.hl7v2.message import NULL, Message
from segue.hl7v2.parse import parse
from segue.hl7v2.separators import STANDARD, Separators
from segue.hl7v2.write import MessageBuilder, Raw, Value, amended, encode, write
from tests.unit.hl7v2.samples import ADMIT

OTHERS = Separators("#", "!", "@", "%", "*", "$")
FIVE = Separators(truncation="#")


@settings(max_examples=300, deadline=None)
@given(st.text(), st.sampled_from([STANDARD, OTHERS, FIVE]))
@example("a|b^c~d\\e&f#\r\n\x0b\x1c", FIVE)
def test_what_is_escaped_reads_the_same_again(text: str, separators: Separators):
    escaped = escape(text, separators)
    assert unescape(escaped, separators) == text
    assert not set(escaped) & {*separators[:3], separators.subcomponent, "\r", "\n", "\x1c"}


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        ("\\F\\\\S\\\\T\\\\R\\\\E\\", "|^&~\\"),
        ("a\\.br\\b", "a\nb"),
        ("a\\.sp2\\b", "a\n\nb"),
        ("a\\.sp+2\\b", "a\n\nb"),
        ("a\\.sk 3\\b", "a   b"),
        ("\\.in+4\\\\.ti-2\\a\\.fi\\\\.nf\\", "a"),
        ("\\H\\loud\\N\\", "loud"),
        ("\\X0D0A\\", "\r\n"),
        ("\\XC3A9\\", "é"),
        ("\\XZZ\\", "\\XZZ\\"),
        ("\\Zlocal\\", "\\Zlocal\\"),
        ("\\C2842\\", "\\C2842\\"),
        ("\\\\", "\\\\"),
        ("100\\", "100\\"),
        ("C:\\dir\\F\\x", "C:\\dir|x"),
    ],
)
def test_escape_sequences_are_read(escaped: str, text: str):
    assert unescape(escaped) == text


def test_formatting_cannot_fill_the_memory():
    codes: list[str] = []
    text = unescape("\\.sp999999999999999999999\\" + "\\.sk500\\", codes=codes)
    assert len(text) == 2 * MOST_BLANKS
    assert codes == ["escape-capped", "escape-capped"]


printable = st.text(
    st.characters(
        blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), blacklist_characters='"\ufffd'
    ),
    min_size=1,
    max_size=8,
)
leaf = printable | st.none()
part = leaf | st.tuples(leaf, printable)
repeated: st.SearchStrategy[Value] = st.one_of(
    leaf, st.lists(part, min_size=1, max_size=4).map(tuple)
)
value: st.SearchStrategy[Value] = st.one_of(repeated, st.lists(repeated, min_size=1, max_size=3))
rows = st.lists(
    st.tuples(
        st.sampled_from(["PID", "PV1", "OBX", "ZX1"]),
        st.dictionaries(st.integers(1, 12), value, max_size=5),
    ),
    max_size=5,
)


def build(parts: list[tuple[str, dict[int, Value]]], separators: Separators = STANDARD) -> Message:
    builder = MessageBuilder(separators)
    builder.header(type="ADT", event="A08", structure="ADT_A01", control_id="7", time="20260705")
    for name, fields in parts:
        builder.segment(name, fields)
    return builder.build()


@settings(max_examples=200, deadline=None)
@given(rows, st.sampled_from([STANDARD, OTHERS, FIVE]))
def test_a_message_that_was_written_is_read_the_same(
    parts: list[tuple[str, dict[int, Value]]], separators: Separators
):
    message = build(parts, separators)
    again = parse(write(message))
    assert again == message
    assert again.issues == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=10).filter(lambda t: t == t.rstrip()), min_size=1))
def test_the_values_that_were_written_are_read_again(texts: list[str]):
    message = parse(write(build([("OBX", {5: tuple(texts)})])))
    for n, text in enumerate(texts, 1):
        assert message.get(f"OBX-5.{n}") == (text if text != "" else None)


def test_every_parsed_message_survives_writing():
    message = parse(ADMIT.replace("tall", "one\ntwo").replace("JANE", "JÖRG").encode("cp1252"))
    assert parse(write(message)) == message


def test_null_and_raw_values_are_not_escaped():
    assert encode((NULL, Raw("a\\T\\b"), "c&d")) == '""^a\\T\\b^c\\T\\d'


def test_a_field_is_replaced_and_the_rest_left():
    message = parse(ADMIT)
    copy = amended(message, {"MSH-10": "N1", "PID-40": ("a", "b"), "MSH-18": "8859/1"})
    assert copy.get("MSH-10") == "N1"
    assert copy.get("PID-40.2") == "b"
    assert copy.segments[0].raw(18) == "8859/1"
    assert message.get("MSH-10") == "HA000102"


@pytest.mark.parametrize("path", ["PV2-3", "PID-5.1", "MSH-2", "PID(2)-3"])
def test_what_is_not_a_whole_field_that_is_there_cannot_be_replaced(path: str):
    with pytest.raises(Unwritable, match=r"PV2|PID|MSH"):
        amended(parse(ADMIT), {path: "x"})


def test_the_builder_refuses_what_hl7_cannot_carry():
    builder = MessageBuilder(character_set="8859/1")
    with pytest.raises(Unwritable, match="header"):
        builder.build()
    with pytest.raises(Unwritable, match="before MSH"):
        builder.segment("PID", {})
    builder.header(type="A", event="B", structure="C", control_id="1", time="2026")
    with pytest.raises(Unwritable, match="counted from 1"):
        builder.segment("PID", {0: "x"})
    with pytest.raises(Unwritable, match="nested"):
        builder.segment("PID", {1: ((("x",),),)})
    with pytest.raises(Unwritable, match="MSH-18"):
        write(builder.segment("PID", {5: "佐藤"}).build())
    with pytest.raises(Unwritable, match="0211"):
        MessageBuilder(character_set="KLINGON")
