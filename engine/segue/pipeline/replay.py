"""Processing messages again: under another mapping, or after a defect was mended.

What an entry said before is replaced by what it says now, and the persons concerned
are folded anew. Only differences are written and sent; a dry run only shows them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from segue.fhir.canonical import loads
from segue.model.changes import Write
from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from segue.model.messages import InboxEntry
from segue.pipeline.again import Again, fold_again
from segue.pipeline.hub import Hub
from segue.pipeline.process import read
from segue.pipeline.transact import Draft, rehearse, transact

CHUNK = 20
"""Entries per commit, and all others of the same people."""
DRY = 2_000
"""Entries whose difference is reckoned together: of more, part by part."""
MOST = 2_000
"""So many entries of the same people are taken together."""


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
        failures: those that could not be applied, with the code of what is wrong.
        differences: by resource, in order of the change.
    """

    entries: int = 0
    changed: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many could not be applied."""
        return len(self.failures)

    def as_json(self) -> dict[str, Any]:
        """As `segue inbox replay --json` prints it."""
        return {
            "entries": self.entries,
            "changed": self.changed,
            "failed": self.failed,
            "failures": [{"id": str(entry), "code": code} for entry, code in self.failures],
            "diffs": [{"resource": one.resource, "patch": one.patch} for one in self.differences],
        }


def replay(
    hub: Hub,
    numbers: Sequence[int],
    *,
    dry_run: bool = False,
    advance: Callable[[int], object] | None = None,
) -> Replayed:
    """Replay journal entries, those of the same people together.

    Args:
        hub: the engine; others may be at work on the same store.
        numbers: entry ids. Left out are those that the journal does not have, and those
            that a worker still has to come to: they are not processed *again*.
        dry_run: write nothing.
        advance: told how many entries are done, after each part.
    """
    result = Replayed()
    for part in _parts(hub, sorted(set(numbers)), DRY if dry_run else CHUNK):
        _replay(hub, _done(hub, hub.journal.get_many(part)), result, dry_run=dry_run)
        if advance is not None:
            advance(len(part))
    result.failures.sort()
    return result


def _parts(hub: Hub, wanted: Sequence[int], size: int) -> Iterator[list[int]]:
    """The entries in lots; those of the same people are in the same one, as far as can be."""
    left = dict.fromkeys(wanted)
    while left:
        part = set(islice(left, size))
        with hub.store.read() as reader:
            stored, news, known = reader.people, set(part), set[str]()
            while news and len(part) < MOST:
                named = {row.identity for row in stored.facts_of_entries(news)} - known
                owners = {row.pk for row in stored.by_identity(named).values()}
                also = {one for names in stored.identities_of(owners).values() for one in names}
                also = (also | named) - known
                known |= also
                news = {row.entry for row in stored.facts_of(also)} & left.keys() - part
                part |= news
        for entry in part:
            del left[entry]
        yield sorted(part)


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
        _note(draft, fold_again(draft, readings), found)

    if not readings:
        return
    if dry_run:
        rehearse(hub, compute)
    else:
        transact(hub, compute)
    result.entries += found.entries
    result.changed += found.changed
    result.failures += found.failures
    result.differences += found.differences


def _note(draft: Draft, again: Again, found: Replayed) -> None:
    """Note what a draft changes: of each resource from what is stored to the last version."""
    made: dict[ResourceKey, list[Write]] = {}
    by_step: dict[int, list[Write]] = {}
    for step in draft.steps:
        writes = [one for one in step.writes if one.key.type != "Provenance"]
        by_step.setdefault(int(step.cause.ref), []).extend(writes)
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
    touched = {write.owner for key in shown for write in made[key]}
    changed = {entry for entry, pks in again.otherwise.items() if not touched.isdisjoint(pks)}
    # Registers have no person; and the engine itself may be what is new.
    changed |= {
        entry
        for entry, writes in by_step.items()
        if any(one.key in shown and (one.owner is None or not changed) for one in writes)
    }
    found.changed = len(changed)
    found.failures = [(entry, _worst(issues)) for entry, issues in again.failed.items()]


def _worst(issues: Sequence[Issue]) -> str:
    return next((one.code for one in issues if one.severity == "error"), "failed")


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
