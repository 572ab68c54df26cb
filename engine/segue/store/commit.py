"""The one transaction that changes the store, and its place in the commit order.

Locks are taken in one order by every writer: persons, directory resources, other
resources (each sorted), the head last. The head's row gives the position and is held
until COMMIT, so positions are dense and rise in commit order. SQLite has one writer
at a time, so there the head comes first.
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from typing import Any

import msgspec

from segue.model.changes import Head, Write
from segue.model.identity import ResourceKey
from segue.model.instants import Clock, microseconds
from segue.store import packing
from segue.store.dialects import Conflict, Row, Session
from segue.store.records import Commit, Committed, RevisionConflict
from segue.store.terms import TermRows, pack, unpack

KINDS = {"fold": 0, "client": 1, "directory": 2}
ORDINAL_BITS = 20
SHARDS = 8
"""Partitions of each destination's outbox."""

_RESOURCE = (
    "pk",
    "type",
    "id",
    "version",
    "tx",
    "kind",
    "deleted",
    "owner",
    "content",
    "gist",
    "terms",
    "recorded",
    "control_id",
)
_HEAD_KEYS = ("pk", "version")
_HEAD = ("version", "tx", "deleted", "owner", "content", "gist", "terms", "recorded", "control_id")


class Plan:
    """What a commit will write, made ready before any lock is taken."""

    def __init__(self, commit: Commit) -> None:
        """Sort the commit by table; several writes of one resource become one head.

        Raises:
            ValueError: two writes of a resource do not follow one another.
        """
        self.commit = commit
        self.created: dict[int, Write] = {}
        self.changed: dict[int, tuple[Head, Write]] = {}
        self.registers: dict[ResourceKey, Write] = {}
        self.versions: list[tuple[int, int, bytes | None, int]] = []
        self.terms = TermRows()
        for number, step in enumerate(commit.steps):
            for write in step.writes:
                if write.kind == "directory":
                    self._register(write)
                else:
                    self._resource(write)
                    self.versions.append((write.pk, write.version, _body(write), number))
        for write in self.created.values():
            self.terms.add(write.pk, write.terms)
        for base, write in self.changed.values():
            # What no person's revision guards may be indexed anew meanwhile.
            if base.owner is not None:
                self.terms.change(write.pk, base.terms, write.terms)

    def _register(self, write: Write) -> None:
        held = self.registers.get(write.key)
        if held is None or _order(write) > _order(held):
            self.registers[write.key] = write

    def _resource(self, write: Write) -> None:
        pk = write.pk
        before = self.created.get(pk)
        if before is None and pk in self.changed:
            before = self.changed[pk][1]
        expected = before.version if before else write.base.version if write.base else 0
        if write.version != expected + 1:
            msg = f"version {write.version} of {write.key.type} does not follow {expected}"
            raise ValueError(msg)
        if pk in self.created or (before is None and write.base is None):
            self.created[pk] = write
        elif before is not None:
            self.changed[pk] = (self.changed[pk][0], write)
        elif write.base is not None:
            self.changed[pk] = (write.base, write)


def of_commit(row: str) -> str:
    """SQL for a row of a log that belongs to the commit `c`.

    >>> of_commit("v")
    'v.id >= c.tx << 20 AND v.id < (c.tx + 1) << 20'
    """
    return f"{row}.id >= c.tx << {ORDINAL_BITS} AND {row}.id < (c.tx + 1) << {ORDINAL_BITS}"


def _body(write: Write) -> bytes | None:
    return None if write.body is None else packing.pack(write.body.encode())


def _order(write: Write) -> tuple[int, str]:
    return write.recorded or (0, "")


