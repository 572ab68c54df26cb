"""Named functions for documents: what OBX holds of them, as attachments."""

import binascii
from base64 import b64decode, b64encode
from typing import Any

from segue.mapping.datatypes import entity_reference
from segue.mapping.tables import Convert, Tools
from segue.mapping.values import Run

_MAJOR = frozenset({"application", "audio", "image", "multipart", "text", "video"})
_SUBTYPES = {
    "PDF": "application/pdf",
    "RTF": "application/rtf",
    "HTML": "text/html",
    "XML": "application/xml",
    "JPEG": "image/jpeg",
    "JPG": "image/jpeg",
    "TIFF": "image/tiff",
    "PNG": "image/png",
    "GIF": "image/gif",
    "DICOM": "application/dicom",
    "TEXT": "text/plain",
    "TXT": "text/plain",
}
"""What senders write in ED.3, or in ED.2, where MIME wants both (table 0291)."""


def attachment(raw: str, run: Run) -> dict[str, Any] | None:
    """OBX-5 as an Attachment, by the type of OBX-2 and titled by OBX-3.

    Text in several repetitions is one text of so many lines.

    >>> from segue.mapping.values import scratch
    >>> attachment("stable~at home", scratch())["data"]
    'c3RhYmxlCmF0IGhvbWU='
    """
    kind = run.text(run.field(2)) or "TX"
    made: dict[str, Any] | None
    if kind == "ED":
        made = _encapsulated(run.parts(run.first(raw)), run)
    elif kind == "RP":
        parts = run.parts(run.first(raw))
        where = run.part(parts, 1)
        made = {"url": where} if where else None
        if made and (mime := _mime(run.part(parts, 3), run.part(parts, 4))):
            made["contentType"] = mime
    else:
        lines = [run.text(one.replace(run.component, " ")) for one in raw.split(run.repetition)]
        text = "\n".join(lines).strip("\n")
        made = {"contentType": "text/plain", "data": _base64(text)} if text.strip() else None
    if made is None:
        return None
    names = run.parts(run.first(run.field(3)))
    if title := run.part(names, 2) or run.part(names, 1):
        made["title"] = title
    return made


def _encapsulated(parts: list[str], run: Run) -> dict[str, Any] | None:
    """ED: `source^type^subtype^encoding^data`."""
    encoding = run.part(parts, 4).upper()
    raw = parts[4] if len(parts) > 4 else ""
    mime = _mime(run.part(parts, 2), run.part(parts, 3))
    if encoding == "BASE64":
        data = "".join(run.unescape(raw).split())
        try:
            b64decode(data, validate=True)
        except (ValueError, binascii.Error):
            return _unreadable(raw, run, "Base64")
    elif encoding == "HEX":
        try:
            data = b64encode(bytes.fromhex(raw)).decode()
        except ValueError:
            return _unreadable(raw, run, "hexadecimal")
    else:
        data = _base64(run.unescape(raw))
    if not data:
        return None
    return {"contentType": mime or "application/octet-stream", "data": data}


def _unreadable(raw: str, run: Run, encoding: str) -> dict[str, Any] | None:
    """What was sent, as it was sent."""
    run.warn("bad-attachment", f"this is not {encoding}; the document holds what was sent")
    if not raw.strip(run.blank):
        return None
    return {"contentType": "application/octet-stream", "data": _base64(raw)}


def _mime(major: str, minor: str) -> str | None:
    for word in (minor, major):
        if found := _SUBTYPES.get(word.upper()):
            return found
    if major.lower() in _MAJOR and minor and "/" not in minor and " " not in minor:
        return f"{major}/{minor}".lower()
    return "text/plain" if major.upper() in ("TEXT", "TX", "FT") else None


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def document_content(tools: Tools) -> Convert:
    """OBX-5 as an item of DocumentReference.content.

    >>> from segue.mapping.functions import example
    >>> example("document_content", "stable")["attachment"]["contentType"]
    'text/plain'
    """

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        made = attachment(raw, run)
        return {"attachment": made} if made else None

    return convert


def report_attachment(tools: Tools) -> Convert:
    """OBX-5 (ED, RP) as an item of DiagnosticReport.presentedForm.

    >>> from segue.mapping.functions import example
    >>> example("report_attachment", "stable")["contentType"]
    'text/plain'
    """

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        return attachment(raw, run)

    return convert


def related_document(tools: Tools, *, code: str) -> Convert:
    """TXA-13 (EI): what the document is to an earlier one, `replaces` or `appends`.

    >>> from segue.mapping.functions import example
    >>> example("related_document", "D1^LAB", code="replaces")["target"]["identifier"]["value"]
    'D1'
    """
    target = entity_reference(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        made = target(raw, run)
        return {"code": code, "target": made} if made else None

    return convert


def plain_identifier(tools: Tools) -> Convert:
    """ST: an Identifier of nothing but a value.

    >>> from segue.mapping.functions import example
    >>> example("plain_identifier", "note7.pdf")
    {'value': 'note7.pdf'}
    """

    def convert(raw: str, run: Run) -> dict[str, str] | None:
        value = run.text(raw)
        return {"value": value} if value else None

    return convert
