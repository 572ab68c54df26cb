"""A sender: each lane in order, one bad neighbour harms nobody, nothing is lost."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from segue.model.deliveries import (
    Delivery,
    Outcome,
    Parcel,
    QueuedDelivery,
    Receipt,
    Refused,
    RetryLater,
    Sent,
)
from segue.pipeline.breaker import Breaker
from segue.pipeline.deliver import KEPT_BACK, ReceiptNote, Retry, Sender
from segue.store.records import Lease, RevisionConflict, Setback, Settlement

SHARDS = 2


@dataclass
class MemoryOutbox:
    """The outbox of the store, in memory, with its rules."""

    rows: list[QueuedDelivery] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)
    exceptions: dict[int, Setback] = field(default_factory=dict)
    sent: dict[int, tuple[Receipt, int]] = field(default_factory=dict)
    settlements: int = 0
    token: int = 1
    held_by_another: set[str] = field(default_factory=set)
    fail: bool = False

    def put(self, lane: int, what: str | None = None, form="fhir", after=()) -> int:
        id_ = len(self.rows) + 1
        delivery = Delivery("peer", lane, form, what or f"Task/{id_}", 1, "1", after)
        self.rows.append(QueuedDelivery(id_, delivery, id_, 0, 0))
        return id_

    def lease(self, destination: str) -> list[Lease]:
        keys = [f"{destination}/{n}" for n in range(SHARDS)]
        return [
            Lease("outbox", key, self.token, self.cursors.get(key, 0))
            for key in keys
            if key not in self.held_by_another
        ]

    def read(self, lease: Lease, after: int, limit: int) -> list[QueuedDelivery]:
        if self.fail:
            raise OSError("the database is gone")
        return [
            one
            for one in self.rows
            if f"peer/{one.delivery.lane % SHARDS}" == lease.partition
            and one.position << 20 > after
            and one.id not in self.exceptions
            and one.id not in self.sent
        ][:limit]

    def read_together(
        self, asked: Sequence[tuple[Lease, int]], limit: int
    ) -> tuple[dict[str, list[QueuedDelivery]], bool]:
        found = {lease.partition: self.read(lease, after, limit) for lease, after in asked}
        return found, all(len(one) < limit for one in found.values())

    def waits(self, queued: QueuedDelivery) -> bool:
        return any(
            one.delivery.lane in queued.delivery.after
            and one.position < queued.position
            and one.id not in self.sent
            for one in self.rows
        )

    def setbacks(self, lease: Lease) -> list[Setback]:
        return [
            one
            for _, one in sorted(self.exceptions.items())
            if f"peer/{one.queued.delivery.lane % SHARDS}" == lease.partition
            and one.state != "dropped"
        ]

    def settle(self, settlements: list[Settlement]) -> None:
        lost = {s.lease.partition for s in settlements} & self.held_by_another
        if lost:
            raise RevisionConflict(moves=lost)
        self.settlements += 1
        for one in settlements:
            for queued, receipt, attempts in one.sent:
                self.sent[queued.id] = (receipt, attempts)
                self.exceptions.pop(queued.id, None)
            for setback in one.setbacks:
                self.exceptions[setback.queued.id] = setback
            key = one.lease.partition
            self.cursors[key] = max(self.cursors.get(key, 0), one.cursor or 0)

    def state(self, id_: int) -> str:
        if id_ in self.sent:
            return "sent"
        return self.exceptions[id_].state if id_ in self.exceptions else "waiting"


@dataclass
class Peer:
    """A destination that does what a test says of each delivery."""

    name: str = "peer"
    bundle: int = 10
    parallel: int = 3
    atomic: bool = True
    verdict: Callable[[int], Outcome | None] = lambda id_: None
    parcels: list[list[int]] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)
    seconds: float = 0.0

    async def send(self, parcel: Parcel) -> list[Outcome]:
        ids = [one.id for one in parcel.deliveries]
        self.parcels.append(ids)
        await asyncio.sleep(self.seconds)
        bad = [self.verdict(id_) for id_ in ids]
        if self.atomic:
            failure = next((one for one in bad if one is not None), None)
            if failure is None:
                self.arrived += ids
            return [failure or Sent(Receipt(1, "200"))] * len(ids)
        outcomes: list[Outcome] = []
        failed: set[int] = set()
        for one, failure in zip(parcel.deliveries, bad, strict=True):
            if one.delivery.lane in failed:
                outcomes.append(KEPT_BACK)
            elif failure is None:
                self.arrived.append(one.id)
                outcomes.append(Sent(Receipt(1, "AA")))
            else:
                failed.add(one.delivery.lane)
                outcomes.append(failure)
        return outcomes

    async def close(self) -> None:
        pass


class Texts:
    def bodies(self, deliveries):
        return ["{}" for _ in deliveries]


QUICK = Retry(first=timedelta(milliseconds=20), ceiling=timedelta(milliseconds=50))


async def in_line(call):
    return call()


def sender_of(peer: Peer, outbox: MemoryOutbox, **options) -> Sender:
    options.setdefault("retry", QUICK)
    options.setdefault("breaker", Breaker(first=0.05, ceiling=0.1))
    return Sender(peer, outbox, Texts(), in_line, clock_us=lambda: 1, simulated=True, **options)


async def run_until(sender: Sender, done: Callable[[], bool], limit: float = 5.0) -> None:
    running = asyncio.create_task(sender.run())
    try:
        async with asyncio.timeout(limit):
            while not done():
                await asyncio.sleep(0.005)
    finally:
        sender.stop()
        await running


def lanes_in_order(peer: Peer, outbox: MemoryOutbox) -> bool:
    lanes = {one.id: one.delivery.lane for one in outbox.rows}
    arrived: dict[int, list[int]] = {}
    for id_ in dict.fromkeys(peer.arrived):
        arrived.setdefault(lanes[id_], []).append(id_)
    return all(ids == sorted(ids) for ids in arrived.values())


def test_everything_is_sent_in_parcels_and_settled_together():
    outbox, peer = MemoryOutbox(), Peer(seconds=0.01)
    for n in range(200):
        outbox.put(n % 17)
    asyncio.run(run_until(sender_of(peer, outbox), lambda: len(outbox.sent) == 200))
    assert sorted(peer.arrived) == list(range(1, 201))
    assert lanes_in_order(peer, outbox)
    assert max(map(len, peer.parcels)) == 10
    assert outbox.settlements < 20
    assert outbox.cursors == {"peer/0": 200 << 20, "peer/1": 199 << 20}


def test_what_comes_later_is_sent_after_a_wake():
    async def story():
        outbox, peer = MemoryOutbox(), Peer()
        sender = sender_of(peer, outbox)
        running = asyncio.create_task(sender.run())
        await asyncio.sleep(0.05)
        outbox.put(1)
        sender.wake()
        async with asyncio.timeout(0.2):
            while not peer.arrived:
                await asyncio.sleep(0.005)
        sender.stop()
        await running
        assert outbox.state(1) == "sent"

    asyncio.run(story())


def test_one_refused_delivery_parks_its_own_lane_and_no_other():
    outbox = MemoryOutbox()
    for n in range(40):
        outbox.put(n % 8)
    poison = 11  # lane 2
    peer = Peer(verdict=lambda id_: Refused("refused", "invalid", 422) if id_ == poison else None)
    asyncio.run(run_until(sender_of(peer, outbox), lambda: len(outbox.sent) >= 36))
    behind = [one.id for one in outbox.rows if one.delivery.lane == 2 and one.id >= poison]
    assert [outbox.state(id_) for id_ in behind] == ["dead", "blocked", "blocked", "blocked"]
    assert sorted(outbox.sent) == [n for n in range(1, 41) if n not in behind]
    assert outbox.exceptions[poison].text == "invalid"
    assert outbox.cursors["peer/0"] == max(behind) << 20 or outbox.cursors["peer/0"] == 39 << 20


def test_a_dead_letter_that_is_dropped_lets_its_lane_go_on():
    outbox = MemoryOutbox()
    for _ in range(3):
        outbox.put(1)
    peer = Peer(verdict=lambda id_: Refused("refused", "no", 422) if id_ == 1 else None)

    async def story():
        sender = sender_of(peer, outbox)
        running = asyncio.create_task(sender.run())
        async with asyncio.timeout(5):
            while outbox.state(3) != "blocked":
                await asyncio.sleep(0.01)
            del outbox.exceptions[1]
            outbox.sent[1] = (Receipt(0, "dropped"), 0)
            while outbox.state(3) != "sent":
                await asyncio.sleep(0.01)
        sender.stop()
        await running

    asyncio.run(story())
    assert peer.arrived == [2, 3]


def test_a_failure_is_tried_again_in_its_place():
    outbox = MemoryOutbox()
    for n in range(20):
        outbox.put(n % 4)
    left = {5: 2, 8: 1}

    def verdict(id_):
        if left.get(id_, 0):
            left[id_] -= 1
            return RetryLater("refused", "AE 207")
        return None

    peer = Peer(atomic=False, verdict=verdict)
    asyncio.run(run_until(sender_of(peer, outbox), lambda: len(outbox.sent) == 20))
    assert lanes_in_order(peer, outbox)
    assert len(peer.arrived) == 20
    assert outbox.sent[5][1] == 3
    assert outbox.exceptions == {}


def test_a_server_error_for_one_resource_delays_its_lane_alone():
    """A peer that answers 500 to one resource fails each parcel that holds it."""
    outbox = MemoryOutbox()
    for n in range(30):
        outbox.put(n % 10)
    peer = Peer(verdict=lambda id_: RetryLater("refused", "bug", 500) if id_ == 4 else None)
    asyncio.run(run_until(sender_of(peer, outbox), lambda: len(outbox.sent) == 27))
    assert outbox.state(4) == "delayed"
    assert lanes_in_order(peer, outbox)


def test_a_refused_login_stops_the_whole_destination_until_somebody_can_act():
    outbox = MemoryOutbox()
    for n in range(30):
        outbox.put(n % 10)
    locked = True
    login = RetryLater("unauthorised", "who are you", 401, halt=True)
    peer = Peer(parallel=1, verdict=lambda _: login if locked else None)

    async def story():
        nonlocal locked
        sender = sender_of(peer, outbox, breaker=Breaker(first=0.01, ceiling=0.02, halted=0.3))
        running = asyncio.create_task(sender.run())
        await asyncio.sleep(0.2)
        assert len(peer.parcels) == 1, "one refusal is enough, and no probe follows it at once"
        locked = False
        async with asyncio.timeout(3):
            while len(outbox.sent) < 30:
                await asyncio.sleep(0.01)
        sender.stop()
        await running

    asyncio.run(story())
    assert lanes_in_order(peer, outbox)


def test_an_outage_loses_nothing_and_sends_single_probes():
    outbox = MemoryOutbox()
    for n in range(300):
        outbox.put(n % 50)
    down = True
    peer = Peer(verdict=lambda id_: RetryLater("unreachable", "no") if down else None)

    async def story():
        nonlocal down
        sender = sender_of(peer, outbox)
        running = asyncio.create_task(sender.run())
        await asyncio.sleep(0.6)
        tried = len(peer.parcels)
        assert 3 < tried < 20
        assert len(peer.parcels[-1]) == 1
        assert not outbox.sent
        down = False
        async with asyncio.timeout(3):
            while len(outbox.sent) < 300:
                await asyncio.sleep(0.01)
        sender.stop()
        await running

    asyncio.run(story())
    assert sorted(peer.arrived) == list(range(1, 301))
    assert lanes_in_order(peer, outbox)


def test_after_an_outage_nothing_waits_for_its_long_back_off():
    outbox = MemoryOutbox()
    for n in range(10):
        outbox.put(n)
    down = True
    peer = Peer(verdict=lambda id_: RetryLater("unreachable", "no") if down else None)

    async def story():
        nonlocal down
        slow = Retry(first=timedelta(hours=1), factor=1.0)
        sender = sender_of(peer, outbox, retry=slow)
        running = asyncio.create_task(sender.run())
        await asyncio.sleep(0.2)
        outbox.put(77)
        down = False
        async with asyncio.timeout(3):
            while len(outbox.sent) < 11:
                await asyncio.sleep(0.01)
        sender.stop()
        await running

    asyncio.run(story())


def test_what_is_too_old_becomes_a_dead_letter():
    outbox = MemoryOutbox()
    outbox.put(1)
    peer = Peer(atomic=False, verdict=lambda id_: RetryLater("refused", "AE"))
    retry = Retry(timedelta(milliseconds=5), 1.0, give_up=timedelta(milliseconds=100))
    sender = sender_of(peer, outbox, retry=retry)
    asyncio.run(run_until(sender, lambda: outbox.state(1) == "dead"))
    assert outbox.exceptions[1].attempts > 3


def test_a_peer_that_asks_for_time_gets_it():
    outbox = MemoryOutbox()
    outbox.put(1)
    peer = Peer(verdict=lambda id_: RetryLater("refused", "busy", 429, 3600.0))
    sender = sender_of(peer, outbox)
    sender._wall_us = lambda: 0
    asyncio.run(run_until(sender, lambda: outbox.state(1) == "delayed"))
    assert outbox.exceptions[1].not_before >= 3_600_000_000


def test_waiting_survives_a_restart_in_its_row():
    outbox = MemoryOutbox()
    for _ in range(3):
        outbox.put(1)
    peer = Peer(verdict=lambda id_: RetryLater("refused", "busy", 503, 3600.0))
    asyncio.run(run_until(sender_of(peer, outbox), lambda: outbox.state(3) == "blocked"))
    peer.verdict = lambda id_: None

    async def second():
        sender = sender_of(peer, outbox)
        running = asyncio.create_task(sender.run())
        await asyncio.sleep(0.3)
        assert not outbox.sent
        outbox.exceptions[1] = Setback(outbox.rows[0], "delayed", 1, 0, None, None, None)
        async with asyncio.timeout(5):
            while len(outbox.sent) < 3:
                await asyncio.sleep(0.01)
        sender.stop()
        await running

    asyncio.run(second())
    assert peer.arrived == [1, 2, 3]


def test_a_lost_lease_settles_nothing_more_of_that_partition():
    async def story():
        outbox, peer = MemoryOutbox(), Peer(seconds=0.1)
        outbox.put(0)
        outbox.put(1)
        sender = sender_of(peer, outbox)
        running = asyncio.create_task(sender.run())
        await asyncio.sleep(0.05)
        outbox.held_by_another.add("peer/1")
        async with asyncio.timeout(5):
            while not outbox.sent:
                await asyncio.sleep(0.01)
        sender.stop()
        await running
        assert list(outbox.sent) == [1]

    asyncio.run(story())


def test_a_store_that_fails_for_a_while_is_tried_again():
    async def story():
        outbox, peer = MemoryOutbox(fail=True), Peer()
        outbox.put(1)
        sender = sender_of(peer, outbox)
        running = asyncio.create_task(sender.run())
        await asyncio.sleep(0.1)
        outbox.fail = False
        async with asyncio.timeout(5):
            while not outbox.sent:
                await asyncio.sleep(0.01)
        sender.stop()
        await running

    asyncio.run(story())


def test_a_destination_of_record_reports_what_it_filed():
    outbox, peer = MemoryOutbox(), Peer()
    outbox.put(7, "Encounter/e")
    outbox.put(7, "1", form="adt")
    notes: list[ReceiptNote] = []
    sender = sender_of(peer, outbox, records=notes.extend, codes_of=lambda body: ("IMP", None))
    asyncio.run(run_until(sender, lambda: len(outbox.sent) == 2))
    assert notes == [ReceiptNote("peer", "Encounter/e", 1, 1, "IMP", None, 7)]


@pytest.mark.parametrize("attempts", [1, 2, 5, 50])
def test_the_back_off_is_spread_evenly_below_its_bound(attempts):
    retry = Retry(timedelta(seconds=1), 2.0, timedelta(seconds=60))
    bound = min(60.0, 2.0 ** (attempts - 1))
    drawn = [retry.seconds(attempts) for _ in range(400)]
    assert 0 <= min(drawn) < bound * 0.1
    assert bound * 0.9 < max(drawn) <= bound
