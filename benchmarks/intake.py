"""Measures intake and delivery alone: `python -m benchmarks.intake [receive|deliver]`.

`receive`: MLLP in, durable, ACK out; a listener with its journal in one process, the
hospitals in another. `deliver`: an outbox in memory through a sender to the FHIR peer
and to the MLLP sink, each in a process of its own. Figures are for this machine only.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tests.peers.hospital import Hospital

ROOT = Path(__file__).resolve().parent.parent


def message(number: int, patients: int = 10_000) -> bytes:
    """A synthetic ADT of about 1.2 kB."""
    patient = number * 7919 % patients
    return (
        "MSH|^~\\&|ADT|HOSPA|SEGUE|HUB|20260705134200-0400||ADT^A08^ADT_A01"
        f"|B{number:08d}|P|2.5.1\r"
        "EVN|A08|20260705134200||||20260705134100\r"
        f"PID|1||{100000 + patient}^^^HOSPA^MR||TEST{patient}^PERSON^Q||19500101|F|||"
        "1 SAMPLE ST^^TOWN^NY^10001||^PRN^PH^^1^555^0100000\r"
        f"PV1|1|I|4B^12^A^HOSPA||||1234567893^EXAMPLE^ANN^^^^^^NPI{'|' * 12}"
        f"V{patient}^^^HOSPA^VN{'|' * 25}20260705081200\r"
        "DG1|1||I50.23^Acute on chronic systolic heart failure^I10|||A\r"
        "IN1|1|PLAN1|PAYER1|EXAMPLE PAYER||||||||20260101|||||||||||||||||||||||M123\r"
        f"OBX|1|ST|8867-4^Heart rate^LN||72|/min|60-100|N|||F\r"
        f"NTE|1||{'synthetic text ' * 35}\r"
    ).encode()


async def serve(data: Path) -> None:
    """The listener process: prints its port, then its figures at SIGTERM."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    from segue.adapters.sources.mllp import MllpListener, MllpListenerConfig
    from segue.pipeline.clock import SystemClock
    from segue.pipeline.receive import IntakeSite, Receiver
    from segue.store.store import open_journal

    journal = open_journal(data)
    receiver = Receiver(journal, {"adt": "hospa"}, [IntakeSite("hospa", "HOSPA", ("HOSPA",))])
    listener = MllpListener(MllpListenerConfig("adt", "127.0.0.1", 0), receiver, SystemClock())
    await listener.start()
    print(json.dumps({"port": listener.port}), flush=True)
    cpu = time.process_time()
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    await done.wait()
    await listener.stop()
    receiver.close()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "entries": receiver.entries,
                "commits": receiver.commits,
                "cpu_seconds": time.process_time() - cpu,
                "writer_cpu_seconds": receiver.cpu_seconds,
                "memory_mb": usage.ru_maxrss / 1024,
                "journal_bytes": sum(f.stat().st_size for f in data.glob("journal.db*")),
            }
        ),
        flush=True,
    )


def start(*arguments: str) -> tuple[subprocess.Popen[str], dict[str, int]]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'engine'}:{ROOT}"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        sys.exit(f"{arguments}: did not start")
    return process, json.loads(line)


