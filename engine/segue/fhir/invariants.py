"""The invariants of FHIR's types, as small functions.

Source: the constraints of severity *error* in the R4 definitions, by their keys
(`per-1`, `cpl-3`); the sentences are our own. Those that only ask which elements are
present are also written as JSON Schema, so that the fast path sees them; the others are
called from it for the nodes that have the elements they speak of.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from segue.fhir.datetimes import not_after
from segue.fhir.narrative import narrative_fault

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule about a node of a type.

    Attributes:
        key: HL7's key.
        text: what to do, for a person.
        holds: whether the node obeys.
        schema: the same as a JSON Schema fragment; None where that cannot say it.
        guard: without `schema`: only nodes with all of these elements can break it.
    """

    key: str
    text: str
    holds: Callable[[Node], bool]
    schema: dict[str, Any] | None = None
    guard: tuple[str, ...] = field(default=())


def has(node: Node, name: str) -> bool:
    """Whether an element is there; `value[x]` means any of its types."""
    if name.endswith("[x]"):
        stem = name[:-3]
        for key in node:
            # Few keys come past the first test, which is cheap.
            if stem in key:
                plain = key.removeprefix("_")
                if plain.startswith(stem) and plain[len(stem) : len(stem) + 1].isupper():
                    return True
        return False
    return name in node or "_" + name in node


def _needs(key: str, element: str, *others: str) -> Invariant:
    return Invariant(
        key,
        f"{element} needs {' and '.join(others)} beside it",
        lambda node: not has(node, element) or all(has(node, other) for other in others),
        {"dependentRequired": {element: list(others)}},
    )


def _some(key: str, *elements: str) -> Invariant:
    return Invariant(
        key,
        f"give at least one of {', '.join(elements)}",
        lambda node: any(has(node, element) for element in elements),
        {"anyOf": [{"required": [element]} for element in elements]},
    )


def _not_both(key: str, one: str, other: str) -> Invariant:
    return Invariant(
        key,
        f"give {one} or {other}, not both",
        lambda node: not (has(node, one) and has(node, other)),
        {"not": {"required": [one, other]}},
    )


def _just_one(key: str, one: str, other: str) -> Invariant:
    return Invariant(
        key,
        f"give exactly one of {one} and {other}",
        lambda node: has(node, one) != has(node, other),
        {"oneOf": [{"required": [one]}, {"required": [other]}]},
    )


def _check(key: str, guard: tuple[str, ...], holds: Callable[[Node], bool], text: str) -> Invariant:
    return Invariant(key, text, holds, None, guard)


def _period(node: Node) -> bool:
    return not_after(node.get("start"), node.get("end"))


def _coded(node: Node, element: str, *codes: str) -> bool:
    """Whether a CodeableConcept has one of the codes."""
    concept = node.get(element)
    codings = concept.get("coding") if isinstance(concept, dict) else None
    return any(isinstance(c, dict) and c.get("code") in codes for c in codings or ())


def _ucum(node: Node) -> bool:
    return node.get("system") == "http://unitsofmeasure.org"


def _percent(node: Node) -> bool:
    return all(
        end not in node or (node[end].get("code") == "%" and _ucum(node[end]))
        for end in ("low", "high")
    )


def _range(node: Node) -> bool:
    low, high = node["low"], node["high"]
    if low.get("code") != high.get("code") or low.get("unit") != high.get("unit"):
        return True
    return "value" not in low or "value" not in high or bool(low["value"] <= high["value"])


def _unique(values: list[Any]) -> bool:
    return len(values) == len(set(values))


def _link_ids(node: Node) -> list[str]:
    found = []
    for item in node.get("item", ()):
        found.append(item.get("linkId"))
        found += _link_ids(item)
    return found


def _bundle_entries(node: Node, element: str, types: tuple[str, ...]) -> bool:
    wanted = node.get("type") in types
    return all((element in entry) == wanted for entry in node.get("entry", ()))


