"""The part of the outbox that a sender has leased: read ahead, and settled in order.

Everything here happens between the sender and the store: leases are kept, deliveries
and the rows of those that failed are read into lanes, and what became of them is
written down in one short transaction at a time.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import structlog

from segue.model.deliveries import Category, QueuedDelivery, Receipt, Refused, RetryLater
from segue.pipeline.lanes import Held, Lanes, Progress
from segue.pipeline.ports import Outbox
from segue.store.records import Lease, RevisionConflict, Setback, Settlement

LEASE_SECONDS = 3.0
REVIEW_SECONDS = 2.0
POLL_SECONDS = 0.25
SETTLE_SECONDS = 0.1
"""Between two settlements: what a crash may make the sender send again."""
READ_AHEAD = 1600
"""Deliveries that are read at once; more as soon as few of a partition are not over."""
_FEW = 200

PEER: frozenset[Category | None] = frozenset({"unreachable", "timeout", "unauthorised"})
"""Categories that speak of the peer and not of the delivery."""

InStore = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a call on the thread that talks to the store."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Partition:
    """`rows`: how many deliveries have an exception row. `dry`: nothing more to read."""

    lease: Lease
    progress: Progress
    pending: Settlement
    rows: int = 0
    dry: bool = False


class Partitions:
    """The leased partitions of one destination, and the lanes that they fill."""

    def __init__(
        self,
        destination: str,
        outbox: Outbox,
        lanes: Lanes,
        in_store: InStore,
        *,
        clock_us: Callable[[], int],
        wall_us: Callable[[], int],
        first: Callable[[], Callable[[], None] | None] = lambda: None,
        reading: InStore | None = None,
    ) -> None:
        """Take the parts; nothing is leased before `keep`.

        Args:
            destination: its name.
            outbox: where deliveries wait.
            lanes: filled with what is read.
            in_store: runs a call on the store's thread.
            clock_us: the domain's time in µs, for settlements.
            wall_us: the real time in µs, as rows hold it.
            first: asked at each settlement; gives what is to be done before it, on the
                store's thread.
            reading: runs a call that only reads, where that is done elsewhere.
        """
        self._destination = destination
        self._outbox = outbox
        self._lanes = lanes
        self._in_store = in_store
        self._reading = reading or in_store
        self._clock_us = clock_us
        self.wall_us = wall_us
        self._first = first
        self._held: dict[str, _Partition] = {}
        self._leased_at = self._reviewed_at = self._polled_at = self._settled_at = -inf
        self._rings = 0
        self.unsettled = False

    @property
    def settle_at(self) -> float:
        """When to settle next, monotonic seconds; `inf` while there is nothing to."""
        return self._settled_at + SETTLE_SECONDS if self.unsettled else inf

    def ring(self) -> None:
        """There may be more to read."""
        self._rings += 1
        for partition in self._held.values():
            partition.dry = False

    # --- leases and reading --------------------------------------------------------------

    async def keep(self) -> None:
        """Take or prolong leases, every few seconds."""
        now = time.monotonic()
        if now - self._leased_at < LEASE_SECONDS:
            return
        self._leased_at = now
        found = await self._in_store(lambda: self._outbox.lease(self._destination))
        leases: dict[str, Lease] = {lease.partition: lease for lease in found}
        for key in [key for key in self._held if key not in leases]:
            self.lose(key)
        for key, lease in leases.items():
            known = self._held.get(key)
            if known is None or known.lease.token != lease.token:
                if known is not None:
                    self.lose(key)
                self._held[key] = _Partition(lease, Progress(lease.cursor), Settlement(lease))
                await self._reload(key, fresh=True)

    def lose(self, key: str) -> None:
        """Another sender has this partition, or it is paused."""
        del self._held[key]
        self._lanes.forget(key)
        log.info("lease.lost", destination=self._destination, partition=key)

    def waits(self, queued: QueuedDelivery) -> bool:
        """See `Outbox.waits`; to be called where the store is read."""
        return self._outbox.waits(queued)

    def start_over(self) -> None:
        """The store failed: forget what was read, so that it is read and sent again."""
        for key in list(self._held):
            self.lose(key)
        self._leased_at = -inf
        self.unsettled = False

    async def review(self) -> None:
        """See, every few seconds, what operators decided about deliveries with rows."""
        now = time.monotonic()
        if now - self._reviewed_at < REVIEW_SECONDS:
            return
        self._reviewed_at = now
        await self.settle(force=True)
        for key in list(self._held):
            await self._reload(key)

    async def _reload(self, key: str, *, fresh: bool = False) -> None:
        """Read the rows of a partition.

        Args:
            key: the partition.
            fresh: it was leased just now: what waits because the peer did not answer
                the sender before is due at once.
        """
        partition = self._held[key]
        setbacks = await self._reading(lambda: self._outbox.setbacks(partition.lease))
        if not setbacks and not partition.rows:
            return
        partition.rows = len(setbacks)
        now, wall = time.monotonic(), self.wall_us()
        lanes: dict[int, tuple[list[Held], float]] = {}
        for setback in setbacks:
            number = setback.queued.delivery.lane
            if number not in lanes:
                due = 0.0
                if setback.state == "dead":
                    due = inf
                elif fresh and setback.category in PEER:
                    due = 0.0
                elif setback.not_before is not None and setback.not_before > wall:
                    due = now + (setback.not_before - wall) / 1e6
                lanes[number] = ([], due)
            held, due = lanes[number]
            if due != inf:
                alone = bool(setback.status and setback.status >= 500)
                held.append(Held(setback.queued, key, setback.attempts, row=True, alone=alone))
        pending = partition.pending
        moved = {queued.delivery.lane for queued, _, _ in pending.sent}
        moved |= {setback.queued.delivery.lane for setback in pending.setbacks}
        self._lanes.reload(key, lanes, moved)

    async def read(self) -> None:
        """Read ahead where something may be waiting."""
        now = time.monotonic()
        if now - self._polled_at >= POLL_SECONDS:
            self._polled_at = now
            for partition in self._held.values():
                partition.dry = False
        wanted = [
            (partition.lease, partition.progress.read_to)
            for partition in self._held.values()
            if not partition.dry and partition.progress.unsettled <= _FEW
        ]
        if not wanted:
            return
        outbox, rings = self._outbox, self._rings
        found, complete = await self._reading(lambda: outbox.read_together(wanted, READ_AHEAD))
        for lease, _ in wanted:
            # A ring during the read may be about what it did not see.
            self._held[lease.partition].dry = complete and rings == self._rings
        for key, deliveries in found.items():
            held = [Held(queued, key, queued.attempts) for queued in deliveries]
            self._held[key].progress.read([one.spot for one in held])
            for one in self._lanes.add(held):
                self.set_back(one, "blocked")

    # --- settling ------------------------------------------------------------------------

    def sent(self, one: Held, receipt: Receipt) -> None:
        """The peer has it."""
        partition = self._held.get(one.partition)
        if partition is None:
            return
        pending = partition.pending
        if one.row:
            partition.rows -= 1
            pending.setbacks = [s for s in pending.setbacks if s.queued.id != one.queued.id]
        pending.sent.append((one.queued, receipt, one.attempts + 1))
        partition.progress.over(one.spot)
        self.unsettled = True

    def set_back(
        self,
        one: Held,
        state: Literal["delayed", "blocked", "dead"],
        outcome: RetryLater | Refused | None = None,
        not_before: int | None = None,
    ) -> None:
        """The peer does not have it; it gets a row, so that the cursor may pass."""
        partition = self._held.get(one.partition)
        if partition is None:
            return
        if not one.row:
            one.row = True
            partition.rows += 1
        category, status, text = (
            (outcome.category, outcome.status, outcome.reason) if outcome else (None, None, None)
        )
        partition.pending.setbacks.append(
            Setback(one.queued, state, one.attempts, not_before, category, status, text)
        )
        partition.progress.over(one.spot)
        self.unsettled = True

    async def settle(self, *, force: bool = False) -> None:
        """Write down what became of deliveries, ten times a second unless forced."""
        now = time.monotonic()
        if not self.unsettled or (not force and now < self.settle_at):
            return
        self._settled_at = now
        self.unsettled = False
        at = self._clock_us()
        settlements = []
        for partition in self._held.values():
            pending = partition.pending
            if pending.sent or pending.setbacks:
                pending.cursor = partition.progress.cursor
                pending.at = at
                settlements.append(pending)
                partition.pending = Settlement(partition.lease)

        first = self._first()

        def write() -> list[str]:
            if first is not None:
                first()
            return _settle(self._outbox, settlements)

        for key in await self._in_store(write):
            if key in self._held:
                self.lose(key)


def _settle(outbox: Outbox, settlements: Sequence[Settlement]) -> list[str]:
    """Settle all in one transaction; return partitions whose lease was lost."""
    if not settlements:
        return []
    try:
        outbox.settle(settlements)
    except RevisionConflict as conflict:
        lost = conflict.moves or {settlements[0].lease.partition}
        rest = [one for one in settlements if one.lease.partition not in lost]
        return [*sorted(lost), *_settle(outbox, rest)]
    return []