def receive(count: int, connections: int, window: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process, where = start("-m", "benchmarks.intake", "serve", "--data", folder)
        hospital = Hospital(where["port"], connections=connections, window=window)
        bodies = [message(number) for number in range(count)]
        begin = time.perf_counter()
        try:
            asyncio.run(hospital.send(bodies))
        finally:
            seconds = time.perf_counter() - begin
            process.terminate()
        figures = json.loads(process.stdout.readline())  # type: ignore[union-attr]
        process.wait()
    waits = sorted(answer.seconds * 1000 for answer in hospital.answers)
    assert len(hospital.accepted) == count, (len(hospital.accepted), count)
    print(
        f"receive  {connections:3} connections, window {window}: {count / seconds:7.0f} ack/s  "
        f"p50 {statistics.median(waits):5.1f} ms  p99 {waits[int(len(waits) * 0.99)]:5.1f} ms  "
        f"max {waits[-1]:6.1f} ms  cpu {figures['cpu_seconds'] / count * 1e6:5.0f} µs/message "
        f"(writer {figures['writer_cpu_seconds'] / count * 1e6:.0f})  "
        f"{figures['entries'] / max(figures['commits'], 1):.0f} per commit  "
        f"{figures['journal_bytes'] / count:.0f} B/message  {figures['memory_mb']:.0f} MB"
    )


def fill(data: Path, count: int, per_commit: int = 100) -> None:
    """An outbox in an embedded store: for each message a forward, an Encounter and a Task."""
    from segue.fhir.canonical import dumps
    from segue.model.changes import Cause, SearchTerms, Write
    from segue.model.deliveries import Delivery
    from segue.model.identity import ResourceKey, stable_id
    from segue.model.messages import RawMessage
    from segue.pipeline.clock import SystemClock
    from segue.pipeline.receive import IntakeSite, Receiver
    from segue.store.records import Commit, Step
    from segue.store.store import open_journal, open_store

    class Sink:
        def answered(self, answers: object) -> None:
            pass

    clock, sink = SystemClock(), Sink()
    journal = open_journal(data)
    receiver = Receiver(journal, {"adt": "hospa"}, [IntakeSite("hospa", "HOSPA")])
    for number in range(count):
        receiver.submit(RawMessage(message(number), "adt", clock.us()), sink, None)
    receiver.close()
    journal.close()
    store = open_store(data, clock)
    terms, number = SearchTerms(), 0
    while number < count:
        steps = []
        for _ in range(per_commit):
            number += 1
            lane = number % 2000
            patient = {"reference": f"Patient/{stable_id('Patient', str(lane))}"}
            writes, deliveries = [], [Delivery("lab", lane, "adt", str(number), 0, str(number))]
            encounter = stable_id("Encounter", str(number))
            for type_, more in (
                ("Encounter", {"status": "in-progress", "subject": patient,
                               "class": {"code": "IMP"}}),
                ("Task", {"status": "requested", "intent": "order", "for": patient,
                          "encounter": {"reference": f"Encounter/{encounter}"}}),
            ):  # fmt: skip
                id_ = stable_id(type_, str(number))
                body = dumps({"resourceType": type_, "id": id_, **more, "description": "x" * 700})
                key = ResourceKey(type_, id_)
                writes.append(
                    Write(key, store.new_pk(1)[0], 1, "fold", body, b"c" * 16, b"c" * 16, terms,
                          None)
                )  # fmt: skip
                deliveries.append(Delivery("pcpb", lane, "fhir", key.reference, 1, str(number)))
            steps.append(
                Step(Cause("entry", str(number), "hospa"), writes=writes, deliveries=deliveries)
            )
        store.commit(Commit(steps=steps))
    store.close()


async def drain(data: Path, count: int, fhir_url: str, mllp_port: int) -> dict[str, float]:
    """Run the senders until both destinations have everything."""
    from segue.adapters.destinations.fhir_rest import FhirRest, FhirRestConfig
    from segue.adapters.destinations.mllp import Mllp, MllpConfig
    from segue.pipeline.clock import SystemClock
    from segue.pipeline.contents import Contents
    from segue.pipeline.deliver import Sender
    from segue.pipeline.senders import Senders
    from segue.store.store import open_journal, open_store

    clock = SystemClock()
    store, journal = open_store(data, clock), open_journal(data)
    outbox = store.outbox("bench")
    contents = Contents(store, journal)
    senders = Senders(embedded=True)

    async def identify(references):  # type: ignore[no-untyped-def]
        return await senders.reading(lambda: contents.identifiers(references))

    config = FhirRestConfig("pcpb", fhir_url, frozenset({"Encounter", "Task"}))
    for destination in (
        FhirRest(config, clock, identify),
        Mllp(MllpConfig("lab", "127.0.0.1", mllp_port), clock),
    ):
        senders.add(
            Sender(
                destination,
                outbox,
                contents,
                senders.in_store,
                clock_us=clock.us,
                reading=senders.reading,
            )
        )
    begin, cpu = time.perf_counter(), time.process_time()
    running = asyncio.create_task(senders.run(store.bell))
    settled: dict[str, float] = {}
    waiting = {"pcpb": 2 * count, "lab": count}
    while len(settled) < 2:
        await asyncio.sleep(0.05)
        for sender in senders.senders:
            if sender.sent >= waiting[sender.name]:
                settled.setdefault(sender.name, time.perf_counter() - begin)
    cpu = time.process_time() - cpu
    senders.stop()
    await running
    store.close()
    journal.close()
    return settled | {"cpu": cpu}


def deliver(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        fill(data, count)
        fhir, fhir_at = start("-m", "tests.peers.fhir", "--lenient", "--count-only")
        mllp, mllp_at = start("-m", "tests.peers.mllp", "--count-only")
        try:
            import uvloop

            url = f"http://127.0.0.1:{fhir_at['port']}/fhir"
            figures = uvloop.run(drain(data, count, url, mllp_at["port"]))
        finally:
            for process in (fhir, mllp):
                process.terminate()
                process.wait()
    both = max(figures["pcpb"], figures["lab"])
    print(
        f"deliver  {count} messages (a forward, two resources each): {count / both:6.0f} "
        f"messages/s to both  fhir {2 * count / figures['pcpb']:6.0f} resources/s  "
        f"mllp {count / figures['lab']:6.0f}/s  cpu {figures['cpu'] / count * 1e6:4.0f} µs/message"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["receive", "deliver", "serve"])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--window", type=int, default=1)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "serve":
        import uvloop

        uvloop.run(serve(arguments.data))
    elif arguments.what == "receive":
        receive(arguments.count, arguments.connections, arguments.window)
    else:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
        deliver(arguments.count)


if __name__ == "__main__":
    main()
