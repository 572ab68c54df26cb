"""Turn HL7's FHIR R4 definitions into the compact facts that the engine loads.

Reads the StructureDefinitions, ValueSets, CodeSystems and SearchParameters of a FHIR
package and writes, without any prose:

* `definitions/types.json`: every type's elements with cardinality, types, targets, codes
* `definitions/codes.json`: the codes of each value set that is bound as required
* `definitions/compartments.json`: which parameters put a resource into a compartment
* `search_parameters.json`: the search parameters of every type with their paths; those
  marked `indexed` have rows in the store, the rest is read from the bodies

    python tools/generate_definitions.py ../shared/data/definitions/hl7.fhir.r4.core-lite.tgz \
        --us-core ../shared/data/definitions/us_core_610.tgz

A line of `types.json` reads `name cardinality type(…)|type(…)`: cardinality is `?` (0..1),
`1` (1..1), `*` (0..*), `+` (1..*); in brackets stand the targets of a Reference, the
value set of a code. The elements that the base type brings are left out.
"""

import argparse
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segue.fhir.definitions import Definitions
from segue.fhir.search.expressions import resolve

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


_US_CORE = "http://hl7.org/fhir/us/core/"
_VALUES = {
    "token": "CodeableConcept Coding ContactPoint Identifier boolean code id string uri",
    "reference": "Reference Resource canonical uri",
    "date": "Period Timing date dateTime instant",
    "string": "Address HumanName markdown string",
    "uri": "uri url canonical",
    "number": "Range decimal integer",
    "quantity": "Age Duration Money Quantity Range",
    "special": "Location.position",
}
"""Data types that a kind of parameter has something to compare with."""

# What is no path, or is written in another way than the rest.
LINES = {
    ("Patient", "deceased"): [" deceased"],
    ("InsurancePlan", "name"): ["name string", "alias string"],
    ("Patient", "race"): [
        "extension[url=http://hl7.org/fhir/us/core/StructureDefinition/us-core-race]"
        ".extension.valueCoding Coding"
    ],
    ("Patient", "ethnicity"): [
        "extension[url=http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity]"
        ".extension.valueCoding Coding"
    ],
    # As an extension's value the parameter names only its JSON name.
    ("Condition", "asserted-date"): [
        "extension[url=http://hl7.org/fhir/StructureDefinition/condition-assertedDate]"
        ".valueDateTime dateTime"
    ],
}
RESOURCE = {
    "_profile": {"kind": "uri", "paths": ["meta.profile canonical"]},
    "_source": {"kind": "uri", "paths": ["meta.source uri"]},
    "_tag": {"kind": "token", "paths": ["meta.tag Coding"], "indexed": True},
    "_security": {"kind": "token", "paths": ["meta.security Coding"], "indexed": True},
}
"""Parameters of every type; `_id` and `_lastUpdated` stand in no body."""