def write_commit(session: Session, plan: Plan, tx: int | None, clock: Clock) -> Committed:
    """Write all of a commit inside an open transaction.

    Args:
        session: with a transaction begun.
        plan: of the commit.
        tx: a fresh number; None on SQLite, where the position is known already.
        clock: gives the instant of the commit.

    Raises:
        RevisionConflict: something was not as the commit takes it to be.
    """
    position = at = 0
    if tx is None:
        position, at = _next_position(session, clock)
        tx = position
    session.lock_numbers(plan.commit.conditions)
    _check_cursors(session, plan.commit)
    _check_persons(session, plan.commit)
    _write_visits(session, plan.commit)
    heads, versions = _write_registers(session, plan, tx)
    _write_resources(session, plan, tx)
    versions += plan.versions
    first = tx << ORDINAL_BITS
    if versions:
        session.insert(
            "version",
            ("id", "resource", "version", "step", "body"),
            [(first | n, pk, v, step, body) for n, (pk, v, body, step) in enumerate(versions)],
        )
    plan.terms.write(session)
    _write_persons(session, plan.commit)
    changes: dict[int, int] = {}
    for *_, number in versions:
        changes[number] = changes.get(number, 0) + 1
    _write_steps(session, plan.commit, first, changes)
    if not position:
        position, at = _next_position(session, clock)
    session.run("INSERT INTO commits (tx, position, at) VALUES (?, ?, ?)", (tx, position, at))
    writes = [*plan.created.values(), *(write for _, write in plan.changed.values())]
    return Committed(position, at, heads, writes)


def _next_position(session: Session, clock: Clock) -> tuple[int, int]:
    # One statement takes the lock, so the clock is read before it; `at` still rises.
    row = session.row(
        "UPDATE head SET position = position + 1, "
        "at = CASE WHEN at < ? THEN ? ELSE at + 1 END WHERE id = 1 RETURNING position, at",
        (now := microseconds(clock()), now),
    )
    assert row is not None, "the store has no head row"
    return row[0], row[1]


def _check_cursors(session: Session, commit: Commit) -> None:
    if not commit.moves:
        return
    rows = sorted((m.log, m.partition, m.token, m.old, m.new) for m in commit.moves)
    session.lock("lease", ("log", "partition"), [row[:2] for row in rows])
    moved = session.update("lease", ("log", "partition", "token", "cursor"), ("cursor",), rows)
    if moved != len(rows):
        raise RevisionConflict(moves={move.partition for move in commit.moves})


def _check_persons(session: Session, commit: Commit) -> None:
    known = {person.pk: person for person in commit.persons if person.expected}
    new = [person for person in commit.persons if not person.expected]
    if known:
        where, params = session.among(("pk",), [(pk,) for pk in sorted(known)])
        found: dict[int, int] = dict(
            session.rows(
                f"SELECT pk, revision FROM person WHERE {where}" + session.locking("pk"),
                params,
            )
        )
        stale = {pk for pk, person in known.items() if found.get(pk) != person.expected}
        if stale:
            raise RevisionConflict(persons=stale)
    if new:
        try:
            session.insert(
                "person",
                ("pk", "key", "revision", "merged_into", "state"),
                [(p.pk, p.key, 1, p.merged_into, p.state) for p in sorted(new, key=_pk)],
            )
        except Conflict as error:
            raise RevisionConflict(persons={person.pk for person in new}) from error
    _point_identities(session, commit)


def _pk(person: Any) -> int:
    pk: int = person.pk
    return pk


def _point_identities(session: Session, commit: Commit) -> None:
    """Identities go to a person; one that another person has only if that one is held."""
    if not commit.identities:
        return
    wanted = dict(commit.identities)
    where, params = session.among(("key",), [(key,) for key in wanted])
    owners: dict[str, int] = dict(
        session.rows(f"SELECT key, person FROM identity WHERE {where}", params)
    )
    held = {person.pk for person in commit.persons}
    strangers = {
        owner for key, owner in owners.items() if owner != wanted[key] and owner not in held
    }
    if strangers:
        raise RevisionConflict(persons=strangers)
    fresh = sorted((key, pk) for key, pk in wanted.items() if key not in owners)
    moved = sorted((key, pk) for key, pk in wanted.items() if owners.get(key, pk) != pk)
    try:
        if fresh:
            session.insert("identity", ("key", "person"), fresh)
    except Conflict as error:
        raise RevisionConflict(persons={pk for _, pk in fresh}) from error
    if moved:
        session.update("identity", ("key",), ("person",), moved)


