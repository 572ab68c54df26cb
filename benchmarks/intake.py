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


async def serve(data: Path, uv: bool) -> None:
    """The listener process: prints its port, then its figures at SIGTERM."""
    from segue.adapters.sources.mllp import MllpListener, MllpListenerConfig
    from segue.pipeline.clock import SystemClock
    from segue.pipeline.receive import IntakeSite, Receiver
    from segue.store.store import open_journal

    journal = open_journal(data)
    receiver = Receiver(journal, {"adt": "hospa"}, [IntakeSite("hospa", "HOSPA", ("HOSPA",))])
    listener = MllpListener(MllpListenerConfig("adt", "127.0.0.1", 0), receiver, SystemClock())
    await listener.start()
    print(json.dumps({"port": listener.port}), flush=True)
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
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
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
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'engine'}:{ROOT}"},
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def receive(count: int, connections: int, window: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process, where = start("-m", "benchmarks.intake", "serve", "--data", folder)
        hospital = Hospital(where["port"], connections=connections, window=window)
        bodies = [message(number) for number in range(count)]
        begin = time.perf_counter()
        asyncio.run(hospital.send(bodies))
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

        uvloop.run(serve(arguments.data, True))
    elif arguments.what == "receive":
        receive(arguments.count, arguments.connections, arguments.window)


if __name__ == "__main__":
    main()
