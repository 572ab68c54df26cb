"""A sender over the real store and real peers, through kills and operators' decisions."""

import asyncio
import contextlib
from pathlib import Path

from segue.adapters.destinations.fhir_rest import FhirRest, FhirRestConfig
from segue.adapters.destinations.mllp import Mllp, MllpConfig
from segue.fhir.canonical import dumps
from segue.hl7v2.parse import parse
from segue.model.deliveries import Delivery
from segue.model.messages import Envelope, RawMessage
from segue.pipeline.clock import SystemClock
from segue.pipeline.contents import Contents, codes_of
from segue.pipeline.deliver import Sender
from segue.pipeline.senders import Senders
from segue.store.listings import DeliveryFilter
from segue.store.records import Commit, NewEntry, PersonWrite
from tests.peers.faults import Fault
from tests.peers.fhir import FhirPeer
from tests.peers.mllp import MllpSink
from tests.support.rows import opened, opened_journal, step, write

CLOCK = SystemClock()


class Engine:
    """The sending side of an engine: store, journal, two peers."""

    def __init__(self, where: Path) -> None:
        self.where = where

    @contextlib.asynccontextmanager
    async def running(self):
        with opened(self.where) as store, opened_journal(self.where) as journal:
            self.store, self.journal = store, journal
            self.fhir = await FhirPeer().start()
            self.mllp = await MllpSink().start()
            try:
                yield self
            finally:
                await self.fhir.stop()
                await self.mllp.stop()

    @contextlib.asynccontextmanager
    async def sending(self, holder: str = "one"):
        senders = Senders(embedded=self.store.embedded)
        contents = Contents(self.store, self.journal)
        self.outbox = self.store.outbox(holder)
        self.notes = []

        async def identify(references):
            return await senders.reading(lambda: contents.identifiers(references))

        types = frozenset({"Encounter", "Task"})
        for destination in (
            FhirRest(FhirRestConfig("pcpb", self.fhir.url, types, bundle=10), CLOCK, identify),
            Mllp(MllpConfig("lab", "127.0.0.1", self.mllp.port), CLOCK),
        ):
            senders.add(
                Sender(
                    destination, self.outbox, contents, senders.in_store, clock_us=CLOCK.us,
                    simulated=True, records=self.notes.extend, codes_of=codes_of,
                    reading=senders.reading,
                )
            )  # fmt: skip
        running = asyncio.create_task(senders.run(self.store.bell))
        try:
            yield senders
        finally:
            senders.stop()
            await running
            self.outbox.release()

    def states(self, destination: str) -> dict[str, int]:
        items = self.store.deliveries().page(DeliveryFilter(destination=destination), limit=500)
        found: dict[str, int] = {}
        for item in items.items:
            found[item.state] = found.get(item.state, 0) + 1
        return found

    async def until(self, destination: str, states: dict[str, int]) -> None:
        try:
            async with asyncio.timeout(10):
                while self.states(destination) != states:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError((self.states(destination), states)) from None

    def queue(self, count: int, lanes: int = 5) -> None:
        for n in range(1, count + 1):
            lane = n % lanes
            resource = {"resourceType": "Task", "id": f"t{n}", "status": "ready", "intent": "order"}
            raw = f"MSH|^~\\&|ADT|HOSPA|||20260705||ADT^A08|M{n}|P|2.5.1\rPID|1||{lane}\r".encode()
            self.journal.append(
                [
                    NewEntry(
                        RawMessage(raw, "adt", CLOCK.us()),
                        Envelope("ADT|HOSPA", f"M{n}", "A08", f"{n:064x}", "hospa", 1), b"", "AA",
                    )
                ]
            )  # fmt: skip
            deliveries = [
                Delivery("pcpb", lane, "fhir", f"Task/t{n}", 1, str(n)),
                Delivery("lab", lane, "adt", str(n), 0, str(n)),
            ]
            one = write(self.store, f"Task/t{n}", dumps(resource))
            self.store.commit(Commit(steps=[step(n, one, deliveries=deliveries)]))


def in_lane_order(numbers: list[int], lanes: int = 5) -> bool:
    return all(
        [n for n in numbers if n % lanes == lane] == sorted(n for n in numbers if n % lanes == lane)
        for lane in range(lanes)
    )


