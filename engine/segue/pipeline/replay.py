"""Processing messages again: under another mapping, or after a defect was mended.

What an entry said before is replaced by what it says now, and the persons concerned
are folded anew. Only differences are written and sent; a dry run only shows them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from segue.fhir.canonical import loads
from segue.model.changes import Write
from segue.model.identity import ResourceKey
from segue.model.messages import InboxEntry
from segue.pipeline.hub import Hub
from segue.pipeline.process import fold_readings, read
from segue.pipeline.transact import Draft, transact

CHUNK = 20
"""Entries per commit."""
DRY = 2_000
"""Entries whose difference is reckoned together: of more, part by part."""


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
        hub: the engine; others may be at work on the same store.
        numbers: entry ids. Left out are those that the journal does not have, and those
            that a worker still has to come to: they are not processed *again*.
        dry_run: write nothing.
        advance: told how many entries are done, after each part.
    """
    result = Replayed()
    wanted = sorted(set(numbers))
    size = DRY if dry_run else CHUNK
    for start in range(0, len(wanted), size):
        part = wanted[start : start + size]
        _replay(hub, _done(hub, hub.journal.get_many(part)), result, dry_run=dry_run)
        if advance is not None:
            advance(len(part))
    return result


def _done(hub: Hub, entries: Iterable[InboxEntry]) -> list[InboxEntry]:
    with hub.store.read() as reader:
        cursors = reader.lane_cursors()
    return [one for one in entries if one.id <= cursors.get(one.envelope.lane, 0)]


def _replay(hub: Hub, entries: Sequence[InboxEntry], result: Replayed, *, dry_run: bool) -> None:
    found = Replayed()
    readings = read(hub, entries, release=True)

    def compute(draft: Draft) -> None:
        nonlocal found
        found = Replayed(entries=len(readings))
        fold_readings(draft, readings, replay=True)
        _note(draft, found)

    if not readings:
        return
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
    """Note what a draft changes: of each resource from what is stored to the last version."""
    made: dict[ResourceKey, list[Write]] = {}
    by_step: list[set[ResourceKey]] = []
    for step in draft.steps:
        found.failed += step.state == "failed"
        writes = [one for one in step.writes if one.key.type != "Provenance"]
        by_step.append({one.key for one in writes})
        for write in writes:
            held = made.setdefault(write.key, [])
            if write.kind != "directory":
                held.append(write)
            elif not held or _order(write) > _order(held[-1]):
                held[:] = [write]
    stored = draft.reader.bodies(made)
    shown: set[ResourceKey] = set()
    for key, writes in made.items():
        if writes[-1].kind == "directory" and not _stands(draft, writes[-1]):
            continue
        before = stored.get(key)
        old = before.body if before is not None else None
        patch = _patch(old, writes[-1].body)
        if not patch:
            # There and back again, in versions that will be there.
            for write in writes:
                patch += _patch(old, write.body)
                old = write.body
        if patch:
            shown.add(key)
            found.differences.append(Difference(key.reference, patch))
    found.changed = sum(1 for keys in by_step if not shown.isdisjoint(keys))


def _stands(draft: Draft, write: Write) -> bool:
    """Whether what is said of a directory resource stands against what is stored."""
    stored = draft.reader.register(write.key)
    return stored is None or _order(write) >= stored[1]


def _order(write: Write) -> tuple[int, str]:
    return write.recorded or (0, "")


def _patch(old: str | None, new: str | None) -> list[dict[str, Any]]:
    return list(
        operations(None if old is None else loads(old), None if new is None else loads(new))
    )


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
