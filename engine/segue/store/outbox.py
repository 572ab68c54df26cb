"""The outbox as a sender sees it: what is to be sent next, and what became of it.

Rows of `outbox` are written with the resources that they send and never change. How
far a partition is settled is its lease's cursor; a delivery that was tried in vain or
held back has a row in `outbox_exception` until it is sent or dropped; one that was
sent has one in `outbox_receipt`.
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Sequence

from segue.model.deliveries import QueuedDelivery
from segue.store.commit import ORDINAL_BITS, SHARDS
from segue.store.database import Database
from segue.store.dialects import Row, Session
from segue.store.leases import Leases
from segue.store.outbox_rows import (
    COLUMNS,
    EXCEPTION,
    ORDINALS,
    WIDTH,
    beyond,
    partition_of,
    partitions_of,
    queued_of,
)
from segue.store.records import Lease, RevisionConflict, Setback, Settlement

_IDLE_COMMITS = 100


class Outbox:
    """The outbox as one sender process sees it."""

    def __init__(self, database: Database, holder: str) -> None:
        """Take a name that no other living process uses, such as host and process id."""
        self._database = database
        self._leases = Leases(database, holder)
        # Partition to (last spot that was read, spot up to which there is no more).
        self._dry: dict[str, tuple[int, int]] = {}

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
                    f"SELECT {COLUMNS} {beyond(session, where)} ORDER BY c.position, o.id LIMIT ?",
                    (*params, position, position, ordinal, limit),
                )
                dry_to = head[0] << ORDINAL_BITS | ORDINALS
                for row in rows:
                    last[row[1]] = row[-2] << ORDINAL_BITS | row[0] & ORDINALS
                    found.setdefault(row[1], []).append(queued_of(row))
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
                    queued_of(row[:WIDTH], row[WIDTH + 1]),
                    *row[WIDTH:],
                )
                for row in session.rows(
                    f"SELECT {COLUMNS}, x.state, x.attempts, x.not_before, x.category, "
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
                    f"SELECT 1 {beyond(session, 'o.partition = ? AND o.lane = ?')} AND "
                    f"(c.position < ? OR (c.position = ? AND (o.id & {ORDINALS}) < ?)) LIMIT 1",
                    (partition, lane, first, first, start & ORDINALS, position, position, ordinal),
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
                session.upsert("outbox_exception", EXCEPTION[:1], EXCEPTION[1:], rows)

    def _move_cursors(self, session: Session, settlements: Sequence[Settlement]) -> None:
        where, params = session.among(
            ("partition",), [(one.lease.partition,) for one in settlements]
        )
        found = session.rows(
            f"SELECT partition, token, cursor FROM lease WHERE log = 'outbox' AND {where}"
            + session.locking("log, partition"),
            params,
        )
        held = {(partition, token): cursor for partition, token, cursor in found}
        moved: list[Row] = []
        lost = set()
        for one in settlements:
            key = (one.lease.partition, one.lease.token)
            if key not in held:
                lost.add(one.lease.partition)
            elif one.cursor is not None and one.cursor > held[key]:
                moved.append(("outbox", one.lease.partition, one.cursor))
        if lost:
            raise RevisionConflict(moves=lost)
        if moved:
            session.update("lease", ("log", "partition"), ("cursor",), moved)

    def release(self) -> None:
        """Give all partitions back, so that another sender can go on at once."""
        self._leases.release("outbox")


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
