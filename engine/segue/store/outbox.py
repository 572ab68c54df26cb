"""The outbox: what is to be sent, and what became of it.

Rows of `outbox` are written with the resources that they send and never change. How
far a partition is settled is its lease's cursor; a delivery that was tried in vain or
held back has a row in `outbox_exception` until it is sent or dropped; one that was
sent has one in `outbox_receipt`.
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Callable, Sequence
from typing import Any

from segue.model.deliveries import Category, Delivery, QueuedDelivery
from segue.store.commit import ORDINAL_BITS, SHARDS
from segue.store.database import Database
from segue.store.dialects import Row, Session
from segue.store.leases import Leases
from segue.store.records import (
    Backlog,
    DeliveryFilter,
    Lease,
    ListedDelivery,
    Page,
    RevisionConflict,
    Setback,
    Settlement,
)

ORDINALS = (1 << ORDINAL_BITS) - 1
OPEN = ("delayed", "blocked", "dead")
_IDLE_COMMITS = 1000
_OUTBOX = (
    "o.id, o.partition, o.lane, o.form, o.what, o.version, o.cause, o.after, o.notice, "
    "c.position, c.at"
)
_WIDTH = 11
"""Columns of `_OUTBOX`."""
# What partitions hold beyond (position, ordinal) that was neither sent nor tried.
_BEYOND = (
    "FROM commits c CROSS JOIN outbox o "
    "LEFT JOIN outbox_exception x ON x.id = o.id LEFT JOIN outbox_receipt r ON r.id = o.id "
    f"WHERE c.position >= ? AND o.id >= c.tx << {ORDINAL_BITS} "
    f"AND o.id < (c.tx + 1) << {ORDINAL_BITS} "
    f"AND (c.position > ? OR (o.id & {ORDINALS}) > ?) "
    "AND x.id IS NULL AND r.id IS NULL AND "
)
# The same on SQLite, where a position is its tx: the partition's own rows are found by
# their index. Elsewhere an old tx may have a new position, so that commits lead.
_BEYOND_SQLITE = (
    "FROM outbox o INDEXED BY outbox_partition "
    "CROSS JOIN commits c LEFT JOIN outbox_exception x ON x.id = o.id "
    "LEFT JOIN outbox_receipt r ON r.id = o.id "
    f"WHERE o.partition = ? AND o.id > ? AND c.tx = o.id >> {ORDINAL_BITS} "
    "AND x.id IS NULL AND r.id IS NULL"
)
_EXCEPTION = (
    "id",
    "spot",
    "partition",
    "lane",
    "state",
    "attempts",
    "not_before",
    "category",
    "status",
    "text",
)


class Outbox:
    """The outbox as one sender process sees it."""

    def __init__(self, database: Database, holder: str) -> None:
        """Take a name that no other living process uses, such as host and process id."""
        self._database = database
        self._leases = Leases(database, holder)
        # Partition to (last spot that was read, spot up to which there is no more).
        self._dry: dict[str, tuple[int, int]] = {}

    # --- for the sender ------------------------------------------------------------------

    def lease(self, destination: str) -> list[Lease]:
        """Take or prolong this sender's fair share of a destination's partitions.

        To be called every few seconds; what was given before and is missing now is
        lost. A paused destination has none.
        """
        partitions = partitions_of(destination)
        with self._database.read() as session:
            paused = session.row(
                "SELECT 1 FROM destination WHERE name = ? AND paused = 1", (destination,)
            )
        if paused:
            self._leases.release("outbox", partitions)
            return []
        leases = self._leases.hold("outbox", partitions)
        self._carry_forward(leases)
        return leases

    def _carry_forward(self, leases: Sequence[Lease]) -> None:
        """Move the cursors of idle partitions along, else the next start reads from afar."""
        idle = []
        for lease in leases:
            spot, dry_to = self._dry.get(lease.partition, (-1, 0))
            far = (dry_to >> ORDINAL_BITS) - (lease.cursor >> ORDINAL_BITS) > _IDLE_COMMITS
            if 0 <= spot <= lease.cursor and far:
                idle.append((lease, dry_to))
        if not idle:
            return
        with self._database.aside() as session:
            for lease, moved in idle:
                session.run(
                    "UPDATE lease SET cursor = ? WHERE log = 'outbox' AND partition = ? "
                    "AND token = ? AND cursor = ?",
                    (moved, lease.partition, lease.token, lease.cursor),
                )

    def read(self, lease: Lease, after: int, limit: int) -> list[QueuedDelivery]:
        """The partition's deliveries beyond a spot, in commit order.

        Those that were sent out of turn or have an exception row are left out.

        Args:
            lease: of the partition.
            after: `position << 20 | ordinal` of the last one that is known.
            limit: how many at most.
        """
        return self.read_together([(lease, after)], limit)[0].get(lease.partition, [])

    def read_together(
        self, asked: Sequence[tuple[Lease, int]], limit: int
    ) -> tuple[dict[str, list[QueuedDelivery]], bool]:
        """What `read` gives, of several partitions at once and of one snapshot.

        Usually one query finds all: partitions that were read together are known up to
        the same spot.

        Args:
            asked: leases, each with the spot that is known.
            limit: how many at most, for each of those spots.

        Returns:
            partition to its deliveries in commit order, and whether that is all.
        """
        starts: dict[int, dict[str, int]] = {}
        for lease, after in asked:
            spot, dry_to = self._dry.get(lease.partition, (-1, 0))
            start = max(after, dry_to) if spot == after else after
            starts.setdefault(start, {})[lease.partition] = after
        found: dict[str, list[QueuedDelivery]] = {}
        complete = True
        with self._database.read() as session:
            head = session.row("SELECT position FROM head WHERE id = 1")
            assert head is not None, "the store has no head row"
            for start, last in starts.items():
                position, ordinal = start >> ORDINAL_BITS, start & ORDINALS
                where, params = session.among(("o.partition",), [(name,) for name in last])
                rows = session.rows(
                    f"SELECT {_OUTBOX} {_BEYOND}{where} ORDER BY c.position, o.id LIMIT ?",
                    (position, position, ordinal, *params, limit),
                )
                dry_to = head[0] << ORDINAL_BITS | ORDINALS
                for row in rows:
                    last[row[1]] = row[-2] << ORDINAL_BITS | row[0] & ORDINALS
                    found.setdefault(row[1], []).append(_queued(row))
                if len(rows) == limit:
                    complete = False
                    dry_to = last[rows[-1][1]]
                for partition, spot in last.items():
                    self._dry[partition] = (spot, dry_to)
        return found, complete

    def setbacks(self, lease: Lease) -> list[Setback]:
        """The partition's deliveries that were tried or held and are not over, in order."""
        with self._database.read() as session:
            return [
                Setback(
                    _queued(row[:_WIDTH], row[_WIDTH + 1]),
                    *row[_WIDTH:],
                )
                for row in session.rows(
                    f"SELECT {_OUTBOX}, x.state, x.attempts, x.not_before, x.category, "
                    "x.status, x.text FROM outbox_exception x JOIN outbox o ON o.id = x.id "
                    f"JOIN commits c ON c.tx = x.id >> {ORDINAL_BITS} WHERE x.partition = ? "
                    "AND x.state IN ('delayed', 'blocked', 'dead') ORDER BY x.spot",
                    (lease.partition,),
                )
            ]

    def waits(self, queued: QueuedDelivery) -> bool:
        """Whether the lanes that a delivery must come after still have something before it."""
        position, ordinal = queued.position, queued.ordinal
        spot = position << ORDINAL_BITS | ordinal
        with self._database.read() as session:
            for lane in queued.delivery.after:
                partition = f"{queued.delivery.destination}/{lane % SHARDS}"
                if session.row(
                    "SELECT 1 FROM outbox_exception WHERE partition = ? AND lane = ? "
                    "AND state IN ('delayed', 'blocked', 'dead') AND spot < ? LIMIT 1",
                    (partition, lane, spot),
                ):
                    return True
                lease = session.row(
                    "SELECT cursor FROM lease WHERE log = 'outbox' AND partition = ?", (partition,)
                )
                start = lease[0] if lease else 0
                first = start >> ORDINAL_BITS
                if session.row(
                    f"SELECT 1 {_BEYOND}o.partition = ? AND o.lane = ? AND (c.position < ? "
                    f"OR (c.position = ? AND (o.id & {ORDINALS}) < ?)) LIMIT 1",
                    (first, first, start & ORDINALS, partition, lane, position, position, ordinal),
                ):
                    return True
        return False

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write down what became of deliveries, in one transaction.

        Raises:
            RevisionConflict: `moves` are partitions whose lease was lost; nothing
                was written.
        """
        if not settlements:
            return
        settlements = sorted(settlements, key=lambda one: one.lease.partition)
        receipts = [
            (queued.id, receipt.at, attempts, receipt.status, receipt.message)
            for one in settlements
            for queued, receipt, attempts in one.sent
        ]
        setbacks = {
            setback.queued.id: _exception(setback)
            for one in settlements
            for setback in one.setbacks
        }
        with self._database.write() as session:
            self._move_cursors(session, settlements)
            if receipts:
                if session.row("SELECT 1 FROM outbox_exception LIMIT 1"):
                    ids = sorted({(row[0],) for row in receipts})
                    session.delete("outbox_exception", ("id",), ids)
                columns = ("at", "attempts", "status", "message")
                session.upsert("outbox_receipt", ("id",), columns, _last(receipts))
            if setbacks:
                where, params = session.among(("id",), [(id_,) for id_ in setbacks])
                for (id_,) in session.rows(
                    f"SELECT id FROM outbox_exception WHERE {where} AND state = 'dropped'",
                    params,
                ):
                    del setbacks[id_]
            if setbacks:
                rows = sorted(setbacks.values())
                session.upsert("outbox_exception", _EXCEPTION[:1], _EXCEPTION[1:], rows)

    def _move_cursors(self, session: Session, settlements: Sequence[Settlement]) -> None:
        keys = [("outbox", one.lease.partition) for one in settlements]
        session.lock("lease", ("log", "partition"), keys)
        lost = {
            one.lease.partition
            for one in settlements
            if not session.run(
                "UPDATE lease SET cursor = CASE WHEN cursor < ? THEN ? ELSE cursor END "
                "WHERE log = 'outbox' AND partition = ? AND token = ?",
                (one.cursor or 0, one.cursor or 0, one.lease.partition, one.lease.token),
            )
        }
        if lost:
            raise RevisionConflict(moves=lost)

    def release(self) -> None:
        """Give all partitions back, so that another sender can go on at once."""
        self._leases.release("outbox")

    # --- for operators -------------------------------------------------------------------

    def deliveries(
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
            "LEFT JOIN outbox_exception x ON x.id = o.id "
            "LEFT JOIN outbox_receipt r ON r.id = o.id WHERE " + (" AND ".join(where) or "1 = 1")
        )
        with self._database.read() as session:
            total = session.row(f"SELECT count(*) {source}", params)
            cut, cut_params = ("", []) if after is None else (" AND o.id < ?", [after])
            rows = session.rows(
                f"SELECT {_OUTBOX}, x.state, x.attempts, x.not_before, x.category, x.status, "
                "x.text, x.because, r.at, r.attempts, r.status, r.message "
                f"{source}{cut} ORDER BY o.id DESC LIMIT ?",
                [*params, *cut_params, limit + 1],
            )
        assert total is not None
        items = [_listed(row) for row in rows[:limit]]
        following = items[-1].queued.id if len(rows) > limit else None
        return Page(items, following, total[0])

    def get(self, id_: int) -> ListedDelivery | None:
        """One delivery, None where there is no such number."""
        found = self.deliveries(DeliveryFilter(ids=(id_,)), limit=1).items
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
            page = self.deliveries(asked, after=after, limit=500)
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
                    session.upsert("outbox_exception", ("id",), (*_EXCEPTION[1:], "because"), rows)
            count += len(rows)
            if page.next is None:
                return count
            after = page.next

    def pause(self, destination: str, because: str, now: int) -> None:
        """Let nothing be sent to a destination; its senders notice within seconds."""
        self._flag(destination, 1, because, now)

    def resume(self, destination: str, because: str, now: int) -> None:
        """Let things be sent again."""
        self._flag(destination, 0, because, now)

    def _flag(self, destination: str, paused: int, because: str, now: int) -> None:
        with self._database.write() as session:
            session.upsert(
                "destination",
                ("name",),
                ("paused", "because", "since"),
                [(destination, paused, because, now)],
            )

    def paused(self) -> dict[str, tuple[str, int]]:
        """Paused destinations: why, and since when (µs)."""
        with self._database.read() as session:
            rows = session.rows("SELECT name, because, since FROM destination WHERE paused = 1")
        return {name: (because, since) for name, because, since in rows}

    def backlog(self) -> dict[str, Backlog]:
        """What each destination has still to get."""
        found: list[Row] = []
        with self._database.read() as session:
            for partition, cursor in session.rows(
                "SELECT partition, cursor FROM lease WHERE log = 'outbox'"
            ):
                position, ordinal = cursor >> ORDINAL_BITS, cursor & ORDINALS
                beyond, params = (
                    f"{_BEYOND} o.partition = ?",
                    [position, position, ordinal, partition],
                )
                if session.dialect == "sqlite":
                    beyond, params = _BEYOND_SQLITE, [partition, cursor]
                rows = session.rows(f"SELECT count(*), min(c.at) {beyond}", params)
                found += [(partition, "waiting", *row) for row in rows]
            found += session.rows(
                "SELECT x.partition, x.state, count(*), min(c.at) FROM outbox_exception x "
                f"JOIN commits c ON c.tx = x.id >> {ORDINAL_BITS} "
                "WHERE x.state IN ('delayed', 'blocked', 'dead') GROUP BY x.partition, x.state"
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


def partitions_of(destination: str) -> list[str]:
    """The partitions of a destination.

    >>> partitions_of("lab")[:2]
    ['lab/0', 'lab/1']
    """
    return [f"{destination}/{n}" for n in range(SHARDS)]


def partition_of(delivery: Delivery) -> str:
    """The partition that a delivery belongs to."""
    return f"{delivery.destination}/{delivery.lane % SHARDS}"


def _queued(row: Row, attempts: int = 0) -> QueuedDelivery:
    id_, partition, lane, form, what, version, cause, after, notice, position, at = row
    delivery = Delivery(
        partition.rpartition("/")[0],
        lane,
        form,
        what,
        version,
        cause,
        tuple(map(int, after.split())) if after else (),
        notice or "",
    )
    return QueuedDelivery(id_, delivery, position, id_ & ORDINALS, at, attempts)


def _exception(setback: Setback) -> Row:
    queued = setback.queued
    return (
        queued.id,
        queued.position << ORDINAL_BITS | queued.ordinal,
        partition_of(queued.delivery),
        queued.delivery.lane,
        setback.state,
        setback.attempts,
        setback.not_before,
        setback.category,
        setback.status,
        setback.text,
    )


def _last(rows: Sequence[Row]) -> list[Row]:
    return sorted({row[0]: row for row in rows}.values())


def _listed(row: Row) -> ListedDelivery:
    state, attempts, not_before, category, status, text, because = row[_WIDTH : _WIDTH + 7]
    sent, sent_attempts, receipt, message = row[_WIDTH + 7 :]
    error: tuple[Category | None, int | None, str | None] | None = None
    if category is not None or text is not None:
        error = (category, status, text)
    if sent is not None:
        state, attempts = "sent", sent_attempts
    return ListedDelivery(
        _queued(row[:_WIDTH], attempts or 0),
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
        add("x.id IS NULL AND r.id IS NULL")
    elif asked.state == "sent":
        add("r.id IS NOT NULL")
    elif asked.state is not None:
        add("x.state = ?", asked.state)
    return where, params
