"""Texts that senders spread over segments, one line each, put together again."""

from collections.abc import Iterable

from segue.hl7v2.message import Segment

_TEXTS = frozenset({"TX", "FT", "ST"})


def one_comment(segments: Iterable[Segment]) -> list[Segment]:
    r"""Make one NTE of all of them: an Appointment has a single comment.

    >>> from segue.hl7v2.message import Message
    >>> m = Message(["MSH|^~\\&", "NTE|1||a list", "AIS|1", "NTE|1|P|upstairs"])
    >>> [segment.line for segment in one_comment(m.segments[1:])]
    ['NTE|1||a list~upstairs', 'AIS|1']
    """
    told: list[Segment] = []
    lines: list[str] = []
    place = 0
    for segment in segments:
        if segment.name != "NTE":
            told.append(segment)
            continue
        if not lines:
            place = len(told)
            told.append(segment)
        lines.append(segment.raw(3))
    if lines:
        told[place] = _of_lines(told[place], lines, 3)
    return told


def join_texts(segments: Iterable[Segment], *, every: bool = False) -> list[Segment]:
    r"""Make one segment of OBX that hold one text, and of NTE in a row.

    OBX in a row hold one text if they are of the same text type and observation (OBX-3)
    and, unless it is a document, of the same sub-id (OBX-4). The lines become
    repetitions of the first one's field, as HL7 v2.5.1 section 7.4.2.5 has them.

    Args:
        segments: in order.
        every: whatever the sub-id: the OBX of a document number its lines.

    >>> from segue.hl7v2.message import Message
    >>> m = Message(["MSH|^~\\&", "OBX|1|TX|11506-3||one", "OBX|2|TX|11506-3||two", "NTE|1||x"])
    >>> [segment.line for segment in join_texts(m.segments[1:])]
    ['OBX|1|TX|11506-3||one~two', 'NTE|1||x']
    """
    joined: list[Segment] = []
    last: tuple[str, ...] | None = None
    lines: list[str] = []
    place = 0
    for segment in segments:
        key, n = _key(segment, every)
        if key is not None and key == last:
            lines.append(segment.raw(n))
            continue
        _close(joined, lines, place)
        joined.append(segment)
        last, lines, place = key, [segment.raw(n)] if key is not None else [], n
    _close(joined, lines, place)
    return joined


def _key(segment: Segment, every: bool) -> tuple[tuple[str, ...] | None, int]:
    """What text a segment is a line of, None where it is none; and the field of the line."""
    if segment.name == "NTE":
        return ("NTE", *(segment.raw(n) for n in (2, 4, 5, 6))), 3
    if segment.name == "OBX" and segment.raw(2) in _TEXTS:
        sub = "" if every else segment.raw(4)
        return ("OBX", segment.raw(2), segment.raw(3), sub, segment.raw(14)), 5
    return None, 0


def _close(joined: list[Segment], lines: list[str], n: int) -> None:
    if len(lines) > 1:
        joined[-1] = _of_lines(joined[-1], lines, n)


def _of_lines(first: Segment, lines: list[str], n: int) -> Segment:
    separators = first.separators
    fields = list(first.fields)
    fields[n : n + 1] = [separators.repetition.join(lines)]
    return Segment(separators.field.join(fields), first.index, separators)
