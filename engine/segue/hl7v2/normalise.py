r"""What real files do to HL7 v2, undone; each repair has a warning code.

The result is text whose segments are lines that begin with a segment name and the
field separator. Nothing is dropped but what no reader could use: marks of the frame,
control characters, blank lines between segments, junk around the message. The bytes
as received stay in the journal.

Source: HL7 v2.5.1 sections 2.5 and 2.14 (segments end with a carriage return).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from segue.hl7v2.charsets import ISO_2022, codec_of, decode
from segue.hl7v2.separators import STANDARD, Separators, read_separators
from segue.model.issues import Issue, Severity

WARNINGS: Final[dict[str, str]] = {
    # the payload
    "frame-marks": "MLLP frame characters were left in the payload and were removed.",
    "byte-order-mark": "The payload began with a byte order mark, which was removed.",
    "cut-off": "The message did not come whole; only its segments that did were read.",
    "junk-before-header": "Bytes before the MSH segment were skipped.",
    "header-cut": "The first letter of MSH was missing and was put back.",
    "control-characters": "Control characters that no text may hold were removed.",
    "no-header": "There is no MSH segment in the first 1,024 bytes.",
    "several-messages": "The payload holds more than one MSH; only the first was read here.",
    "batch-envelope": "Batch segments (FHS, BHS, BTS, FTS) around the message were left out.",
    # character set
    "charset-undeclared": "There are non-ASCII characters and MSH-18 is empty.",
    "charset-unknown": "MSH-18 names a character set that is not known here.",
    "charset-wrong": "The text is not in the character set that MSH-18 declares.",
    "charset-windows": "MSH-18 says 8859/1; the text is Windows-1252 and was read so.",
    "charset-doubtful": "The text was read as MSH-18 declares, but is valid UTF-8 as well.",
    "charset-fallback": "The text was read with a fallback character set of the site.",
    "charset-unreadable": "Neither MSH-18 nor any fallback character set fits the text.",
    "replacement-character": "The sender's text holds U+FFFD: characters were lost before.",
    # separators
    "encoding-characters-missing": "MSH-2 is empty; the usual encoding characters are assumed.",
    "encoding-characters-short": "MSH-2 has fewer than four characters; the usual are assumed.",
    "encoding-characters-repeated": "MSH-2 repeats a character; each was taken once, in order.",
    "encoding-characters-odd": "MSH-2 holds what cannot be encoding characters.",
    # segments
    "line-ends-lf": "Segments end with a line feed instead of a carriage return.",
    "line-ends-crlf": "Segments end with carriage return and line feed.",
    "line-ends-mixed": "Segments end in more than one way.",
    "blank-line": "Blank lines between segments were left out.",
    "continuation-line": "A line that is no segment was joined to the field before it.",
    "unreadable-line": "A line after MSH that is no segment was left out.",
    "leading-blanks": "Blanks before a segment name were removed.",
    "lower-case-segment": "A segment name in lower case was read as upper case.",
    "bare-segment": "A segment of nothing but its name was kept.",
    # values
    "unknown-escape": "An escape sequence is unknown or has no end; it was kept as it is.",
    "escape-capped": "A formatting command asked for too many blanks or lines.",
    # trigger event
    "event-lower-case": "MSH-9 is in lower case.",
    "event-joined": "MSH-9 does not keep message type and event apart.",
    "event-from-evn": "MSH-9 names no event; EVN-1 was taken.",
    "event-from-structure": "MSH-9 names no event; its structure was taken for one.",
    "event-disagrees": "EVN-1 names another event than MSH-9, which was taken.",
    "event-missing": "Neither MSH-9 nor EVN-1 names an event.",
    "event-unknown": "The event is none of the ADT events of HL7 v2.",
    # times
    "bad-time": "The digits are no date or time.",
    "time-format": "The time is not written as HL7 v2 writes it, but can be read.",
    "hour-24": "Hour 24 was read as midnight of the next day.",
    "leap-second": "Second 60 was read as second 59.",
    "no-zone": "A time without offset, zone or MSH-7 offset: only its date was taken.",
    "ambiguous-local-time": "The local hour came twice that night; the earlier was taken.",
    "nonexistent-local-time": "The local hour was skipped that night; standard time was taken.",
    "offset-disagrees": "MSH-7's offset is not that of the site's zone at that time.",
    # batches
    "batch-count": "A batch or file trailer counts otherwise than its content.",
    "batch-unclosed": "A batch or file header has no trailer, or a trailer no header.",
    "batch-stray": "Lines after a batch segment belong to no message; they were left out.",
    "batch-empty": "The payload has batch segments and no message.",
}
"""Every code that this floor gives to an `Issue`, with what it means."""

_HARMLESS = frozenset(
    (
        "frame-marks",
        "byte-order-mark",
        "batch-envelope",
        "line-ends-lf",
        "line-ends-crlf",
        "blank-line",
        "leading-blanks",
        "charset-undeclared",
        "event-joined",
        "event-lower-case",
        "event-from-evn",
    )
)
_FATAL = frozenset(("no-header", "charset-unreadable"))

_END = "\r"
_REACH = 1024
# Control characters that go; vertical tab and form feed are line ends within a field.
_DELETED = bytes((*range(0x09), *range(0x0E, 0x1B), 0x1C, 0x7F))
_LINE_ENDS = bytes.maketrans(b"\x0b\x0c", b"\n\n")
# These go later, as ISO 2022 shifts by escape.
_SHIFTS = b"\x1b\x1d\x1e\x1f"
_LEFT_OVER = dict.fromkeys(_SHIFTS)
_MARKS = b"\x0b\x1c\r\n \t\x00"
_BATCH = frozenset(("FHS", "BHS", "BTS", "FTS"))

# Z-segments and others are looked at letter by letter; these need not be.
_KNOWN_NAMES = """
ABS ACC ADD AFF AIG AIL AIP AIS AL1 APR ARQ ARV AUT BLC BLG BPO BPX BTX CDM CER CM0 CM1 CM2
CNS CON CSP CSR CSS CTD CTI DB1 DG1 DRG DSC DSP ECD ECR EDU EQL EQP EQU ERQ ERR EVN FAC FT1
GOL GP1 GP2 GT1 IAM IAR IIM IN1 IN2 IN3 INV IPC IPR ISD LAN LCC LCH LDP LOC LRL MFA MFE MFI
MRG MSA NCK NDS NK1 NPU NSC NST NTE OBR OBX ODS ODT OH1 OH2 OH3 OH4 OM1 OM2 OM3 OM4 OM5 OM6
OM7 ORC ORG OVR PAC PCR PD1 PDA PDC PEO PES PID PR1 PRA PRB PRC PRD PRT PSG PSH PSL PSS PTH
PV1 PV2 PYE QAK QID QPD QRD QRF QRI RCP RDF RDT REL RF1 RFI RGS RMI ROL RQ1 RQD RXA RXC RXD
RXE RXG RXO RXR RXV SAC SCD SCH SCP SDD SFT SID SLT SPM SPR STF STZ TCC TCD TQ1 TQ2 TXA UAC
UB1 UB2 URD URS VAR VTQ ZBE
"""
SEGMENTS = frozenset(_KNOWN_NAMES.split())
"""Names of segments that HL7 has, but for those of headers and batches."""


_WIDE = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"M\x00S\x00H\x00", "utf-16-le"),
    (b"\x00M\x00S\x00H", "utf-16-be"),
)


@dataclass(slots=True)
class Normalised:
    """A payload made readable.

    Attributes:
        lines: the segments; none where the payload could not be read.
        issues: what was repaired, or an issue of severity `error`.
        charset: the Python codec that it was decoded with.
        separators: of MSH-1 and MSH-2.
    """

    lines: list[str] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    charset: str = "utf-8"
    separators: Separators = STANDARD

    @property
    def text(self) -> str:
        """The segments, each ended by a carriage return; "" where unreadable."""
        return "".join([line + "\r" for line in self.lines])


def warning(code: str, where: str = "") -> Issue:
    """The issue of a code in `WARNINGS`.

    >>> warning("no-zone", "PV1-44").severity
    'warning'
    """
    severity: Severity = "warning"
    if code in _HARMLESS:
        severity = "information"
    elif code in _FATAL:
        severity = "error"
    return Issue(severity, code, where, WARNINGS[code])


def normalise(raw: bytes, charset_fallback: Sequence[str] = ("cp1252",)) -> Normalised:
    r"""Make the text of one message out of a payload; never raises.

    Args:
        raw: the bytes between the frame's marks, or of a file.
        charset_fallback: Python codecs to try, in order, where MSH-18 does not hold.

    >>> found = normalise(b"\xef\xbb\xbfMSH|^~\\&|ADT1\nEVN|A01\n")
    >>> found.lines, [issue.code for issue in found.issues]
    (['MSH|^~\\&|ADT1', 'EVN|A01'], ['byte-order-mark', 'line-ends-lf'])
    """
    issues: list[Issue] = []
    text, charset = read_text(raw, charset_fallback, issues)
    if text is None:
        return Normalised([], issues, charset)
    return normalise_text(text, issues, charset)


def read_text(
    raw: bytes,
    charset_fallback: Sequence[str],
    issues: list[Issue],
    declared: str | None = None,
) -> tuple[str | None, str]:
    """Find the header and decode from there on.

    Args:
        raw: the payload.
        charset_fallback: as for `normalise`.
        issues: what is repaired is added here.
        declared: the character set where it is known; None reads MSH-18.

    Returns:
        Text that begins with `MSH` (None: there is none, or no character set fits),
        and the codec.
    """
    start = 0
    if raw[:3] != b"MSH" or not _separates(raw[3:4]):
        wide = _wide(raw, issues)
        if wide is not None:
            return wide
        start = find_header(raw)
        if start < 0:
            return _cut_header(raw, charset_fallback, issues, declared)
        _name_junk(raw[:start], issues)
    payload = raw[start:] if start else raw
    clean = payload.translate(_LINE_ENDS, _DELETED)
    if clean != payload:
        body = payload.rstrip(_MARKS)
        marked = any(issue.code == "frame-marks" for issue in issues)
        if not marked and len(body) != len(payload.rstrip()):
            issues.append(warning("frame-marks"))
        payload = body.translate(_LINE_ENDS, _DELETED)
        if payload != body:
            issues.append(warning("control-characters"))
    # MSH-18 stands in the first line; splitting only that far keeps it cheap.
    mark = payload[3:4]
    head = payload[:_REACH].replace(b"\n", b"\r").split(b"\r", 1)[0].split(mark, 18)
    if declared is None:
        declared = head[17].decode("ascii", "ignore") if len(head) > 17 else ""
    shifted = b"\x1b" in payload or payload.translate(None, _SHIFTS) != payload
    repetition = chr(head[1][1]) if len(head[1]) > 1 else "~"
    if shifted and codec_of(declared, repetition) != ISO_2022:
        payload, shifted = payload.translate(None, _SHIFTS), False
        issues.append(warning("control-characters"))
    text, charset, codes = decode(payload, declared, repetition, charset_fallback)
    issues += [warning(code, "MSH-18") for code in codes]
    if text is not None:
        if shifted:
            text = text.translate(_LEFT_OVER)
        if payload[:3] != b"MSH":
            text = "MSH" + text[3:]
            issues.append(warning("lower-case-segment", "MSH"))
        if "\ufffd" in text:
            issues.append(warning("replacement-character"))
    return text, charset


def normalise_text(text: str, issues: list[Issue], charset: str = "utf-8") -> Normalised:
    """Make segments out of text that begins with `MSH`."""
    if "\n" in text:
        text = _line_ends(text, issues)
    lines = text.split("\r")
    if not lines[-1]:
        lines.pop()
    mark = text[3]
    for line in lines[1:]:
        if line[3:4] != mark or line[:3] not in SEGMENTS:
            lines = _repair(lines, mark, issues)
            break
    declared = lines[0][4:].split(mark, 1)[0]
    separators, code = read_separators(mark, declared)
    if code:
        issues.append(warning(code, "MSH-2"))
    return Normalised(lines, issues, charset, separators)


def find_header(raw: bytes) -> int:
    """Where MSH begins within the first 1,024 bytes, -1 if nowhere.

    It must be followed by something that can be a field separator, so that MSHARK
    is none.
    """
    for name in (b"MSH", b"msh"):
        start = raw.find(name, 0, _REACH)
        while start >= 0:
            after = raw[start + 3 : start + 4]
            if _separates(after):
                return start
            start = raw.find(name, start + 1, _REACH)
    return -1


def _wide(raw: bytes, issues: list[Issue]) -> tuple[str | None, str] | None:
    """UTF-16 and UTF-32 hold zero bytes, so they are recognised before all else."""
    mark, codec = next((wide for wide in _WIDE if raw.startswith(wide[0])), (b"", ""))
    if not codec:
        return None
    try:
        text = raw.decode(codec)
    except UnicodeError:
        issues.append(warning("charset-unreadable"))
        return None, codec
    if mark[:1] != b"M" and mark[1:2] != b"M":
        issues.append(warning("byte-order-mark"))
    inner, _ = read_text(text.removeprefix("\ufeff").encode("utf-8"), (), issues, "UTF-8")
    return inner, codec


def _cut_header(
    raw: bytes, charset_fallback: Sequence[str], issues: list[Issue], declared: str | None
) -> tuple[str | None, str]:
    body = raw.lstrip(b"\xef\xbb\xbf" + _MARKS)
    if body[:2] == b"SH" and body[2:3] and body[2:3] == body[7:8]:
        found = read_text(b"M" + body, charset_fallback, issues, declared)
        issues.append(warning("header-cut", "MSH"))
        return found
    issues.append(warning("no-header"))
    return None, "utf-8"


def _name_junk(junk: bytes, issues: list[Issue]) -> None:
    if b"\xef\xbb\xbf" in junk:
        issues.append(warning("byte-order-mark"))
        junk = junk.replace(b"\xef\xbb\xbf", b"")
    if b"\x0b" in junk:
        issues.append(warning("frame-marks"))
    junk = junk.strip(_MARKS)
    if junk[:3] in (b"FHS", b"BHS"):
        issues.append(warning("batch-envelope"))
    elif junk:
        issues.append(warning("junk-before-header"))


def _line_ends(text: str, issues: list[Issue]) -> str:
    if "\r" not in text:
        issues.append(warning("line-ends-lf"))
        return text.replace("\n", "\r")
    feeds, returns, pairs = text.count("\n"), text.count("\r"), text.count("\r\n")
    if feeds == pairs == returns:
        issues.append(warning("line-ends-crlf"))
        return text.replace("\r\n", "\r")
    issues.append(warning("line-ends-mixed"))
    text = text.replace("\r\n", "\r")
    # No text stands in MSH, so that what ends it ends segments here.
    returned = 0 <= text.find("\r") < (text.find("\n") if "\n" in text else len(text))
    usual, rare = ("\r", "\n") if returned else ("\n", "\r")
    found: list[str] = []
    for piece in text.split(rare):
        # The other one is a line end within a text, if no segment follows it.
        within = bool(found) and not _begins(piece, text[3])
        if within and not any(issue.code == "continuation-line" for issue in issues):
            where = f"line {''.join(found).count(_END) + 1}"
            issues.append(warning("continuation-line", where))
        if found:
            found.append("\n" if within else _END)
        found.append(piece.replace(usual, _END))
    return "".join(found)


def _begins(line: str, mark: str) -> bool:
    """Whether a line is a segment beyond doubt, a blank one, or of a batch."""
    bare = line.lstrip()
    name = bare[:3].upper()
    known = name in SEGMENTS or name in _BATCH or name == "MSH" or name[:1] == "Z"
    return not bare or line[:1] in "\r\n" or (known and bare[3:4] in (mark, ""))


def _repair(lines: list[str], mark: str, issues: list[Issue]) -> list[str]:
    """Look at each line: segment, continuation, blank, or the end of the message."""
    kept = [lines[0]]
    tail: list[str] = []  # continuations of the last segment kept
    blanks = 0
    found: dict[str, str] = {}  # code to where it was met first
    for number, line in enumerate(lines[1:], 2):
        where = f"line {number}"
        name = line[:3]
        if line[3:4] != mark or name not in SEGMENTS:
            if name == "MSH" and _separates(line[3:4].encode()):
                found.setdefault("several-messages", where)
                break
            if name in _BATCH and line[3:4] in (mark, ""):
                found.setdefault("batch-envelope", where)
                if any(rest.strip() and rest[:3] not in _BATCH for rest in lines[number:]):
                    found.setdefault("batch-stray", where)
                break
            if not line or line.isspace():
                blanks += 1
                continue
            segment, code = _segment(line, mark)
            if code:
                found.setdefault(code, where)
            if segment is None:
                if len(kept) > 1:
                    found.setdefault("continuation-line", where)
                    tail += [*[""] * blanks, line]
                else:
                    found.setdefault("unreadable-line", where)
                blanks = 0
                continue
            line = segment  # noqa: PLW2901  - the repaired line takes its place
        if blanks:
            found.setdefault("blank-line", where)
            blanks = 0
        if tail:
            kept[-1] = "\n".join([kept[-1], *tail])
            tail = []
        kept.append(line)
    if tail:
        kept[-1] = "\n".join([kept[-1], *tail])
    said = {issue.code for issue in issues}
    issues += [warning(code, where) for code, where in found.items() if code not in said]
    return kept


def _segment(line: str, mark: str) -> tuple[str | None, str | None]:
    """The line as a segment, with the code of what had to be done to it."""
    code = None
    bare = line.lstrip()
    if bare is not line and len(bare) != len(line):
        code = "leading-blanks"
    name = bare[:3]
    if bare[3:4] == mark:
        if name.isascii() and name.isalnum() and name.isupper() and not name[0].isdigit():
            return bare, code
        if name.upper() in SEGMENTS:
            return name.upper() + bare[3:], "lower-case-segment"
    elif bare.rstrip() in SEGMENTS:
        return bare.rstrip() + mark, "bare-segment"
    return None, None


def _separates(mark: bytes) -> bool:
    return b" " < mark < b"\x7f" and not mark.isalnum()
