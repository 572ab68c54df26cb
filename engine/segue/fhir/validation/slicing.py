"""Which slice an item belongs to.

Source: https://hl7.org/fhir/R4/profiling.html#discriminator
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from segue.fhir.definitions import Definitions
from segue.fhir.validation.items import Item, children
from segue.fhir.validation.tree import Node

Match = Callable[[Item], bool]
Contains = Callable[[str, Item], bool]
"""(value set, coded item) → whether one of its codes is in the value set."""

_STEP = re.compile(r"extension\('([^']+)'\)|ofType\((\w+)\)|resolve\(\)|(\w+)")


def equal(wanted: Any, value: Any) -> bool:
    """Whether a value is exactly what `fixed[x]` says."""
    return (type(wanted) is type(value) and bool(wanted == value)) or (
        isinstance(wanted, (int, float)) and not isinstance(wanted, bool) and wanted == value
    )


def contains(pattern: Any, value: Any) -> bool:
    """Whether a value has everything that a `pattern[x]` has.

    >>> contains({"coding": [{"code": "a"}]}, {"coding": [{"code": "b"}, {"code": "a"}]})
    True
    """
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in value and contains(part, value[key]) for key, part in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(
            any(contains(part, item) for item in value) for part in pattern
        )
    return equal(pattern, value)


class Slicer:
    """Makes the tests that tell slices apart.

    Args:
        table: FHIR's types.
        within: whether a coded item has a code of a value set.
        fixed_urls: extension profile to the url that it fixes.
    """

    def __init__(self, table: Definitions, within: Contains) -> None:
        self.table = table
        self.within = within

    def match(self, name: str, slice_: Node, by: tuple[tuple[str, str], ...]) -> Match | None:
        """The test of one slice; None where its discriminators say nothing we can test."""
        tests: list[Match] = []
        for kind, path in by:
            steps = [
                (extension, of_type, plain)
                for extension, of_type, plain in _STEP.findall(path)
                if plain != "this" and (extension or of_type or plain)
            ]
            if "resolve()" in path:
                return None
            test = self._test(kind, name, slice_, steps)
            if test is None:
                return None
            tests.append(test)
        if not tests:
            return None
        return lambda item: all(test(item) for test in tests)

    def _test(
        self, kind: str, name: str, slice_: Node, steps: list[tuple[str, str, str]]
    ) -> Match | None:
        if kind == "exists":
            inner = _descend(slice_, steps)
            if inner is None:
                return None
            wanted = inner.low > 0
            return lambda item: bool(list(self._at(item, steps))) is wanted
        if kind == "type":
            inner = _descend(slice_, steps)
            types = frozenset(inner.types) if inner is not None and inner.types else frozenset()
            if not types and not steps:
                return lambda item: item.where.rpartition(".")[2].partition("[")[0] == name
            if not types:
                return None
            return lambda item: any(found.type in types for found in self._at(item, steps))
        if kind in ("value", "pattern"):
            tests = list(self._values(slice_, steps, ()))
            if not tests:
                return None
            return lambda item: all(
                any(test(found) for found in self._at(item, at)) for at, test in tests
            )
        return None

    def _values(
        self, node: Node, steps: list[tuple[str, str, str]], done: tuple[tuple[str, str, str], ...]
    ) -> Iterator[tuple[list[tuple[str, str, str]], Match]]:
        """What the nodes on the way fix, and what stands below its end."""
        for value, test in ((node.exact, equal), (node.pattern, contains)):
            if value is not None:
                part = _part(value, [step[2] for step in steps])
                if part is not None:
                    yield list(done + tuple(steps)), _tester(test, part)
        if not steps:
            if node.binding is not None and node.binding[0] == "required":
                value_set = node.binding[1]
                yield list(done), lambda item: self.within(value_set, item)
            if node.exact is None and node.pattern is None:
                for name, child in node.children.items():
                    yield from self._values(child, [], (*done, ("", "", name)))
            return
        extension, of_type, name = steps[0]
        if of_type:
            yield from self._values(node, steps[1:], (*done, steps[0]))
        elif name == "url" and len(node.types.get("Extension", ())) == 1:
            url = node.types["Extension"][0]
            yield list(done + tuple(steps)), _tester(equal, url)
        elif extension:
            for child in node.children.get("extension", node).slices.values():
                if extension in child.types.get("Extension", ()):
                    yield from self._values(child, steps[1:], (*done, steps[0]))
        elif name in node.children:
            yield from self._values(node.children[name], steps[1:], (*done, steps[0]))

    def _at(self, item: Item, steps: list[tuple[str, str, str]]) -> Iterator[Item]:
        if not steps:
            yield item
            return
        extension, of_type, name = steps[0]
        if of_type:
            if item.type == of_type:
                yield from self._at(item, steps[1:])
        elif extension:
            for found in children(self.table, item, "extension"):
                if isinstance(found.value, dict) and found.value.get("url") == extension:
                    yield from self._at(found, steps[1:])
        else:
            for found in children(self.table, item, name):
                yield from self._at(found, steps[1:])


def _tester(test: Callable[[Any, Any], bool], wanted: Any) -> Match:
    return lambda item: test(wanted, item.value)


def _descend(node: Node, steps: list[tuple[str, str, str]]) -> Node | None:
    for _, _, name in steps:
        if not name:
            continue
        found = node.children.get(name)
        if found is None:
            return None
        node = found
    return node


def _part(value: Any, names: list[str]) -> Any:
    """The part of a fixed value below names; None where it has none."""
    for name in names:
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value[0] if names and isinstance(value, list) and len(value) == 1 else value
