"""Code tables at work: v2 codes to FHIR codes, and names of coding systems to URIs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from segue.mapping.language import Gives, Table, Unknown
from segue.mapping.values import Run, slug
from segue.mapping.widths import Widths

Convert = Callable[[str, Run], Any]
"""A raw field or component to a FHIR value; None: no content."""


class _Nothing:
    """Says that the element is to be deleted, as HL7 null does."""


NOTHING = _Nothing()
"""What a function gives to delete its element."""

WANTED = "wanted-code"
"""Code of the issue of a code that a person must add to a table: what has it waits."""

V2_SYSTEM = "http://terminology.hl7.org/CodeSystem/v2-"
V2_TABLE = "HL7"


@dataclass(slots=True)
class Tools:
    """What datatypes and functions are built from: the tables of the mapping set.

    Attributes:
        widths: what the fields of the standard have room for.
    """

    tables: Mapping[str, Table] = field(default_factory=dict)
    widths: Widths = field(default_factory=lambda: Widths({}, {}))

    def codes(self, name: str) -> dict[str, str]:
        """A table as code to FHIR code; codes without one are left out."""
        table = self.tables.get(name)
        if table is None:
            return {}
        return {code: coding["code"] for code, coding in table.codes.items() if coding}


def coding_of(table: Table, entry: Mapping[str, str]) -> dict[str, str]:
    """The Coding of a table's entry."""
    coding = {"code": entry["code"]}
    system = entry.get("system") or table.system
    if system:
        coding["system"] = system
    if "display" in entry:
        coding["display"] = entry["display"]
    return coding


def system_uri(tools: Tools) -> Callable[[str, Run], str]:
    """How the name of a coding system (CWE.3) becomes a URI.

    Names come from the table `CodingSystems`; `HL7nnnn` is the v2 table; a name that
    nobody knows becomes a URN of the site, so that nothing is lost and nothing clashes.
    """
    known = tools.codes("CodingSystems")

    def system(name: str, run: Run) -> str:
        if not name:
            return ""
        uri = known.get(name) or known.get(name.upper())
        if uri:
            return uri
        if name.startswith(V2_TABLE) and name[3:].isdigit():
            return V2_SYSTEM + name[3:].zfill(4)
        if name.startswith(("http://", "https://", "urn:")) and len(name.split()) == 1:
            return name
        return f"urn:segue:coding-system:{slug(run.authority)}:{slug(name)}"

    return system


def through(
    table: Table, tools: Tools, unknown: Unknown, gives: Gives | None, default: str | None
) -> Convert:
    """Compile the look-up of a coded field (CWE, CE, IS, ID) in a table.

    The code is sought in component 1, then in the alternate code, component 4. What
    comes out is a code, a Coding or a CodeableConcept; the latter keeps the text.
    """
    shape = gives or table.gives
    found: dict[str, Any] = {
        code: _shaped(shape, coding_of(table, entry)) if entry else None
        for code, entry in table.codes.items()
    }
    fallback = None
    if unknown == "default":
        code = default or table.default or ""
        entry = table.codes.get(code) or {"code": code}
        fallback = _shaped(shape, coding_of(table, entry))
    uri = system_uri(tools)
    missing = object()
    pad = table.pad

    def look_up(code: str) -> Any:
        value: Any = found.get(code, missing)
        if value is missing and pad and code.isdigit():
            value = found.get(code.zfill(pad), missing)
        if value is missing:
            value = found.get(code.upper(), missing)
        return value

    def convert(raw: str, run: Run) -> Any:
        parts = raw.split(run.component)
        code = run.part(parts, 1)
        value: Any = look_up(code) if code else missing
        if value is missing and len(parts) > 3:
            alternate = run.part(parts, 4)
            if alternate:
                value = look_up(alternate)
        text = (run.part(parts, 9) or run.part(parts, 2)) if len(parts) > 1 else ""
        if value is missing:
            if not code and not text:
                return None
            if unknown == "keep" and shape != "code":
                return _kept(shape, run.code(parts, 1), text, uri(run.part(parts, 3), run))
            missed = f"no entry for this code in {table.name}"
            if unknown == "task" and code:
                run.found.append(("error", WANTED, f"{missed}; a person must add one"))
                run.asked.append((table.name, code))
            else:
                run.found.append(("warning", "unknown-code", missed))
            return fallback
        if shape == "CodeableConcept" and value is not None and text:
            return {**value, "text": text}
        return value

    return convert


def _shaped(shape: Gives, coding: dict[str, str]) -> Any:
    if shape == "code":
        return coding["code"]
    if shape == "Coding":
        return coding
    return {"coding": [coding]}


def _kept(shape: Gives, code: str, text: str, system: str) -> Any:
    coding: dict[str, str] = {}
    if code:
        coding["code"] = code
        if system:
            coding["system"] = system
    if shape == "Coding":
        if text:
            coding["display"] = text
        return coding
    concept: dict[str, Any] = {"coding": [coding]} if coding else {}
    if text:
        concept["text"] = text
    return concept
