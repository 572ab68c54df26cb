"""Turn HL7's FHIR R4 definitions into the compact facts that the engine loads.

Reads the StructureDefinitions, ValueSets, CodeSystems and SearchParameters of a FHIR
package and writes, without any prose:

* `definitions/types.json`: every type's elements with cardinality, types, targets, codes
* `definitions/codes.json`: the codes of each value set that is bound as required
* `search_parameters.json`: the indexed search parameters with their paths

    python tools/generate_definitions.py ../shared/data/definitions/hl7.fhir.r4.core-lite.tgz \
        --us-core ../shared/data/definitions/us_core_610.tgz

A line of `types.json` reads `name cardinality type(…)|type(…)`: cardinality is `?` (0..1),
`1` (1..1), `*` (0..*), `+` (1..*); in brackets stand the targets of a Reference, the
value set of a code. The elements that the base type brings are left out.
"""

import argparse
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BASES = ("Resource", "DomainResource", "Element", "BackboneElement")
_DEFINITION = "http://hl7.org/fhir/StructureDefinition/"

# The package at hand carries elements of later releases and of its rebuilder; R4 4.0.1
# does not have them.
NOT_R4 = {
    "Meta.project", "Meta.author", "Meta.onBehalfOf", "Meta.account", "Meta.accounts",
    "Meta.compartment", "Binary.url", "DeviceDefinition.bodySite",
    "DeviceDefinition.classification", "ObservationDefinition.publisher",
    "ResearchStudy.associatedParty", "ResearchStudy.classifier",
    "ResearchStudy.comparisonGroup", "ResearchStudy.descriptionSummary",
    "ResearchStudy.label", "ResearchStudy.name", "ResearchStudy.outcomeMeasure",
    "ResearchStudy.progressStatus", "ResearchStudy.recruitment",
    "ResearchStudy.objective.description", "EvidenceVariable.characteristic.timeFromEvent",
    "EvidenceVariable.characteristic.definitionByCombination",
    "EvidenceVariable.characteristic.definitionByTypeAndValue",
}  # fmt: skip
REPLACED = {
    "EvidenceVariable.characteristic": [
        "description ? string",
        "definition[x] 1 Reference(Group)|canonical|CodeableConcept|Expression|DataRequirement"
        "|TriggerDefinition",
        "usageContext * UsageContext",
        "exclude ? boolean",
        "participantEffective[x] ? dateTime|Period|Duration|Timing",
        "timeFromStart ? Duration",
        "groupMeasure ? code(group-measure)",
    ]
}
_GROUP_MEASURE = "http://hl7.org/fhir/ValueSet/group-measure"
NOT_R4_TYPES = {"SubscriptionStatus"}

# Bound as required, but to code systems that no package holds.
UNBOUND = {"currencies", "mimetypes", "ucum-units", "LL379-9"}

