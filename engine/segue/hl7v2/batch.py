"""Files and payloads with more than one message.

Source: HL7 v2.5.1 sections 2.10.3 (batch protocol), 2.15.2, 2.15.3, 2.15.6, 2.15.7.
"""

import re
from dataclasses import dataclass, field

from segue.hl7v2.normalise import warning
from segue.model.issues import Issue

_HEADER = re.compile(
    rb"(?:\A(?:\xef\xbb\xbf)?|[\r\n\x0b\x1c])[ \t]*"
    rb"((?:MSH|FHS|BHS)(?=[!-/:-@\[-`{-~])|(?:BTS|FTS)(?=[!-/:-@\[-`{-~\s]|\Z))"
)
_MARKS = b"\x0b\x1c\r\n \t\x00"


@dataclass(slots=True)
class Batch:
    """The messages of a payload.

    Attributes:
        messages: each as it stands, from its MSH to the next segment of a batch.
        issues: where counts are wrong, or headers and trailers do not match.
        batches: how many BHS there are.
        enclosed: whether there is any batch segment.
        header: the first BHS, else FHS; file: whether there is an FHS.
        cut: whether it ends within a message, and without the trailers that it owes.
    """

    messages: list[bytes]
    issues: list[Issue] = field(default_factory=list)
    batches: int = 0
    enclosed: bool = False
    header: bytes = b""
    file: bool = False
    cut: bool = False


def split(raw: bytes) -> Batch:
    r"""Take a payload apart; never raises.

    A payload of one message and no batch segment is given back untouched, and so is
    one without any header: it is for `parse` to say what is wrong with it.

    >>> split(b"BHS|^~\\&\rMSH|^~\\&|A\rMSH|^~\\&|B\rBTS|2\r").messages
    [b'MSH|^~\\&|A\r', b'MSH|^~\\&|B\r']
    """
    if raw[:3] == b"MSH" and not (raw.find(b"MSH", 3) > 0 or b"TS" in raw or b"HS" in raw):
        return Batch([raw])  # nothing of a batch can be in it
    found = [(m.start(1), m.group(1)) for m in _HEADER.finditer(raw)]
    enclosed = any(name != b"MSH" for _, name in found)
    if not enclosed and len(found) <= 1:
        return Batch([raw])
    batch = Batch([], enclosed=enclosed)
    open_batch: int | None = None  # messages before the batch that is open
    in_file = False
    for place, (start, name) in enumerate(found):
        end = found[place + 1][0] if place + 1 < len(found) else len(raw)
        segment = raw[start:end].rstrip(_MARKS) + b"\r"
        if name != b"MSH" and len(segment.splitlines()) > 1:
            _warn(batch, "batch-stray", name.decode())
        so_far = len(batch.messages)
        if name in (b"FHS", b"BHS"):
            batch.file |= name == b"FHS"
            if batch.header[:3] != b"BHS":
                batch.header = segment
        match name:
            case b"MSH":
                batch.messages.append(segment)
            case b"BHS":
                if open_batch is not None:
                    _warn(batch, "batch-unclosed", "BHS")
                open_batch = so_far
                batch.batches += 1
            case b"BTS":
                if open_batch is None:
                    _warn(batch, "batch-unclosed", "BTS")
                _compare(batch, segment, so_far - (open_batch or 0), "BTS-1")
                open_batch = None
            case b"FHS":
                in_file = True
            case _:
                if not in_file:
                    _warn(batch, "batch-unclosed", "FTS")
                in_file = False
                # A file without BHS counts as one batch, or counts its messages.
                if batch.batches or _count(segment) not in (None, 0, 1, so_far):
                    _compare(batch, segment, batch.batches, "FTS-1")
    unclosed = open_batch is not None or in_file
    batch.cut = unclosed and found[-1][1] == b"MSH" and raw[-1:] not in b"\r\n\x1c"
    if open_batch is not None:
        _warn(batch, "batch-unclosed", "BHS")
    if in_file:
        _warn(batch, "batch-unclosed", "FHS")
    if not batch.messages:
        _warn(batch, "batch-empty", "")
    return batch


def split_cut(raw: bytes) -> list[bytes]:
    r"""The messages of a payload that ends before its end; the last may end anywhere.

    >>> split_cut(b"BHS|^~\\&\rMSH|^~\\&|A\rMSH|^~\\&|B\rPID|1||7")
    [b'MSH|^~\\&|A\r', b'MSH|^~\\&|B\rPID|1||7']
    """
    messages = split(raw).messages
    # What is taken apart gets a line end of its own.
    if messages and messages[-1] is not raw and raw.endswith(messages[-1][:-1]):
        messages[-1] = messages[-1][:-1]
    return messages


def _count(segment: bytes) -> int | None:
    digits = segment.splitlines()[0][4:].split(segment[3:4] or b"|", 1)[0].strip()
    return int(digits) if digits.isdigit() and len(digits) < 10 else None


def _compare(batch: Batch, segment: bytes, actual: int, where: str) -> None:
    count = _count(segment)
    if count is not None and count != actual:
        _warn(batch, "batch-count", where)


def _warn(batch: Batch, code: str, where: str) -> None:
    batch.issues.append(warning(code, where))
