"""Acknowledgements: made for what came in, read of what was sent.

Source: HL7 v2.5.1 sections 2.9 (processing rules), 2.15.1 (ACK), 2.15.5 (ERR),
2.15.8 (MSA), tables 0008, 0155, 0357; v2.4 section 2.16.5 (ERR-1).
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from segue.hl7v2.batch import Batch
from segue.hl7v2.escapes import escape
from segue.hl7v2.events import version_number
from segue.hl7v2.message import Message
from segue.hl7v2.normalise import normalise
from segue.hl7v2.peek import Peek
from segue.hl7v2.separators import STANDARD
from segue.hl7v2.times import dtm_of
from segue.model.instants import Moment

AckCode = Literal["AA", "AE", "AR", "CA", "CE", "CR"]
"""MSA-1: application (original mode, or enhanced after processing) and commit codes."""

ERRORS: Final[dict[str, str]] = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "104": "Value too long",
    "198": "Non-conformant cardinality",
    "199": "Other HL7 error",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}
"""Table 0357, message error condition codes."""

ANSWERS: Final = frozenset({"ACK", "MCF"})
"""Types of messages that answer others; an answer to an answer would have no end."""

_CODES = frozenset(("AA", "AE", "AR", "CA", "CE", "CR"))


class AckError(NamedTuple):
    """One error to report.

    Attributes:
        code: of `ERRORS`.
        location: `PID^1^3` (segment, sequence, field …), as `Path.location` gives it;
            "" where it is the whole message.
        text: for a person; no patient data.
        severity: table 0516: E error, W warning, I information.
    """

    code: str
    location: str = ""
    text: str = ""
    severity: Literal["E", "W", "I"] = "E"


class Acknowledgement(NamedTuple):
    """What a receiver answered.

    Attributes:
        code: MSA-1; "" where the bytes are no acknowledgement.
        control_id: MSA-2: the MSH-10 that it answers.
        error_codes: ERR-3 (v2.5 on), else ERR-1.4, else MSA-6; table 0357.
        text: ERR-8, else ERR-7, else MSA-3.
    """

    code: str
    control_id: str
    error_codes: tuple[str, ...] = ()
    text: str = ""

    @property
    def accepted(self) -> bool:
        """AA or CA."""
        return self.code in ("AA", "CA")


class Conditions(NamedTuple):
    """When the sender wants to be answered (MSH-15, MSH-16; table 0155).

    Attributes:
        enhanced: at least one of the two is valued; then an empty one means NE.
        accept: AL, NE, ER or SU; in original mode NE.
        application: the same; in original mode AL.
    """

    enhanced: bool
    accept: str
    application: str


def ack(
    message: Message | Peek | None,
    code: AckCode,
    *,
    control_id: str,
    now: Moment | str,
    text: str | None = None,
    errors: Sequence[AckError] = (),
    accept: str = "",
) -> bytes:
    r"""Make the answer to a message, in the sender's separators, version and charset.

    Args:
        message: what came, or as much as could be seen of it, or nothing.
        code: MSA-1.
        control_id: MSH-10 of the answer itself.
        now: MSH-7; a text is taken as DTM.
        text: MSA-3; no patient data. Up to v2.4, where an ERR has no room for it, that of
            the first error.
        errors: up to v2.4 repetitions of one ERR-1, which has no room for warnings;
            from v2.5 an ERR each.
        accept: MSH-15 of the answer itself, where it is sent as a message of its own.

    >>> from segue.hl7v2.peek import peek
    >>> seen = peek(b"MSH|^~\\&|ADT1|HOSPA|HUB|X|2026||ADT^A01|7|P|2.5.1\r")
    >>> error = AckError("101", "PID^1^3")
    >>> answer = ack(seen, "AE", control_id="9", now="2026", errors=[error])
    >>> answer.decode().split("\r")[:3]  # doctest: +NORMALIZE_WHITESPACE
    ['MSH|^~\\&|HUB|X|ADT1|HOSPA|2026||ACK^A01^ACK|9|P|2.5.1', 'MSA|AE|7',
     'ERR||PID^1^3|101^Required field missing^HL70357|E']
    """
    if message is None:
        header, separators, event, charset = [], STANDARD, "", "utf-8"
    elif isinstance(message, Peek):
        header, separators = message.header, message.separators
        event, charset = message.event, message.charset
    else:
        header, separators = message.segments[0].fields, message.separators
        event, charset = message.event, message.charset
    if len(header) < 19:
        header = header + [""] * (19 - len(header))
    component, mark = separators.component, separators.field
    number = version_number(header[12].split(component, 1)[0])
    kind = ["ACK", event, "ACK"] if not number or number >= (2, 4) else ["ACK", event]
    fields = [
        "MSH",
        header[2] or STANDARD.encoding_characters,
        *header[5:7],
        *header[3:5],
        now if isinstance(now, str) else dtm_of(now),
        "",
        component.join(kind) if event else "ACK",
        escape(control_id, separators),
        header[11] or "P",
        header[12] or "2.5.1",
    ]
    if header[18] or accept:
        fields += ["", "", accept, "NE" if accept else "", "", header[18]]
    segments = [mark.join(fields)]
    if number and number < (2, 5):
        errors = [error for error in errors if error.severity == "E"]
        text = text or next((error.text for error in errors), None)
    said = escape(text, separators) if text else ""
    segments.append(mark.join(["MSA", code, header[10], *([said] if said else [])]))
    if errors and number and number < (2, 5):
        below = separators.subcomponent
        segments.append(
            f"ERR{mark}"
            + separators.repetition.join(
                component.join(
                    [
                        *[*error.location.split("^"), "", "", ""][:3],
                        f"{error.code}{below}{ERRORS.get(error.code, '')}{below}HL70357",
                    ]
                )
                for error in errors
            )
        )
    else:
        for error in errors:
            named = [error.code, escape(ERRORS.get(error.code, ""), separators), "HL70357"]
            line = [
                "ERR",
                "",
                component.join(error.location.split("^")),
                component.join(named),
                error.severity,
            ]
            if error.text:
                line += ["", "", "", escape(error.text, separators)]
            segments.append(mark.join(line))
    return ("\r".join(segments) + "\r").encode(charset, "replace")


def batch_ack(batch: Batch, acks: Sequence[bytes], *, now: str) -> bytes:
    r"""Answer a batch with a batch: the acknowledgements of its messages, in its envelope.

    BTS-2 says what was wrong with the batch itself. Without any acknowledgement, as all
    senders asked for none, there is no answer.

    >>> from segue.hl7v2.batch import split
    >>> batch = split(b"BHS|^~\\&|ADT|HOSPA|HUB||2026||||B7\rMSH|^~\\&|A\rBTS|2\r")
    >>> answer = batch_ack(batch, [b"MSH|^~\\&|HUB\rMSA|AA|1\r"], now="2026")
    >>> answer.decode().split("\r")  # doctest: +NORMALIZE_WHITESPACE
    ['BHS|^~\\&|HUB||ADT|HOSPA|2026|||||B7', 'MSH|^~\\&|HUB', 'MSA|AA|1',
     'BTS|1|A batch or file trailer counts otherwise than its content.', '']

    Source: HL7 v2.5.1 section 2.10.3 (batch acknowledgment).
    """
    acks = [one for one in acks if one]
    if not acks:
        return b""
    header = batch.header.decode("latin-1").rstrip()
    mark = header[3:4] or STANDARD.field
    fields = header.split(mark) + [""] * 12
    marks = fields[1] or STANDARD.encoding_characters
    said = [marks, *fields[4:6], *fields[2:4], now, "", "", "", "", fields[10]]
    texts = list(dict.fromkeys(issue.text for issue in batch.issues))
    lines = [mark.join(["BHS", *said]).rstrip(mark)]
    end = [mark.join(["BTS", str(len(acks)), *([" ".join(texts)] if texts else [])])]
    if batch.file:
        lines.insert(0, mark.join(["FHS", *said[:6]]).rstrip(mark))
        end.append(mark.join(["FTS", "1"]))
    before, after = ("".join(f"{line}\r" for line in part) for part in (lines, end))
    return b"".join([before.encode("latin-1"), *acks, after.encode("latin-1")])


def conditions(message: Message | Peek) -> Conditions:
    r"""Read MSH-15 and MSH-16.

    >>> from segue.hl7v2.peek import peek
    >>> conditions(peek(b"MSH|^~\\&|||||||ADT^A01|7|P|2.5|||AL\r"))
    Conditions(enhanced=True, accept='AL', application='NE')
    """
    header = message.header if isinstance(message, Peek) else message.segments[0].fields
    accept, application = (*(field.strip().upper() for field in header[15:17]), "", "")[:2]
    if not accept and not application:
        return Conditions(False, "NE", "AL")
    return Conditions(True, accept or "NE", application or "NE")


def wants(condition: str, *, success: bool) -> bool:
    """Whether an answer is wanted: AL always, NE never, ER on errors, SU on success.

    A condition that the table does not know is read as AL.

    >>> wants("ER", success=True), wants("ER", success=False)
    (False, True)
    """
    return {"NE": False, "ER": not success, "SU": success}.get(condition, True)


def read_ack(raw: bytes) -> Acknowledgement:
    r"""Read what a receiver answered; never raises.

    >>> read_ack(b"MSH|^~\\&|||||||ACK|1|P|2.3\rMSA|AE|77\rERR|PID^1^3^101&Missing\r")
    Acknowledgement(code='AE', control_id='77', error_codes=('101',), text='')
    """
    found = normalise(raw)
    if not found.lines:
        return Acknowledgement("", "")
    message = Message(found.lines, found.separators, found.charset)
    code = (message.get("MSA-1") or "").strip().upper()
    if code not in _CODES:
        return Acknowledgement("", "")
    errors: list[str] = []
    text = ""
    for segment in message.all("ERR"):
        condition = message.values(segment.raw(3))[0]
        if condition:
            errors.append(condition)
        else:
            for repetition in segment.repetitions(1):
                parts = message.values(repetition)
                if len(parts) > 3 and parts[3]:
                    errors.append(parts[3])
        text = text or message.unescape(segment.raw(8) or segment.raw(7))
    if not errors and (condition := message.get("MSA-6")):
        errors.append(condition)
    return Acknowledgement(
        code,
        message.get("MSA-2") or "",
        tuple(errors),
        text or message.get("MSA-3") or "",
    )