DEFAULT_PARAMETERS = (
    "identifier patient subject status date code category type encounter based-on owner url"
)
PARAMETERS = {
    "Patient": "identifier name family given birthdate death-date gender"
    " general-practitioner organization link",
    "Practitioner": "identifier name family given",
    "PractitionerRole": "identifier practitioner organization specialty role",
    "Organization": "identifier name address partof type",
    "Location": "identifier name address organization partof",
    "RelatedPerson": "identifier patient name",
    "Encounter": "identifier patient subject status class date type location service-provider"
    " based-on episode-of-care part-of appointment discharge-disposition",
    "EpisodeOfCare": "identifier patient status date type organization care-manager condition",
    "Condition": "identifier patient subject clinical-status category code encounter"
    " onset-date abatement-date recorded-date asserted-date",
    "AllergyIntolerance": "identifier patient clinical-status code",
    "Coverage": "identifier patient beneficiary status payor subscriber",
    "Account": "identifier patient subject status",
    "CarePlan": "identifier patient subject status category date encounter care-team condition"
    " goal intent based-on part-of replaces instantiates-canonical instantiates-uri"
    " activity-code activity-date activity-reference",
    "CareTeam": "identifier patient subject status category encounter participant role date",
    "Goal": "identifier patient subject lifecycle-status category target-date start-date"
    " achievement-status description",
    "Task": "identifier patient subject status business-status code owner requester encounter"
    " based-on focus part-of authored-on group-identifier intent",
    "ServiceRequest": "identifier patient subject status category code authored encounter"
    " based-on intent performer requester",
    "RiskAssessment": "identifier patient subject date method encounter",
    "Flag": "identifier patient subject date encounter",
    "Observation": "identifier patient subject status category code date encounter based-on"
    " has-member derived-from",
    "Procedure": "identifier patient subject status code date encounter based-on category",
    "DocumentReference": "identifier patient subject status category type date period encounter"
    " related",
    "Communication": "identifier patient subject status category sent received encounter"
    " based-on sender recipient",
    "CommunicationRequest": "identifier patient subject status category authored encounter"
    " based-on",
    "Appointment": "identifier patient status date actor location practitioner based-on",
    "Provenance": "target patient",
    "AuditEvent": "date patient type entity agent",
    "Consent": "identifier patient status category date",
    "List": "identifier patient subject status code date encounter",
    "Group": "identifier type member code managing-entity",
    "Subscription": "status type url criteria contact payload",
    "MedicationRequest": "identifier patient subject status code authoredon encounter intent"
    " medication",
    "MedicationStatement": "identifier patient subject status code effective medication",
    "Immunization": "identifier patient status date vaccine-code",
    "DiagnosticReport": "identifier patient subject status category code date encounter based-on"
    " result",
    "QuestionnaireResponse": "identifier patient subject status authored questionnaire encounter"
    " based-on",
    "Device": "identifier patient type status",
    "Endpoint": "identifier status organization connection-type",
    "HealthcareService": "identifier name organization service-category location",
    "PlanDefinition": "identifier url version name title status date type",
    "ActivityDefinition": "identifier url version name title status date",
    "DetectedIssue": "identifier patient code identified",
    "Basic": "identifier patient subject code created",
    "Composition": "identifier patient subject status type date encounter",
    "Bundle": "identifier type timestamp",
    "MessageHeader": "event",
    "Slot": "identifier schedule start status",
    "Schedule": "identifier actor date",
}


def resources(package: Path) -> Iterator[dict[str, Any]]:
    """Every JSON resource of a FHIR package."""
    with tarfile.open(package) as archive:
        for member in archive:
            name = Path(member.name).name
            if name.endswith(".json") and not name.startswith((".", "package.json")):
                file = archive.extractfile(member)
                resource = json.load(file) if file else {}
                if "resourceType" in resource:
                    yield resource


def tail(url: str) -> str:
    """The last part of a canonical URL, without version."""
    return url.partition("|")[0].rpartition("/")[2]


class Types:
    """The type table while it is being built."""

    def __init__(self, structures: list[dict[str, Any]]) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.kinds: dict[str, str] = {}
        self.resources = {
            s["type"] for s in structures if s["kind"] == "resource" and s["type"] not in BASES
        } - NOT_R4_TYPES
        self.value_sets: set[str] = set()
        self.structures = {s["type"]: s for s in structures}

    def build(self) -> dict[str, Any]:
        """All types with their elements, sorted by name."""
        for name, structure in sorted(self.structures.items()):
            if name not in BASES and name not in NOT_R4_TYPES:
                self._add(name, structure)
        for base in BASES:
            self._add(base, self.structures[base])
        return dict(sorted(self.rows.items()))

    def _add(self, name: str, structure: dict[str, Any]) -> None:
        base = tail(structure.get("baseDefinition", ""))
        inherited: set[str] = set()
        if name not in BASES or base in BASES:
            # Quantity's specialisations repeat its elements.
            above = self.structures.get(base if base in BASES else "Element", {})
            elements = above.get("snapshot", {}).get("element", [])
            inherited = {e["path"].partition(".")[2] for e in elements} - {""}
        self.rows[name] = {"base": base if base in BASES else "Element", "elements": []}
        if name in BASES:
            self.rows[name]["base"] = base
        for element in structure["snapshot"]["element"][1:]:
            path = element["path"]
            if any(path == no or path.startswith(no + ".") for no in NOT_R4):
                continue
            parent, _, last = path.rpartition(".")
            codes = [t["code"] for t in element.get("type", [])]
            if codes in (["BackboneElement"], ["Element"]) and path not in self.rows:
                self.rows[path] = {"base": codes[0], "elements": []}
            owner = self.rows[parent]
            if parent == name and last in inherited:
                continue
            if parent != name and last in ("id", "extension", "modifierExtension"):
                continue
            owner["elements"].append(self._line(path, last, element))
        for owner_name, lines in REPLACED.items():
            if owner_name.split(".")[0] == name:
                self.rows[owner_name]["elements"] = lines
                self.value_sets.add(_GROUP_MEASURE)

    def _line(self, path: str, last: str, element: dict[str, Any]) -> str:
        low, high = element["min"], element["max"]
        cardinality = {(0, "1"): "?", (1, "1"): "1", (0, "*"): "*", (1, "*"): "+"}.get((low, high))
        if cardinality is None:
            cardinality = f"{low}..{high}"
        if "contentReference" in element:
            return f"{last} {cardinality} {element['contentReference'].lstrip('#')}"
        return f"{last} {cardinality} {'|'.join(self._types(path, element))}"

    def _types(self, path: str, element: dict[str, Any]) -> Iterator[str]:
        for entry in element["type"]:
            code = entry["code"]
            if code.startswith("http://hl7.org/fhirpath/"):
                code = {"Resource.id": "id", "Extension.url": "uri"}.get(path, "string")
            if code in ("BackboneElement", "Element") and path not in BASES:
                yield path
            elif code == "Reference":
                targets = sorted({tail(t) for t in entry.get("targetProfile", [])})
                unknown = [t for t in targets if t not in self.resources and t != "Resource"]
                if unknown:
                    print(f"{path}: targets {unknown} are not R4, left out", file=sys.stderr)
                targets = [t for t in targets if t not in unknown]
                known = targets and "Resource" not in targets
                yield f"Reference({','.join(targets)})" if known else "Reference"
            elif code in ("code", "CodeableConcept", "Coding") and self._required(element):
                value_set = tail(element["binding"]["valueSet"])
                self.value_sets.add(element["binding"]["valueSet"].split("|")[0])
                yield f"{code}({value_set})"
            else:
                yield code

    def _required(self, element: dict[str, Any]) -> bool:
        binding = element.get("binding", {})
        return binding.get("strength") == "required" and tail(binding["valueSet"]) not in UNBOUND


