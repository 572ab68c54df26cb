"""Cases: a message and what must come of it, in `cases/*.yaml` beside the maps.

`expect:` holds FHIRPath lines over a Bundle of all resources, in which `%patient`,
`%encounter` and `%facts` (the number of facts) are known; `golden:` the resources
themselves, or the name of a JSON file beside the case.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from segue.fhir.fhirpath import FhirPathError, evaluate
from segue.hl7v2.errors import Hl7Error
from segue.hl7v2.parse import parse
from segue.mapping.apply import apply
from segue.mapping.context import Context, Mapped, SiteRules
from segue.mapping.language import CASE_KEYS
from segue.mapping.load import MappingSet
from segue.mapping.source import Document, Fault, MappingError, read_file
from segue.model.hints import did_you_mean
from segue.model.zones import time_zone

Resource = dict[str, Any]
Fold = Callable[[Sequence[Mapped]], list[Resource]]
"""From mapped messages to all resources that follow from them."""

AUTHORITY = "HOSPA"


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
    data = document.data if isinstance(document.data, dict) else {}
    for key in data:
        if key not in CASE_KEYS:
            document.fault((key,), f"{key}: unknown key.{did_you_mean(key, CASE_KEYS)}")
    messages = [data["message"]] if "message" in data else data.get("messages") or []
    if not messages or not all(isinstance(text, str) for text in messages):
        document.fault((), "message: a message is expected here, one segment a line")
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
        authority=str(data.get("authority", AUTHORITY)),
        expect=[str(line) for line in data.get("expect") or []],
        issues=[str(code) for code in data.get("issues") or []],
        unmapped=data.get("unmapped"),
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
    known = {
        "patient": _first(found, "Patient"),
        "encounter": _first(found, "Encounter"),
        "facts": sum(len(m.facts) for m in mapped),
    }
    for index, line in enumerate(case.expect):
        try:
            value = evaluate(bundle, line, {k: v for k, v in known.items() if v is not None})
        except FhirPathError as error:
            _fail(result, ("expect", str(index)), str(error))
            continue
        if value != [True]:
            _fail(result, ("expect", str(index)), f"does not hold: {line}")
    if case.golden is not None:
        _golden(result, case, found)
    return result


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
    if isinstance(golden, str):
        golden = json.loads((case.file.parent / golden).read_text(encoding="utf-8"))
    made = json.loads(json.dumps(found, default=float))
    if made != golden:
        names = [f"{r['resourceType']}/{r['id']}" for r in made if r not in golden]
        names += [f"{r['resourceType']}/{r['id']}" for r in golden if r not in made]
        differ = ", ".join(sorted(set(names))) or "their order"
        _fail(result, ("golden",), f"golden: differs in {differ}")
