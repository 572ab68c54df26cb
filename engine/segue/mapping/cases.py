"""Cases: a message and what must come of it, in `cases/*.yaml` beside the maps.

`expect:` holds FHIRPath lines over a Bundle of all resources, in which `%patient`,
`%encounter` and `%facts` (the number of facts) are known; `golden:` the resources
themselves, or the name of a JSON file beside the case.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from segue.fhir.fhirpath import FhirPathError, evaluate
from segue.fhir.profiles import definitions
from segue.hl7v2.errors import Hl7Error
from segue.hl7v2.parse import parse
from segue.mapping.apply import apply
from segue.mapping.context import Context, Mapped, SiteRules
from segue.mapping.language import CASE_KEYS
from segue.mapping.load import MappingSet
from segue.mapping.read import texts
from segue.mapping.shapes import check
from segue.mapping.source import Document, Fault, MappingError, read_file
from segue.model.hints import did_you_mean
from segue.model.zones import time_zone

if TYPE_CHECKING:
    from segue.fhir.validate import Gate

Resource = dict[str, Any]
Fold = Callable[[Sequence[Mapped]], list[Resource]]
"""From mapped messages to all resources that follow from them."""

AUTHORITY = "HOSPA"
_VARIABLE = re.compile(r"%([A-Za-z_]\w*)")
_NEXT = re.compile(r"\s[A-Z][A-Z0-9]{2}\|")
_STANDARD = frozenset({"context", "resource", "rootResource", "sct", "loinc", "ucum"})


@dataclass(slots=True)
class Case:
    """One case.

    Attributes:
        site: whose layers apply; None: core alone.
        messages: texts, one segment a line.
        expect: FHIRPath lines; issues, unmapped: None where the case does not say.
    """

    name: str
    file: Path
    document: Document
    site: str | None
    messages: list[str]
    zone: ZoneInfo | None = None
    authority: str = AUTHORITY
    expect: list[str] = field(default_factory=list)
    issues: list[str] = field(default_factory=list)
    unmapped: list[str] | None = None
    golden: Any = None


@dataclass(slots=True)
class CaseResult:
    """What came of a case; it passed where there are no failures."""

    case: Case
    failures: list[Fault] = field(default_factory=list)


def find_cases(path: Path) -> list[Path]:
    """The case files under a folder, or the one file, in name order."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*.yaml") if file.parent.name == "cases")


def read_case(path: Path, root: Path) -> Case:
    """Read a case file.

    Args:
        path: the file.
        root: the folder `mappings`; gives the site of the case and its short name.

    Raises:
        MappingError: the file is wrong; every fault has its line.
    """
    inside = path.is_relative_to(root)
    name = (path.relative_to(root) if inside else path).as_posix()
    document = read_file(path, f"mappings/{name}" if inside else name)
    if document.faults or not check(document, CASE_KEYS):
        raise MappingError(document.faults)
    data = document.data
    messages = texts(data.get("message")) or texts(data.get("messages"))
    if not messages:
        document.fault((), "message: a message is expected here, one segment a line")
    elif any(len(one.splitlines()) == 1 and _NEXT.search(one) for one in messages):
        text = "message: all segments stand in one line: write `message: |`"
        document.fault(("message",), text)
    zone = None
    if data.get("zone"):
        try:
            zone = time_zone(str(data["zone"]))
        except ValueError as error:
            document.fault(("zone",), f"zone: {error}")
    if document.faults:
        raise MappingError(document.faults)
    parts = Path(name).parts
    folder = parts[1] if len(parts) > 2 and parts[0] == "sites" else None
    return Case(
        name=name.removesuffix(".yaml"),
        file=path,
        document=document,
        site=data.get("site", folder),
        messages=messages,
        zone=zone,
        authority=str(data.get("authority") or AUTHORITY),
        expect=texts(data.get("expect")),
        issues=texts(data.get("issues")),
        unmapped=texts(data["unmapped"]) if "unmapped" in data else None,
        golden=data.get("golden"),
    )


