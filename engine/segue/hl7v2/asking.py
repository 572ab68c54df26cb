r"""What a message asks to be answered with (MSH-15, MSH-16), read from its bytes, and set.

Everything else of the message stays as it is, byte for byte. A message that goes to one
receiver was often made for another: whoever sends it on decides what is to be answered.

Source: HL7 v2.5.1 sections 2.9.2 and 2.9.3, table 0155.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from segue.hl7v2.ack import ANSWERS, wants
from segue.hl7v2.peek import peek

ASKS: Final[Mapping[str, tuple[bytes, bytes]]] = {
    "original": (b"", b""),
    "accept": (b"AL", b"NE"),
    "application": (b"AL", b"AL"),
}
"""What can be asked for, as (MSH-15, MSH-16)."""

_SCANNED = 4096


class Asking(NamedTuple):
    """A message that is about to be sent.

    Attributes:
        body: its bytes.
        control_id: MSH-10, which MSA-2 of the answer must repeat.
        application: whether an accept acknowledgement (CA) is only the first half of the
            answer, for MSH-16 asks for what becomes of the message.
    """

    body: bytes
    control_id: str
    application: bool


def asking(body: bytes, asks: str = "as-sent") -> Asking:
    r"""Read what a message asks for, after setting it.

    Args:
        body: the message.
        asks: `original`, `accept` or `application` (see `ASKS`); `as-sent` leaves the
            fields alone, unless success would have no answer: silence is no receipt. So
            ER in MSH-16 is set to AL, for an error could still follow the CA; and MSH-15,
            where neither of the two answers success. An acknowledgement is always left
            alone.

    >>> asking(b"MSH|^~\\&|A|B|C|D|20260705||ADT^A01|HA1|P|2.5.1|||AL|AL\rEVN|A01")[1:]
    ('HA1', True)
    >>> asking(b"MSH|^~\\&|A|B|C|D|20260705||ADT^A01|HA1|P|2.5.1|||AL|ER\rEVN|A01").body
    b'MSH|^~\\&|A|B|C|D|20260705||ADT^A01|HA1|P|2.5.1|||AL|AL\rEVN|A01'
    >>> asking(b"MSH|^~\\&|A|B|C|D|20260705||ADT^A01|HA1|P|2.5.1\rEVN|A01", "accept").body
    b'MSH|^~\\&|A|B|C|D|20260705||ADT^A01|HA1|P|2.5.1|||AL|NE\rEVN|A01'
    """
    start = 0 if body[:3] == b"MSH" else max(body.find(b"MSH", 0, 1024), 0)
    end = body.find(b"\r", start, start + _SCANNED)
    header = body[start:end] if end >= 0 else body[start : start + _SCANNED]
    if b"\n" in header:
        header = header[: header.index(b"\n")]
    mark = header[3:4] or b"|"
    fields = header.split(mark, 16)
    sent = fields[9] if len(fields) > 9 else b""
    if sent.isascii() and header[6:7] not in sent:
        control_id = sent.decode()
    else:
        control_id = peek(body).control_id
    if asks == "as-sent" and len(fields) < 15:
        return Asking(body, control_id, False)
    fields += [b""] * (16 - len(fields))
    accept, application = (_condition(one) for one in fields[14:16])
    if fields[8][:3].decode("latin-1") not in ANSWERS:
        wanted = ASKS.get(asks)
        if wanted is None and application == "ER":
            wanted = (fields[14], b"AL")
        elif wanted is None and (accept or application) and not _answered(accept, application):
            wanted = (b"AL", fields[15])
        if wanted is not None and wanted != tuple(fields[14:16]):
            fields[14:16] = wanted
            accept, application = (_condition(one) for one in wanted)
            rest = body[start + len(header) :]
            changed = mark.join(fields)
            body = body[:start] + (changed if len(fields) > 16 else changed.rstrip(mark)) + rest
    return Asking(body, control_id, bool(application) and wants(application, success=True))


@lru_cache(maxsize=64)
def _condition(field: bytes) -> str:
    return field.decode("latin-1").strip().upper()


@lru_cache(maxsize=64)
def _answered(accept: str, application: str) -> bool:
    """Whether success has any answer; an empty one of the two means NE."""
    return any(wants(one or "NE", success=True) for one in (accept, application))
