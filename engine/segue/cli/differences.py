"""The difference that a replay makes, for people: a line for each element, and a summary."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from json import dumps
from typing import Any

MOST_CHARACTERS = 120
"""Of a value; `--json` shows all of it."""
NARRATIVE = "/text/"
"""Made of the other elements: what changes in it says nothing more."""
MOST_FAILED = 10
"""Messages that could not be applied, named in the summary."""


def lines(differences: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each resource, and one for each of its elements that differ.

    Args:
        differences: as `Replayed.as_json` gives them.

    >>> patch = [{"op": "replace", "path": "/status", "from": "unknown", "value": "finished"}]
    >>> list(lines([{"resource": "Encounter/1", "patch": patch}]))
    ['Encounter/1 changed', '  replace  /status  unknown → finished']
    """
    for one in differences:
        kind = _kind(one["patch"])
        yield f"{one['resource']} {kind}"
        if kind != "changed":
            yield f"  {_short(one['patch'][0]['from' if kind == 'deleted' else 'value'])}"
            continue
        for change in one["patch"]:
            if not change["path"].startswith(NARRATIVE):
                yield f"  {change['op']:8} {change['path']}  {_values(change)}"


def summary(out: Mapping[str, Any], *, dry_run: bool) -> Iterator[str]:
    """How many messages and resources, by type; changes of status; what failed.

    Args:
        out: as `Replayed.as_json` gives it.
        dry_run: whether nothing was written.
    """
    kinds: dict[str, Counter[str]] = {}
    statuses: dict[str, Counter[str]] = {}
    for one in out["diffs"]:
        name = one["resource"].partition("/")[0]
        kinds.setdefault(name, Counter())[_kind(one["patch"])] += 1
        for change in one["patch"]:
            if change["path"] == "/status" and change["op"] == "replace":
                statuses.setdefault(name, Counter())[_values(change)] += 1
    for name in sorted(kinds):
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds[name].items()))
        moves = sorted(statuses.get(name, Counter[str]()).items())
        moved = ", ".join(f"{count} {move}" for move, count in moves)
        yield f"{name:20} {told}" + (f"  (status: {moved})" if moved else "")
    if failures := out["failures"]:
        named = ", ".join(f"{one['id']} ({one['code']})" for one in failures[:MOST_FAILED])
        more = f" and {len(failures) - MOST_FAILED} more" if len(failures) > MOST_FAILED else ""
        yield f"not applied: {named}{more}: segue inbox show ID; what they said before stays"
    word = "would change" if dry_run else "changed"
    yield f"{out['entries']} messages: {out['changed']} {word}, {out['failed']} failed"


def _kind(patch: Sequence[Mapping[str, Any]]) -> str:
    if patch[0]["path"]:
        return "changed"
    return "deleted" if patch[-1]["value"] is None else "created"


def _values(change: Mapping[str, Any]) -> str:
    if change["op"] == "remove":
        return _short(change["from"])
    if change["op"] == "add":
        return _short(change["value"])
    return f"{_short(change['from'])} → {_short(change['value'])}"


def _short(value: Any) -> str:
    """A value on one line, not too long."""
    text = value if isinstance(value, str) else dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
