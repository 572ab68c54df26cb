"""Sends what the outbox holds: each lane in order, each destination by itself.

A sender leases partitions of its destination, reads ahead, groups deliveries of many
lanes into parcels, sends several at once, and settles every 100 ms. What fails
waits in its row, with exponential back-off and full jitter; what cannot succeed becomes
a dead letter and blocks its own lane alone. A peer that does not answer opens the
destination's breaker: one alert, then single probes, and nothing is lost or reordered.

An answer that arrived but was not settled before a crash is sent again, with the same
idempotency key. Source: docs/architecture.md, "Outbound".
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from math import inf
from typing import Any, assert_never

import structlog
from tenacity import RetryCallState, Retrying, wait_random_exponential

from segue.model.deliveries import (
    OF_ENTRIES,
    Outcome,
    Parcel,
    QueuedDelivery,
    Refused,
    RetryLater,
    Sent,
)
from segue.pipeline.breaker import Breaker
from segue.pipeline.faults import described
from segue.pipeline.lanes import Held, Lanes
from segue.pipeline.metrics import Metrics, NoMetrics
from segue.pipeline.partitions import PEER, POLL_SECONDS, InStore, Partitions
from segue.pipeline.ports import Bodies, Destination, Outbox

LINGER_SECONDS = 0.05

log = structlog.get_logger(__name__)

KEPT_BACK = RetryLater("conflict", "kept back behind one that was not delivered", None, 0.0)
"""Was not tried: goes back to its lane and counts no attempt. So does every RetryLater
with `after_seconds` 0."""
AWAITS = RetryLater("refused", "waits for what was queued for the person before the merge")
"""Was not tried: another lane has still to be settled up to here."""


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
        in_store: InStore,
        *,
        retry: Retry | None = None,
        clock_us: Callable[[], int],
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        records: Callable[[Sequence[ReceiptNote]], None] | None = None,
        codes_of: "Callable[[str | bytes], tuple[str | None, str | None]] | None" = None,
        metrics: Metrics | None = None,
        breaker: Breaker | None = None,
        simulated: bool = False,
        reading: InStore | None = None,
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
            reading: runs a call that only reads the store, where that is done elsewhere.
        """
        self._destination = destination
        self._bodies = bodies
        self._reading = reading or in_store
        self._retry = retry or Retry()
        self._wall_us = wall_us
        self._records = records
        self._codes_of = codes_of
        self._metrics = metrics or NoMetrics()
        self._breaker = breaker or Breaker()
        self._simulated = simulated
        self._lanes = Lanes()
        self._partitions = Partitions(
            destination.name,
            outbox,
            self._lanes,
            in_store,
            clock_us=clock_us,
            wall_us=wall_us,
            first=self._record,
            reading=self._reading,
        )
        self._flight = _Flight()
        self._notes: list[ReceiptNote] = []
        self._failing_since: dict[int, float] = {}
        self._bell = asyncio.Event()
        self._stopping = False
        self.sent = 0

    @property
    def name(self) -> str:
        """Of the destination."""
        return self._destination.name

    def wake(self) -> None:
        """There may be something new in the outbox."""
        self._partitions.ring()
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
                    await self._partitions.keep()
                    await self._partitions.review()
                    if not (self._breaker.is_open and self._lanes.held):
                        await self._partitions.read()
                    self._dispatch()
                    await self._rest()
                    await self._partitions.settle()
                except Exception as error:  # noqa: BLE001 - the store may come back
                    name = self._destination.name
                    log.error("sender.failed", destination=name, **described(error))  # noqa: TRY400
                    self._partitions.start_over()
                    await asyncio.sleep(1.0)
        finally:
            if self._flight.parcels:
                await asyncio.wait(self._flight.parcels)
            await self._partitions.settle(force=True)
            await self._destination.close()

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
        bodies: list[str | bytes] = []
        outcomes: list[Outcome]
        try:
            early = await self._too_early(held)
            queued = [one.queued for place, one in enumerate(held) if place not in early]
            bodies = await self._reading(lambda: self._bodies.bodies(queued)) if queued else []
            outcomes = await self._attempt(queued, bodies) if queued else []
            for place in sorted(early):
                bodies.insert(place, "")
                outcomes.insert(place, early[place])
        except Exception as error:  # noqa: BLE001 - one fault must not stop the destination
            log.error("parcel.failed", destination=self._destination.name, **described(error))  # noqa: TRY400
            outcomes = [RetryLater("protocol", type(error).__name__)] * len(held)
        self._metrics.sent(self._destination.name, time.monotonic() - begin)
        self._conclude(held, bodies, outcomes)

    async def _too_early(self, held: Sequence[Held]) -> dict[int, RetryLater]:
        """What must wait for another lane, and all behind it in its own, by place."""
        early: dict[int, RetryLater] = {}
        if not any(one.queued.delivery.after for one in held):
            return early
        waiting: set[int] = set()
        for place, one in enumerate(held):
            queued, lane = one.queued, one.queued.delivery.lane
            if lane in waiting:
                early[place] = KEPT_BACK
            elif queued.delivery.after and await self._reading(
                partial(self._partitions.waits, queued)
            ):
                waiting.add(lane)
                early[place] = AWAITS
        return early

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
        if self._records is not None and delivery.form not in OF_ENTRIES:
            class_code, type_code = self._codes_of(body) if self._codes_of else (None, None)
            self._notes.append(
                ReceiptNote(
                    self._destination.name, delivery.what, delivery.version,
                    outcome.receipt.at, class_code, type_code, delivery.lane,
                )
            )  # fmt: skip
        self._partitions.sent(one, outcome.receipt)

    def _delay(self, back: list[Held], outcome: RetryLater, now: float) -> None:
        one = back[0]
        seconds = max(self._retry.seconds(one.attempts), outcome.after_seconds or 0.0)
        if outcome.category in PEER:
            # The breaker spares the peer; the delivery need not wait long by itself.
            seconds = min(seconds, self._breaker.ceiling)
        due = now + seconds
        not_before = self._wall_us() + int(seconds * 1e6)
        self._partitions.set_back(one, "delayed", outcome, not_before)
        self._park(back, due)
        log.info("delivery.delayed", seconds=round(seconds, 1), **self._told(one, outcome))

    def _die(self, back: list[Held], outcome: RetryLater | Refused) -> None:
        one = back[0]
        self._failing_since.pop(one.queued.id, None)
        self._partitions.set_back(one, "dead", outcome)
        self._park(back, inf)
        log.warning("delivery.refused", **self._told(one, outcome))

    def _park(self, back: list[Held], due: float) -> None:
        """Let a lane wait behind its first delivery."""
        for stuck in self._lanes.done(back[0].queued.delivery.lane, back, due):
            self._partitions.set_back(stuck, "blocked")

    def _told(self, one: Held, outcome: RetryLater | Refused) -> dict[str, Any]:
        return {
            "delivery": one.queued.id,
            "destination": self._destination.name,
            "category": outcome.category,
            "status": outcome.status,
            "attempts": one.attempts,
        }

    def _too_old(self, one: Held, now: float) -> bool:
        """By the time since the first failure seen here, or since it was queued."""
        since = self._failing_since.setdefault(one.queued.id, now)
        age = now - since
        if not self._simulated:
            age = max(age, (self._wall_us() - one.queued.created) / 1e6)
        return age > self._retry.give_up.total_seconds()

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
            asked = max(one.after_seconds or 0.0 for one in down)
            if self._breaker.failed(now, halt=halt, asked=asked):
                self._metrics.halted(name, True)
                log.error(
                    "destination.halted",
                    destination=name,
                    category=down[0].category,
                    status=down[0].status,
                    reason=down[0].reason,
                )

    # --- time ----------------------------------------------------------------------------

    def _record(self) -> Callable[[], None] | None:
        """Tells of receipts before they are settled: after a crash in between, again."""
        notes, record = self._notes, self._records
        if record is None or not notes:
            return None
        self._notes = []
        return lambda: record(notes)

    async def _rest(self) -> None:
        """Wait for a ring, a landing, or the next thing that is due by time."""
        now = time.monotonic()
        until = POLL_SECONDS
        until = min(until, self._partitions.settle_at - now)
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


def is_down(outcome: RetryLater) -> bool:
    """Whether a failure speaks against the peer and not against the delivery."""
    return outcome.category != "refused" or outcome.status is not None
