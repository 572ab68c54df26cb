import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.hl7v2.errors import BadPath
from segue.hl7v2.message import NULL, Message
from segue.hl7v2.parse import hl7_message, parse
from segue.hl7v2.paths import compile_path, split_path
from tests.unit.hl7v2.samples import ADMIT

MESSAGE = parse(ADMIT)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("MSH-1", "|"),
        ("MSH-2", "^~\\&"),
        ("MSH-3", "ADT1"),
        ("MSH-9.2", "A01"),
        ("MSH-12", "2.5.1"),
        ("PID-3", "100234"),
        ("PID-3.1.1", "100234"),
        ("PID-3.4", "HOSPA"),
        ("PID-3.4.2", "1.2.3"),
        ("PID-3(2).5", "SS"),
        ("PID-3(3)", None),
        ("PID-5.2", "JANE"),
        ("PID-5.2.1", "JANE"),
        ("PID-5.2.2", None),
        ("PID-7.2", None),
        ("PID-40", None),
        ("PV1-6", NULL),
        ("PV1-6.3", NULL),
        ("PV1-4", None),
        ("OBX-5", "tall & thin"),
        ("OBX(2)-5", None),
        ("ZZZ-1", None),
    ],
)
def test_a_path_reads_the_value(path: str, value: str | None):
    assert MESSAGE.get(path) == value


@pytest.mark.parametrize("path", ["PV1", "PV1-0", "pv1-2", "PV1.2", "PV1-2.0", "PV1-2-1", ""])
def test_a_misspelt_path_is_refused_with_a_hint(path: str):
    with pytest.raises(BadPath, match=r"PV1-19\.1"):
        MESSAGE.get(path)


def test_a_compiled_path_reads_segments_as_well():
    first, second = Message(["MSH|^~\\&", "DG1|1||I10", "DG1|2||E11^x"]).all("DG1")
    code = compile_path("DG1-3")
    assert [code(first), code(second)] == ["I10", "E11"]


def test_a_location_is_written_as_err_2_wants_it():
    assert split_path("OBX(2)-5(1).3").location == "OBX^2^5^1^3"


def test_fields_are_split_only_where_somebody_looks():
    message = parse(ADMIT.replace("\\T\\", "and"))
    message.get("PID-3")
    assert {s.name for s in message.segments if s.split is not None} == {"MSH", "EVN", "PID"}


@pytest.mark.parametrize("raw", ["^^", "^~^", " ", '""^""', "&&^ ", ""])
def test_separators_blanks_and_nulls_are_no_content(raw: str):
    assert not MESSAGE.has_content(raw)


@pytest.mark.parametrize("raw", ["^^A", "0", '""^A', '"', "~x"])
def test_anything_else_is_content(raw: str):
    assert MESSAGE.has_content(raw)


def test_raw_access_keeps_separators_and_numbers_msh_right():
    header = MESSAGE.segments[0]
    assert header.raw(1) == "|"
    assert header.raw(9) == "ADT^A01^ADT_A01"
    assert header.repetitions(2) == ["^~\\&"]
    patient = MESSAGE.first("PID")
    assert patient is not None
    assert patient.repetitions(3) == ["100234^^^HOSPA&1.2.3&ISO^MR", "999-99-9999^^^SSA^SS"]
    assert patient.repetitions(2) == []
    assert patient.raw(99) == ""


def test_an_unknown_escape_is_kept_and_named_by_field():
    message = parse(ADMIT.replace("tall", "C:\\new\\tall"))
    assert message.get("OBX-5") == "C:\\new\\tall & thin"
    assert [(i.code, i.where) for i in message.issues] == [("unknown-escape", "OBX-5")]


def test_messages_are_equal_when_their_text_is():
    assert parse(ADMIT) == parse(ADMIT.replace("\r", "\n"))
    assert parse(ADMIT) != parse(ADMIT.replace("JANE", "JOAN"))


def test_only_the_first_of_several_messages_is_read():
    message = parse(ADMIT + ADMIT.replace("JANE", "JOAN"))
    assert message.text == ADMIT
    assert message.issues[0].code == "several-messages"


def test_text_is_not_decoded_again_by_msh_18():
    text = ADMIT.replace("2.5.1\r", "2.5.1||||||8859/1\r", 1).replace("JANE", "JÖRG")
    assert parse(text).get("PID-5.2") == "JÖRG"
    assert parse(text) == parse(text.encode("latin-1"))


simple = st.text(alphabet="abcXYZ019 .-", min_size=1, max_size=8).map(str.strip).filter(bool)
component = st.lists(simple | st.just(""), min_size=1, max_size=3).map("&".join)
repetition = st.lists(component, min_size=1, max_size=4).map("^".join)
field = st.lists(repetition, min_size=1, max_size=3).map("~".join)
segments = st.lists(st.lists(field, min_size=1, max_size=8), min_size=1, max_size=4)


@settings(max_examples=200, deadline=None)
@given(segments, st.data())
def test_the_reader_agrees_with_the_library_hl7(rows: list[list[str]], data: st.DataObject):
    names = ["PID", "PV1", "DG1", "ZX1"]
    lines = ["|".join([names[i], *row]) for i, row in enumerate(rows)]
    text = "MSH|^~\\&|A|B|C|D|20260705||ADT^A01|1|P|2.5.1\r" + "\r".join(lines) + "\r"
    message = parse(text)
    theirs = hl7_message(message)
    for i, row in enumerate(rows):
        for n in range(1, len(row) + 2):
            r = data.draw(st.integers(1, 3))
            c = data.draw(st.integers(1, 4))
            s = data.draw(st.integers(1, 3))
            try:
                expected = theirs.extract_field(names[i], 1, n, r, c, s)
            except IndexError:
                expected = ""
            got = message.get(f"{names[i]}-{n}({r}).{c}.{s}")
            assert (got or "") == str(expected)


def test_hl7_gets_the_whole_message():
    assert isinstance(hl7_message(MESSAGE), hl7.Message)
    assert len(hl7_message(MESSAGE)) == len(MESSAGE.segments)
