"""FHIR over HTTP: the searches of US Core, reads and imports, in a store of 100,000 resources.

`python -m benchmarks.api [--resources 100000] [--clients 8]` fills an SQLite store, starts an
engine over it, and lets clients ask, each for random people, one request after the other;
the clients run in a process of their own. Prints one line for each kind of search, and the
targets: p95 of all searches < 25 ms.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.bench import cpu_seconds
from segue.fhir.canonical import encode_with_hash
from segue.fhir.search.values import terms
from segue.model.changes import Cause, Write
from segue.model.identity import ResourceKey
from segue.store.records import Commit, Step
from segue.store.store import Store, open_store
from tests.stories.engine import Engine
from tests.support.us_core import chart, combinations, place, query, values

PLACES = 200
VALUES = 31
"""Observations in a chart: with the rest of it 50 resources a person."""

AT_ONCE = 500
CONFIG = """\
version: 1
data_dir: ./data
workers: 1
http:
  listen: 127.0.0.1:{http}
sites: {clinic: {authority: CLINIC}}
feeds: {}
"""


def fill(data: Path, people: int) -> int:
    """Store the charts of so many people; how many resources there are then."""
    store = open_store(data, lambda: datetime.now(UTC))
    count = 0
    batch: list[dict[str, Any]] = []
    for n in range(PLACES):
        batch += place(n)
    for n in range(people):
        batch += chart(n, PLACES, VALUES)
        if len(batch) >= AT_ONCE or n == people - 1:
            _store(store, batch)
            count += len(batch)
            batch = []
    store.close()
    return count


def _store(store: Store, resources: list[dict[str, Any]]) -> None:
    writes = []
    for resource, pk in zip(resources, store.new_pk(len(resources)), strict=True):
        body, digest = encode_with_hash(resource)
        key = ResourceKey(resource["resourceType"], resource["id"])
        writes.append(
            Write(key, pk, 1, "client", body, digest, digest, terms(resource), None, None)
        )
    store.commit(Commit(steps=[Step(Cause("statement", "bench", ""), writes=writes)]))


# --- clients -----------------------------------------------------------------------------


class Client:
    """One connection, kept alive: as little of a client as there can be."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def open(self) -> None:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of one request."""
        head = f"{method} /fhir/{path} HTTP/1.1\r\nHost: localhost:{self.port}\r\n"
        if body:
            head += f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in lines
            if line.lower().startswith(b"content-length:")
        )
        return int(lines[0].split()[1]), await self.reader.readexactly(length)


