"""The journal: every message as it came, durable before it is acknowledged."""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from segue.model.messages import CUT, Envelope, InboxEntry, RawMessage
from segue.store.database import Database
from segue.store.dialects import Row, Session
from segue.store.listings import EntryFilter, ListedEntry, Page
from segue.store.records import Appended, NewEntry
from segue.store.wake import Bell

# Compressing a usual ADT message costs more CPU than all else that is done to journal it.
_PLAIN = 4096
DAY_US = 86_400_000_000
_COLUMNS = (
    "id",
    "received",
    "lane",
    "feed",
    "site",
    "sender",
    "control_id",
    "event",
    "digest",
    "quarantined",
    "reused",
    "ack_code",
    "size",
    "raw",
    "ack",
)
_ENTRY = "SELECT " + ", ".join(f"e.{column}" for column in _COLUMNS) + " FROM entry e"


class Journal:
    """Entries are numbered densely from 1 in commit order and never change."""

    def __init__(self, database: Database, bell: Bell, duplicates_days: int = 30) -> None:
        """Take an open database.

        Args:
            database: of the part `journal`.
            bell: tells readers that there is something new.
            duplicates_days: how long a control id is remembered.
        """
        self._database = database
        self.bell = bell
        self._horizon = duplicates_days * DAY_US

    def head(self) -> int:
        """The number of the last committed entry, 0 of an empty journal."""
        with self._database.read() as session:
            return _head(session)

    def append(self, entries: Sequence[NewEntry]) -> list[Appended]:
        """Make messages durable in one fsynced commit and say how to answer each.

        A duplicate (same sender, control id and bytes, within the horizon or in
        `entries` itself) is no new entry: it is counted and gets the answer of the
        first. What did not come whole takes no control id from the message that will.
        Source: HL7 v2.5.1 ch. 2.9.2.2 on MSH-10 as the message's identity.
        """
        if not entries:
            return []
        packed = [_packed(entry) for entry in entries]
        with self._database.write() as session:
            position = _lock_head(session)
            known = self._known(session, entries)
            first = position
            verdicts: list[Appended] = []
            rows: list[Row] = []
            repeats: list[Row] = []
            for entry, (digest, raw) in zip(entries, packed, strict=True):
                envelope, came = entry.envelope, entry.raw
                key = (envelope.sender, envelope.control_id, envelope.cut)
                seen = known.setdefault(key, {})
                if digest in seen:
                    number, ack = seen[digest]
                    repeats.append((number, came.received, came.feed))
                    verdicts.append(Appended(number, ack, duplicate=True))
                    continue
                position += 1
                reused = bool(seen) and not envelope.cut
                verdicts.append(Appended(position, entry.ack, reused=reused))
                seen[digest] = (position, entry.ack)
                rows.append(
                    (
                        position,
                        came.received,
                        envelope.lane,
                        came.feed,
                        envelope.site,
                        envelope.sender,
                        envelope.control_id,
                        envelope.event,
                        digest,
                        envelope.quarantined,
                        int(reused),
                        entry.ack_code,
                        len(came.body),
                        raw,
                        entry.ack,
                    )
                )
            if rows:
                session.insert("entry", _COLUMNS, rows)
                session.run("UPDATE journal_head SET position = ? WHERE id = 1", (position,))
            if repeats:
                session.insert("entry_duplicate", ("entry", "at", "feed"), repeats)
        if position > first:
            self.bell.ring("journal")
        return verdicts

    def _known(
        self, session: Session, entries: Sequence[NewEntry]
    ) -> dict[tuple[str, str, bool], dict[bytes, tuple[int, bytes]]]:
        keys = list({(entry.envelope.control_id, entry.envelope.sender) for entry in entries})
        since = min(entry.raw.received for entry in entries) - self._horizon
        where, params = session.among(("control_id", "sender"), keys)
        known: dict[tuple[str, str, bool], dict[bytes, tuple[int, bytes]]] = {}
        for sender, control_id, held, digest, number, ack in session.rows(
            "SELECT sender, control_id, quarantined, digest, id, ack FROM entry "
            f"WHERE {where} AND received >= ? ORDER BY id DESC",
            [*params, since],
        ):
            known.setdefault((sender, control_id, held in CUT), {})[digest] = (number, ack)
        return known

    def read(self, cursors: Mapping[int, int], limit: int = 200) -> list[InboxEntry]:
        """The next entries of several lanes, each lane's in order and without gaps.

        Args:
            cursors: lane to the last entry of it that is done with.
            limit: how many at most.
        """
        if not cursors:
            return []
        share = max(8, 2 * limit // len(cursors))
        one = "SELECT * FROM (SELECT id FROM entry WHERE lane = ? AND id > ? ORDER BY id LIMIT ?) x"
        sql = " UNION ALL ".join([one] * len(cursors))
        params = [value for lane, after in cursors.items() for value in (lane, after, share)]
        with self._database.read() as session:
            numbers = sorted(row[0] for row in session.rows(sql, params))[:limit]
            return self._fetch(session, numbers)

    def get(self, entry: int) -> InboxEntry | None:
        """One entry, None where there is no such number."""
        found = self.get_many([entry])
        return found[0] if found else None

    def get_many(self, entries: Sequence[int]) -> list[InboxEntry]:
        """Those of the entries that there are, in order."""
        with self._database.read() as session:
            return self._fetch(session, entries)

    def bodies(self, entries: Sequence[int]) -> dict[int, bytes]:
        """The bytes of those of the entries that there are."""
        if not entries:
            return {}
        with self._database.read() as session:
            where, params = session.among(("id",), [(number,) for number in entries])
            rows = session.rows(f"SELECT id, size, raw FROM entry WHERE {where}", params)
        return {number: _body(size, raw) for number, size, raw in rows}

    def _fetch(self, session: Session, numbers: Sequence[int]) -> list[InboxEntry]:
        if not numbers:
            return []
        where, params = session.among(("e.id",), [(number,) for number in numbers])
        return [
            _entry(row) for row in session.rows(f"{_ENTRY} WHERE {where} ORDER BY e.id", params)
        ]

    def duplicates(self, entries: Sequence[int]) -> dict[int, int]:
        """How often each entry was sent again; without those that never were."""
        if not entries:
            return {}
        with self._database.read() as session:
            where, params = session.among(("entry",), [(entry,) for entry in entries])
            counted = session.rows(
                f"SELECT entry, count(*) FROM entry_duplicate WHERE {where} GROUP BY entry",
                params,
            )
            return dict(counted)

    def answered(self, codes: Mapping[int, str]) -> None:
        """Note what was answered in the end where that is not what the entry holds."""
        with self._database.write() as session:
            session.upsert("entry_answer", ("entry",), ("code",), list(codes.items()))

    def answers(self, entries: Sequence[int]) -> dict[int, str]:
        """MSA-1 of the last answer; without the entries that were answered as they hold."""
        if not entries:
            return {}
        with self._database.read() as session:
            where, params = session.among(("entry",), [(entry,) for entry in entries])
            return dict(session.rows(f"SELECT entry, code FROM entry_answer WHERE {where}", params))

    def entries(
        self,
        asked: EntryFilter,
        *,
        after: int | None = None,
        limit: int = 50,
        newest_first: bool = True,
        counted: bool = True,
        numbers: Sequence[int] | None = None,
        above: Mapping[int, int] | None = None,
    ) -> Page[ListedEntry]:
        """A page of the list, without message bodies.

        Args:
            asked: what to show; `state` is not the journal's to know.
            after: the `next` of the page before.
            limit: how many at most.
            newest_first: else the oldest come first, as for a replay.
            counted: whether the total is wanted; else it is 0.
            numbers: only these entries.
            above: only what is above these cursors of the lanes.
        """
        where, params = _conditions(asked)
        if numbers is not None:
            where.append(f"e.id IN ({','.join('?' * len(numbers))})")
            params += numbers
        if above is not None:
            one = "e.id IN (SELECT id FROM entry WHERE lane = ? AND id > ?)"
            where.append("(" + (" OR ".join([one] * len(above)) or "1 = 0") + ")")
            params += [value for pair in above.items() for value in pair]
        cut = [] if after is None else [f"e.id {'<' if newest_first else '>'} ?"]
        page_where = " AND ".join([*where, *cut]) or "1 = 1"
        columns = ", ".join("e.size" if column == "raw" else f"e.{column}" for column in _COLUMNS)
        with self._database.read() as session:
            total = counted and session.row(
                f"SELECT count(*) FROM entry e WHERE {' AND '.join(where) or '1 = 1'}", params
            )
            rows = session.rows(
                f"SELECT {columns} FROM entry e WHERE {page_where} "
                f"ORDER BY e.id {'DESC' if newest_first else 'ASC'} LIMIT ?",
                [*params, *([] if after is None else [after]), limit + 1],
            )
        items = [ListedEntry(_entry((*row[:13], b"", row[14])), row[13]) for row in rows[:limit]]
        following = items[-1].entry.id if items and len(rows) > limit else None
        return Page(items, following, total[0] if total else 0)

    def backlog(self, cursors: Mapping[int, int]) -> tuple[int, int | None]:
        """How many entries are above their lane's cursor, and when the oldest came (µs)."""
        if not cursors:
            return 0, None
        above = "FROM entry e WHERE e.lane = g.lane AND e.id > g.cursor"
        sql = f"SELECT (SELECT count(*) {above}), (SELECT min(e.id) {above}) FROM given g"
        with self._database.read() as session:
            given, params = session.given(("lane", "cursor"), list(cursors.items()))
            rows = session.rows(given + sql, params)
            oldest = min((first for _, first in rows if first is not None), default=None)
            came = oldest and session.row("SELECT received FROM entry WHERE id = ?", (oldest,))
        return sum(count for count, _ in rows), came[0] if came else None

    def forget(self, before: int) -> int:
        """Delete the entries that came before an instant (µs); how many they were."""
        with self._database.write() as session:
            for table in ("entry_duplicate", "entry_answer"):
                session.run(
                    f"DELETE FROM {table} WHERE entry IN (SELECT id FROM entry WHERE received < ?)",
                    (before,),
                )
            return session.run("DELETE FROM entry WHERE received < ?", (before,))

    def close(self) -> None:
        """Close all connections."""
        self._database.close()
        self.bell.close()


def _head(session: Session) -> int:
    row = session.row("SELECT position FROM journal_head WHERE id = 1")
    assert row is not None, "the journal has no head row"
    return int(row[0])


def _lock_head(session: Session) -> int:
    row = session.row("SELECT position FROM journal_head WHERE id = 1" + session.locking("id"))
    assert row is not None, "the journal has no head row"
    return int(row[0])


def _packed(entry: NewEntry) -> tuple[bytes, bytes]:
    body = entry.raw.body
    packed = zlib.compress(body, 1) if len(body) > _PLAIN else body
    return bytes.fromhex(entry.envelope.digest), packed if len(packed) < len(body) else body


def _entry(row: Row) -> InboxEntry:
    (number, received, lane, feed, site, sender, control_id, event) = row[:8]
    (digest, quarantined, reused, ack_code, size, raw, ack) = row[8:]
    envelope = Envelope(sender, control_id, event, digest.hex(), site, lane, quarantined)
    raw_message = RawMessage(_body(size, raw), feed, received)
    return InboxEntry(number, raw_message, envelope, ack, ack_code, bool(reused))


def _body(size: int, raw: bytes) -> bytes:
    return raw if not raw or len(raw) == size else zlib.decompress(raw)


def _conditions(asked: EntryFilter) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    params: list[Any] = []
    for sql, value in (
        ("e.feed = ?", asked.feed),
        ("e.site = ?", asked.site),
        ("e.control_id = ?", asked.control_id),
        ("e.event = ?", asked.event),
        ("e.received >= ?", asked.since),
        ("e.received < ?", asked.until),
    ):
        if value is not None:
            where.append(sql)
            params.append(value)
    return where, params