class Codes:
    """Expands the value sets that are enumerations of complete code systems."""

    def __init__(self, value_sets: dict[str, Any], code_systems: dict[str, Any]) -> None:
        self.value_sets = value_sets
        self.code_systems = code_systems

    def expand(self, url: str) -> dict[str, list[str]]:
        """System to its codes, in the order of the code system."""
        found: dict[str, list[str]] = {}
        for include in self.value_sets[url]["compose"]["include"]:
            if include.get("filter") or include.get("valueSet"):
                raise ValueError(f"{url}: filters and imports are not enumerations")
            concepts = include.get("concept")
            if concepts is None:
                concepts = list(self._all(self.code_systems[include["system"]]["concept"]))
            codes = found.setdefault(include["system"], [])
            codes += [c["code"] for c in concepts if c["code"] not in codes]
        if url.endswith(("/resource-types", "/all-types", "/defined-types")):
            found = {s: [c for c in codes if c not in NOT_R4_TYPES] for s, codes in found.items()}
        return found

    def _all(self, concepts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for concept in concepts:
            yield concept
            yield from self._all(concept.get("concept", []))


class Paths:
    """Resolves a search expression to element paths with their data types."""

    _WHERE = re.compile(r"\.where\(resolve\(\) is (\w+)\)$")
    _SYSTEM = re.compile(r"\.where\(system='(\w+)'\)$")
    _AS = re.compile(r"^\((.*) as (\w+)\)$")
    _DOT_AS = re.compile(r"^(.*)\.as\((\w+)\)$")

    def __init__(self, types: dict[str, Any]) -> None:
        self.types = types

    def resolve(self, type_: str, expression: str) -> list[str] | None:
        """Lines `path datatype [only]`; None where a part is beyond plain paths."""
        lines: list[str] = []
        for raw in expression.split(" | "):
            part = raw.strip()
            only = cast = ""
            if found := self._WHERE.search(part):
                part, only = part[: found.start()], found[1]
            elif self._SYSTEM.search(part):
                return None
            if found := self._AS.match(part) or self._DOT_AS.match(part):
                part, cast = found[1], found[2]
            if not part.startswith(type_ + "."):
                continue
            if not re.fullmatch(r"[\w.]+", part):
                return None
            for line in self._walk(type_, part.split(".")[1:], cast):
                lines.append(f"{line} {only}".strip())
        return lines or None

    def _walk(self, type_: str, names: list[str], cast: str) -> Iterator[str]:
        spots = [("", type_)]
        for name in names:
            spots = [
                (f"{path}.{key}".lstrip("."), datatype)
                for path, owner in spots
                for key, datatype in self._element(owner, name)
            ]
        for path, datatype in spots:
            if not cast or datatype == cast:
                yield f"{path} {datatype}"

    def _element(self, owner: str, name: str) -> Iterator[tuple[str, str]]:
        entry = self.types.get(owner)
        while entry:
            for line in entry["elements"]:
                element, _, rest = line.split(" ", 2)
                kinds = [re.sub(r"\(.*", "", kind) for kind in rest.split("|")]
                if element == name:
                    yield name, kinds[0]
                elif element == name + "[x]":
                    for kind in kinds:
                        yield name + kind[0].upper() + kind[1:], kind
            entry = self.types.get(entry["base"])


_KINDS = {"token", "reference", "date", "string", "uri"}
# US Core asks for these beside HL7's own: (type, code): (kind, expression).
_US_CORE = "http://hl7.org/fhir/us/core/"


def search_parameters(
    types: dict[str, Any], resource_types: set[str], parameters: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Type to code to `{kind, paths, targets}` for the indexed parameters."""
    paths = Paths(types)
    known: dict[tuple[str, str], dict[str, Any]] = {}
    for parameter in sorted(parameters, key=lambda p: (p["url"].startswith(_US_CORE), p["url"])):
        if parameter["type"] in _KINDS:
            for base in parameter["base"]:
                known.setdefault((base, parameter["code"]), parameter)
    table: dict[str, dict[str, Any]] = {}
    for type_ in sorted(resource_types):
        wanted = PARAMETERS.get(type_, DEFAULT_PARAMETERS).split()
        rows: dict[str, Any] = {}
        for code in wanted:
            parameter = known.get((type_, code))
            lines = paths.resolve(type_, parameter["expression"]) if parameter else None
            # US Core writes asserted-date as an extension's value: its own path.
            if code == "asserted-date":
                lines = [
                    "extension[http://hl7.org/fhir/StructureDefinition/condition-assertedDate]"
                    ".valueDateTime dateTime"
                ]
            if parameter is None or lines is None:
                if type_ in PARAMETERS:
                    print(f"{type_}.{code}: not indexed", file=sys.stderr)
                continue
            row: dict[str, Any] = {"kind": parameter["type"], "paths": lines}
            if parameter["type"] == "reference":
                row["targets"] = targets(paths, types, type_, lines, parameter, resource_types)
            rows[code] = row
        table[type_] = rows
    return table


def targets(
    paths: Paths,
    types: dict[str, Any],
    type_: str,
    lines: list[str],
    parameter: dict[str, Any],
    resource_types: set[str],
) -> list[str]:
    """What a reference parameter may point to; empty: anything."""
    only = {line.split(" ")[2] for line in lines if line.count(" ") == 2}
    named = set(parameter.get("target", [])) & resource_types
    found = sorted(only or named)
    return [] if len(found) > 100 else found


def dump(value: dict[str, Any], depth: int) -> str:
    """JSON with one line per entry down to `depth`, so that differences can be read."""
    if depth == 0 or not isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    inner = ",\n".join(f"{json.dumps(k)}:{dump(v, depth - 1)}" for k, v in value.items())
    return "{\n" + inner + "\n}"


def main() -> None:
    """Read the packages and write the facts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="FHIR R4 core package (.tgz)")
    parser.add_argument("--us-core", type=Path, help="US Core package (.tgz)")
    default = Path(__file__).parent.parent / "fhir_profiles"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()

    by_type: dict[str, list[dict[str, Any]]] = {}
    for resource in resources(arguments.package):
        by_type.setdefault(resource["resourceType"], []).append(resource)
    structures = [
        s
        for s in by_type["StructureDefinition"]
        if s.get("derivation") != "constraint" and s["kind"] in ("resource", "complex-type")
    ]
    types = Types(structures)
    table = types.build()
    codes = Codes(
        {v["url"]: v for v in by_type["ValueSet"]}, {c["url"]: c for c in by_type["CodeSystem"]}
    )
    expanded = {tail(url): codes.expand(url) for url in sorted(types.value_sets)}

    parameters = by_type["SearchParameter"]
    if arguments.us_core:
        parameters += [
            r
            for r in resources(arguments.us_core)
            if r["resourceType"] == "SearchParameter" and "expression" in r
        ]
    search = search_parameters(table, types.resources, parameters)

    definitions = arguments.out / "definitions"
    definitions.mkdir(parents=True, exist_ok=True)
    content = {"fhirVersion": "4.0.1", "resources": sorted(types.resources), "types": table}
    for path, text in {
        definitions / "types.json": dump(content, 2),
        definitions / "codes.json": dump(expanded, 1),
        arguments.out / "search_parameters.json": dump(search, 2),
    }.items():
        path.write_text(text + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