def _full_urls(node: Node) -> bool:
    if node.get("type") == "history":
        return True
    seen = set()
    for entry in node.get("entry", ()):
        url = entry.get("fullUrl")
        if url is not None:
            meta = entry.get("resource", {}).get("meta", {})
            key = (url, meta.get("versionId"))
            if key in seen:
                return False
            seen.add(key)
    return True


def _first_is(node: Node, bundle_type: str, resource_type: str) -> bool:
    if node.get("type") != bundle_type:
        return True
    entries = node.get("entry")
    first = entries[0].get("resource", {}) if entries else {}
    return bool(first.get("resourceType") == resource_type)


def _rating(node: Node) -> bool:
    stratum_ok = (
        has(stratum, "value") != has(stratum, "component")
        for group in node.get("group", ())
        for stratifier in group.get("stratifier", ())
        for stratum in stratifier.get("stratum", ())
    )
    return all(stratum_ok)


def _no_home(node: Node, element: str) -> bool:
    return all(item.get("use") != "home" for item in node.get(element, ()) if item)


def _appointment_times(node: Node) -> bool:
    both = "start" in node and "end" in node
    return both or node.get("status") in ("proposed", "cancelled", "waitlist")


def _component_codes(node: Node) -> bool:
    if not has(node, "value[x]") or "component" not in node:
        return True
    own = {(c.get("system"), c.get("code")) for c in node.get("code", {}).get("coding", ())}
    return not any(
        (c.get("system"), c.get("code")) in own
        for component in node["component"]
        for c in component.get("code", {}).get("coding", ())
    )


def _parameter(node: Node) -> bool:
    return sum((has(node, "value[x]"), "resource" in node, "part" in node)) == 1


def _narrative(node: Node) -> bool:
    div = node.get("div")
    return not isinstance(div, str) or narrative_fault(div) is None


_BATCH = ("batch", "transaction", "history")
_RESPONSE = ("batch-response", "transaction-response", "history")

