"""The outbox as people who look after it see it: lists, counts, and their decisions."""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Callable, Sequence
from typing import Any

from segue.model.deliveries import Category
from segue.store.commit import ORDINAL_BITS, of_commit
from segue.store.database import Database
from segue.store.dialects import Row, Session
from segue.store.listings import Backlog, DeliveryFilter, ListedDelivery, Page
from segue.store.outbox_rows import (
    COLUMNS,
    EXCEPTION,
    ORDINALS,
    UNSETTLED,
    WIDTH,
    partition_of,
    partitions_of,
    queued_of,
)

OPEN = ("delayed", "blocked", "dead")
# What is behind another one of its lane is blocked where that one is dead; behind one that
# is only delayed it waits, as it will go by itself.
_DEAD = (
    "WITH dead AS (SELECT partition, lane, min(spot) AS spot FROM outbox_exception "
    "WHERE state = 'dead' GROUP BY partition, lane) "
)
_BEHIND = "LEFT JOIN dead d ON d.partition = x.partition AND d.lane = x.lane AND d.spot < x.spot"
_STATE = "CASE WHEN x.state = 'blocked' AND d.spot IS NULL THEN 'waiting' ELSE x.state END"
# On SQLite a position is its tx: a partition's own rows are found by their index. Elsewhere
# an old tx may have a new position, so that commits lead.
_WAITING = f"JOIN commits c ON c.tx = o.id >> {ORDINAL_BITS} WHERE {UNSETTLED} GROUP BY g.partition"
_WAITING_BY_COMMIT = (
    f"WHERE (c.position > g.position OR (o.id & {ORDINALS}) > g.ordinal) AND {UNSETTLED} "
    "GROUP BY g.partition"
)


