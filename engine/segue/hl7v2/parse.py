"""Bytes to `Message`, and the one door to the library `hl7`."""

from collections.abc import Sequence
from typing import Any

from segue.hl7v2.charsets import codec_of
from segue.hl7v2.errors import NoHeader
from segue.hl7v2.escapes import unescape
from segue.hl7v2.message import Message, Segment
from segue.hl7v2.normalise import (
    Normalised,
    normalise,
    normalise_text,
    read_text,
    warning,
)
from segue.model.issues import Issue


def parse(raw: bytes | str, charset_fallback: Sequence[str] = ("cp1252",)) -> Message:
    r"""Read one message, as tolerant as `normalise` is.

    Args:
        raw: the payload; of several messages in it the first is read, see `batch`.
        charset_fallback: Python codecs to try where MSH-18 does not hold.

    Raises:
        NoHeader: there is no MSH, or no character set fits. All else is in `issues`.

    >>> message = parse(b"MSH|^~\\&|ADT1|HOSPA|||2026||ADT^A01|7|P|2.5.1\rPID|1||77\r")
    >>> message.event, message.get("PID-3"), message.issues
    ('A01', '77', [])
    """
    found = normalise(raw, charset_fallback) if isinstance(raw, bytes) else _normalise_str(raw)
    if not found.lines:
        text = next((i.text for i in found.issues if i.severity == "error"), "")
        raise NoHeader(f"No HL7 v2 message: {text} Look at the payload as it was received.")
    message = Message(found.lines, found.separators, found.charset, found.issues)
    issues = found.issues
    for code in message.trigger.codes:
        issues.append(warning(code, "MSH-9"))
    mark = found.separators.escape
    for segment in message.segments:
        # MSH-2 holds the escape character once.
        if mark in segment.line and (segment.index or segment.line.count(mark) > 1):
            issues += _escape_issues(segment, found.charset)
    return message


def hl7_message(message: Message) -> Any:
    """The same message as an `hl7.Message`, for a site's own steps; slow (2 ms).

    Source: https://python-hl7.readthedocs.io
    """
    import hl7

    return hl7.parse(message.text)


def _normalise_str(text: str) -> Normalised:
    """Text is decoded already; MSH-18 only says how it is to be written again."""
    issues: list[Issue] = []
    try:
        found, _ = read_text(text.encode("utf-8"), (), issues, "UTF-8")
    except UnicodeEncodeError:  # a lone surrogate
        return Normalised([], [warning("charset-unreadable")])
    if found is None:
        return Normalised([], issues)
    normalised = normalise_text(found, issues)
    header = normalised.lines[0].split(normalised.separators.field, 18)
    declared = header[17] if len(header) > 17 else ""
    if declared:
        codec = codec_of(declared, normalised.separators.repetition)
        normalised.charset = "utf-8" if codec in (None, "ascii") else str(codec)
    return normalised


def _escape_issues(segment: Segment, charset: str) -> list[Issue]:
    separators = segment.separators
    issues = []
    for n, raw in enumerate(segment.fields):
        if separators.escape not in raw or (n == 2 and segment.name == "MSH"):
            continue
        codes: list[str] = []
        for repetition in raw.split(separators.repetition):
            for component in repetition.split(separators.component):
                for leaf in component.split(separators.subcomponent):
                    unescape(leaf, separators, charset, codes)
        issues += [warning(code, f"{segment.name}-{n}") for code in dict.fromkeys(codes)]
    return issues
