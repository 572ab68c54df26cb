"""What the server says of itself: the CapabilityStatement.

Source: https://hl7.org/fhir/R4/capabilitystatement.html
"""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Protocol

from segue.fhir.patch import FORMATS
from segue.fhir.profiles import shipped
from segue.fhir.search.compartments import compartments
from segue.fhir.search.parameters import parameters_of

INTERACTIONS = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
"""Interactions of every stored type."""


Claim = Mapping[str, Mapping[str, list[str]]]
"""Type to `interaction`, `search` and `operation`: the names that are required.

For `*` the codes of `rest.security.service`.
"""


class Offered(Protocol):
    """An operation, as far as a statement tells of it; see `segue.api.operations`."""

    @property
    def name(self) -> str:
        """Without `$`."""

    @property
    def definition(self) -> str:
        """Canonical URL."""

    @property
    def documentation(self) -> str:
        """One sentence, or nothing."""

    def offered(self, level: Any, type_: str = "") -> bool:
        """Whether it is asked at a level, of a type."""


def capability_statement(
    types: Iterable[str],
    *,
    version: str,
    date: str,
    base_url: str,
    secured: bool = False,
    services: Iterable[str] = (),
    interactions: Iterable[str] = INTERACTIONS,
    system: Iterable[str] = ("transaction", "batch", "history-system"),
    operations: Iterable[Offered] = (),
    profiles: Mapping[str, Iterable[str]] | None = None,
    claims: Mapping[str, Claim] | None = None,
) -> dict[str, Any]:
    """The CapabilityStatement of a running server.

    Args:
        types: resource types that are stored.
        version: of the software.
        date: FHIR dateTime since when this statement holds.
        base_url: where the server answers.
        secured: whether requests need a bearer token.
        services: codes of http://terminology.hl7.org/CodeSystem/restful-security-service.
        interactions: what is offered for each type.
        system: what is offered for all types together.
        operations: what is offered as `$name`.
        profiles: type to canonical URLs of profiles that writes are held to.
        claims: statements of others to what they require; those that are fulfilled are
            instantiated.
    """
    rest: dict[str, Any] = {"mode": "server"}
    if secured:
        rest["security"] = {"description": "Bearer token in the Authorization header"}
        if codings := [{"system": _SECURITY, "code": code} for code in services]:
            rest["security"]["service"] = [{"coding": [one]} for one in codings]
    offered = tuple(interactions)
    named = tuple(operations)
    held = profiles or {}
    rest["resource"] = [
        _resource(type_, offered, named, sorted(held.get(type_, ()))) for type_ in sorted(types)
    ]
    rest["interaction"] = [{"code": code} for code in system]
    rest["searchParam"] = [
        {"name": "_id", "type": "token"},
        {"name": "_lastUpdated", "type": "date"},
    ]
    if whole := [_operation(one) for one in named if one.offered("system")]:
        rest["operation"] = whole
    rest["compartment"] = [
        f"http://hl7.org/fhir/CompartmentDefinition/{name.lower()}" for name in compartments()
    ]
    fulfilled = [url for url, claim in (claims or {}).items() if _fulfilled(claim, rest)]
    instantiated = {"instantiates": fulfilled} if fulfilled else {}
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        **instantiated,
        "software": {"name": "Segue", "version": version},
        "implementation": {"description": "Segue", "url": base_url},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": list(FORMATS),
        "rest": [rest],
    }


def _operation(one: Offered) -> dict[str, Any]:
    entry = {"name": one.name, "definition": one.definition}
    return {**entry, "documentation": one.documentation} if one.documentation else entry


@lru_cache(maxsize=1)
def claims() -> dict[str, Claim]:
    """Other statements that may be instantiated, to what they mark SHALL."""
    text = (shipped() / "definitions" / "claims.json").read_text(encoding="utf-8")
    found: dict[str, Claim] = json.loads(text)
    return found


_SECURITY = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_LISTS = {
    "interaction": ("interaction", "code"),
    "search": ("searchParam", "name"),
    "operation": ("operation", "name"),
    "security": ("security", "code"),
}


def _fulfilled(claim: Claim, rest: Mapping[str, Any]) -> bool:
    """Whether all that a statement requires is among what is offered."""
    offered = {one["type"]: one for one in rest["resource"]}
    services = rest.get("security", {}).get("service", ())
    offered["*"] = {"security": [code for one in services for code in one["coding"]]}
    for type_, kinds in claim.items():
        for kind, needed in kinds.items():
            listed, name = _LISTS[kind]
            if not set(needed) <= {one[name] for one in offered.get(type_, {}).get(listed, ())}:
                return False
    return True


def _resource(
    type_: str,
    offered: tuple[str, ...],
    operations: tuple[Offered, ...],
    profiles: list[str],
) -> dict[str, Any]:
    known = parameters_of(type_)
    entry: dict[str, Any] = {
        "type": type_,
        "interaction": [{"code": code} for code in offered],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalUpdate": True,
        "conditionalRead": "full-support",
        "conditionalDelete": "multiple",
    }
    if profiles:
        entry["supportedProfile"] = profiles
    includes = [f"{type_}:{p.code}" for p in known if p.kind == "reference"]
    if includes:
        entry["searchInclude"] = includes
    entry["searchRevInclude"] = ["Provenance:target"]
    entry["searchParam"] = [
        {"name": "_id", "type": "token"},
        {"name": "_lastUpdated", "type": "date"},
        *({"name": p.code, "type": p.kind} for p in known),
    ]
    own = [
        _operation(one)
        for one in operations
        if one.offered("type", type_) or one.offered("instance", type_)
    ]
    if own:
        entry["operation"] = own
    return entry
