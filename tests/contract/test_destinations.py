"""What every kind of destination keeps: one kit, run for each kind.

A kind brings a small harness: a real peer, how it is told to misbehave, and what it got.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

import pytest

from segue.adapters.destinations.fhir_rest import FhirRest, FhirRestConfig
from segue.adapters.destinations.message_bundle import MessageBundle, MessageBundleConfig
from segue.adapters.destinations.mllp import Mllp, MllpConfig
from segue.fhir.canonical import dumps
from segue.model.deliveries import Delivery, Parcel, QueuedDelivery, Refused, RetryLater, Sent
from segue.model.identity import stable_id
from segue.pipeline.clock import SystemClock
from segue.settings.sections import DESTINATIONS
from tests.peers.faults import Fault
from tests.peers.fhir import FhirPeer
from tests.peers.mllp import MllpSink

QUICK = timedelta(milliseconds=300)


def queued(number: int, lane: int, what: str, version: int = 1, form="fhir") -> QueuedDelivery:
    return QueuedDelivery(number, Delivery("peer", lane, form, what, version, "1"), number, 0, 0)


def task(number: int, **more) -> str:
    id_ = stable_id("Task", str(number))
    return dumps(
        {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order"} | more
    )


def adt(number: int) -> bytes:
    return (
        f"MSH|^~\\&|ADT|HOSPA|LAB|LAB|20260705||ADT^A08|M{number:04d}|P|2.5.1\rPID|1||7\r"
    ).encode()


class FhirHarness:
    kind = "fhir_rest"

    async def open(self) -> None:
        self.peer = await FhirPeer().start()
        config = FhirRestConfig("peer", self.peer.url, frozenset({"Task"}), timeout=QUICK)
        self.destination = FhirRest(config, SystemClock())

    async def close(self) -> None:
        await self.destination.close()
        await self.peer.stop()

    def parcel(self, *items: tuple[int, int]) -> Parcel:
        """(number, lane) to a parcel."""
        return Parcel(
            [queued(n, lane, f"Task/{stable_id('Task', str(n))}") for n, lane in items],
            [task(n) for n, _ in items],
        )

    def mark(self, number: int) -> bytes:
        return stable_id("Task", str(number)).encode()

    def received(self) -> list[int]:
        numbers = {f"urn:segue|{stable_id('Task', str(n))}": n for n in range(100)}
        return [numbers[write.identifier] for write in self.peer.writes]

    def held(self) -> set[int]:
        return set(self.received())

    busy = Fault("status", status=503)
    refusal = Fault("status", status=422)


def told(number: int) -> str:
    """A notification, by the number of its header."""
    header = {"resourceType": "MessageHeader", "id": f"m{number:04d}"}
    return dumps({"resourceType": "Bundle", "type": "message", "entry": [{"resource": header}]})


class MessageHarness:
    kind = "message_bundle"

    async def open(self) -> None:
        self.peer = await FhirPeer().start()
        config = MessageBundleConfig("peer", self.peer.url, timeout=QUICK)
        self.destination = MessageBundle(config, SystemClock())

    async def close(self) -> None:
        await self.destination.close()
        await self.peer.stop()

    def parcel(self, *items: tuple[int, int]) -> Parcel:
        return Parcel(
            [queued(n, lane, f"Encounter/{n}", 1, "alert") for n, lane in items],
            [told(n) for n, _ in items],
        )

    def mark(self, number: int) -> bytes:
        return f"m{number:04d}".encode()

    def received(self) -> list[int]:
        return [int(write.identifier[1:]) for write in self.peer.writes]

    def held(self) -> set[int]:
        return set(self.received())

    busy = Fault("status", status=503)
    refusal = Fault("status", status=422)


class MllpHarness:
    kind = "mllp"

    async def open(self) -> None:
        self.peer = await MllpSink().start()
        config = MllpConfig("peer", "127.0.0.1", self.peer.port, timeout=QUICK)
        self.destination = Mllp(config, SystemClock())

    async def close(self) -> None:
        await self.destination.close()
        await self.peer.stop()

    def parcel(self, *items: tuple[int, int]) -> Parcel:
        return Parcel(
            [queued(n, lane, str(n), 0, "adt") for n, lane in items], [adt(n) for n, _ in items]
        )

    def mark(self, number: int) -> bytes:
        return f"M{number:04d}".encode()

    def received(self) -> list[int]:
        return [int(one.control_id[1:]) for one in self.peer.received]

    def held(self) -> set[int]:
        return set(self.received())

    busy = Fault("ack", code="AE", error="207")
    refusal = Fault("ack", code="AE", error="101")


HARNESSES = {one.kind: one for one in (FhirHarness, MessageHarness, MllpHarness)}


def fault(of: Fault, **changes) -> Fault:
    values = {name: getattr(of, name) for name in Fault.__slots__} | changes
    return Fault(**values)


def test_every_kind_of_destination_is_in_the_kit():
    assert set(HARNESSES) == set(DESTINATIONS)


@pytest.fixture(params=sorted(HARNESSES))
def play(request) -> Callable[[Callable], None]:
    """Run an async story with a harness that is open."""

    def run(story: Callable[..., Awaitable[None]]) -> None:
        async def whole() -> None:
            harness = HARNESSES[request.param]()
            await harness.open()
            try:
                await story(harness)
            finally:
                await harness.close()

        asyncio.run(whole())

    return run


# --- the kit -----------------------------------------------------------------------------


def test_everything_of_a_parcel_arrives_each_lane_in_order(play):
    async def story(kit):
        items = [(n, n % 3) for n in range(20)]
        outcomes = await kit.destination.send(kit.parcel(*items))
        assert all(isinstance(one, Sent) for one in outcomes)
        got = kit.received()
        assert sorted(got) == list(range(20))
        for lane in range(3):
            assert [n for n in got if n % 3 == lane] == [n for n in range(20) if n % 3 == lane]

    play(story)


def test_a_receipt_says_when_and_what(play):
    async def story(kit):
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert outcome.receipt.status in ("200", "AA")
        assert outcome.receipt.at > 1_700_000_000_000_000

    play(story)


def test_sending_again_makes_nothing_new(play):
    async def story(kit):
        for _ in range(2):
            outcomes = await kit.destination.send(kit.parcel((1, 1), (2, 2)))
            assert all(isinstance(one, Sent) for one in outcomes)
        assert kit.held() == {1, 2}

    play(story)


def test_a_peer_that_is_not_there_is_unreachable(play):
    async def story(kit):
        await kit.peer.stop()
        outcomes = await kit.destination.send(kit.parcel((1, 1), (2, 2)))
        assert not any(isinstance(one, (Sent, Refused)) for one in outcomes)
        assert "unreachable" in {one.category for one in outcomes}

    play(story)


def test_a_peer_that_is_back_is_used_again(play):
    async def story(kit):
        await kit.destination.send(kit.parcel((1, 1)))
        port = kit.peer.port
        await kit.peer.stop()
        (outcome,) = await kit.destination.send(kit.parcel((2, 1)))
        assert isinstance(outcome, RetryLater)
        kit.peer.port = port
        await kit.peer.start()
        (outcome,) = await kit.destination.send(kit.parcel((2, 1)))
        assert isinstance(outcome, Sent)

    play(story)


def test_silence_is_a_timeout_and_the_next_parcel_is_not_confused(play):
    async def story(kit):
        kit.peer.faults.add(Fault("silence"))
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert isinstance(outcome, RetryLater)
        assert outcome.category == "timeout"
        (outcome,) = await kit.destination.send(kit.parcel((2, 1)))
        assert isinstance(outcome, Sent)

    play(story)


def test_a_late_answer_is_not_taken_for_the_next_one(play):
    async def story(kit):
        kit.peer.faults.add(Fault("late", seconds=0.4, match=kit.mark(1)))
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert isinstance(outcome, RetryLater)
        kit.peer.faults.add(Fault("delay", seconds=0.2, match=kit.mark(2), after=True))
        (outcome,) = await kit.destination.send(kit.parcel((2, 1)))
        assert isinstance(outcome, Sent)
        assert 2 in kit.held()

    play(story)


def test_junk_for_an_answer_is_a_failure(play):
    async def story(kit):
        kit.peer.faults.add(Fault("junk"))
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert isinstance(outcome, RetryLater)
        assert outcome.category == "protocol"

    play(story)


def test_a_connection_cut_after_the_work_is_retried_with_the_same_key(play):
    async def story(kit):
        kit.peer.faults.add(Fault("hang-up", after=True))
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert isinstance(outcome, RetryLater)
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert isinstance(outcome, Sent)
        assert kit.received() == [1, 1]
        assert max(kit.peer.seen.values()) == 2
        assert len(kit.peer.seen) == 1

    play(story)


def test_a_busy_peer_is_asked_again(play):
    async def story(kit):
        kit.peer.faults.add(fault(kit.busy))
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert isinstance(outcome, RetryLater)
        assert not outcome.halt

    play(story)


def test_a_refusal_is_final_and_what_is_behind_it_is_not_sent(play):
    async def story(kit):
        kit.peer.faults.add(fault(kit.refusal, match=kit.mark(1), times=-1))
        outcomes = await kit.destination.send(kit.parcel((1, 1), (2, 1)))
        assert isinstance(outcomes[0], Refused)
        assert not any(isinstance(one, Sent) for one in outcomes)
        assert 1 not in kit.held()

    play(story)


def test_no_reason_repeats_what_the_peer_wrote(play):
    """Peers put names into error texts; those must not reach logs or lists."""

    async def story(kit):
        kit.peer.faults.add(fault(kit.refusal))
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert "planned" not in outcome.reason

    play(story)


def test_a_change_that_is_no_event_is_done_without_a_request():
    async def story() -> None:
        kit = MessageHarness()
        await kit.open()
        try:
            parcel = kit.parcel((1, 1), (2, 1))
            parcel.bodies[0] = ""
            outcomes = await kit.destination.send(parcel)
            assert [one.receipt.status for one in outcomes] == ["no event", "200"]
            assert kit.received() == [2]
        finally:
            await kit.close()

    asyncio.run(story())


# --- FHIR alone --------------------------------------------------------------------------


Kit = TypeVar("Kit", FhirHarness, MllpHarness)


def at_a_peer(kind: type[Kit], story: Callable[[Kit], Awaitable[None]]) -> None:
    async def whole() -> None:
        harness = kind()
        await harness.open()
        try:
            await story(harness)
        finally:
            await harness.close()

    asyncio.run(whole())


fhir = partial(at_a_peer, FhirHarness)


PATIENT = stable_id("Patient", "HOSPA|100")
ENCOUNTER = stable_id("Encounter", "HOSPA|V1")


def one(reference: str, resource: dict, lane: int = 1, number: int = 1) -> Parcel:
    return Parcel([queued(number, lane, reference)], [dumps(resource) if resource else ""])


@pytest.mark.parametrize(
    ("status", "halt"), [(401, True), (403, True), (408, False), (425, False), (429, False),
                         (500, False), (502, False), (503, False), (504, False)],
)  # fmt: skip
def test_what_time_or_a_person_may_cure_is_tried_again(status, halt):
    async def story(kit):
        kit.peer.faults.add(Fault("status", status=status))
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert isinstance(outcome, RetryLater)
        assert (outcome.status, outcome.halt) == (status, halt)

    fhir(story)


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 413, 415, 422])
def test_what_no_time_will_cure_is_refused(status):
    async def story(kit):
        kit.peer.faults.add(Fault("status", status=status))
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert isinstance(outcome, Refused)
        assert outcome.status == status

    fhir(story)


def test_a_peer_may_say_when_to_come_back():
    async def story(kit):
        kit.peer.faults.add(Fault("status", status=429, headers={"retry-after": "7"}))
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert outcome.after_seconds == 7.0

    fhir(story)


def test_a_resource_is_found_at_the_peer_by_the_hubs_identifier():
    async def story(kit):
        await kit.destination.send(kit.parcel((1, 1)))
        id_ = stable_id("Task", "1")
        held = kit.peer.current(f"urn:segue|{id_}", "Task")
        assert held["id"] != id_
        assert {"system": "urn:segue", "value": id_} in held["identifier"]

    fhir(story)


def test_references_within_a_parcel_become_the_peers_own():
    async def story(kit):
        encounter = {"resourceType": "Encounter", "id": ENCOUNTER, "status": "finished"}
        with_it = {"resourceType": "Task", "id": "t", "encounter": {
            "reference": f"Encounter/{ENCOUNTER}"}}  # fmt: skip
        parcel = Parcel(
            [queued(1, 1, f"Encounter/{ENCOUNTER}"), queued(2, 1, "Task/t")],
            [dumps(encounter), dumps(with_it)],
        )
        assert isinstance((await kit.destination.send(parcel))[0], Sent)
        held = kit.peer.current("urn:segue|t", "Task")
        there = kit.peer.current(f"urn:segue|{ENCOUNTER}", "Encounter")
        assert held["encounter"]["reference"] == f"Encounter/{there['id']}"

    fhir(story)


def test_a_reference_to_what_went_before_is_literal_at_a_strict_peer():
    async def story(kit):
        encounter = {"resourceType": "Encounter", "id": ENCOUNTER, "status": "finished"}
        await kit.destination.send(one(f"Encounter/{ENCOUNTER}", encounter))
        later = {"resourceType": "Task", "id": "t", "encounter": {
            "reference": f"Encounter/{ENCOUNTER}"}}  # fmt: skip
        (outcome,) = await kit.destination.send(one("Task/t", later, number=2))
        assert isinstance(outcome, Sent)
        held = kit.peer.current("urn:segue|t", "Task")
        assert held["encounter"]["reference"].startswith("Encounter/p")

    fhir(story)


def test_a_reference_to_what_was_never_sent_names_the_patient_as_the_peer_knows_it():
    async def story(kit):
        asked = []

        async def identify(references):
            asked.append(list(references))
            mrn = {"system": "urn:oid:1.2.3", "value": "100"}
            return {f"Patient/{PATIENT}": [mrn]}

        kit.destination._identify = identify
        resource = {"resourceType": "Task", "id": "t", "for": {
            "reference": f"Patient/{PATIENT}", "display": "Patient"}}  # fmt: skip
        for number in (1, 2):
            (outcome,) = await kit.destination.send(one("Task/t", resource, number=number))
            assert isinstance(outcome, Sent)
        held = kit.peer.current("urn:segue|t", "Task")
        assert held["for"] == {
            "type": "Patient",
            "identifier": {"system": "urn:oid:1.2.3", "value": "100"},
            "display": "Patient",
        }
        assert asked == [[f"Patient/{PATIENT}"]]

    fhir(story)


def test_a_change_made_at_the_peer_meanwhile_is_merged():
    async def story(kit):
        await kit.destination.send(kit.parcel((1, 1)))
        id_ = stable_id("Task", "1")
        held = dict(kit.peer.current(f"urn:segue|{id_}", "Task"))
        note = {"text": "seen by the practice"}
        changed = held | {"note": [note], "priority": "urgent"}
        kit.peer.transact(
            [{"request": {"method": "PUT", "url": f"Task/{held['id']}"}, "resource": changed}], ""
        )
        ours = json.loads(task(1)) | {"status": "cancelled"}
        (outcome,) = await kit.destination.send(one(f"Task/{id_}", ours, number=2))
        assert isinstance(outcome, Sent)
        now = kit.peer.current(f"urn:segue|{id_}", "Task")
        assert (now["status"], now["note"], now["priority"]) == ("cancelled", [note], "urgent")
        assert now["meta"]["versionId"] == "3"

    fhir(story)


def test_a_conflict_that_never_ends_is_refused_after_five_merges():
    async def story(kit):
        kit.peer.faults.add(Fault("status", status=412, times=-1, match=b'"transaction"'))
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert isinstance(outcome, Refused)
        assert (outcome.category, outcome.status) == ("conflict", 412)
        assert kit.peer.refused == 6

    fhir(story)


def test_a_deletion_is_deleted_at_the_peer_too():
    async def story(kit):
        await kit.destination.send(kit.parcel((1, 1)))
        reference = f"Task/{stable_id('Task', '1')}"
        (outcome,) = await kit.destination.send(one(reference, {}, number=2))
        assert isinstance(outcome, Sent)
        assert kit.peer.current(f"urn:segue|{stable_id('Task', '1')}", "Task") is None

    fhir(story)


def test_decimals_arrive_with_all_their_digits():
    async def story(kit):
        body = '{"resourceType":"Observation","id":"o","valueQuantity":{"value":1.00}}'
        parcel = Parcel([queued(1, 1, "Observation/o")], [body])
        seen = []
        kit.peer.server.handler = lambda request: (
            seen.append(request.body),
            kit.peer.answer(request),
        )[1]
        await kit.destination.send(parcel)
        assert b'"value":1.00' in seen[0]

    fhir(story)


def test_the_request_names_the_outbox_ids_and_carries_the_configured_headers():
    async def story(kit):
        kit.peer.token = "secret"
        (outcome,) = await kit.destination.send(kit.parcel((1, 1)))
        assert (outcome.category, outcome.halt) == ("unauthorised", True)
        config = FhirRestConfig("peer", kit.peer.url, headers={"Authorization": "Bearer secret"})
        await kit.destination.close()
        kit.destination = FhirRest(config, SystemClock())
        (outcome,) = await kit.destination.send(kit.parcel((5, 1)))
        assert isinstance(outcome, Sent)
        assert kit.peer.seen == {"segue-5": 1}

    fhir(story)


# --- MLLP alone --------------------------------------------------------------------------


mllp = partial(at_a_peer, MllpHarness)


def test_a_refused_message_stops_its_own_lane_alone():
    async def story(kit):
        kit.peer.faults.add(Fault("ack", code="AR", match=kit.mark(1)))
        outcomes = await kit.destination.send(kit.parcel((1, 1), (2, 2), (3, 1), (4, 9)))
        assert [type(one) for one in outcomes] == [Refused, Sent, RetryLater, Sent]
        assert outcomes[2].after_seconds == 0.0
        assert kit.held() == {2, 4}

    mllp(story)


def test_the_forwarded_message_is_the_one_that_came():
    async def story(kit):
        await kit.destination.send(kit.parcel((1, 1)))
        assert kit.peer.received[0].body == adt(1)

    mllp(story)


def test_eight_lanes_are_under_way_at_once():
    async def story(kit):
        kit.peer.faults.add(Fault("delay", times=8, seconds=0.1, after=True))
        loop = asyncio.get_running_loop()
        begin = loop.time()
        outcomes = await kit.destination.send(kit.parcel(*((n, n) for n in range(8))))
        assert all(isinstance(one, Sent) for one in outcomes)
        assert loop.time() - begin < 0.25

    mllp(story)
