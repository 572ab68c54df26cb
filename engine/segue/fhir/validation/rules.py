"""Invariants that definitions state in FHIRPath, with functions for the frequent ones.

A function stands for exactly one expression, and a test holds the two equal. What has
none is evaluated by `segue.fhir.fhirpath`.
"""

from collections.abc import Callable
from typing import Any

from segue.fhir.fhirpath import FhirPathError, holds_at
from segue.fhir.invariants import has
from segue.fhir.references import parse_reference
from segue.fhir.validation.items import Item

_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_UCUM = "http://unitsofmeasure.org"
_REPORTED = frozenset(("partial", "preliminary", "final", "amended", "corrected", "appended"))
_ORDERED = frozenset(("order", "original-order", "reflex-order", "filler-order", "instance-order"))


def _named(name: Any) -> bool:
    absent = any(e.get("url") == _ABSENT for e in name.get("extension", ()))
    return (has(name, "family") or has(name, "given")) != absent


def _luhn(identifier: Any) -> bool:
    value = identifier.get("value", "")
    if not (value.isascii() and value.isdigit() and len(value) >= 10):
        return False
    total = 24
    for index, digit in enumerate(int(c) for c in value[:10]):
        double = digit * 2 if digit < 5 else digit * 2 - 9
        total += digit if index % 2 else double
    return total % 10 == 0


def _shaped(*form: str) -> Callable[[Any], bool]:
    """Whether an identifier's value has the form: a letter for itself, 9 for a digit."""

    def holds(identifier: Any) -> bool:
        value = identifier.get("value")
        return value is None or (
            len(value) == len(form[0])
            and all(
                (c.isascii() and c.isdigit()) if wanted == "9" else c == wanted
                for c, wanted in zip(value, form[0], strict=True)
            )
        )

    return holds


def _member(coverage: Any) -> bool:
    return has(coverage, "subscriberId") or any(
        c.get("system") == "http://terminology.hl7.org/CodeSystem/v2-0203" and c.get("code") == "MB"
        for identifier in coverage.get("identifier", ())
        for c in identifier.get("type", {}).get("coding", ())
    )


def _told(observation: Any) -> bool:
    return (
        "component" in observation
        or "hasMember" in observation
        or "dataAbsentReason" in observation
        or has(observation, "value[x]")
    )


def _on_behalf(agent: Any) -> bool:
    key = parse_reference(agent.get("who", {}).get("reference", ""))
    return key is None or key.type not in ("Practitioner", "Device") or "onBehalfOf" in agent


def _quantified(observation: Any) -> bool:
    # US Core states it on value[x] itself, where it is always true.
    quantity = observation.get("valueQuantity") if isinstance(observation, dict) else None
    return not quantity or quantity.get("system") in (None, _UCUM)


_REPORTED_TEXT = (
    "(status='partial' or status='preliminary' or status='final' or status='amended'"
    " or status='corrected' or status='appended' ) implies "
)

FUNCTIONS: dict[str, Callable[[Any], bool]] = {
    "(family.exists() or given.exists()) xor extension.where(url='"
    + _ABSENT
    + "').exists()": _named,
    "(component.empty() and hasMember.empty()) implies"
    " (dataAbsentReason.exists() or value.exists())": _told,
    "value.exists() or dataAbsentReason.exists()": lambda n: (
        has(n, "value[x]") or "dataAbsentReason" in n
    ),
    "($this as dateTime).toString().length() >= 8": lambda v: not isinstance(v, str) or len(v) >= 8,
    "$this is DateTime implies $this.toString().length() >= 10": lambda v: (
        not isinstance(v, str) or len(v) >= 10
    ),
    _REPORTED_TEXT + "effective.exists()": lambda n: (
        n.get("status") not in _REPORTED or has(n, "effective[x]")
    ),
    _REPORTED_TEXT + "issued.exists()": lambda n: (
        n.get("status") not in _REPORTED or has(n, "issued")
    ),
    "(status='completed' or status='in-progress') implies performed.exists()": lambda n: (
        n.get("status") not in ("completed", "in-progress") or has(n, "performed[x]")
    ),
    "value.ofType(Quantity).system.empty() or value.ofType(Quantity).system = '"
    + _UCUM
    + "'": _quantified,
    "url.exists() or data.exists()": lambda n: has(n, "url") or has(n, "data"),
    "practitioner or organization or healthcareService or location": lambda n: any(
        name in n for name in ("practitioner", "organization", "healthcareService", "location")
    ),
    "telecom or endpoint": lambda n: "telecom" in n or "endpoint" in n,
    "name.exists() or relationship.exists()": lambda n: "name" in n or "relationship" in n,
    "identifier.type.coding.where(system='http://terminology.hl7.org/CodeSystem/v2-0203'"
    " and code='MB').exists() or subscriberId.exists()": _member,
    "value.matches('^[0-9]{10}$')": _shaped("9999999999"),
    "value.matches('^[0-9]{2}D[0-9]{7}$')": _shaped("99D9999999"),
    "value.matches('^[0-9]{5}$')": _shaped("99999"),
    "status='completed' implies whenHandedOver.exists()": lambda n: (
        n.get("status") != "completed" or has(n, "whenHandedOver")
    ),
    "(intent='order' or intent='original-order' or intent='reflex-order'or"
    " intent='filler-order' or intent='instance-order') implies requester.exists()": lambda n: (
        n.get("intent") not in _ORDERED or "requester" in n
    ),
    "who.exists((resolve() is Practitioner) or (resolve() is Device)) implies"
    " onBehalfOf.exists()": _on_behalf,
    "comparator.empty()": lambda n: not has(n, "comparator"),
    "operator = 'exists' implies (answer is Boolean)": lambda n: (
        n.get("operator") != "exists" or "answerBoolean" in n
    ),
    "subject.exists()": lambda n: "subject" in n,
    "name.matches('[A-Z]([A-Za-z0-9_]){0,254}')": lambda n: (
        not isinstance(n.get("name"), str)
        or (
            n["name"][:1].isascii()
            and n["name"][:1].isupper()
            and n["name"].isascii()
            and n["name"].replace("_", "a").isalnum()
            and len(n["name"]) <= 255
        )
    ),
}
"""FHIRPath of an invariant to the function of its focus that says the same."""

_LUHN_START = "(((select(value.substring(0,1).toInteger())"


def holds(expression: str, item: Item, resource: Any) -> bool | None:
    """Whether an item obeys an invariant; None where that cannot be evaluated.

    Args:
        expression: FHIRPath.
        item: the focus.
        resource: `%resource`.
    """
    if expression.startswith(_LUHN_START):
        return _luhn(item.value)
    function = FUNCTIONS.get(expression)
    value = item.value if item.value is not None else (item.beside or {})
    if function is not None:
        return function(value)
    if "resolve()" in expression or "memberOf(" in expression:
        return None
    try:
        return holds_at(value, item.path, expression, resource)
    except FhirPathError:
        return None
