"""A worker: leases lanes of the journal, and processes what waits in them.

Lanes keep a patient's messages in the order of arrival; who holds a lane may change at
any time. The cursor moves in the same commit as what was processed, so an entry is
processed once, however the worker ends.
"""

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from segue.model.messages import InboxEntry
from segue.pipeline.definitions import register_definitions
from segue.pipeline.hub import Hub
from segue.pipeline.organizations import register_organizations
from segue.pipeline.process import is_outage, process
from segue.pipeline.requeue import requeue
from segue.pipeline.timers import fire_due
from segue.store.records import CursorMove, Lease, RevisionConflict

if TYPE_CHECKING:
    from segue.pipeline.matching import Matcher

LANES = 64
BATCH = 200
SMALLEST_BATCH = 25
LEASE_SECONDS = 3.0
BATCH_SECONDS = 2.0
"""What a batch may take where stores are shared: a lease lasts 10 s."""
POLL_SECONDS = 0.25
TIMER_SECONDS = 0.5
OUTAGE_SECONDS = 1.0
LOCK_SECONDS = 0.1
"""CPU time that an embedded store's write lock should not be held beyond by one commit.
Acknowledgements do not wait for it: the journal has a lock of its own."""

log = structlog.get_logger(__name__)


class Worker:
    """One process's worker.

    Args:
        hub: the engine; the worker's thread alone uses its caches.
        holder: a name that no other living process uses.
        matcher: links Patients between batches, None where there is nothing to match.
    """

    def __init__(self, hub: Hub, holder: str, matcher: "Matcher | None" = None) -> None:
        self._hub = hub
        self._matcher = matcher
        self._leases = hub.store.leases(holder)
        self._held: dict[str, Lease] = {}
        self._mapping: tuple[str, ...] = ()
        self._leased_at = self._timed_at = float("-inf")
        self._embedded = hub.store.database.dialect == "sqlite"
        self._batch = SMALLEST_BATCH if self._embedded else BATCH
        self._processed = self._failed = self._batches = 0

    def figures(self) -> dict[str, float]:
        """Counters for /metrics."""
        return {
            "segue_processed_messages_total": float(self._processed),
            "segue_failed_messages_total": float(self._failed),
            "segue_commits_total": float(self._batches),
            "segue_lanes": float(len(self._held)),
        } | (self._matcher.figures() if self._matcher is not None else {})

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; what is in hand is finished, lanes are given back."""
        hub = self._hub
        while not stop.is_set():
            try:
                if self.step() == 0 and not self._match() and not stop.is_set():
                    hub.journal.bell.wait("journal", POLL_SECONDS)
            except RevisionConflict as conflict:
                # A batch that takes longer than its lease would be lost again, and for ever.
                self._batch = max(1, self._batch // 2)
                self._leased_at = float("-inf")
                log.info("worker.contested", moved=len(conflict.moves), next_batch=self._batch)
            except Exception as error:
                # Without the store there is nothing to do but to wait for it.
                log.exception("worker.stuck", error=type(error).__name__)
                hub.charts.clear()
                self._leased_at = float("-inf")
                stop.wait(OUTAGE_SECONDS)
        try:
            self._leases.release("journal")
            if self._matcher is not None:
                self._matcher.release()
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("worker.lanes_kept", error=type(error).__name__)

    def step(self) -> int:
        """Process one batch, and fire timers that are due; how many entries it had.

        Raises:
            RevisionConflict: a lane was lost to another worker; nothing was written.
        """
        self._lease()
        self._fire()
        cursors = {int(name): lease.cursor for name, lease in self._held.items()}
        entries = self._hub.journal.read(cursors, self._batch)
        if not entries:
            return 0
        moves = self._moves(entries)
        begin = time.monotonic()
        outcome = process(self._hub, entries, moves)
        for move in moves:
            lease = self._held[move.partition]
            self._held[move.partition] = Lease("journal", lease.partition, lease.token, move.new)
        self._processed += len(entries)
        self._failed += len(outcome.states)
        self._batches += 1
        if outcome.committed is not None:
            took = time.monotonic() - begin
            self._adapt(len(entries), outcome.committed.held, took)
        return len(entries)

    def _moves(self, entries: Sequence[InboxEntry]) -> list[CursorMove]:
        last: dict[str, int] = {}
        for entry in entries:
            last[str(entry.envelope.lane)] = entry.id
        return [
            CursorMove("journal", name, self._held[name].token, self._held[name].cursor, number)
            for name, number in last.items()
        ]

    def _lease(self) -> None:
        now = time.monotonic()
        if now - self._leased_at < LEASE_SECONDS:
            return
        first = self._leased_at == float("-inf")
        held = self._leases.hold("journal", [str(lane) for lane in range(LANES)])
        self._held = {lease.partition: lease for lease in held}
        self._leased_at = now
        if first and "0" in self._held:
            register_organizations(self._hub)

    def _fire(self) -> None:
        now = time.monotonic()
        if now - self._timed_at < TIMER_SECONDS:
            return
        self._timed_at = now
        # One worker is enough for timers: the one that has the first lane.
        if "0" in self._held:
            fire_due(self._hub)
            self._requeue()
        self._match()

    def _match(self) -> bool:
        """Compare Patients for a little while; whether there were any."""
        return self._matcher is not None and self._matcher.step() > 0

    def _requeue(self) -> None:
        """Replay what waits for a code, and show the tables, at the start and after a change."""
        hub = self._hub
        mapping = tuple(hub.mapping_for(site).digest for site in hub.sites)
        if mapping != self._mapping:
            self._mapping = mapping
            register_definitions(hub)
            requeue(hub)

    def _adapt(self, entries: int, held: float, took: float) -> None:
        """Choose how many entries the next batch has.

        An embedded store's one writer is not kept from others; where stores are shared, a
        batch ends well within its lease.

        Args:
            entries: how many this batch had.
            held: CPU seconds for which it held an embedded store's write lock.
            took: seconds in all.
        """
        if self._embedded and held > 0:
            fitting = int(entries * LOCK_SECONDS / held)
            self._batch = max(SMALLEST_BATCH, min(BATCH, (self._batch + fitting) // 2))
        elif not self._embedded:
            fitting = max(1, int(entries * BATCH_SECONDS / took)) if took > 0 else BATCH
            self._batch = min(BATCH, fitting, 2 * self._batch)