def search_parameters(
    table: Definitions, parameters: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Type to code to `{kind, paths, targets, components, indexed}`."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    by_url = {parameter["url"]: parameter for parameter in parameters}
    for parameter in sorted(parameters, key=lambda p: (p["url"].startswith(_US_CORE), p["url"])):
        if "expression" in parameter:
            for base in parameter["base"]:
                known.setdefault((base, parameter["code"]), parameter)
    found: dict[str, dict[str, Any]] = {"Resource": RESOURCE}
    for type_ in sorted(table.resources):
        indexed = PARAMETERS.get(type_, DEFAULT_PARAMETERS).split()
        codes = sorted(code for base, code in known if base == type_)
        codes = [c for c in indexed if c in codes] + [c for c in codes if c not in indexed]
        rows: dict[str, Any] = {}
        for code in codes:
            parameter = known[type_, code]
            row = _row(table, type_, parameter, by_url)
            if row is None:
                print(f"{type_}.{code}: {parameter['expression']!r} left out", file=sys.stderr)
                continue
            if code in indexed:
                row["indexed"] = True
            rows[code] = row
        for code in set(indexed) - rows.keys():
            if type_ in PARAMETERS:
                print(f"{type_}.{code}: not indexed", file=sys.stderr)
        found[type_] = rows
    return found


def _row(
    table: Definitions, type_: str, parameter: dict[str, Any], by_url: dict[str, dict[str, Any]]
) -> dict[str, Any] | None:
    kind = parameter["type"]
    lines = LINES.get((type_, parameter["code"])) or resolve(table, type_, parameter["expression"])
    if kind == "composite":
        parts = [
            part
            for line in lines or ()
            for part in [_components(table, line, parameter, by_url)]
            if part
        ]
        return {"kind": kind, "paths": lines, "components": parts[0]} if parts else None
    lines = [line for line in lines or () if _fits(kind, line)]
    if not lines:
        return None
    row: dict[str, Any] = {"kind": kind, "paths": lines}
    if kind == "reference":
        row["targets"] = targets(lines, parameter, table.resources)
    return row


def _fits(kind: str, line: str) -> bool:
    return line.split(" ")[1] in (*_VALUES[kind].split(), "deceased")


def _components(
    table: Definitions,
    line: str,
    parameter: dict[str, Any],
    by_url: dict[str, dict[str, Any]],
) -> list[dict[str, Any]] | None:
    """Kind and paths of each part; the paths begin at the base of the composite."""
    owner = line.split(" ")[1]
    found = []
    for component in parameter["component"]:
        kind = by_url[component["definition"]]["type"]
        expression, root = component["expression"], ""
        start = owner
        if expression.startswith("%resource."):
            expression, root = expression.removeprefix("%resource."), "%"
            start = parameter["base"][0]
        whole = " | ".join(f"{start}.{part.strip()}" for part in expression.split("|"))
        every = resolve(table, start, whole) or []
        lines = [one for one in every if _fits(kind, one)]
        if not lines:
            # DocumentReference.relationship names its two definitions crosswise.
            kind = "reference" if kind == "token" else "token"
            lines = [one for one in every if _fits(kind, one)]
        if not lines:
            return None
        found.append({"kind": kind, "paths": [root + one for one in lines]})
    return found


def targets(
    lines: list[str], parameter: dict[str, Any], resource_types: frozenset[str]
) -> list[str]:
    """What a reference parameter may point to; empty: anything."""
    only = {line.split(" ")[2] for line in lines if line.count(" ") == 2}
    named = set(parameter.get("target", [])) & resource_types
    found = sorted(only or named)
    return [] if len(found) > 100 else found


def compartments(
    definitions: list[dict[str, Any]], search: dict[str, dict[str, Any]]
) -> dict[str, dict[str, list[str]]]:
    """Compartment to type to the codes of the parameters that put a resource into it.

    What names a Patient by a parameter that is not indexed gets a row of its own,
    `_compartment`, which stands in `search` afterwards.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for definition in sorted(definitions, key=lambda d: d["code"]):
        owner = definition["code"]
        found[owner] = {}
        for resource in definition["resource"]:
            type_, codes = resource["code"], resource.get("param", [])
            rows = search.get(type_, {})
            codes = [code for code in codes if code in rows and rows[code]["kind"] == "reference"]
            if not codes:
                continue
            if owner == "Patient":
                rest = [code for code in codes if not rows[code].get("indexed")]
                lines = [
                    f"{line.removesuffix(' Patient')} Patient"
                    for code in rest
                    for line in rows[code]["paths"]
                    if line.split(" ")[1] == "Reference"
                    and (not rows[code]["targets"] or "Patient" in rows[code]["targets"])
                ]
                codes = [code for code in codes if code not in rest]
                if lines:
                    rows["_compartment"] = {
                        "kind": "reference",
                        "paths": sorted(set(lines)),
                        "targets": ["Patient"],
                        "indexed": True,
                    }
                    codes.append("_compartment")
            found[owner][type_] = codes
    return found


def dump(value: dict[str, Any], depth: int) -> str:
    """JSON with one line per entry down to `depth`, so that differences can be read."""
    if depth == 0 or not isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    inner = ",\n".join(f"{json.dumps(k)}:{dump(v, depth - 1)}" for k, v in value.items())
    return "{\n" + inner + "\n}"


def write(path: Path, text: str) -> None:
    """Write a file of facts and say how large it is."""
    path.write_text(text + "\n", encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size:,} bytes")


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
    definitions = arguments.out / "definitions"
    definitions.mkdir(parents=True, exist_ok=True)
    content = {"fhirVersion": "4.0.1", "resources": sorted(types.resources), "types": table}
    write(definitions / "types.json", dump(content, 2))
    write(definitions / "codes.json", dump(expanded, 1))
    search = search_parameters(Definitions(definitions), parameters)
    parts = compartments(by_type["CompartmentDefinition"], search)
    write(definitions / "compartments.json", dump(parts, 2))
    write(arguments.out / "search_parameters.json", dump(search, 2))


if __name__ == "__main__":
    main()
