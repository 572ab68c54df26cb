"""The inbox: journal entries with what became of them.

The journal is never updated. What became of an entry follows from its lane's cursor
and from the exception rows in the store; most entries have none.
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import msgspec

from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from segue.model.messages import EntryState
from segue.store.commit import ORDINAL_BITS, of_commit
from segue.store.database import Database
from segue.store.dialects import Session
from segue.store.journal import Journal
from segue.store.leases import lane_cursors
from segue.store.listings import EntryFilter, ListedEntry, ListedMessage, Page, ShownMessage
from segue.store.records import Fate

HELD = ("quarantined", "discarded")
_CHUNK = 500
_issues = msgspec.json.Decoder(list[Issue]).decode


class Inbox:
    """Journal and store, read together."""

    def __init__(self, journal: Journal, database: Database) -> None:
        """Take the journal, and the database of the part `store`."""
        self._journal = journal
        self._database = database

    def messages(
        self, asked: EntryFilter, *, after: int | None = None, limit: int = 50
    ) -> Page[ListedMessage]:
        """A page of entries, the newest first, without their bodies.

        Args:
            asked: which ones.
            after: the `next` of the page before.
            limit: how many at most.
        """
        page = self._page(asked, after, limit)
        return Page(self._listed(page.items), page.next, page.total)

    def _page(self, asked: EntryFilter, after: int | None, limit: int) -> Page[ListedEntry]:
        if asked.state is None:
            return self._journal.entries(asked, after=after, limit=limit)
        with self._database.read() as session:
            cursors = lane_cursors(session)
            if asked.state == "waiting":
                return self._journal.entries(asked, after=after, limit=limit, above=cursors)
            if asked.state != "processed":
                found = _in_state(session, asked.state)
                return self._among(asked, found, after, limit)
            exceptions = {n for n, state in _exceptions(session) if state != "processed"}
        total = self._journal.entries(asked, limit=0).total
        total -= self._journal.entries(asked, limit=0, above=cursors).total
        total -= self._among(asked, sorted(exceptions), None, 0).total
        items: list[ListedEntry] = []
        while True:
            page = self._journal.entries(asked, after=after, limit=_CHUNK, counted=False)
            for item in page.items:
                entry = item.entry
                waits = entry.id > cursors.get(entry.envelope.lane, 0)
                if not waits and entry.id not in exceptions:
                    items.append(item)
            if len(items) > limit:
                return Page(items[:limit], items[limit - 1].entry.id if limit else None, total)
            if page.next is None:
                return Page(items, None, total)
            after = page.next

    def _among(
        self, asked: EntryFilter, numbers: Sequence[int], after: int | None, limit: int
    ) -> Page[ListedEntry]:
        """The page of those of these entries that fit the rest of the filter."""
        items: list[ListedEntry] = []
        total = 0
        for start in range(0, len(numbers), _CHUNK):
            part = numbers[start : start + _CHUNK]
            found = self._journal.entries(asked, limit=_CHUNK, numbers=part)
            total += found.total
            items += [item for item in found.items if after is None or item.entry.id < after]
        items.sort(key=lambda item: -item.entry.id)
        following = items[limit - 1].entry.id if 0 < limit < len(items) else None
        return Page(items[:limit], following, total)

    def numbers(self, asked: EntryFilter) -> Iterator[int]:
        """All entries that fit, the oldest first, as for a replay.

        Those that are held back or given up are there only if their state is asked for:
        to replay one is a decision about it.
        """
        if asked.state is not None and asked.state not in {"processed", "waiting"}:
            with self._database.read() as session:
                found = _in_state(session, asked.state)
            for start in range(0, len(found), _CHUNK):
                part = found[start : start + _CHUNK]
                page = self._journal.entries(asked, limit=_CHUNK, numbers=part, newest_first=False)
                yield from (item.entry.id for item in page.items)
            return
        after: int | None = None
        while True:
            page = self._journal.entries(
                asked, after=after, limit=_CHUNK, newest_first=False, counted=False
            )
            listed = self._listed(page.items)
            wanted = (lambda s: s not in HELD) if asked.state is None else asked.state.__eq__
            yield from (item.entry.id for item in listed if wanted(item.state))
            if page.next is None:
                return
            after = page.next

    def show(self, entry: int) -> ShownMessage | None:
        """One entry with its text, issues and the resource versions that it caused."""
        found = self._journal.get(entry)
        if found is None:
            return None
        (listed,) = self._listed([ListedEntry(found, len(found.raw.body))])
        with self._database.read() as session:
            row = session.row("SELECT issues FROM inbox_exception WHERE entry = ?", (entry,))
            versions = session.rows(
                "SELECT r.type, r.id, v.version FROM step s "
                f"JOIN commits c ON c.tx = s.id >> {ORDINAL_BITS} "
                f"JOIN version v ON {of_commit('v')} "
                f"AND v.step = s.id & {(1 << ORDINAL_BITS) - 1} "
                "JOIN resource r ON r.pk = v.resource WHERE s.entry = ? "
                "ORDER BY c.position, v.id",
                (entry,),
            )
        return ShownMessage(
            listed,
            _issues(row[0]) if row else [],
            [(ResourceKey(type_, id_), version) for type_, id_, version in versions],
        )

    def fates(self, numbers: Collection[int]) -> dict[int, Fate]:
        """What became of entries; those that are not processed yet are left out."""
        if not numbers:
            return {}
        lanes = {entry.id: entry.envelope.lane for entry in self._journal.get_many(sorted(numbers))}
        with self._database.read() as session:
            cursors = lane_cursors(session)
            done = [n for n, lane in lanes.items() if n <= cursors.get(lane, 0)]
            if not done:
                return {}
            where, params = session.among(("entry",), [(number,) for number in done])
            rows = session.rows(
                f"SELECT entry, state, issues FROM inbox_exception WHERE {where}", params
            )
            where, params = session.among(("s.entry",), [(number,) for number in done])
            deliveries = session.rows(
                "SELECT s.entry, "
                "sum(CASE WHEN r.id IS NULL AND coalesce(x.state, '') NOT IN ('dead', 'dropped') "
                "THEN 1 ELSE 0 END), sum(CASE WHEN x.state = 'dead' THEN 1 ELSE 0 END) "
                f"FROM step s JOIN outbox o ON o.id >= (s.id >> {ORDINAL_BITS}) << {ORDINAL_BITS} "
                f"AND o.id < ((s.id >> {ORDINAL_BITS}) + 1) << {ORDINAL_BITS} "
                "AND o.cause = CAST(s.entry AS TEXT) "
                "LEFT JOIN outbox_receipt r ON r.id = o.id "
                "LEFT JOIN outbox_exception x ON x.id = o.id "
                f"WHERE {where} GROUP BY s.entry",
                params,
            )
        waiting = {entry: (int(open_), int(dead)) for entry, open_, dead in deliveries}
        told = {entry: (state, _issues(issues)) for entry, state, issues in rows}
        found: dict[int, Fate] = {}
        for number in done:
            open_, dead = waiting.get(number, (0, 0))
            state, issues = told.get(number, ("processed", []))
            found[number] = Fate(state, issues, dead, open_)
        return found

    def _listed(self, items: Sequence[ListedEntry]) -> list[ListedMessage]:
        if not items:
            return []
        numbers = [item.entry.id for item in items]
        duplicates = self._journal.duplicates(numbers)
        answers = self._journal.answers(numbers)
        with self._database.read() as session:
            cursors = lane_cursors(session)
            states = _states(session, numbers)
            changes = _changes(session, numbers)
        made = []
        for item in items:
            entry = item.entry
            if entry.id in answers:
                entry = replace(entry, ack_code=answers[entry.id])
            waits = entry.id > cursors.get(entry.envelope.lane, 0)
            plain: EntryState = "waiting" if waits else "processed"
            state, issues = states.get(entry.id, (plain, []))
            count, position = changes.get(entry.id, (0, None))
            made.append(
                ListedMessage(
                    entry,
                    item.size,
                    duplicates.get(entry.id, 0),
                    state,
                    len(issues),
                    count,
                    position,
                    next((one.code for one in issues if one.severity == "error"), None),
                )
            )
        return made

    def counts(self) -> dict[str, int]:
        """How many entries need a person, by state."""
        with self._database.read() as session:
            rows = session.rows(
                "SELECT state, count(*) FROM inbox_exception "
                "WHERE state NOT IN ('processed', 'discarded') GROUP BY state"
            )
        return dict(rows)

    def backlog(self) -> tuple[int, int | None]:
        """How many entries wait, and when the oldest of them came (µs)."""
        with self._database.read() as session:
            cursors = lane_cursors(session)
        return self._journal.backlog(cursors)


def _states(
    session: Session, entries: Collection[int]
) -> dict[int, tuple[EntryState, list[Issue]]]:
    where, params = session.among(("entry",), [(entry,) for entry in entries])
    rows = session.rows(f"SELECT entry, state, issues FROM inbox_exception WHERE {where}", params)
    return {entry: (state, _issues(issues)) for entry, state, issues in rows}


def _changes(session: Session, entries: Collection[int]) -> dict[int, tuple[int, int]]:
    where, params = session.among(("s.entry",), [(entry,) for entry in entries])
    rows = session.rows(
        "SELECT s.entry, sum(s.changes), max(c.position) FROM step s "
        f"JOIN commits c ON c.tx = s.id >> {ORDINAL_BITS} WHERE {where} GROUP BY s.entry",
        params,
    )
    return {entry: (int(count), position) for entry, count, position in rows}


def _in_state(session: Session, state: EntryState) -> list[int]:
    rows = session.rows(
        "SELECT entry FROM inbox_exception WHERE state = ? ORDER BY entry", (state,)
    )
    return [row[0] for row in rows]


def _exceptions(session: Session) -> list[tuple[int, EntryState]]:
    return session.rows("SELECT entry, state FROM inbox_exception")
