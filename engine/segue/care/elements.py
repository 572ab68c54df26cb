"""Element paths and what they stand for in a resource.

`period.start` is a nested element; `name#legal` is a list of items that one rule adds
to `name`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

Resource = dict[str, Any]
Steps = tuple[tuple[str, ...], str]
# Only paths without a label are kept: those are as many as mapping rules name, while
# labels (a diagnosis by its Condition) are new with every visit.
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
        if "#" in path:
            if labelled is None:
                labelled = {}
            labelled.setdefault(path[: path.index("#")], []).append(path)
            continue
        parents, name = _steps.get(path) or _parse(path)
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
    if "clinicalStatus" in resource and stands_again(resource):
        del resource["verificationStatus"]
    return resource


def stands_again(elements: Mapping[str, Any]) -> bool:
    """Whether what was deleted (entered in error) was listed again later.

    A deletion takes the clinical status away, so that one that is there was said later:
    the deletion holds no more. R4 (con-5, ait-2) allows either, and not both.

    >>> wrong = {"coding": [{"code": "entered-in-error"}]}
    >>> stands_again({"verificationStatus": wrong, "clinicalStatus": {"text": "active"}})
    True
    >>> stands_again({"verificationStatus": wrong})
    False
    """
    verification = elements.get("verificationStatus")
    if not isinstance(verification, dict) or not elements.get("clinicalStatus"):
        return False
    return any(one.get("code") == "entered-in-error" for one in verification.get("coding", ()))


def _collect(resource: Resource, base: str, paths: list[str], elements: Mapping[str, Any]) -> None:
    """Join what was added to a list under several labels, in the order of the labels."""
    parents, name = _steps.get(base) or _parse(base)
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
    *parents, name = path.split(".")
    steps = _steps[path] = (tuple(parents), name)
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
