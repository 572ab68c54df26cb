"""The full verdict on a resource, with FHIRPath expressions and helpful sentences.

Slower than the schemas and exact; it never repeats a value, as values are patient data.
Sources: https://hl7.org/fhir/R4/json.html and the type definitions.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from segue.fhir.definitions import Definitions, Element, Kind, Structure
from segue.fhir.invariants import broken
from segue.fhir.primitives import MEANING, is_primitive, is_reference
from segue.model.issues import Issue

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_TYPED = re.compile(r"[A-Z][A-Za-z0-9]*[/?]")
_MOST_CODES = 20


def structure_issues(definitions: Definitions, resource: object) -> Iterator[Issue]:
    """All that is wrong with a resource, in document order."""
    yield from _Walk(definitions).resource(resource, "", ())


def _issue(code: str, where: str, text: str, rule: str = "") -> Issue:
    return Issue("error", code, where, text, rule)


class _Walk:
    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self.local: list[tuple[str, str]] = []
        self.mentioned: set[str] = set()

    def resource(self, value: object, where: str, above: tuple[str, ...]) -> Iterator[Issue]:
        if not isinstance(value, dict):
            yield _issue("not-an-object", where or "Resource", "a resource is a JSON object")
            return
        type_ = value.get("resourceType")
        if not isinstance(type_, str) or type_ not in self.definitions.resources:
            yield _issue(
                "unknown-type",
                f"{where or 'Resource'}.resourceType",
                "resourceType must name a resource type of FHIR R4 (4.0.1)",
            )
            return
        where = where or type_
        inner = _Walk(self.definitions) if "contained" not in above else self
        yield from inner.node(value, self.definitions.structure(type_), where, (*above, type_))
        if inner is not self:
            yield from inner.contained(value, where)

    def contained(self, value: dict[str, Any], where: str) -> Iterator[Issue]:
        """Local references and contained resources must fit each other."""
        inside = value.get("contained")
        inside = inside if isinstance(inside, list) else []
        ids = {str(c.get("id")) for c in inside if isinstance(c, dict)}
        used = {reference[1:] for reference, _ in self.local} | {m[1:] for m in self.mentioned}
        for reference, spot in self.local:
            if reference != "#" and reference[1:] not in ids:
                text = "the reference points into contained, but no resource there has this id"
                yield _issue("invariant", spot, text, "ref-1")
        for index, item in enumerate(inside):
            if not isinstance(item, dict):
                continue
            spot = f"{where}.contained[{index}]"
            meta = item.get("meta")
            if "contained" in item:
                text = "a contained resource must not contain others"
                yield _issue("invariant", spot, text, "dom-2")
            if str(item.get("id")) not in used and not _refers_to_container(item):
                text = "nothing refers to this contained resource: refer to it or leave it out"
                yield _issue("invariant", spot, text, "dom-3")
            if isinstance(meta, dict) and {"versionId", "lastUpdated"} & meta.keys():
                text = "a contained resource has no meta.versionId and no meta.lastUpdated"
                yield _issue("invariant", spot, text, "dom-4")
            if isinstance(meta, dict) and "security" in meta:
                text = "a contained resource has no meta.security: label the container"
                yield _issue("invariant", spot, text, "dom-5")

    def node(
        self, value: object, structure: Structure, where: str, above: tuple[str, ...]
    ) -> Iterator[Issue]:
        if not isinstance(value, dict):
            yield _issue("not-an-object", where, f"{structure.name} is a JSON object")
            return
        root = structure.name in self.definitions.resources
        if not value:
            yield _issue("empty", where, "an empty object says nothing: leave it out")
            return
        if not root and value.keys() == {"id"}:
            text = "an element needs a value or children beside its id"
            yield _issue("invariant", where, text, "ele-1")
        for key, item in value.items():
            if key == "resourceType" and root:
                continue
            yield from self.property(structure, value, key, item, where=where, above=above)
        for element in structure.elements:
            yield from _presence(element, value, where)
        for rule in broken(structure.name, value):
            yield _issue("invariant", where, f"{rule.text} ({rule.key})", rule.key)

    def property(
        self,
        structure: Structure,
        owner: dict[str, Any],
        key: str,
        value: object,
        *,
        where: str,
        above: tuple[str, ...],
    ) -> Iterator[Issue]:
        plain = key.removeprefix("_")
        found = structure.properties.get(plain)
        companion = key != plain
        if found is None or (companion and (not found.kind.primitive or plain == "div")):
            yield _unknown(structure, key, where)
            return
        spot = f"{where}.{plain}"
        if not found.element.many:
            yield from self.single(
                found.kind, value, spot, above, companion=companion, has_value=plain in owner
            )
            return
        if not isinstance(value, list):
            yield _issue("not-a-list", spot, f"{plain} repeats: send a list, even for one")
            return
        if not value:
            yield _issue("empty", spot, "an empty list says nothing: leave it out")
            return
        other = owner.get(plain if companion else "_" + plain)
        other = other if isinstance(other, list) else []
        if other and len(other) != len(value) and not companion:
            text = f"{plain} and _{plain} must have the same number of items; fill up with null"
            yield _issue("cardinality", spot, text)
        for index, item in enumerate(value):
            beside = other[index] if index < len(other) else None
            if item is None and found.kind.primitive and beside is not None:
                continue
            yield from self.single(
                found.kind,
                item,
                f"{spot}[{index}]",
                above,
                companion=companion,
                has_value=beside is not None,
            )

    def single(
        self,
        kind: Kind,
        value: object,
        where: str,
        above: tuple[str, ...],
        *,
        companion: bool,
        has_value: bool,
    ) -> Iterator[Issue]:
        if value is None:
            yield _issue("null", where, "null is no value: leave the element out")
        elif isinstance(value, list):
            yield _issue("cardinality", where, "one value is wanted here, not a list")
        elif companion:
            element = self.definitions.structure("Element")
            if not (has_value and isinstance(value, dict) and value.keys() == {"id"}):
                yield from self.node(value, element, where, above)
            else:
                yield from self.property(
                    element, value, "id", value["id"], where=where, above=above
                )
        elif kind.primitive:
            yield from self.primitive(kind, value, where)
        elif kind.type == "Resource":
            yield from self.nested(value, where, above)
        else:
            yield from self.node(value, self.definitions.structure(kind.type), where, above)
            if isinstance(value, dict):
                yield from self.bound(kind, value, where)

    def nested(self, value: object, where: str, above: tuple[str, ...]) -> Iterator[Issue]:
        if where.endswith("]") and where.rpartition(".")[2].startswith("contained["):
            yield from self.resource(value, where, (*above, "contained"))
        else:
            yield from _Walk(self.definitions).resource(value, where, above)

    def primitive(self, kind: Kind, value: object, where: str) -> Iterator[Issue]:
        if kind.value_set:
            codes = self.definitions.plain_codes(kind.value_set)
            if value not in codes:
                yield _issue(
                    "unknown-code", where, f"no code of {kind.value_set}: {_one_of(codes)}"
                )
        elif not is_primitive(kind.type, value):
            yield _issue("bad-value", where, f"{kind.type} is {MEANING[kind.type]}")
        elif kind.type in ("uri", "canonical", "url") and str(value).startswith("#"):
            self.mentioned.add(str(value))

    def bound(self, kind: Kind, value: dict[str, Any], where: str) -> Iterator[Issue]:
        if kind.type == "Reference":
            yield from self.reference(kind, value, where)
        elif kind.type == "CodeableConcept" and kind.value_set:
            known = self.definitions.codes(kind.value_set)
            codings = value.get("coding")
            if not any(
                isinstance(c, dict) and c.get("code") in known.get(str(c.get("system")), ())
                for c in (codings if isinstance(codings, list) else ())
            ):
                codes = self.definitions.plain_codes(kind.value_set)
                systems = " or ".join(known)
                text = f"needs a coding of {kind.value_set} ({systems}): {_one_of(codes)}"
                yield _issue("unknown-code", where, text)

    def reference(self, kind: Kind, value: dict[str, Any], where: str) -> Iterator[Issue]:
        allowed = kind.targets or tuple(sorted(self.definitions.resources))
        named = " or ".join(kind.targets) or "a resource"
        text = value.get("reference")
        if isinstance(text, str):
            if not is_reference(text, allowed) and _says_a_type(text):
                yield _issue(
                    "reference-target",
                    f"{where}.reference",
                    f"must point to {named}: Type/id, an absolute URL, urn:uuid:… or #id",
                )
            elif text.startswith("#"):
                self.local.append((text, f"{where}.reference"))
        type_ = value.get("type")
        if isinstance(type_, str) and type_ not in allowed and ":" not in type_:
            yield _issue("reference-target", f"{where}.type", f"must be {named}")


def _says_a_type(text: str) -> bool:
    """Whether a reference is one to a resource by its form: what else it is, nobody can say."""
    return not text or text.startswith("#") or _TYPED.match(text) is not None


def _refers_to_container(value: object) -> bool:
    if isinstance(value, dict):
        return value.get("reference") == "#" or any(map(_refers_to_container, value.values()))
    return isinstance(value, list) and any(map(_refers_to_container, value))


def _presence(element: Element, value: dict[str, Any], where: str) -> Iterator[Issue]:
    if not element.required and not element.choice:
        return
    there = [k for k in element.keys() if k in value or "_" + k in value]  # noqa: SIM118
    if element.required and not there:
        name = element.name + "[x]" if element.choice else element.name
        yield _issue("required", f"{where}.{element.name}", f"{name} is required")
    if len(there) > 1:
        text = f"only one of {', '.join(there)} may be there"
        yield _issue("choice", f"{where}.{element.name}", text)


def _unknown(structure: Structure, key: str, where: str) -> Issue:
    shown = key if _NAME.fullmatch(key) else "this name"
    text = f"{structure.name} has no element {shown}"
    close = get_close_matches(key, structure.properties, 1)
    if close:
        text += f"; did you mean {close[0]}?"
    return _issue("unknown-element", f"{where}.{key}" if shown == key else where, text)


def _one_of(codes: list[str]) -> str:
    shown = ", ".join(codes[:_MOST_CODES])
    return f"use one of {shown}" + (" …" if len(codes) > _MOST_CODES else "")
