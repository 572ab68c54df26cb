"""Parts of resources: `_summary` and `_elements`.

What is left out is said: a resource that is not whole bears the tag SUBSETTED.

Source: https://hl7.org/fhir/R4/search.html#summary, #elements
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from segue.fhir.definitions import Definitions
from segue.fhir.outcomes import fhir_error
from segue.fhir.profiles import shipped

Kind = Literal["true", "text", "data", "elements"]

SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}
SUMMARIES = ("true", "text", "data", "count", "false")

_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})


@dataclass(frozen=True, slots=True)
class Subset:
    """Which elements are shown.

    Attributes:
        kind: of summary, or `elements`.
        names: of `_elements`: `name`, or `Type.name` for one type alone.
    """

    kind: Kind
    names: frozenset[str] = frozenset()

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Subset | None":
        """What the parameters of a request ask for; None for whole resources.

        `_elements` overrules `_summary`.

        Raises:
            FhirError: 400; a summary that FHIR does not know.

        >>> Subset.of([("_summary", "text")]).kind
        'text'
        """
        kind, names = "", set[str]()
        for name, value in pairs:
            if name == "_summary":
                if value not in SUMMARIES:
                    text = f"_summary is one of {', '.join(SUMMARIES)}"
                    raise fhir_error("incorrect", "value", text, name)
                kind = value
            elif name == "_elements":
                names |= {word.strip() for word in value.split(",") if word.strip()}
        if names:
            return cls("elements", frozenset(names))
        if kind == "true":
            return cls("true")
        if kind == "text":
            return cls("text")
        return cls("data") if kind == "data" else None

    def apply(self, resource: Mapping[str, Any], definitions: Definitions) -> dict[str, Any]:
        """The part of a resource that is shown, tagged."""
        type_ = str(resource.get("resourceType"))
        if self.kind == "data":
            small = {name: value for name, value in resource.items() if name != "text"}
        elif self.kind == "true" and type_ in (known := _summaries()):
            small = _shown(resource, type_, known[type_], definitions)
        else:
            asked = {"text"} if self.kind == "text" else self._asked(type_)
            needed = {
                key
                for key, known in definitions.structure(type_).properties.items()
                if known.element.required or known.element.name in asked
            }
            small = {
                name: value
                for name, value in resource.items()
                if name in _ALWAYS or name.removeprefix("_") in needed | asked
            }
        meta = dict(small.get("meta") or {})
        meta["tag"] = [*(tag for tag in meta.get("tag", ()) if tag != SUBSETTED), SUBSETTED]
        small["meta"] = meta
        return small

    def _asked(self, type_: str) -> set[str]:
        names = set()
        for name in self.names:
            head, dot, rest = name.partition(".")
            if not dot:
                names.add(name)
            elif head == type_:
                names.add(rest.partition(".")[0])
            elif not head[:1].isupper():
                names.add(head)
        return names


@lru_cache(maxsize=1)
def _summaries() -> dict[str, frozenset[str]]:
    text = (shipped() / "definitions" / "summaries.json").read_text(encoding="utf-8")
    return {type_: frozenset(paths.split()) for type_, paths in json.loads(text).items()}


def _shown(
    value: Mapping[str, Any],
    type_: str,
    paths: frozenset[str],
    definitions: Definitions,
    path: str = "",
) -> dict[str, Any]:
    """The elements of a resource, or of a part of it, that a summary shows."""
    properties = definitions.structure(type_).properties
    found: dict[str, Any] = {}
    for name, item in value.items():
        known = properties.get(name.removeprefix("_"))
        if known is None:
            if name == "resourceType":
                found[name] = item
            continue
        place = f"{path}{known.element.name}"
        if name not in _ALWAYS and place not in paths:
            continue
        part = known.kind.type
        if "." not in part:
            found[name] = item
        elif isinstance(item, list):
            found[name] = [_shown(one, part, paths, definitions, f"{place}.") for one in item]
        else:
            found[name] = _shown(item, part, paths, definitions, f"{place}.")
    return found