class Deliveries:
    """What is queued for all destinations, whoever sends it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self, asked: DeliveryFilter, *, after: int | None = None, limit: int = 50
    ) -> Page[ListedDelivery]:
        """A page of deliveries, the newest first.

        Args:
            asked: which ones.
            after: the `next` of the page before.
            limit: how many at most.
        """
        where, params = _conditions(asked)
        source = (
            f"FROM outbox o JOIN commits c ON c.tx = o.id >> {ORDINAL_BITS} "
            f"LEFT JOIN outbox_exception x ON x.id = o.id {_BEHIND} "
            "LEFT JOIN outbox_receipt r ON r.id = o.id WHERE " + (" AND ".join(where) or "1 = 1")
        )
        with self._database.read() as session:
            total = session.row(f"{_DEAD}SELECT count(*) {source}", params)
            cut, cut_params = ("", []) if after is None else (" AND o.id < ?", [after])
            rows = session.rows(
                f"{_DEAD}SELECT {COLUMNS}, {_STATE}, x.attempts, x.not_before, x.category, "
                "x.status, x.text, x.because, r.at, r.attempts, r.status, r.message "
                f"{source}{cut} ORDER BY o.id DESC LIMIT ?",
                [*params, *cut_params, limit + 1],
            )
        assert total is not None
        items = [_listed(row) for row in rows[:limit]]
        following = items[-1].queued.id if len(rows) > limit else None
        return Page(items, following, total[0])

    def get(self, id_: int) -> ListedDelivery | None:
        """One delivery, None where there is no such number."""
        found = self.page(DeliveryFilter(ids=(id_,)), limit=1).items
        return found[0] if found else None

    def retry(self, asked: DeliveryFilter, because: str, now: int) -> int:
        """Let deliveries that are delayed, dead or dropped be tried again; how many.

        Args:
            asked: which ones; those that wait or were sent are left alone.
            because: why; kept with the delivery.
            now: microseconds UTC, of the senders' wall clock.
        """
        kept = ("delayed", "dead", "dropped")
        return self._decide(asked, because, lambda item: (item.state in kept, "delayed", now))

    def drop(self, asked: DeliveryFilter, because: str) -> int:
        """Give deliveries up that were not sent; how many."""
        return self._decide(
            asked,
            because,
            lambda item: (item.state not in {"sent", "dropped"}, "dropped", None),
        )

    def _decide(
        self,
        asked: DeliveryFilter,
        because: str,
        verdict: Callable[[ListedDelivery], tuple[bool, str, int | None]],
    ) -> int:
        count, after = 0, None
        while True:
            page = self.page(asked, after=after, limit=500)
            rows: list[Row] = []
            for item in page.items:
                meant, state, not_before = verdict(item)
                if meant:
                    queued = item.queued
                    error = item.error or (None, None, None)
                    spot = queued.position << ORDINAL_BITS | queued.ordinal
                    lane = queued.delivery.lane
                    key = (queued.id, spot, partition_of(queued.delivery), lane)
                    rows.append((*key, state, item.attempts, not_before, *error, because))
            if rows:
                with self._database.write() as session:
                    session.upsert("outbox_exception", ("id",), (*EXCEPTION[1:], "because"), rows)
            count += len(rows)
            if page.next is None:
                return count
            after = page.next

    def pause(self, destination: str, because: str, now: int) -> None:
        """Let nothing be sent to a destination; its senders notice within seconds."""
        row = (destination, 1, because, now)
        with self._database.write() as session:
            session.upsert("destination", ("name",), ("paused", "because", "since"), [row])

    def resume(self, destination: str) -> None:
        """Let things be sent again."""
        with self._database.write() as session:
            session.delete("destination", ("name",), [(destination,)])

    def paused(self) -> dict[str, tuple[str, int]]:
        """Paused destinations: why, and since when (µs)."""
        with self._database.read() as session:
            rows = session.rows("SELECT name, because, since FROM destination WHERE paused = 1")
        return {name: (because, since) for name, because, since in rows}

    def backlog(self) -> dict[str, Backlog]:
        """What each destination has still to get."""
        with self._database.read() as session:
            cursors = session.rows("SELECT partition, cursor FROM lease WHERE log = 'outbox'")
            found: list[Row] = [(partition, "waiting", 0, None) for partition, _ in cursors]
            if cursors:
                found += _waiting(session, cursors)
            found += session.rows(
                f"{_DEAD}SELECT x.partition, {_STATE} AS shown, count(*), min(c.at) "
                f"FROM outbox_exception x {_BEHIND} "
                f"JOIN commits c ON c.tx = x.id >> {ORDINAL_BITS} "
                "WHERE x.state IN ('delayed', 'blocked', 'dead') GROUP BY x.partition, shown"
            )
        counts: dict[str, dict[str, int]] = {}
        oldest: dict[str, list[int]] = {}
        for partition, state, number, at in found:
            name = partition.rpartition("/")[0]
            of_states = counts.setdefault(name, dict.fromkeys(("waiting", *OPEN), 0))
            of_states[state] += number
            # A dead letter waits for a person; it must not hide how old the queue is.
            if at is not None and state != "dead":
                oldest.setdefault(name, []).append(at)
        return {
            name: Backlog(**of_states, oldest=min(oldest.get(name, ()), default=None))
            for name, of_states in counts.items()
        }


def _waiting(session: Session, cursors: Sequence[Row]) -> list[Row]:
    """Partition, `waiting`, how many deliveries lie beyond its cursor, and since when."""
    of_partition = "o.partition = g.partition"
    if session.dialect == "sqlite":
        given, params = session.given(("partition", "spot"), cursors)
        outbox = "outbox o INDEXED BY outbox_partition"
        source = f"CROSS JOIN {outbox} ON {of_partition} AND o.id > g.spot {_WAITING}"
    else:
        spots = [(name, spot >> ORDINAL_BITS, spot & ORDINALS) for name, spot in cursors]
        given, params = session.given(("partition", "position", "ordinal"), spots)
        commits = session.lookup_join("commits", "c", "c.position >= g.position")
        outbox = session.lookup_join("outbox", "o", f"{of_partition} AND {of_commit('o')}")
        source = f"{commits} {outbox} {_WAITING_BY_COMMIT}"
    counted = f"SELECT g.partition, 'waiting', count(*), min(c.at) FROM given g {source}"
    return session.rows(given + counted, params)


def _listed(row: Row) -> ListedDelivery:
    state, attempts, not_before, category, status, text, because = row[WIDTH : WIDTH + 7]
    sent, sent_attempts, receipt, message = row[WIDTH + 7 :]
    error: tuple[Category | None, int | None, str | None] | None = None
    if category is not None or text is not None:
        error = (category, status, text)
    if sent is not None:
        state, attempts = "sent", sent_attempts
    return ListedDelivery(
        queued_of(row[:WIDTH], attempts or 0),
        state or "waiting",
        attempts or 0,
        not_before,
        sent,
        receipt,
        message,
        error,
        because,
    )


def _conditions(asked: DeliveryFilter) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    params: list[Any] = []

    def add(sql: str, *values: Any) -> None:
        where.append(sql)
        params.extend(values)

    if asked.ids:
        add(f"o.id IN ({','.join('?' * len(asked.ids))})", *asked.ids)
    if asked.destination is not None:
        names = partitions_of(asked.destination)
        add(f"o.partition IN ({','.join('?' * len(names))})", *names)
    if asked.lane is not None:
        add("o.lane = ?", asked.lane)
    if asked.cause is not None:
        add("o.cause = ?", asked.cause)
    if asked.what is not None:
        add("o.what = ?", asked.what)
    if asked.since is not None:
        add("c.at >= ?", asked.since)
    if asked.until is not None:
        add("c.at < ?", asked.until)
    if asked.state == "waiting":
        add("((x.id IS NULL AND r.id IS NULL) OR (x.state = 'blocked' AND d.spot IS NULL))")
    elif asked.state == "sent":
        add("r.id IS NOT NULL")
    elif asked.state == "blocked":
        add("x.state = 'blocked' AND d.spot IS NOT NULL")
    elif asked.state is not None:
        add("x.state = ?", asked.state)
    return where, params