def test_what_was_committed_reaches_both_peers_in_order(tmp_path):
    async def story():
        async with Engine(tmp_path).running() as engine:
            async with engine.sending():
                await asyncio.sleep(0.2)
                engine.queue(60)
                await engine.until("pcpb", {"sent": 60})
                await engine.until("lab", {"sent": 60})
            fhir = [int(one.identifier.partition("|t")[2]) for one in engine.fhir.writes]
            mllp = [int(one.control_id[1:]) for one in engine.mllp.received]
            assert sorted(fhir) == sorted(mllp) == list(range(1, 61))
            assert in_lane_order(fhir)
            assert in_lane_order(mllp)
            assert {(one.destination, one.reference) for one in engine.notes} == {
                ("pcpb", f"Task/t{n}") for n in range(1, 61)
            }

    asyncio.run(story())


def test_a_restart_sends_nothing_twice_that_was_settled(tmp_path):
    async def story():
        async with Engine(tmp_path).running() as engine:
            engine.queue(30)
            async with engine.sending("one"):
                await engine.until("lab", {"sent": 30})
                await engine.until("pcpb", {"sent": 30})
            async with engine.sending("two"):
                await asyncio.sleep(0.5)
            assert set(engine.mllp.seen.values()) == {1}
            assert set(engine.fhir.seen.values()) == {1}

    asyncio.run(story())


def test_an_operator_retries_a_dead_letter_and_its_lane_goes_on(tmp_path):
    async def story():
        async with Engine(tmp_path).running() as engine:
            engine.mllp.faults.add(Fault("ack", code="AR", match=b"|M3|", times=-1))
            engine.queue(20)
            async with engine.sending():
                await engine.until("lab", {"sent": 16, "dead": 1, "blocked": 3})
                engine.mllp.faults.clear()
                asked = DeliveryFilter(destination="lab", state="dead")
                assert engine.store.deliveries().retry(asked, "fixed", CLOCK.us()) == 1
                await engine.until("lab", {"sent": 20})
            assert in_lane_order([int(one.control_id[1:]) for one in engine.mllp.received])

    asyncio.run(story())


def test_an_operator_drops_a_dead_letter_and_its_lane_goes_on(tmp_path):
    async def story():
        async with Engine(tmp_path).running() as engine:
            engine.fhir.faults.add(Fault("status", status=422, match=b"t7", times=-1))
            engine.queue(20)
            async with engine.sending():
                await engine.until("pcpb", {"sent": 17, "dead": 1, "blocked": 2})
                asked = DeliveryFilter(destination="pcpb", state="dead")
                assert engine.store.deliveries().drop(asked, "not wanted") == 1
                await engine.until("pcpb", {"sent": 19, "dropped": 1})

    asyncio.run(story())


def test_an_outage_is_waited_out_in_order(tmp_path):
    async def story():
        async with Engine(tmp_path).running() as engine:
            port = engine.mllp.port
            await engine.mllp.stop()
            engine.queue(60)
            async with engine.sending():
                await engine.until("pcpb", {"sent": 60})
                assert engine.states("lab").get("sent") is None
                engine.mllp.port = port
                await engine.mllp.start()
                await engine.until("lab", {"sent": 60})
            assert in_lane_order([int(one.control_id[1:]) for one in engine.mllp.received])

    asyncio.run(story())


def test_a_care_plan_is_rendered_with_its_tasks_as_they_are_when_it_is_sent(tmp_path):
    async def story():
        async with Engine(tmp_path).running() as engine:
            store = engine.store
            pk = store.new_pk(1)[0]
            plan = {"resourceType": "CarePlan", "id": "c", "status": "active", "title": "Plan",
                    "subject": {"reference": "Patient/p"}}  # fmt: skip
            patient = {"resourceType": "Patient", "id": "p",
                       "identifier": [{"system": "urn:oid:1.2", "value": "100"}]}  # fmt: skip
            todo = {"resourceType": "Task", "id": "t", "status": "ready", "description": "Call",
                    "for": {"reference": "Patient/p"}}  # fmt: skip
            writes = [
                write(store, f"{one['resourceType']}/{one['id']}", dumps(one), owner=pk)
                for one in (plan, patient, todo)
            ]
            delivery = Delivery("lab", pk, "careplan", "CarePlan/c", 1, "1")
            store.commit(
                Commit(
                    persons=[PersonWrite(pk, "HOSPA|100", 0, b"state")],
                    steps=[step(1, *writes, deliveries=[delivery])],
                )
            )
            async with engine.sending():
                await engine.until("lab", {"sent": 1})
            (got,) = engine.mllp.received
            message = parse(got.body)
            assert got.control_id.startswith("SEGUE-")
            assert message.get("TXA-12.1") == "c"
            assert message.get("PID-3.1") == "100"
            assert "Call: ready" in message.get("OBX-5.5")
            assert [note.reference for note in engine.notes] == ["CarePlan/c"]

    asyncio.run(story())