def _write_registers(
    session: Session, plan: Plan, tx: int
) -> tuple[dict[ResourceKey, Head], list[tuple[int, int, bytes | None, int]]]:
    """Directory resources: the newest statement stands, whoever comes first."""
    heads: dict[ResourceKey, Head] = {}
    versions: list[tuple[int, int, bytes | None, int]] = []
    if not plan.registers:
        return heads, versions
    keys = sorted(plan.registers)
    session.insert_new(
        "resource", _RESOURCE, [_new_row(plan.registers[key], tx, 1) for key in keys]
    )
    where, params = session.among(("type", "id"), keys)
    stored = {
        ResourceKey(row[0], row[1]): row[2:]
        for row in session.rows(
            "SELECT type, id, pk, version, content, recorded, control_id, terms, tx "
            f"FROM resource WHERE {where}" + session.locking("type, id"),
            params,
        )
    }
    step_of = {
        write.key: number
        for number, step in enumerate(plan.commit.steps)
        for write in step.writes
        if write.kind == "directory" and plan.registers[write.key] is write
    }
    updates: list[Row] = []
    for key in keys:
        write = plan.registers[key]
        pk, version, content, recorded, control_id, terms, wrote = stored[key]
        if wrote == tx and pk == write.pk:
            plan.terms.add(pk, write.terms)
            number = 1
        else:
            held = (recorded or 0, control_id or "")
            if _order(write) < held or (_order(write) == held and not plan.commit.again):
                continue
            if content == write.content:
                session.update(
                    "resource", ("pk",), ("recorded", "control_id"), [(pk, *_order(write))]
                )
                continue
            plan.terms.change(pk, unpack(terms), write.terms)
            number = version + 1
            updates.append((pk, version, *_head_row(write, tx, number)))
        versions.append((pk, number, _body(write), step_of[key]))
        heads[key] = Head(
            pk, number, write.content, write.gist, write.terms, write.kind, write.body is None
        )
    if updates:
        session.update("resource", _HEAD_KEYS, _HEAD, updates)
    return heads, versions


def _new_row(write: Write, tx: int, version: int) -> Row:
    type_, id_ = write.key
    return (write.pk, type_, id_, version, tx, KINDS[write.kind], *_state(write))


def _head_row(write: Write, tx: int, version: int) -> Row:
    return (version, tx, *_state(write))


def _state(write: Write) -> Row:
    """What changes with a version: `deleted` and all columns after it."""
    gist, recorded = write.gist, write.recorded
    return (
        int(write.body is None),
        write.owner,
        write.content,
        None if gist == write.content else gist,
        pack(write.terms),
        *(recorded or (None, None)),
    )


def _write_resources(session: Session, plan: Plan, tx: int) -> None:
    if plan.commit.owners:
        rows = sorted(plan.commit.owners.items())
        session.lock("resource", ("pk",), [(pk,) for pk, _ in rows])
        session.update("resource", ("pk",), ("owner",), rows)
    changed = sorted(plan.changed.items())
    if changed:
        session.lock("resource", ("pk",), [(pk,) for pk, _ in changed])
        _change_terms(session, plan)
        rows = [
            (pk, base.version, *_head_row(write, tx, write.version))
            for pk, (base, write) in changed
        ]
        if session.update("resource", _HEAD_KEYS, _HEAD, rows) != len(rows):
            raise RevisionConflict(resources=_moved(session, plan))
        # A feed may begin to speak of what a client began.
        if others := [(pk, KINDS[w.kind]) for pk, (base, w) in changed if base.kind != w.kind]:
            session.update("resource", ("pk",), ("kind",), others)
    created = sorted(plan.created.items())
    if created:
        rows = [_new_row(write, tx, write.version) for _, write in created]
        try:
            session.insert("resource", _RESOURCE, rows)
        except Conflict as error:
            raise RevisionConflict(resources={write.key for _, write in created}) from error


def _change_terms(session: Session, plan: Plan) -> None:
    """The rows of changed resources that belong to no person: from the terms as stored."""
    own = [(pk,) for pk, (base, _) in plan.changed.items() if base.owner is None]
    if not own:
        return
    where, params = session.among(("pk",), own)
    for pk, terms in session.rows(f"SELECT pk, terms FROM resource WHERE {where}", params):
        plan.terms.change(pk, unpack(terms), plan.changed[pk][1].terms)


