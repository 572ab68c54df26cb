"""Does a resource obey a profile?

Source: https://hl7.org/fhir/R4/profiling.html
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segue.fhir.definitions import Definitions
from segue.fhir.references import parse_reference
from segue.fhir.validation.compact import CORE, bare, tail
from segue.fhir.validation.items import Item, children, root_item
from segue.fhir.validation.rules import holds
from segue.fhir.validation.slicing import Match, Slicer, contains, equal
from segue.fhir.validation.terminology import Terminology
from segue.fhir.validation.tree import Node, Profile, grave
from segue.model.issues import Issue, Severity

_CODED = frozenset({"code", "Coding", "CodeableConcept", "Quantity", "string", "uri"})
_SEVERITY: Mapping[str, Severity] = {
    "required": "error",
    "extensible": "warning",
    "preferred": "information",
}


def codings(item: Item) -> list[tuple[str | None, str]]:
    """The (system, code) pairs of a coded item; system None for a plain code."""
    value = item.value
    if isinstance(value, str):
        return [(None, value)]
    if not isinstance(value, dict):
        return []
    found = value.get("coding", ()) if item.type == "CodeableConcept" else (value,)
    return [
        (str(c.get("system", "")), c["code"])
        for c in found
        if isinstance(c, dict) and isinstance(c.get("code"), str)
    ]


class Conformance:
    """Checks resources against profiles.

    Args:
        table: FHIR's own types.
        terminology: the value sets.
        profiles: canonical URL to profile, extensions' too.
    """

    def __init__(
        self, table: Definitions, terminology: Terminology, profiles: Mapping[str, Profile]
    ) -> None:
        self.table = table
        self.terminology = terminology
        self.profiles = profiles
        self._slicer = Slicer(table, self._within)
        self._matches: dict[int, list[tuple[str, Node, Match]] | None] = {}
        self._grave: dict[str, Node | None] = {}

    def issues(
        self,
        resource: dict[str, Any],
        profile: Profile,
        *,
        where: str = "",
        root: Any = None,
        only_errors: bool = False,
    ) -> Iterator[Issue]:
        """What of a resource the profile does not allow.

        Args:
            resource: a resource whose structure is right.
            where: its FHIRPath; its type if left out.
            root: the resource that contains it.
            only_errors: leave out what can only be a warning or advice; quicker.
        """
        if resource.get("resourceType") != profile.type:
            name = tail(profile.url)
            text = f"{name} is a profile of {profile.type}"
            yield Issue("error", "profile-type", where or profile.type, text, profile.url)
            return
        walk = _Walk(self, profile, resource, root or resource, only_errors=only_errors)
        yield from walk.part(root_item(resource, where), profile)

    def part(
        self, item: Item, profile: Profile, resource: dict[str, Any], root: Any
    ) -> Iterator[Issue]:
        """The same for a part of a resource, such as an extension."""
        yield from _Walk(self, profile, resource, root).part(item, profile)

    def top(self, profile: Profile, *, only_errors: bool) -> Node | None:
        """The tree of a profile; None where there is nothing in it."""
        if not only_errors:
            return profile.root
        if profile.url not in self._grave:
            self._grave[profile.url] = grave(profile.root)
        return self._grave[profile.url]

    def missing_supported(self, resource: dict[str, Any], profile: Profile) -> list[str]:
        """Names of the top elements that a profile marks as must-support and that are absent."""
        item = root_item(resource)
        return [
            name
            for name, node in profile.root.children.items()
            if node.must and not children(self.table, item, name)
        ]

    def _within(self, value_set: str, item: Item) -> bool:
        return any(
            self.terminology.contains(value_set, system, code) is True
            for system, code in codings(item)
        )

    def matches(self, node: Node, profile: Profile) -> list[tuple[str, Node, Match]] | None:
        """The tests of a node's slices; None where one of them cannot be tested."""
        key = id(node)
        if key not in self._matches:
            by = node.by
            found: list[tuple[str, Node, Match]] | None = []
            for name, slice_ in node.slices.items():
                test = self._slicer.match(name, slice_, by)
                if test is None:
                    found = None
                    break
                assert found is not None
                found.append((name, slice_, test))
            self._matches[key] = found
        return self._matches[key]