async def searches(port: int, people: int, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients search; kind of search to its latencies in ms."""
    kinds = combinations()
    found: dict[str, list[float]] = {}
    end = time.perf_counter() + seconds

    async def work(seed: int) -> None:
        chance = random.Random(seed)
        client = Client(port)
        await client.open()
        while time.perf_counter() < end:
            type_, names = chance.choice(kinds)
            n = chance.randrange(people)
            if "death-date" in names:
                n -= n % 7
            path = f"{type_}?{query(names, values(n, PLACES)[type_])}"
            begin = time.perf_counter()
            status, body = await client.ask("GET", path)
            took = (time.perf_counter() - begin) * 1000
            if status != 200 or b'"total":0' in body:
                raise RuntimeError(f"{status} for {path}")
            found.setdefault(f"{type_} {'+'.join(names)}", []).append(took)

    await asyncio.gather(*(work(seed) for seed in range(clients)))
    return {"latencies": found, "seconds": seconds}


async def reads(port: int, people: int, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients read Patients."""
    found: list[float] = []
    end = time.perf_counter() + seconds

    async def work(seed: int) -> None:
        chance = random.Random(seed)
        client = Client(port)
        await client.open()
        while time.perf_counter() < end:
            begin = time.perf_counter()
            status, _ = await client.ask("GET", f"Patient/pat{chance.randrange(people)}")
            assert status == 200
            found.append((time.perf_counter() - begin) * 1000)

    await asyncio.gather(*(work(seed) for seed in range(clients)))
    return {"latencies": {"read": found}, "seconds": seconds}


async def imports(port: int, people: int, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients send charts of new people as transactions; resources are counted."""
    stored = 0
    begin = time.perf_counter()
    following = iter(range(10_000_000, 20_000_000))
    found: list[float] = []

    async def work() -> None:
        nonlocal stored
        client = Client(port)
        await client.open()
        while time.perf_counter() < begin + seconds:
            resources = chart(next(following), PLACES, VALUES)
            entries = [
                {
                    "resource": one,
                    "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"},
                }
                for one in resources
            ]
            bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
            body = json.dumps(bundle).encode()
            sent = time.perf_counter()
            status, answer = await client.ask("POST", "", body)
            if status != 200:
                raise RuntimeError(f"{status}: {answer[:300]!r}")
            found.append((time.perf_counter() - sent) * 1000)
            stored += len(resources)

    await asyncio.gather(*(work() for _ in range(clients)))
    return {
        "latencies": {"transaction": found},
        "seconds": time.perf_counter() - begin,
        "stored": stored,
    }


WORK = {"searches": searches, "reads": reads, "imports": imports}


def load(what: str, port: int, people: int, clients: int, seconds: float) -> dict[str, Any]:
    """Run the clients in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.api", "--load", what, "--port", str(port),
         "--people", str(people), "--clients", str(clients), "--seconds", str(seconds)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def at(latencies: list[float], share: float) -> float:
    """A percentile."""
    return sorted(latencies)[min(len(latencies) - 1, int(len(latencies) * share))]


def show(what: str, found: dict[str, Any]) -> None:
    """Print a line for each kind, and one for all together."""
    whole = [one for some in found["latencies"].values() for one in some]
    if len(found["latencies"]) > 1:
        for name, some in sorted(found["latencies"].items(), key=lambda i: -at(i[1], 0.95)):
            print(f"  {name:62} {len(some):6}  {at(some, 0.5):7.1f} {at(some, 0.95):7.1f} ms")
    rate = found.get("stored", len(whole)) / found["seconds"]
    unit = "resources/s" if "stored" in found else "requests/s"
    print(
        f"{what:10} {len(whole):7} requests, {rate:,.0f} {unit}, p50 {at(whole, 0.5):.1f} ms, "
        f"p95 {at(whole, 0.95):.1f} ms, p99 {at(whole, 0.99):.1f} ms"
    )


def main() -> None:
    """Fill, start, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resources", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--load", choices=sorted(WORK), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--people", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.load:
        work = WORK[asked.load](asked.port, asked.people, asked.clients, asked.seconds)
        print(json.dumps(asyncio.run(work)))
        return
    people = asked.resources // len(chart(0, PLACES, VALUES))
    with tempfile.TemporaryDirectory(prefix="segue-api-") as folder:
        directory = Path(folder)
        begin = time.perf_counter()
        count = fill(directory / "data", people)
        print(f"{count:,} resources of {people:,} people, {time.perf_counter() - begin:.0f} s")
        engine = Engine(directory, CONFIG)
        port = engine.http_port
        try:
            engine.start()
            # The first resource of a type compiles its rules; that is not what is measured.
            for what in ("imports", "searches"):
                load(what, port, people, 1, 1.0)
            before = cpu_seconds(engine.process.pid) if engine.process else 0.0
            found = load("searches", port, people, asked.clients, asked.seconds)
            used = cpu_seconds(engine.process.pid) - before if engine.process else 0.0
            show("searches", found)
            asked_for = sum(len(some) for some in found["latencies"].values())
            print(f"{used / asked_for * 1000:.2f} ms of the engine's CPU for each search")
            show("reads", load("reads", port, people, asked.clients, asked.seconds / 4))
            show("imports", load("imports", port, people, 2, asked.seconds / 2))
        finally:
            engine.stop()


if __name__ == "__main__":
    main()
