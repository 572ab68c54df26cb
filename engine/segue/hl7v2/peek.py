"""The envelope of a message, read without building it: before the acknowledgement.

What durable intake can see: sender, control id, event, processing id, and the
identifiers that choose a lane.
"""

from collections.abc import Sequence
from typing import NamedTuple

from segue.hl7v2.escapes import unescape
from segue.hl7v2.events import identify
from segue.hl7v2.normalise import normalise_text, read_text
from segue.hl7v2.separators import NULL, STANDARD, Separators, read_separators
from segue.model.issues import Issue

UNREADABLE = "charset-unreadable"
"""Issue of a message that no character set fits: its header is read as Latin-1, so that it
can be answered; nothing else of it can be used."""


class Identifier(NamedTuple):
    """A repetition of PID-3.

    Attributes:
        value: CX.1.
        authority: CX.4.1, else its universal id CX.4.2; "" where neither is sent.
        type: CX.5, "" where empty.
    """

    value: str
    authority: str
    type: str


class Peek(NamedTuple):
    """What the envelope says; "" stands for absent.

    Attributes:
        sender_app: MSH-3.1, else MSH-3.2.
        sender_facility: MSH-4.1, else MSH-4.2.
        control_id: MSH-10.
        type: MSH-9.1; event and structure as `Message` gives them.
        version: MSH-12.1.
        processing_id: MSH-11.1.
        pid3: the identifiers of the first PID; those of PID-2 where PID-3 has none.
        header: raw MSH fields by number; empty where there is no MSH.
        separators: of the message.
        charset: the Python codec that it was decoded with.
        issues: what is wrong with the payload, character set and separators.
    """

    sender_app: str
    sender_facility: str
    control_id: str
    type: str
    event: str
    structure: str
    version: str
    processing_id: str
    pid3: list[Identifier]
    header: list[str]
    separators: Separators
    charset: str
    issues: list[Issue]

    @property
    def readable(self) -> bool:
        """Whether the rest can be read as well as the header."""
        return bool(self.header) and not (self.issues and self.undecoded)

    @property
    def undecoded(self) -> bool:
        """Whether no character set fits, so that only the header is to be used."""
        return any(issue.code == UNREADABLE for issue in self.issues)


def peek(raw: bytes, charset_fallback: Sequence[str] = ("cp1252",)) -> Peek:
    r"""Read the envelope; never raises, see `Peek.readable`.

    >>> seen = peek(b"MSH|^~\\&|ADT1|HOSPA|||2026||ADT^A04|7|P|2.5\rPID|1||77^^^HOSPA^MR\r")
    >>> seen.sender_facility, seen.control_id, seen.event, seen.structure
    ('HOSPA', '7', 'A04', 'ADT_A01')
    >>> seen.pid3
    [Identifier(value='77', authority='HOSPA', type='MR')]
    """
    issues: list[Issue] = []
    text, charset = read_text(raw, charset_fallback, issues)
    if text is None and any(issue.code == UNREADABLE for issue in issues):
        text, charset = read_text(raw, ("latin-1",), [], declared="")
    if text is None:
        return Peek("", "", "", "", "", "", "", "", [], [], STANDARD, charset, issues)
    if any(issue.code == "junk-before-header" for issue in issues):
        text = normalise_text(text, []).text  # what follows may be no better than what led
    mark = text[3]
    header = _line(text, 0).split(mark)
    header.insert(1, mark)
    separators, _ = read_separators(mark, header[2] if len(header) > 2 else "")
    header += [""] * (13 - len(header))
    patient, event = _find(text, "PID" + mark), _find(text, "EVN" + mark)
    if patient is None:
        # No PID, or one that has to be repaired first: rare enough to do it properly.
        for line in normalise_text(text, []).lines:
            if line[:4] == "PID" + mark:
                patient = line
                break
    component = separators.component
    trigger = identify(header[9], event.split(mark, 2)[1] if event else "", header[12], separators)
    return Peek(
        _name(header[3], separators),
        _name(header[4], separators),
        _plain(header[10], separators),
        trigger.type,
        trigger.event,
        trigger.structure,
        _plain(header[12].split(component, 1)[0], separators),
        _plain(header[11].split(component, 1)[0], separators),
        _identifiers(patient, separators, charset) if patient else [],
        header,
        separators,
        charset,
        issues,
    )


def _line(text: str, start: int) -> str:
    end = text.find("\r", start)
    line = text[start:end] if end >= 0 else text[start:]
    return line.split("\n", 1)[0] if "\n" in line else line


def _find(text: str, opening: str) -> str | None:
    start = text.find("\r" + opening)
    if "\n" in text and (other := text.find("\n" + opening)) >= 0:
        start = other if start < 0 else min(start, other)
    if start < 0:
        return None
    return _line(text, start + 1)


def _identifiers(patient: str, separators: Separators, charset: str) -> list[Identifier]:
    fields = patient.split(separators.field, 4)
    found: list[Identifier] = []
    for n in (3, 2):
        if len(fields) <= n or not fields[n]:
            continue
        for repetition in fields[n].split(separators.repetition):
            parts = repetition.split(separators.component, 5)
            value = _plain(parts[0].split(separators.subcomponent, 1)[0], separators, charset)
            if value:
                found.append(
                    Identifier(
                        value,
                        _name(parts[3], separators, separators.subcomponent, charset)
                        if len(parts) > 3
                        else "",
                        _plain(parts[4], separators, charset) if len(parts) > 4 else "",
                    )
                )
        if found:
            break
    return found


def _name(raw: str, separators: Separators, below: str = "", charset: str = "utf-8") -> str:
    """The namespace of an HD, else its universal id."""
    if not raw:
        return ""
    parts = raw.split(below or separators.component, 2)
    name = _plain(parts[0], separators, charset)
    return name or (_plain(parts[1], separators, charset) if len(parts) > 1 else "")


def _plain(raw: str, separators: Separators, charset: str = "utf-8") -> str:
    if not raw or raw == NULL:
        return ""
    raw = raw.strip()
    return unescape(raw, separators, charset) if separators.escape in raw else raw