class _Walk:
    def __init__(
        self,
        book: Conformance,
        profile: Profile,
        resource: dict[str, Any],
        root: Any,
        *,
        only_errors: bool = False,
    ) -> None:
        self.book, self.profile, self.resource, self.root = book, profile, resource, root
        self.name = tail(profile.url)
        self.only_errors = only_errors

    def part(self, item: Item, profile: Profile) -> Iterator[Issue]:
        """What a profile, and those that it is based on, demand of an item."""
        seen: list[str] = []
        above: Profile | None = profile
        while above is not None and above.url not in seen:
            walk = _Walk(self.book, above, self.resource, self.root, only_errors=self.only_errors)
            top = self.book.top(above, only_errors=self.only_errors)
            if top is not None:
                yield from walk.node(top, item)
            seen.append(above.url)
            above = self.book.profiles.get(above.base)

    def _issue(self, code: str, where: str, text: str, severity: Severity = "error") -> Issue:
        return Issue(severity, code, where, f"{self.name}: {text}", self.profile.url)

    def node(self, node: Node, item: Item) -> Iterator[Issue]:
        """What the node demands of one item."""
        yield from self._type(node, item)
        yield from self._value(node, item)
        if node.binding is not None:
            yield from self._binding(node.binding, item)
        for rule in node.rules:
            if holds(rule.expression, item, self.resource) is False:
                severity: Severity = "error" if rule.severity == "error" else "warning"
                text = f"the rule {rule.key} is broken: {rule.expression}"
                yield self._issue("invariant", item.where, text, severity)
        for name, child in node.children.items():
            yield from self._element(name, child, item)

    def _element(self, name: str, node: Node, owner: Item) -> Iterator[Issue]:
        items = children(self.book.table, owner, name)
        where = f"{owner.where}.{name}"
        yield from self._count(node, len(items), where, name)
        if node.slices or node.closed:
            yield from self._sliced(name, node, items, where)
        for item in items:
            yield from self.node(node, item)

    def _count(self, node: Node, count: int, where: str, name: str) -> Iterator[Issue]:
        if count < node.low:
            times = "required" if node.low == 1 else f"wanted {node.low} times at least"
            found = "" if node.low == 1 else f"; found {count}"
            yield self._issue("required", where, f"{name} is {times}{found}")
        if node.high is not None and count > node.high:
            allowed = "not allowed" if node.high == 0 else f"allowed {node.high} times at most"
            yield self._issue("cardinality", where, f"{name} is {allowed}; found {count}")

    def _sliced(self, name: str, node: Node, items: Sequence[Item], where: str) -> Iterator[Issue]:
        slices = self.book.matches(node, self.profile)
        if slices is None:
            return
        counts = dict.fromkeys(node.slices, 0)
        last = -1
        order = list(node.slices)
        for item in items:
            for slice_name, slice_, test in slices:
                if test(item):
                    counts[slice_name] += 1
                    yield from self.node(slice_, item)
                    if node.ordered and order.index(slice_name) < last:
                        text = f"{name} must be in the order of its slices: {', '.join(order)}"
                        yield self._issue("slice", item.where, text)
                    last = max(last, order.index(slice_name))
                    break
            else:
                if node.closed:
                    text = f"{name} must be one of its slices: {', '.join(order) or 'none'}"
                    yield self._issue("slice", item.where, text)
        for slice_name, slice_, _ in slices:
            yield from self._count(slice_, counts[slice_name], where, f"{name}:{slice_name}")

    def _value(self, node: Node, item: Item) -> Iterator[Issue]:
        if node.exact is not None and not equal(node.exact, item.value):
            yield self._issue("fixed", item.where, f"must be exactly {_shown(node.exact)}")
        if node.pattern is not None and not contains(node.pattern, item.value):
            yield self._issue("fixed", item.where, f"must contain {_shown(node.pattern)}")
        if node.limits:
            yield from self._limits(node.limits, item)

    def _limits(self, limits: Mapping[str, Any], item: Item) -> Iterator[Issue]:
        value = item.value
        if "length" in limits and isinstance(value, str) and len(value) > limits["length"]:
            text = f"at most {limits['length']} characters are allowed"
            yield self._issue("too-long", item.where, text)
        for name, word in (("low", "least"), ("high", "most")):
            limit = limits.get(name)
            if limit is None or isinstance(limit, dict) or value is None:
                continue
            if isinstance(limit, str) != isinstance(value, str):
                continue
            if (value < limit) if name == "low" else (value > limit):
                yield self._issue("bad-value", item.where, f"must be {limit} at {word}")

    def _binding(self, binding: tuple[str, str], item: Item) -> Iterator[Issue]:
        strength, value_set = binding
        if item.type not in _CODED:
            return
        terms = self.book.terminology
        found = codings(item)
        answers = [terms.contains(value_set, system, code) for system, code in found]
        if True in answers or (answers and None in answers) or not terms.knows(value_set):
            return
        severity = _SEVERITY[strength]
        if not found and item.type == "CodeableConcept" and strength != "required":
            return
        if item.value is None or (not found and item.type not in ("CodeableConcept", "Coding")):
            return
        some = terms.some(value_set)
        text = f"no code of {tail(value_set)}"
        if some:
            text += f": use one of {', '.join(some[:12])}" + (" …" if len(some) > 12 else "")
        else:
            text += f": use a code of {' or '.join(terms.systems(value_set))}"
        yield self._issue("unknown-code", item.where, text, severity)

    def _type(self, node: Node, item: Item) -> Iterator[Issue]:
        if not node.types:
            return
        allowed = node.types.get(item.type)
        if allowed is None:
            if not {"Resource", "BackboneElement", "Element"} & node.types.keys():
                text = f"must be {' or '.join(node.types)}"
                yield self._issue("profile-type", item.where, text)
            return
        if not allowed:
            return
        if item.type == "Reference":
            yield from self._target(allowed, item)
        elif item.type not in ("Extension", "canonical"):
            profiles = [
                self.book.profiles[bare(u)] for u in allowed if bare(u) in self.book.profiles
            ]
            if profiles and len(profiles) == len(allowed):
                yield from self._any_of(profiles, item)
        elif item.type == "Extension":
            for url in allowed:
                known = self.book.profiles.get(bare(url))
                if known is not None and item.value.get("url") == known.url:
                    yield from self.part(item, known)

    def _any_of(self, profiles: list[Profile], item: Item) -> Iterator[Issue]:
        first: list[Issue] = []
        for profile in profiles:
            if item.type != profile.type:
                continue
            found = list(self.part(item, profile))
            if not any(issue.severity == "error" for issue in found):
                return
            first = first or found
        yield from first

    def _target(self, allowed: Sequence[str], item: Item) -> Iterator[Issue]:
        text = item.value.get("reference") if isinstance(item.value, dict) else None
        if not isinstance(text, str):
            return
        types = {self._type_of(target) for target in allowed}
        if "" in types or "Resource" in types:
            return
        if text.startswith("#"):
            inside = [
                c
                for c in self.root.get("contained", ())
                if isinstance(c, dict) and c.get("id") == text[1:]
            ]
            actual = inside[0].get("resourceType") if inside else None
        else:
            key = parse_reference(text)
            actual = key.type if key is not None else item.value.get("type")
        if actual is not None and actual in self.book.table.resources and actual not in types:
            named = " or ".join(sorted(types))
            yield self._issue("reference-target", item.where, f"must point to {named}")

    def _type_of(self, target: str) -> str:
        if "/" not in target:
            return target
        known = self.book.profiles.get(target)
        if known is not None:
            return known.type
        return target.removeprefix(CORE) if target.removeprefix(CORE) in self.book.table else ""


def _shown(value: Any) -> str:
    """What a profile fixes, in short."""
    if isinstance(value, dict):
        parts = [_shown(part) for part in value.values()]
        return " ".join(parts)
    if isinstance(value, list):
        return " and ".join(map(_shown, value))
    return str(value)
