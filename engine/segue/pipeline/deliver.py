"""Sends what the outbox holds: each lane in order, each destination by itself.

A sender leases partitions of its destination, reads ahead, groups deliveries of many
lanes into parcels, sends several at once, and settles at most every 50 ms. What fails
waits in its row, with exponential back-off and full jitter; what cannot succeed becomes
a dead letter and blocks its own lane alone. A peer that does not answer opens the
destination's breaker: one alert, then single probes, and nothing is lost or reordered.

An answer that arrived but was not settled before a crash is sent again, with the same
idempotency key. Source: docs/architecture.md, "Outbound".
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from threading import Event
from typing import Any, Literal, TypeVar, assert_never

import structlog
from tenacity import RetryCallState, Retrying, wait_random_exponential

from segue.model.deliveries import (
    Category,
    Outcome,
    Parcel,
    QueuedDelivery,
    Refused,
    RetryLater,
    Sent,
)
from segue.pipeline.breaker import Breaker
from segue.pipeline.faults import described
from segue.pipeline.lanes import Held, Lanes, Progress
from segue.pipeline.metrics import Metrics, NoMetrics
from segue.pipeline.ports import Bodies, Destination, Outbox
from segue.store.records import Lease, RevisionConflict, Setback, Settlement
from segue.store.wake import Bell

T = TypeVar("T")

SETTLE_SECONDS = 0.05
POLL_SECONDS = 0.25
LEASE_SECONDS = 3.0
REVIEW_SECONDS = 2.0
LINGER_SECONDS = 0.05
READ_AHEAD = 400

log = structlog.get_logger(__name__)

_PEER: frozenset[Category | None] = frozenset({"unreachable", "timeout", "unauthorised"})

KEPT_BACK = RetryLater("conflict", "kept back behind one that was not delivered", None, 0.0)
"""Was not tried: goes back to its lane and counts no attempt. So does every RetryLater
with `after_seconds` 0."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Back-off of one destination.

    Attributes:
        first, factor, ceiling: the n-th wait is drawn evenly from 0 to
            min(ceiling, first · factor^(n-1)).
        give_up: age at which a delivery that still fails becomes a dead letter.
    """

    first: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    ceiling: timedelta = timedelta(minutes=15)
    give_up: timedelta = timedelta(hours=72)

    def seconds(self, attempts: int) -> float:
        """How long to wait after this many failed attempts (from 1)."""
        wait = wait_random_exponential(
            multiplier=self.first.total_seconds(),
            max=self.ceiling.total_seconds(),
            exp_base=self.factor,
        )
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = attempts
        return wait(state)


@dataclass(frozen=True, slots=True)
class ReceiptNote:
    """A destination has filed a resource in its record.

    Attributes:
        reference: of the resource, version: of it.
        at: µs of the peer's answer. owner: pk of the person.
        class_code: Encounter.class, type_code: DocumentReference.type; of what was filed.
    """

    destination: str
    reference: str
    version: int
    at: int
    class_code: str | None
    type_code: str | None
    owner: int


@dataclass(slots=True)
class _Partition:
    lease: Lease
    progress: Progress
    pending: Settlement
    rows: int = 0
    dry: bool = False


@dataclass(slots=True)
class _Flight:
    """Whether parcels are under way, and since when something waits."""

    parcels: set[asyncio.Task[None]] = field(default_factory=set)
    waiting_since: float = inf


class Sender:
    """Delivers to one destination.

    Attributes:
        sent: deliveries that the peer accepted since the start.
    """

    def __init__(
        self,
        destination: Destination,
        outbox: Outbox,
        bodies: Bodies,
        in_store: Callable[[Callable[[], Any]], Awaitable[Any]],
        *,
        retry: Retry | None = None,
        clock_us: Callable[[], int],
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        records: Callable[[Sequence[ReceiptNote]], None] | None = None,
        codes_of: "Callable[[str | bytes], tuple[str | None, str | None]] | None" = None,
        metrics: Metrics | None = None,
        breaker: Breaker | None = None,
        simulated: bool = False,
    ) -> None:
        """Take the parts; nothing happens before `run`.

        Args:
            destination: the adapter.
            outbox: where deliveries wait.
            bodies: what they carry.
            in_store: runs a call on the thread that talks to the store.
            retry: back-off.
            clock_us: the domain's time in µs, for settlements.
            wall_us: the real time in µs, for `not_before`, which outlives the process.
            records: takes receipts, of a destination with `receipt: record` only.
            codes_of: body to (class code, type code) for those receipts.
            metrics: where figures go.
            breaker: another one, for tests.
            simulated: whether the domain's time is not the real one, so that the time
                since a delivery was queued says nothing.
        """
        self._destination = destination
        self._outbox = outbox
        self._bodies = bodies
        self._in_store = in_store
        self._retry = retry or Retry()
        self._clock_us = clock_us
        self._wall_us = wall_us
        self._records = records
        self._codes_of = codes_of
        self._metrics = metrics or NoMetrics()
        self._breaker = breaker or Breaker()
        self._simulated = simulated
        self._lanes = Lanes()
        self._partitions: dict[str, _Partition] = {}
        self._flight = _Flight()
        self._notes: list[ReceiptNote] = []
        self._failing_since: dict[int, float] = {}
        self._bell = asyncio.Event()
        self._stopping = False
        self._leased_at = self._reviewed_at = self._settled_at = self._polled_at = -inf
        self._unsettled = False
        self.sent = 0

    @property
    def name(self) -> str:
        """Of the destination."""
        return self._destination.name

    def wake(self) -> None:
        """There may be something new in the outbox."""
        for partition in self._partitions.values():
            partition.dry = False
        self._bell.set()

    def stop(self) -> None:
        """Finish what is under way and return from `run`."""
        self._stopping = True
        self._bell.set()

    async def run(self) -> None:
        """Deliver until `stop`."""
        try:
            while not self._stopping:
                try:
                    await self._keep_leases()
                    await self._review()
                    await self._read_ahead()
                    self._dispatch()
                    await self._rest()
                    await self._settle()
                except Exception as error:  # noqa: BLE001 - the store may come back
                    name = self._destination.name
                    log.error("sender.failed", destination=name, **described(error))  # noqa: TRY400
                    await self._start_over()
        finally:
            if self._flight.parcels:
                await asyncio.wait(self._flight.parcels)
            await self._settle(force=True)
            await self._destination.close()

    async def _start_over(self) -> None:
        """The store failed: forget what was read, so that it is read and sent again."""
        for key in list(self._partitions):
            self._lose(key)
        self._leased_at = -inf
        self._unsettled = False
        await asyncio.sleep(1.0)

    # --- leases and reading --------------------------------------------------------------

    async def _keep_leases(self) -> None:
        now = time.monotonic()
        if now - self._leased_at < LEASE_SECONDS:
            return
        self._leased_at = now
        name = self._destination.name
        found = await self._in_store(lambda: self._outbox.lease(name))
        leases: dict[str, Lease] = {lease.partition: lease for lease in found}
        for key in [key for key in self._partitions if key not in leases]:
            self._lose(key)
        for key, lease in leases.items():
            known = self._partitions.get(key)
            if known is None or known.lease.token != lease.token:
                if known is not None:
                    self._lose(key)
                self._partitions[key] = _Partition(lease, Progress(lease.cursor), Settlement(lease))
                await self._reload(key, fresh=True)

    def _lose(self, key: str) -> None:
        del self._partitions[key]
        self._lanes.forget(key)
        log.warning("lease.lost", destination=self._destination.name, partition=key)

    async def _review(self) -> None:
        """See what operators decided about deliveries with rows."""
        now = time.monotonic()
        if now - self._reviewed_at < REVIEW_SECONDS:
            return
        self._reviewed_at = now
        await self._settle(force=True)
        for key in list(self._partitions):
            await self._reload(key)

    async def _reload(self, key: str, *, fresh: bool = False) -> None:
        """Read the rows of a partition.

        Args:
            key: the partition.
            fresh: it was leased just now: what waits because the peer did not answer
                the sender before is due at once.
        """
        partition = self._partitions[key]
        setbacks = await self._in_store(lambda: self._outbox.setbacks(partition.lease))
        if not setbacks and not partition.rows:
            return
        partition.rows = len(setbacks)
        now, wall = time.monotonic(), self._wall_us()
        lanes: dict[int, tuple[list[Held], float]] = {}
        for setback in setbacks:
            number = setback.queued.delivery.lane
            if number not in lanes:
                due = 0.0
                if setback.state == "dead":
                    due = inf
                elif fresh and setback.category in _PEER:
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

    async def _read_ahead(self) -> None:
        now = time.monotonic()
        if now - self._polled_at >= POLL_SECONDS:
            self._polled_at = now
            for partition in self._partitions.values():
                partition.dry = False
        if self._breaker.is_open and self._lanes.held:
            return
        wanted = [
            (key, partition.lease, partition.progress.read_to)
            for key, partition in self._partitions.items()
            if not partition.dry and partition.progress.unsettled <= READ_AHEAD // 2
        ]
        if not wanted:
            return
        outbox = self._outbox

        def read() -> list[tuple[str, list[QueuedDelivery]]]:
            return [(key, outbox.read(lease, to, READ_AHEAD)) for key, lease, to in wanted]

        for key, found in await self._in_store(read):
            partition = self._partitions[key]
            partition.dry = len(found) < READ_AHEAD
            if found:
                held = [Held(queued, key, queued.attempts) for queued in found]
                partition.progress.read([one.spot for one in held])
                for one in self._lanes.add(held):
                    self._block(one)

    # --- sending -------------------------------------------------------------------------

    def _dispatch(self) -> None:
        now = time.monotonic()
        flying = self._flight.parcels
        while len(flying) < self._destination.parallel:
            allowed = self._breaker.allows(now)
            if allowed == "nothing" or (allowed == "probe" and flying):
                return
            size = 1 if allowed == "probe" else self._destination.bundle
            if flying and self._lanes.ready(now) and self._lanes.held < size:
                # Something is under way: let more come together, but not for long.
                self._flight.waiting_since = min(self._flight.waiting_since, now)
                if now - self._flight.waiting_since < LINGER_SECONDS:
                    return
            self._flight.waiting_since = inf
            held = self._lanes.pick(size, now)
            if not held and allowed == "probe":
                self._lanes.hurry(1)
                held = self._lanes.pick(size, now)
            if not held:
                return
            task = asyncio.create_task(self._deliver(held))
            flying.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flight.parcels.discard(task)
        self._bell.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("parcel.lost", destination=self._destination.name, **described(error))

    async def _deliver(self, held: list[Held]) -> None:
        begin = time.monotonic()
        queued = [one.queued for one in held]
        bodies: list[str | bytes] = []
        try:
            bodies = await self._in_store(lambda: self._bodies.bodies(queued))
            outcomes = await self._attempt(queued, bodies)
        except Exception as error:  # noqa: BLE001 - one fault must not stop the destination
            log.error("parcel.failed", destination=self._destination.name, **described(error))  # noqa: TRY400
            outcomes = [RetryLater("protocol", type(error).__name__)] * len(held)
        self._metrics.sent(self._destination.name, time.monotonic() - begin)
        self._conclude(held, bodies, outcomes)

    async def _attempt(
        self, queued: Sequence[QueuedDelivery], bodies: Sequence[str | bytes]
    ) -> list[Outcome]:
        """Send; where all was refused together, find out which lane, then which delivery."""
        outcomes = await self._destination.send(Parcel(list(queued), list(bodies)))
        together = self._destination.atomic and len(queued) > 1
        if not together or not all(isinstance(one, Refused) for one in outcomes):
            return outcomes
        lanes = list(dict.fromkeys(one.delivery.lane for one in queued))
        if len(lanes) == 1:
            return await self._one_by_one(queued, bodies)
        first = set(lanes[: len(lanes) // 2])
        for half in (True, False):
            places = [i for i, one in enumerate(queued) if (one.delivery.lane in first) is half]
            found = await self._attempt([queued[i] for i in places], [bodies[i] for i in places])
            for place, outcome in zip(places, found, strict=True):
                outcomes[place] = outcome
        return outcomes

    async def _one_by_one(
        self, queued: Sequence[QueuedDelivery], bodies: Sequence[str | bytes]
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for one, body in zip(queued, bodies, strict=True):
            if outcomes and not isinstance(outcomes[-1], Sent):
                outcomes.append(KEPT_BACK)
            else:
                outcomes += await self._destination.send(Parcel([one], [body]))
        return outcomes

    # --- outcomes ------------------------------------------------------------------------

    def _conclude(
        self, held: Sequence[Held], bodies: Sequence[str | bytes], outcomes: Sequence[Outcome]
    ) -> None:
        now = time.monotonic()
        lanes: dict[int, list[int]] = {}
        for place, one in enumerate(held):
            lanes.setdefault(one.queued.delivery.lane, []).append(place)
        tally: dict[str, int] = {}
        for places in lanes.values():
            stopped = self._conclude_sent(held, bodies, outcomes, places)
            if stopped is None:
                self._lanes.done(held[places[0]].queued.delivery.lane)
                ends = "sent"
            else:
                back = [held[place] for place in places[stopped:]]
                outcome = outcomes[places[stopped]]
                ends = self._conclude_failed(back, outcome, now, among=len(lanes))
            tally["sent"] = tally.get("sent", 0) + (len(places) if stopped is None else stopped)
            if stopped is not None:
                tally[ends] = tally.get(ends, 0) + 1
        for outcome_name, count in tally.items():
            if count:
                self._metrics.delivered(self._destination.name, outcome_name, count)
        self._judge_peer(outcomes, now)

    def _conclude_sent(
        self,
        held: Sequence[Held],
        bodies: Sequence[str | bytes],
        outcomes: Sequence[Outcome],
        places: Sequence[int],
    ) -> int | None:
        """Note what was sent of a lane; return which of `places` was the first that was not."""
        for index, place in enumerate(places):
            outcome = outcomes[place]
            if not isinstance(outcome, Sent):
                return index
            self._sent(held[place], outcome, bodies[place])
        return None

    def _conclude_failed(
        self, back: list[Held], outcome: Outcome, now: float, *, among: int
    ) -> str:
        """Put a lane's first failure, and all behind it, where they belong.

        Args:
            back: the failure and what is behind it.
            outcome: of the first.
            now: monotonic.
            among: how many lanes shared its parcel.
        """
        one = back[0]
        match outcome:
            case RetryLater(after_seconds=0.0):
                self._lanes.done(one.queued.delivery.lane, back)
                return "kept-back"
            case RetryLater():
                one.attempts += 1
                one.alone = bool(outcome.status and outcome.status >= 500 and among > 1)
                if self._too_old(one, now):
                    self._die(back, outcome)
                else:
                    self._delay(back, outcome, now)
                return "retry"
            case Refused():
                one.attempts += 1
                self._die(back, outcome)
                return "refused"
            case Sent():
                raise AssertionError("what was sent did not fail")
            case _ as unreachable:
                assert_never(unreachable)

    def _sent(self, one: Held, outcome: Sent, body: str | bytes) -> None:
        self._failing_since.pop(one.queued.id, None)
        self.sent += 1
        delivery = one.queued.delivery
        if self._records is not None and delivery.form != "adt":
            class_code, type_code = self._codes_of(body) if self._codes_of else (None, None)
            self._notes.append(
                ReceiptNote(
                    self._destination.name, delivery.what, delivery.version,
                    outcome.receipt.at, class_code, type_code, delivery.lane,
                )
            )  # fmt: skip
        partition = self._partitions.get(one.partition)
        if partition is None:
            return
        if one.row:
            partition.rows -= 1
            pending = partition.pending
            pending.setbacks = [s for s in pending.setbacks if s.queued.id != one.queued.id]
        partition.pending.sent.append((one.queued, outcome.receipt, one.attempts + 1))
        partition.progress.over(one.spot)
        self._unsettled = True

    def _delay(self, back: list[Held], outcome: RetryLater, now: float) -> None:
        one = back[0]
        seconds = max(self._retry.seconds(one.attempts), outcome.after_seconds or 0.0)
        if outcome.category in _PEER:
            # The breaker spares the peer; the delivery need not wait long by itself.
            seconds = min(seconds, self._breaker.ceiling)
        due = now + seconds
        self._setback(one, "delayed", outcome, self._wall_us() + int(seconds * 1e6))
        for stuck in self._lanes.done(one.queued.delivery.lane, back, due):
            self._block(stuck)
        log.info(
            "delivery.delayed",
            delivery=one.queued.id,
            destination=self._destination.name,
            category=outcome.category,
            status=outcome.status,
            attempts=one.attempts,
            seconds=round(seconds, 1),
        )

    def _die(self, back: list[Held], outcome: RetryLater | Refused) -> None:
        one = back[0]
        self._failing_since.pop(one.queued.id, None)
        self._setback(one, "dead", outcome, None)
        for stuck in self._lanes.done(one.queued.delivery.lane, back, inf):
            self._block(stuck)
        log.warning(
            "delivery.refused",
            delivery=one.queued.id,
            destination=self._destination.name,
            category=outcome.category,
            status=outcome.status,
            attempts=one.attempts,
        )

    def _too_old(self, one: Held, now: float) -> bool:
        """By the time since the first failure seen here, or since it was queued."""
        since = self._failing_since.setdefault(one.queued.id, now)
        age = now - since
        if not self._simulated:
            age = max(age, (self._wall_us() - one.queued.created) / 1e6)
        return age > self._retry.give_up.total_seconds()

    def _block(self, one: Held) -> None:
        self._setback(one, "blocked", None, None)

    def _setback(
        self,
        one: Held,
        state: Literal["delayed", "blocked", "dead"],
        outcome: RetryLater | Refused | None,
        not_before: int | None,
    ) -> None:
        partition = self._partitions.get(one.partition)
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
        self._unsettled = True

    def _judge_peer(self, outcomes: Sequence[Outcome], now: float) -> None:
        tried = [o for o in outcomes if not (isinstance(o, RetryLater) and o.after_seconds == 0.0)]
        down = [one for one in tried if isinstance(one, RetryLater) and is_down(one)]
        name = self._destination.name
        if len(down) < len(tried):
            if self._breaker.succeeded():
                self._lanes.hurry()
                self._metrics.halted(name, False)
                log.info("destination.resumed", destination=name)
        elif down:
            halt = any(one.halt for one in down)
            if self._breaker.failed(now, halt=halt):
                self._metrics.halted(name, True)
                log.error(
                    "destination.halted",
                    destination=name,
                    category=down[0].category,
                    status=down[0].status,
                )

    # --- settling ------------------------------------------------------------------------

    async def _settle(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if not self._unsettled or (not force and now - self._settled_at < SETTLE_SECONDS):
            return
        self._settled_at = now
        self._unsettled = False
        at = self._clock_us()
        settlements = []
        for partition in self._partitions.values():
            pending = partition.pending
            if pending.sent or pending.setbacks:
                pending.cursor = partition.progress.cursor
                pending.at = at
                settlements.append(pending)
                partition.pending = Settlement(partition.lease)
        notes, self._notes = self._notes, []

        def write() -> list[str]:
            if notes and self._records is not None:
                self._records(notes)
            return _settle(self._outbox, settlements)

        for key in await self._in_store(write):
            if key in self._partitions:
                self._lose(key)

    async def _rest(self) -> None:
        """Wait for a ring, a landing, or the next thing that is due by time."""
        now = time.monotonic()
        until = POLL_SECONDS
        if self._unsettled:
            until = min(until, self._settled_at + SETTLE_SECONDS - now)
        if self._flight.waiting_since != inf:
            until = min(until, self._flight.waiting_since + LINGER_SECONDS - now)
        if self._breaker.is_open:
            if not self._flight.parcels:
                until = min(until, self._breaker.probe_at - now)
        elif len(self._flight.parcels) < self._destination.parallel:
            until = min(until, self._lanes.next_due() - now)
        try:
            async with asyncio.timeout(max(0.0, until)):
                await self._bell.wait()
        except TimeoutError:
            pass
        self._bell.clear()


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


def is_down(outcome: RetryLater) -> bool:
    """Whether a failure speaks against the peer and not against the delivery."""
    return outcome.category != "refused" or outcome.status is not None


class Senders:
    """All senders of a process, with the one thread that talks to the store.

    Attributes:
        senders: in the order of `add`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "outbox")
        self.senders: list[Sender] = []
        self._stopped = Event()

    async def in_store(self, call: Callable[[], T]) -> T:
        """Run a call on the store's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def add(self, sender: Sender) -> None:
        """Take a sender that was built with this object's `in_store`."""
        self.senders.append(sender)

    def wake(self) -> None:
        """There may be something new in the outbox; call it on the event loop."""
        for sender in self.senders:
            sender.wake()

    async def run(self, bell: Bell | None = None) -> None:
        """Run all until `stop`; one that breaks down does not stop the others.

        Args:
            bell: rings for what is new; without it only polling finds it.
        """
        loop = asyncio.get_running_loop()

        def listen() -> None:
            while bell is not None and not self._stopped.is_set():
                if bell.wait("outbox", POLL_SECONDS) and not self._stopped.is_set():
                    loop.call_soon_threadsafe(self.wake)

        listening = asyncio.create_task(asyncio.to_thread(listen))
        results = await asyncio.gather(
            *(sender.run() for sender in self.senders), return_exceptions=True
        )
        self._stopped.set()
        await listening
        self._thread.shutdown()
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            raise errors[0]

    def stop(self) -> None:
        """Let all senders finish what is under way."""
        for sender in self.senders:
            sender.stop()
