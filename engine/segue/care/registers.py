"""Registers: what each source says now of each element of a person.

Of one source, the statement that was recorded last holds; an absent element keeps its
value, a null deletes it. Between sources that one holds which began last to say what
it still says: a source that only repeats an old address does not undo a new one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segue.care.states import Stamp, Told

Groups = list[tuple[Stamp, dict[str, Any]]]


def state_elements(told: Told, resource: str, stamp: Stamp, elements: Mapping[str, Any]) -> None:
    """Let a source state elements of a resource, as its latest statement so far.

    Args:
        told: the source; its lists of groups are replaced, never changed.
        resource: `Patient` or `Type/id`.
        stamp: when it was recorded.
        elements: by element path; None deletes, with a list all that was added to it.
    """
    groups = told.resources.get(resource)
    if groups is None:
        if elements:
            told.resources[resource] = [(stamp, dict(elements))]
        return
    if len(groups) == 1 and groups[0][1] == elements:
        return  # Mostly a message repeats the one before: seen without a look at each element.
    new: dict[str, Any] = {}
    for path, value in elements.items():
        for _, group in groups:
            if path in group:
                if group[path] != value:
                    new[path] = value
                break
        else:
            new[path] = value
    if not new:
        return
    nulls = tuple(f"{path}#" for path, value in new.items() if value is None and "#" not in path)
    kept: Groups = []
    for since, group in groups:
        if new.keys().isdisjoint(group) and not nulls:
            kept.append((since, group))
            continue
        left = {
            path: value
            for path, value in group.items()
            if path not in new and not (nulls and path.startswith(nulls))
        }
        if left:
            kept.append((since, left))
    told.resources[resource] = [*kept, (stamp, new)]


def resolve(sources: Iterable[tuple[str, Told]], resource: str) -> dict[str, Any]:
    """What holds of a resource among several sources, by element path.

    Deleted elements are left out; so is everything of a resource that was withdrawn.
    """
    heard = [(name, groups) for name, told in sources if (groups := told.resources.get(resource))]
    if len(heard) == 1:
        merged: dict[str, Any] = {}
        for _, group in heard[0][1]:
            merged.update(group)
    else:
        best: dict[str, tuple[Stamp, str, Any]] = {}
        for name, groups in heard:
            for stamp, group in groups:
                for path, value in group.items():
                    known = best.get(path)
                    if known is None or known[:2] < (stamp, name):
                        best[path] = (stamp, name, value)
        merged = {path: entry[2] for path, entry in best.items()}
    if "" in merged:
        return {}
    if None in merged.values():
        return {path: value for path, value in merged.items() if value is not None}
    return merged


def held(sources: Sequence[tuple[str, Told]], resource: str, path: str) -> Any:
    """The value of one element that holds, None where there is none; see `resolve`."""
    best: tuple[tuple[Stamp, str], Any] | None = None
    for name, told in sources:
        for stamp, group in told.resources.get(resource, ()):
            if path in group and (best is None or best[0] < (stamp, name)):
                best = ((stamp, name), group[path])
    return None if best is None else best[1]


def heard_of(sources: Iterable[tuple[str, Told]]) -> list[str]:
    """All resources that the sources speak of, sorted."""
    return sorted({resource for _, told in sources for resource in told.resources})