def run_case(case: Case, mapping: MappingSet, fold: Fold) -> CaseResult:
    """Map and fold a case's messages, and compare."""
    result = CaseResult(case)
    site = SiteRules(
        name=case.site or case.authority.lower(),
        authority=case.authority,
        zone=case.zone,
    )
    mapped = []
    for text in case.messages:
        try:
            message = parse(text)
        except Hl7Error as error:
            _fail(result, ("message",), str(error))
            return result
        mapped.append(apply(mapping, message, Context(site=site, feed="case", received=0)))
    found = fold(mapped)
    _compare(result, ("issues",), "issues", case.issues, [i.code for m in mapped for i in m.issues])
    if case.unmapped is not None:
        names = [name for m in mapped for name in m.unmapped]
        _compare(result, ("unmapped",), "unmapped", case.unmapped, names)
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": resource} for resource in found],
    }
    known: dict[str, Any] = {
        "patient": _first(found, "Patient") or [],
        "encounter": _first(found, "Encounter") or [],
        "facts": sum(len(m.facts) for m in mapped),
    }
    for index, line in enumerate(case.expect):
        at = ("expect", str(index))
        unknown = [n for n in _VARIABLE.findall(line) if n not in known and n not in _STANDARD]
        if unknown:
            hint = did_you_mean(unknown[0], known)
            _fail(result, at, f"%{unknown[0]}: no such variable, in: {line}.{hint}")
            continue
        try:
            value = evaluate(bundle, line, known)
        except FhirPathError as error:
            _fail(result, at, str(error))
            continue
        if value != [True]:
            _fail(result, at, f"does not hold: {line}{_instead(value, line, known)}")
    for resource in found:
        for issue in _gate().issues(resource):
            _fail(result, ("message",), f"no valid FHIR: {issue.where}: {issue.text}")
    if case.golden is not None:
        _golden(result, case, found)
    return result


@lru_cache(maxsize=1)
def _gate() -> "Gate":
    # Not every command that may run cases does, and it takes a tenth of a second.
    from segue.fhir.validate import Gate

    return Gate(definitions())


def _instead(value: list[Any], line: str, known: dict[str, Any]) -> str:
    """What there is, where that helps: these are cases, their patients are made up."""
    gone = [name for name in _VARIABLE.findall(line) if known.get(name) == []]
    if gone:
        return f" (the messages make no {gone[0]})"
    return "" if value in ([], [False]) else f" (it is {value}; write what it should be: = …)"


def _first(resources: list[Resource], kind: str) -> Resource | None:
    return next((r for r in resources if r["resourceType"] == kind), None)


def _fail(result: CaseResult, path: tuple[str, ...], text: str) -> None:
    document = result.case.document
    result.failures.append(Fault(document.file, document.line(*path), text))


def _compare(
    result: CaseResult, path: tuple[str, ...], what: str, expected: list[str], found: list[str]
) -> None:
    if found != expected:
        _fail(result, path, f"{what}: expected {expected or 'none'}, found {found or 'none'}")


def _golden(result: CaseResult, case: Case, found: list[Resource]) -> None:
    golden = case.golden
    if not isinstance(golden, list):
        try:
            golden = json.loads((case.file.parent / str(golden)).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            text = getattr(error, "strerror", None) or f"no JSON: {error}"
            _fail(result, ("golden",), f"golden: {golden}: {text}")
            return
    made = json.loads(json.dumps(found, default=float))
    if made != golden:
        names = [f"{r['resourceType']}/{r['id']}" for r in made if r not in golden]
        names += [f"{r['resourceType']}/{r['id']}" for r in golden if r not in made]
        differ = ", ".join(sorted(set(names))) or "their order"
        _fail(result, ("golden",), f"golden: differs in {differ}")
