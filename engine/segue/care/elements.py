"""Element paths and what they stand for in a resource.

`period.start` is a nested element; `name#legal` is a list of items that one rule adds
to `name`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

Resource = dict[str, Any]
Steps = tuple[tuple[str, ...], str, str | None]
_steps: dict[str, Steps] = {}
_encode = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode


def expand(kind: str, logical_id: str, elements: Mapping[str, Any]) -> Resource:
    """Make a resource of element paths.

    >>> made = expand("Encounter", "e", {"period.end": "2026", "type#b": [2], "type#a": [1]})
    >>> made["period"], made["type"]
    ({'end': '2026'}, [1, 2])
    """
    resource: Resource = {"resourceType": kind, "id": logical_id}
    labelled: dict[str, list[str]] | None = None
    for path, value in elements.items():
        steps = _steps.get(path)
        if steps is None:
            steps = _parse(path)
        parents, name, label = steps
        if label is not None:
            if labelled is None:
                labelled = {}
            labelled.setdefault(path[: -len(label) - 1], []).append(path)
            continue
        if not parents:
            resource[name] = value
            continue
        target = resource
        for parent in parents:
            inner = target.get(parent)
            # What a rule gave as a whole must not change under another rule's part.
            inner = dict(inner) if isinstance(inner, dict) else {}
            target[parent] = inner
            target = inner
        target[name] = value
    if labelled is not None:
        for base, paths in labelled.items():
            _collect(resource, base, paths, elements)
    return resource


def _collect(resource: Resource, base: str, paths: list[str], elements: Mapping[str, Any]) -> None:
    """Join what was added to a list under several labels, in the order of the labels."""
    parents, name, _ = _steps[paths[0]]
    target = resource
    for parent in parents:
        inner = target.get(parent)
        inner = dict(inner) if isinstance(inner, dict) else {}
        target[parent] = inner
        target = inner
    if len(paths) == 1 and base not in elements:
        items = list(elements[paths[0]])
    else:
        whole = elements.get(base)
        items = list(whole) if isinstance(whole, list) else []
        for path in sorted(paths):
            items += elements[path]
    if name == "identifier" or len(items) > 1:
        items = in_order(items) if name == "identifier" else _distinct(items)
    if items:
        target[name] = items


def _parse(path: str) -> Steps:
    base, mark, label = path.partition("#")
    *parents, name = base.split(".")
    steps = (tuple(parents), name, label if mark else None)
    if len(_steps) < 10_000:
        _steps[path] = steps
    return steps


def _distinct(items: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return kept


def in_order(identifiers: list[Any]) -> list[Any]:
    """Identifiers in an order of their own, old ones last, each once."""
    distinct = _distinct(identifiers)
    if len(distinct) < 2:
        return distinct
    return sorted(distinct, key=lambda one: (one.get("use") == "old", _encode(one)))
