"""Processing messages again: under another mapping, or after a defect was mended.

What an entry said before is replaced by what it says now, and the persons concerned
are folded anew. Only differences are written and sent; a dry run only shows them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from segue.fhir.canonical import loads
from segue.model.identity import ResourceKey
from segue.pipeline.engine import Hub
from segue.pipeline.process import Reading, fold_readings, read
from segue.pipeline.transact import Draft, transact

CHUNK = 20
"""Entries per commit."""


@dataclass(slots=True)
class Difference:
    """What changes in one resource.

    Attributes:
        patch: operations as in RFC 6902, `replace` and `remove` with the old value in
            `from`.
    """

    resource: str
    patch: list[dict[str, Any]]


@dataclass(slots=True)
class Replayed:
    """The result of a replay.

    Attributes:
        entries: how many were replayed. changed: how many of them changed something.
        failed: how many could not be applied.
        differences: by resource, in order of the change.
    """

    entries: int = 0
    changed: int = 0
    failed: int = 0
    differences: list[Difference] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As `segue inbox replay --json` prints it."""
        return {
            "entries": self.entries,
            "changed": self.changed,
            "failed": self.failed,
            "diffs": [{"resource": one.resource, "patch": one.patch} for one in self.differences],
        }


def replay(
    hub: Hub,
    numbers: Sequence[int],
    *,
    dry_run: bool = False,
    advance: Callable[[int], object] | None = None,
) -> Replayed:
    """Replay journal entries, in the order of their numbers.

    Args:
        hub: the engine.
        numbers: entry ids; those that the journal does not have are left out.
        dry_run: write nothing.
        advance: told how many entries are done, after each part.
    """
    result = Replayed()
    wanted = sorted(set(numbers))
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        readings = read(hub, hub.journal.get_many(part), release=True)
        _replay(hub, readings, result, dry_run=dry_run)
        if advance is not None:
            advance(len(part))
    return result


def _replay(hub: Hub, readings: Sequence[Reading], result: Replayed, *, dry_run: bool) -> None:
    found = Replayed()

    def compute(draft: Draft) -> None:
        nonlocal found
        found = Replayed(entries=len(readings))
        fold_readings(draft, readings, replay=True)
        _note(draft, found)

    if dry_run:
        with hub.store.read() as reader:
            compute(Draft(hub, reader, hub.now()))
    else:
        transact(hub, compute)
    result.entries += found.entries
    result.changed += found.changed
    result.failed += found.failed
    result.differences += found.differences


def _note(draft: Draft, found: Replayed) -> None:
    last: dict[ResourceKey, str | None] = {}
    for step in draft.steps:
        found.failed += step.state == "failed"
        writes = [write for write in step.writes if write.key.type != "Provenance"]
        found.changed += any(write.kind != "directory" for write in writes)
        for write in writes:
            last[write.key] = write.body
    stored = draft.reader.bodies(last)
    for key, body in last.items():
        before = stored.get(key)
        old = loads(before.body) if before is not None and before.body is not None else None
        new = loads(body) if body is not None else None
        patch = list(operations(old, new))
        if patch:
            found.differences.append(Difference(key.reference, patch))


def operations(old: Any, new: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """The operations that make one JSON value of another.

    >>> list(operations({"status": "unknown"}, {"status": "finished"}))
    [{'op': 'replace', 'path': '/status', 'from': 'unknown', 'value': 'finished'}]
    >>> list(operations({"a": [1, 2]}, {"a": [1]}))
    [{'op': 'remove', 'path': '/a/1', 'from': 2}]
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            here = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            if name not in new:
                yield {"op": "remove", "path": here, "from": old[name]}
            elif name not in old:
                yield {"op": "add", "path": here, "value": new[name]}
            else:
                yield from operations(old[name], new[name], here)
    elif isinstance(old, list) and isinstance(new, list):
        for n in range(min(len(old), len(new))):
            yield from operations(old[n], new[n], f"{path}/{n}")
        for n in range(len(new), len(old))[::-1]:
            yield {"op": "remove", "path": f"{path}/{n}", "from": old[n]}
        for n in range(len(old), len(new)):
            yield {"op": "add", "path": f"{path}/-", "value": new[n]}
    elif old != new:
        yield {"op": "replace", "path": path, "from": old, "value": new}