INVARIANTS: dict[str, tuple[Invariant, ...]] = {
    # Data types
    "Age": (
        _needs("age-1", "value", "code"),
        _check(
            "age-1",
            ("value",),
            lambda n: n["value"] > 0 and ("system" not in n or _ucum(n)),
            "an age is above zero, in a UCUM unit of time",
        ),
    ),
    "Attachment": (_needs("att-1", "data", "contentType"),),
    "ContactPoint": (_needs("cpt-2", "value", "system"),),
    "Count": (
        _check(
            "cnt-3",
            ("value",),
            lambda n: (
                n.get("code") == "1"
                and ("system" not in n or _ucum(n))
                and n["value"] == int(n["value"])
            ),
            "a count is a whole number with code 1 of UCUM",
        ),
    ),
    "DataRequirement.codeFilter": (_just_one("drq-1", "path", "searchParam"),),
    "DataRequirement.dateFilter": (_just_one("drq-2", "path", "searchParam"),),
    "Distance": (_needs("dis-1", "value", "code"),),
    "Duration": (
        _needs("drt-1", "code", "system", "value"),
        Invariant(
            "drt-1",
            "a duration's unit is a UCUM unit",
            lambda n: not (has(n, "code") and has(n, "system")) or _ucum(n),
            {
                "if": {"required": ["code", "system"]},
                "then": {"properties": {"system": {"const": "http://unitsofmeasure.org"}}},
            },
        ),
    ),
    "Expression": (_some("exp-1", "expression", "reference"),),
    "Extension": (
        Invariant(
            "ext-1",
            "an extension has a value or extensions of its own: one of them, not both",
            lambda n: has(n, "value[x]") != ("extension" in n),
        ),
    ),
    "Narrative": (
        _check(
            "txt-1",
            ("div",),
            _narrative,
            "a narrative is well-formed XHTML with formatting elements only and some text",
        ),
    ),
    "Period": (_check("per-1", ("start", "end"), _period, "start must not be after end"),),
    "Quantity": (_needs("qty-3", "code", "system"),),
    "Range": (_check("rng-2", ("low", "high"), _range, "low must not be above high"),),
    "Ratio": (
        _needs("rat-1", "numerator", "denominator"),
        _needs("rat-1", "denominator", "numerator"),
        _some("rat-1", "numerator", "extension"),
    ),
    "Timing.repeat": (
        _needs("tim-1", "duration", "durationUnit"),
        _needs("tim-2", "period", "periodUnit"),
        _check("tim-4", ("duration",), lambda n: n["duration"] >= 0, "duration is not negative"),
        _check("tim-5", ("period",), lambda n: n["period"] >= 0, "period is not negative"),
        _needs("tim-6", "periodMax", "period"),
        _needs("tim-7", "durationMax", "duration"),
        _needs("tim-8", "countMax", "count"),
        _needs("tim-9", "offset", "when"),
        _check(
            "tim-9",
            ("offset", "when"),
            lambda n: not {"C", "CM", "CD", "CV"} & set(n["when"]),
            "an offset does not go with a meal itself",
        ),
        _not_both("tim-10", "timeOfDay", "when"),
    ),
    # Resources
    "AllergyIntolerance": (
        _check(
            "ait-1",
            (),
            lambda n: (
                _coded(n, "verificationStatus", "entered-in-error") != has(n, "clinicalStatus")
            ),
            "clinicalStatus is there unless verificationStatus is entered-in-error",
        ),
    ),
    "Appointment": (
        _needs("app-2", "start", "end"),
        _needs("app-2", "end", "start"),
        _check(
            "app-3",
            (),
            _appointment_times,
            "give start and end; only a proposed, cancelled or waitlist appointment may lack them",
        ),
        _check(
            "app-4",
            ("cancelationReason",),
            lambda n: n.get("status") in ("noshow", "cancelled"),
            "cancelationReason goes with status cancelled or noshow only",
        ),
    ),
    "Appointment.participant": (_some("app-1", "type", "actor"),),
    "AppointmentResponse": (_some("apr-1", "participantType", "actor"),),
    "AuditEvent.entity": (_not_both("sev-1", "name", "query"),),
    "Bundle": (
        _check(
            "bdl-1",
            ("total",),
            lambda n: n.get("type") in ("searchset", "history"),
            "total goes with a searchset or history only",
        ),
        _check(
            "bdl-2",
            (),
            lambda n: (
                n.get("type") == "searchset"
                or not any("search" in entry for entry in n.get("entry", ()))
            ),
            "entry.search goes with a searchset only",
        ),
        _check(
            "bdl-3",
            (),
            lambda n: _bundle_entries(n, "request", _BATCH),
            "every entry of a batch, transaction or history has a request, no other has",
        ),
        _check(
            "bdl-4",
            (),
            lambda n: _bundle_entries(n, "response", _RESPONSE),
            "every entry of a response or history has a response, no other has",
        ),
        _check(
            "bdl-7",
            (),
            _full_urls,
            "a fullUrl may stand for one entry only, unless meta.versionId differs",
        ),
        _check(
            "bdl-9",
            (),
            lambda n: (
                n.get("type") != "document" or {"system", "value"} <= n.get("identifier", {}).keys()
            ),
            "a document has an identifier with system and value",
        ),
        _check(
            "bdl-10",
            (),
            lambda n: n.get("type") != "document" or "timestamp" in n,
            "a document has a timestamp",
        ),
        _check(
            "bdl-11",
            (),
            lambda n: _first_is(n, "document", "Composition"),
            "the first entry of a document is its Composition",
        ),
        _check(
            "bdl-12",
            (),
            lambda n: _first_is(n, "message", "MessageHeader"),
            "the first entry of a message is its MessageHeader",
        ),
    ),
    "Bundle.entry": (
        _some("bdl-5", "resource", "request", "response"),
        _check(
            "bdl-8",
            ("fullUrl",),
            lambda n: "/_history/" not in n["fullUrl"],
            "a fullUrl names no version",
        ),
    ),
    "CapabilityStatement": (
        _some("cpb-1", "rest", "messaging", "document"),
        _some("cpb-2", "description", "software", "implementation"),
        _check(
            "cpb-14",
            (),
            lambda n: n.get("kind") != "instance" or "implementation" in n,
            "kind instance has an implementation",
        ),
        _check(
            "cpb-15",
            (),
            lambda n: (
                n.get("kind") != "capability" or ("software" in n and "implementation" not in n)
            ),
            "kind capability has software and no implementation",
        ),
        _check(
            "cpb-16",
            (),
            lambda n: (
                n.get("kind") != "requirements"
                or ("software" not in n and "implementation" not in n)
            ),
            "kind requirements has neither software nor implementation",
        ),
    ),
    "CapabilityStatement.rest": (
        _check(
            "cpb-9",
            ("resource",),
            lambda n: _unique([r.get("type") for r in n["resource"]]),
            "a resource type is described once",
        ),
    ),
    "CapabilityStatement.rest.resource": (
        _check(
            "cpb-12",
            ("searchParam",),
            lambda n: _unique([p.get("name") for p in n["searchParam"]]),
            "a search parameter is named once",
        ),
    ),
    "CarePlan.activity": (_not_both("cpl-3", "detail", "reference"),),
    "Composition.section": (
        _some("cmp-1", "text", "entry", "section"),
        _not_both("cmp-2", "emptyReason", "entry"),
    ),
    "Condition": (
        _check(
            "con-4",
            (),
            lambda n: (
                not has(n, "abatement[x]")
                or _coded(n, "clinicalStatus", "resolved", "remission", "inactive")
            ),
            "with an abatement, clinicalStatus is inactive, resolved or remission",
        ),
        _check(
            "con-5",
            ("verificationStatus", "clinicalStatus"),
            lambda n: not _coded(n, "verificationStatus", "entered-in-error"),
            "clinicalStatus is left out where verificationStatus is entered-in-error",
        ),
    ),
    "Condition.stage": (_some("con-1", "summary", "assessment"),),
    "Condition.evidence": (_some("con-2", "code", "detail"),),
    "Consent": (_some("ppc-1", "policy", "policyRule"),),
    "FamilyMemberHistory": (
        _check(
            "fhs-1",
            (),
            lambda n: not (has(n, "age[x]") and has(n, "born[x]")),
            "give age or born, not both",
        ),
        _check(
            "fhs-2",
            ("estimatedAge",),
            lambda n: has(n, "age[x]"),
            "estimatedAge needs an age beside it",
        ),
    ),
    "Goal.target": (
        _check(
            "gol-1",
            (),
            lambda n: not has(n, "detail[x]") or "measure" in n,
            "detail needs measure beside it",
        ),
    ),
    "Group": (
        _check(
            "grp-1",
            ("member",),
            lambda n: n.get("actual") is True,
            "only an actual group has members",
        ),
    ),
    "Immunization.education": (_some("imm-1", "documentType", "reference"),),
    "ImmunizationRecommendation.recommendation": (_some("imr-1", "vaccineCode", "targetDisease"),),
    "InsurancePlan": (_some("ipn-1", "identifier", "name"),),
    "Linkage": (
        _check(
            "lnk-1", (), lambda n: len(n.get("item", ())) > 1, "a linkage has two items or more"
        ),
    ),
    "List": (
        _not_both("lst-1", "emptyReason", "entry"),
        _check(
            "lst-2",
            ("entry",),
            lambda n: n.get("mode") == "changes" or not any(has(e, "deleted") for e in n["entry"]),
            "entry.deleted goes with mode changes only",
        ),
        _check(
            "lst-3",
            ("entry",),
            lambda n: n.get("mode") == "working" or not any(has(e, "date") for e in n["entry"]),
            "entry.date goes with mode working only",
        ),
    ),
    "MeasureReport": (
        _check(
            "mrp-1",
            ("group",),
            lambda n: n.get("type") != "data-collection",
            "a data-collection report has no group",
        ),
        _check("mrp-2", ("group",), _rating, "a stratum has a value or components, one of them"),
    ),
    "MedicationAdministration.dosage": (
        _check(
            "mad-1",
            (),
            lambda n: "dose" in n or has(n, "rate[x]"),
            "give a dose or a rate",
        ),
    ),
    "MedicationDispense": (
        _check(
            "mdd-1",
            ("whenHandedOver", "whenPrepared"),
            lambda n: not_after(n["whenPrepared"], n["whenHandedOver"]),
            "whenHandedOver must not be before whenPrepared",
        ),
    ),
    "Observation": (
        _check(
            "obs-6",
            ("dataAbsentReason",),
            lambda n: not has(n, "value[x]"),
            "dataAbsentReason goes without a value only",
        ),
        _check(
            "obs-7",
            ("component",),
            _component_codes,
            "a component with the code of the observation takes the place of its value",
        ),
    ),
    "Observation.referenceRange": (_some("obs-3", "low", "high", "text"),),
    "Organization": (
        _some("org-1", "identifier", "name"),
        _check(
            "org-3",
            ("telecom",),
            lambda n: _no_home(n, "telecom"),
            "an organization has no telecom of use home",
        ),
        _check(
            "org-2",
            ("address",),
            lambda n: _no_home(n, "address"),
            "an organization has no address of use home",
        ),
    ),
    "Parameters.parameter": (
        _check("inv-1", (), _parameter, "give exactly one of value, resource and part"),
    ),
    "Patient.contact": (_some("pat-1", "name", "telecom", "address", "organization"),),
    "Questionnaire": (
        _check(
            "que-2", ("item",), lambda n: _unique(_link_ids(n)), "every linkId is used for one item"
        ),
    ),
    "QuestionnaireResponse.item": (_not_both("qrs-1", "answer", "item"),),
    "RequestGroup.action": (_just_one("rqg-1", "resource", "action"),),
    "RiskAssessment.prediction": (
        _check(
            "ras-2",
            ("probabilityDecimal",),
            lambda n: n["probabilityDecimal"] <= Decimal(100),
            "a probability is at most 100",
        ),
        _check(
            "ras-1",
            ("probabilityRange",),
            lambda n: _percent(n["probabilityRange"]),
            "low and high of a probability are percentages: code % of UCUM",
        ),
    ),
    "ServiceRequest": (_needs("prr-1", "orderDetail", "code"),),
    "Task": (
        _check(
            "inv-1",
            ("authoredOn", "lastModified"),
            lambda n: not_after(n["authoredOn"], n["lastModified"]),
            "lastModified must not be before authoredOn",
        ),
    ),
    "ValueSet.compose.include": (_some("vsd-1", "valueSet", "system"),),
}
"""Type or backbone path to its invariants."""

for _quantity in ("Age", "Count", "Distance", "Duration"):
    INVARIANTS[_quantity] += INVARIANTS["Quantity"]


def broken(type_: str, node: Node) -> list[Invariant]:
    """The invariants of the type that the node breaks.

    A node whose shape is wrong already is not judged.

    >>> [rule.key for rule in broken("Period", {"start": "2026-02", "end": "2026-01"})]
    ['per-1']
    """
    found = []
    for rule in INVARIANTS.get(type_, ()):
        try:
            if all(name in node for name in rule.guard) and not rule.holds(node):
                found.append(rule)
        except (AttributeError, TypeError, KeyError, ValueError):
            continue
    return found
