"""Clients of a FHIR server, in a process of their own: they search, read and import charts.

What they do is the same for every server whose base is `http://127.0.0.1:PORT/fhir`.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from tests.support.us_core import chart, combinations, place, query, values

PLACES = 200
VALUES = 31
"""Observations in a chart: with the rest of it 50 resources a person."""

PLACES_AT_ONCE = 50
Kind = tuple[str, tuple[str, ...]]


def name(kind: Kind) -> str:
    """`Type parameter+parameter`."""
    return f"{kind[0]} {'+'.join(kind[1])}"


def path(kind: Kind, person: int) -> str:
    """A search of a kind that finds something of a person."""
    type_, names = kind
    if "death-date" in names:
        person -= person % 7
    return f"{type_}?{query(names, values(person, PLACES)[type_])}"


class Client:
    """One connection, kept alive: as little of a client as there can be.

    Attributes:
        ms: how long the last request took.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.ms = 0.0

    async def open(self) -> None:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of one request."""
        head = f"{method} /fhir{path} HTTP/1.1\r\nHost: localhost:{self.port}\r\n"
        if body:
            head += f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n"
        begin = time.perf_counter()
        self.writer.write(head.encode() + b"\r\n" + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in lines
            if line.lower().startswith(b"content-length:")
        )
        answer = await self.reader.readexactly(length)
        self.ms = (time.perf_counter() - begin) * 1000
        return int(lines[0].split()[1]), answer


def transaction(resources: list[dict[str, Any]]) -> bytes:
    """A Bundle that puts them."""
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in resources
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    return json.dumps(bundle).encode()


async def _sent(client: Client, resources: list[dict[str, Any]]) -> None:
    status, answer = await client.ask("POST", "", transaction(resources))
    if status != 200:
        raise RuntimeError(f"{status}: {answer[:300]!r}")


# --- what clients do ---------------------------------------------------------------------


async def _repeated(
    asked: argparse.Namespace, act: Callable[[Client, random.Random], Coroutine[Any, Any, str]]
) -> dict[str, Any]:
    """Let each client act again and again; what each act was called to its latencies in ms."""
    found: dict[str, list[float]] = {}
    begin = time.perf_counter()

    async def work(seed: int) -> None:
        chance = random.Random(seed)
        client = Client(asked.port)
        await client.open()
        while time.perf_counter() < begin + asked.seconds:
            named = await act(client, chance)
            found.setdefault(named, []).append(client.ms)

    await asyncio.gather(*(work(seed) for seed in range(asked.clients)))
    return {"latencies": found, "seconds": time.perf_counter() - begin}


async def searches(asked: argparse.Namespace) -> dict[str, Any]:
    """Search for random people; each kind of search has its own latencies."""
    left_out = set(asked.without.split(","))
    kinds = [one for one in combinations() if name(one) not in left_out]

    async def search(client: Client, chance: random.Random) -> str:
        kind = chance.choice(kinds)
        wanted = path(kind, chance.randrange(asked.people))
        status, body = await client.ask("GET", "/" + wanted)
        if status != 200 or b'"total":0' in body:
            raise RuntimeError(f"{status} for {wanted}")
        return name(kind)

    return await _repeated(asked, search)


async def reads(asked: argparse.Namespace) -> dict[str, Any]:
    """Read Patients."""

    async def read(client: Client, chance: random.Random) -> str:
        status, _ = await client.ask("GET", f"/Patient/pat{chance.randrange(asked.people)}")
        assert status == 200
        return "read"

    return await _repeated(asked, read)


async def imports(asked: argparse.Namespace) -> dict[str, Any]:
    """Send charts of new people as transactions; resources are counted."""
    stored = 0
    following = (chart(n, PLACES, VALUES) for n in range(10_000_000, 20_000_000))

    async def send(client: Client, _: random.Random) -> str:
        nonlocal stored
        resources = next(following)
        await _sent(client, resources)
        stored += len(resources)
        return "transaction"

    return await _repeated(asked, send) | {"stored": stored}


async def fill(asked: argparse.Namespace) -> dict[str, Any]:
    """Send all places, and the charts of all people."""
    client = Client(asked.port)
    await client.open()
    stored = 0
    for first in range(0, PLACES, PLACES_AT_ONCE):
        batch = [one for n in range(first, first + PLACES_AT_ONCE) for one in place(n)]
        await _sent(client, batch)
        stored += len(batch)
    for n in range(asked.people):
        batch = chart(n, PLACES, VALUES)
        await _sent(client, batch)
        stored += len(batch)
    return {"stored": stored}


async def totals(asked: argparse.Namespace) -> dict[str, Any]:
    """How many matches each kind of search has for one person, or that it is refused."""
    client = Client(asked.port)
    await client.open()
    found: dict[str, str] = {}
    for kind in combinations():
        status, body = await client.ask("GET", "/" + path(kind, asked.people // 2))
        bundle = json.loads(body)
        matches = [e for e in bundle.get("entry", ()) if e.get("search", {}).get("mode") == "match"]
        total = bundle.get("total", len(matches))
        found[name(kind)] = f"finds {total}" if status == 200 else f"refuses: {status}"
    return {"totals": found}


Work = Callable[[argparse.Namespace], Coroutine[Any, Any, dict[str, Any]]]
WORK: dict[str, Work] = {one.__name__: one for one in (searches, reads, imports, fill, totals)}


def ask(what: Work, port: int, people: int, **options: Any) -> dict[str, Any]:
    """Let clients do something, in a process of their own.

    Args:
        people: whose charts are stored.
        options: `clients`, `seconds`, `without`: kinds of search that are left out.

    Raises:
        RuntimeError: the server did not answer as it should.
    """
    options |= {"port": port, "people": people}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.asking", what.__name__, *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Do one thing, and print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=sorted(WORK))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--without", default="")
    asked = parser.parse_args()
    print(json.dumps(asyncio.run(WORK[asked.what](asked))))


if __name__ == "__main__":
    main()