def _moved(session: Session, plan: Plan) -> set[ResourceKey]:
    where, params = session.among(("pk",), [(pk,) for pk in plan.changed])
    sql = f"SELECT pk, version FROM resource WHERE {where}"
    found: dict[int, int] = dict(session.rows(sql, params))
    # Where nobody came before, the update has been made already: the version is ours.
    return {
        write.key for pk, (_, write) in plan.changed.items() if found.get(pk) != write.version
    } or {write.key for _, write in plan.changed.values()}


def _write_visits(session: Session, commit: Commit) -> None:
    """Visits as they are now; one that another person has must be gone from there."""
    if commit.gone_visits:
        session.delete("visit", ("key", "owner"), sorted(set(commit.gone_visits)))
    if not commit.visits:
        return
    visits = {v.key: v for v in commit.visits}
    rows = sorted((v.key, v.owner, v.state) for v in visits.values())
    written = session.upsert("visit", ("key",), ("owner", "state"), rows, held="owner")
    if written != len(commit.visits):
        raise RevisionConflict(visits=set(visits))


def _write_persons(session: Session, commit: Commit) -> None:
    known = sorted((p for p in commit.persons if p.expected), key=_pk)
    if known:
        session.update(
            "person",
            ("pk",),
            ("revision", "merged_into", "state"),
            [(p.pk, p.expected + 1, p.merged_into, p.state) for p in known],
        )
    if commit.timers:
        cleared = [(pk,) for pk, due in commit.timers.items() if due is None]
        kept = [(pk, due) for pk, due in commit.timers.items() if due is not None]
        if cleared:
            session.delete("timer", ("person",), cleared)
        if kept:
            session.upsert("timer", ("person",), ("due",), kept)


def _write_steps(session: Session, commit: Commit, first: int, changes: dict[int, int]) -> None:
    """Facts, inbox exceptions, deliveries and what the changes are owed to."""
    entries: list[Row] = []
    facts: dict[str, Row] = {}
    exceptions: dict[int, Row] = {}
    steps: list[Row] = []
    parcels: list[Row] = []
    for number, step in enumerate(commit.steps):
        cause = step.cause
        entry = int(cause.ref) if cause.kind == "entry" else 0
        if entry:
            entries.append((entry,))
            # A replay may settle an entry that comes again later in it: the last word holds.
            exceptions.pop(entry, None)
            if step.state != "processed" or step.issues:
                issues = msgspec.json.encode(step.issues).decode()
                exceptions[entry] = (entry, step.state, len(step.issues), issues)
        for fact in step.facts:
            facts[fact.id] = (
                fact.id,
                fact.entry,
                fact.kind,
                fact.identity,
                fact.visit,
                fact.person,
                fact.stay,
            )
        if number in changes or step.deliveries:
            ref = None if entry else cause.ref
            count = changes.get(number, 0)
            steps.append((first | number, entry, cause.kind, ref, cause.source, count))
        for delivery in step.deliveries:
            parcels.append(
                (
                    first | len(parcels),
                    f"{delivery.destination}/{delivery.lane % SHARDS}",
                    delivery.lane,
                    delivery.form,
                    delivery.what,
                    delivery.version,
                    delivery.cause,
                    " ".join(map(str, delivery.after)) or None,
                    delivery.notice or None,
                )
            )
    if entries:
        # A replay replaces what the entry said and what was wrong with it.
        session.delete("fact", ("entry",), entries)
        session.delete("inbox_exception", ("entry",), entries)
    if facts:
        said = ("entry", "kind", "identity", "visit", "person", "stay")
        session.upsert("fact", ("id",), said, list(facts.values()))
    if exceptions:
        told = ("entry", "state", "count", "issues")
        session.insert("inbox_exception", told, list(exceptions.values()))
    if steps:
        session.insert("step", ("id", "entry", "kind", "ref", "source", "changes"), steps)
    if parcels:
        columns = ("id", "partition", "lane", "form", "what", "version", "cause", "after", "notice")
        session.insert("outbox", columns, parcels)
