import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.hl7v2.mllp import FrameError, Unframer, frame
from tests.unit.hl7v2.samples import ADMIT

RAW = ADMIT.encode()


def feed(data: bytes, cuts: list[int], max_size: int = 10_000) -> list[bytes | FrameError]:
    unframer = Unframer(max_size)
    found: list[bytes | FrameError] = []
    places = sorted({c for c in cuts if 0 < c < len(data)})
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        found += unframer.feed(data[start:end])
    return found


def codes(found: list[bytes | FrameError]) -> list[str]:
    return [item.code for item in found if isinstance(item, FrameError)]


def test_a_frame_cut_at_every_byte_is_the_same_frame():
    data = frame(RAW) + frame(b"MSH|2")
    for cut in range(len(data) + 1):
        assert feed(data, [cut]) == [RAW, b"MSH|2"]
    assert feed(data, list(range(len(data)))) == [RAW, b"MSH|2"]


payloads = st.binary(max_size=60).filter(lambda b: b"\x1c" not in b and b"\x0b" not in b)


@settings(max_examples=200, deadline=None)
@given(st.lists(payloads, max_size=5), st.lists(st.integers(0, 400), max_size=8))
def test_unframing_gives_back_what_was_framed_however_it_is_cut(sent: list[bytes], cuts: list[int]):
    assert feed(b"".join(map(frame, sent)), cuts) == sent


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([b"\x0b", b"\x1c", b"\r", b"MSH", b"x", b"\n", b"BHS|"]), max_size=40),
    st.lists(st.integers(0, 100), max_size=6),
)
def test_what_comes_out_depends_on_the_bytes_and_never_on_the_cuts(
    pieces: list[bytes], cuts: list[int]
):
    data = b"".join(pieces)
    assert feed(data, cuts, max_size=12) == feed(data, [], max_size=12)


@pytest.mark.parametrize(
    "end", [b"\x1c\r", b"\x1c", b"\x1c\n", b"\x1c\r\n", b"\x1c\x1c\r", b"\x1c\r\x1c\r"]
)
def test_sloppy_ends_of_frames_are_taken(end: bytes):
    data = b"\x0b" + RAW + end
    assert feed(data + data, []) == [RAW, RAW]


def test_a_payload_that_was_framed_twice_comes_out_once():
    assert feed(frame(frame(RAW)), []) == [RAW]


def test_a_vertical_tab_in_the_text_is_text():
    assert feed(frame(RAW.replace(b"tall", b"ta\x0bll")), []) == [RAW.replace(b"tall", b"ta\x0bll")]


def test_a_new_frame_inside_a_frame_cuts_the_old_one_off():
    found = feed(b"\x0b" + RAW[:50] + frame(RAW), [])
    assert found[1:] == [RAW]
    assert found[0] == FrameError("truncated", "A new frame began inside this one.", RAW[:50])


def test_an_oversize_frame_is_one_error_and_the_next_frame_is_fine():
    unframer = Unframer(100)
    first = unframer.feed(b"\x0b" + RAW[:101])
    assert codes(first) == ["oversize"]
    assert first[0].head.startswith(b"MSH|")  # type: ignore[union-attr]
    for _ in range(10):
        assert unframer.feed(b"x" * 1000) == []
        assert unframer.pending == 0
    assert unframer.feed(b"\x1c\r" + frame(b"MSH|2")) == [b"MSH|2"]


def test_a_frame_of_exactly_the_limit_is_taken():
    assert feed(frame(b"x" * 50), [], max_size=50) == [b"x" * 50]
    assert codes(feed(frame(b"x" * 51), [], max_size=50)) == ["oversize"]


def test_bytes_outside_a_frame_are_reported_once():
    found = feed(RAW + RAW + frame(RAW) + b"junk" + frame(RAW), [3, 50])
    assert codes(found) == ["unframed", "unframed"]
    assert [item for item in found if isinstance(item, bytes)] == [RAW, RAW]


def test_a_line_that_ends_inside_a_frame_says_so():
    unframer = Unframer()
    unframer.feed(b"\x0bMSH|half")
    assert unframer.inside
    assert unframer.pending == 8
    (error,) = unframer.close()
    assert (error.code, error.head) == ("truncated", b"MSH|half")
    assert unframer.close() == []


def test_all_that_was_cut_off_in_one_frame_is_told_apart():
    unframer = Unframer()
    assert unframer.feed(b"\x0bMSH|1\rPID|\x0bMSH|2\rEVN|\x0bMSH|3") == []
    found = unframer.close()
    assert [error.head for error in found] == [b"MSH|1\rPID|", b"MSH|2\rEVN|", b"MSH|3"]
    assert [error.text.rpartition(", ")[2] for error in found[:2]] == ["after MSH.", "after MSH."]


def test_a_hostile_frame_is_read_in_linear_time():
    payload = b"\x0bMSH" * 200_000
    found = feed(frame(payload), [], max_size=len(payload))
    assert codes(found) == ["truncated"] * 65
    assert found[-1] == b"MSH"
    assert sum(len(error.head) for error in found[:-1]) > 700_000  # type: ignore[union-attr]
