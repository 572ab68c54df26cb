"""`make bench-api`: FHIR over HTTP in a store of 100,000 resources, beside SEKMET.

Fills a store, SQLite's or with `--database postgresql` that one's, starts an engine over it, and lets clients in another process ask, one
request after the other each: every search of US Core for random people, reads of Patients,
and charts of new people as transactions. Then the same against SEKMET, a FHIR server in
Python from PyPI, with the same resources and the same clients; without it where it cannot be
installed, or with `--alone`. Kinds of search that SEKMET refuses, or for which it finds
something else, are named, and left out where the two are compared. Prints tables and
targets, and writes benchmarks/results/api.json.

Reads a second of a core are those that cost a second of the server's CPU; PostgreSQL's own is
not in it.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.asking import (
    PLACES,
    VALUES,
    ask,
    fill,
    imports,
    reads,
    searches,
    totals,
)
from benchmarks.bench import conditions, cpu_seconds, write
from benchmarks.sekmet import PACKAGE, Sekmet, UnavailableError
from segue.fhir.canonical import encode_with_hash
from segue.fhir.search.values import terms
from segue.model.changes import Cause, Write
from segue.model.identity import ResourceKey
from segue.store.records import Commit, Step
from segue.store.store import Store, open_store
from tests.stories.engine import Engine
from tests.support.databases import PostgresServer, postgres_server
from tests.support.us_core import chart, place

AT_ONCE = 500
IMPORTERS = 2
SLOWEST = 8
CONFIG = """\
version: 1
data_dir: ./data
workers: 1
http:
  listen: 127.0.0.1:{http}
sites: {clinic: {authority: CLINIC}}
feeds: {}
"""


def stored(where: Path | str, people: int) -> int:
    """Store the charts of so many people; how many resources there are then."""
    store = open_store(where, lambda: datetime.now(UTC))
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


# --- measuring ---------------------------------------------------------------------------


def at(latencies: Sequence[float], share: float) -> float:
    """A percentile, in ms."""
    found = sorted(latencies)[min(len(latencies) - 1, int(len(latencies) * share))]
    return round(found, 2)


def middle(latencies: Sequence[float]) -> dict[str, float]:
    """What is shown of many latencies."""
    return {"p50": at(latencies, 0.5), "p95": at(latencies, 0.95), "p99": at(latencies, 0.99)}


def measured(port: int, pid: int, asked: argparse.Namespace, without: str = "") -> dict[str, Any]:
    """What a server that is filled and warm does.

    Args:
        pid: of the server's first process, for its CPU.
        asked: `people`, `clients`, `seconds`.
        without: kinds of search that are not asked.
    """
    people = asked.people
    # The first resource of a type compiles its rules; that is not what is measured.
    ask(imports, port, people)
    ask(searches, port, people, without=without)
    found: dict[str, Any] = {}
    for work, seconds, clients in (
        (searches, asked.seconds, asked.clients),
        (reads, asked.seconds / 4, asked.clients),
        (imports, asked.seconds / 2, IMPORTERS),
    ):
        before = cpu_seconds(pid)
        one = ask(work, port, people, clients=clients, seconds=seconds, without=without)
        used = cpu_seconds(pid) - before
        latencies = one["latencies"]
        whole = [ms for some in latencies.values() for ms in some]
        done = one.get("stored", len(whole))
        found[work.__name__] = {
            "done": done,
            "per_s": round(done / one["seconds"]),
            "per_cpu_s": round(done / used) if used else 0,
            "cpu_ms": round(used / done * 1000, 3),
            "ms": middle(whole),
            "kinds": latencies,
        }
    return found


def segue(
    directory: Path, asked: argparse.Namespace, server: PostgresServer | None
) -> tuple[dict[str, Any], dict[str, str], int]:
    """Measure Segue: figures, the totals of each kind of search, resources stored."""
    begin = time.perf_counter()
    database = server.upgraded() if server else None
    count = stored(database or directory / "data", asked.people)
    if server and database:
        server.analyze(database)
    print(f"{count:,} resources of {asked.people:,} people, {time.perf_counter() - begin:.0f} s")
    engine = Engine(directory, CONFIG, None, database)
    try:
        engine.start()
        assert engine.process is not None
        found = ask(totals, engine.http_port, asked.people)["totals"]
        return measured(engine.http_port, engine.process.pid, asked), found, count
    finally:
        engine.stop()


def sekmet(
    directory: Path, asked: argparse.Namespace, ours: dict[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Measure SEKMET: figures, and the kinds of search that it answers otherwise.

    Raises:
        UnavailableError: it cannot be installed here.
    """
    server = Sekmet(directory)
    try:
        pid = server.start()
        begin = time.perf_counter()
        count = ask(fill, server.port, asked.people)["stored"]
        took = time.perf_counter() - begin
        print(f"SEKMET: {count:,} resources by transactions, {took:.0f} s", flush=True)
        theirs = ask(totals, server.port, asked.people)["totals"]
        differing = {
            kind: f"{theirs[kind]}, Segue {said}"
            for kind, said in ours.items()
            if theirs[kind] != said
        }
        return measured(server.port, pid, asked, ",".join(differing)), differing
    finally:
        server.stop()


# --- showing -----------------------------------------------------------------------------


def targets(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What is to be reached, and whether it is."""
    wanted: list[tuple[str, float, float, Callable[[float, float], bool]]] = [
        ("searches: p95 ms", 25, found["searches"]["ms"]["p95"], float.__lt__),
        ("reads/s of a core", 2000, found["reads"]["per_cpu_s"], float.__ge__),
        ("imported resources/s", 1000, found["imports"]["per_s"], float.__ge__),
    ]
    return [
        {"name": name, "want": want, "got": got, "met": reached(float(got), float(want))}
        for name, want, got, reached in wanted
    ]


def _slowest(found: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    kinds = [(name, middle(some)) for name, some in found["searches"]["kinds"].items()]
    return sorted(kinds, key=lambda one: -one[1]["p95"])


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=120)
    servers = result["servers"]
    table = Table(box=None, header_style="bold")
    for heading in ("server", "what", "per s", "of a core", "CPU ms", "p50", "p95", "p99 ms"):
        table.add_column(heading, justify="left" if heading in ("server", "what") else "right")
    for name, found in servers.items():
        for what, one in found.items():
            table.add_row(
                name, what, f"{one['per_s']:,}", f"{one['per_cpu_s']:,}", f"{one['cpu_ms']:.2f}",
                *(f"{ms:,.1f}" for ms in one["ms"].values()),
            )  # fmt: skip
    console.print(table)
    slow = Table(box=None, header_style="bold", title="slowest kinds of search")
    for heading in ("Segue", "p50", "p95 ms"):
        slow.add_column(heading, justify="left" if heading == "Segue" else "right")
    for kind, ms in result["slowest"]:
        slow.add_row(kind, f"{ms['p50']:.1f}", f"{ms['p95']:.1f}")
    console.print(slow)
    for kind, why in result["sekmet_differs"].items():
        console.print(f"{kind}: SEKMET {why}")
    if result["sekmet"]:
        console.print(f"SEKMET: {result['sekmet']}")
    console.print(
        f"reference_us {result['reference_us']}, load average {result['load']['load_average']:.1f}"
    )
    for item in result["targets"]:
        word = "met" if item["met"] else "MISSED"
        console.print(f"{item['name']:24} want {item['want']:>8} got {item['got']:>10} {word}")


def main() -> None:
    """Fill, start, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resources", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="of searching")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--alone", action="store_true", help="without SEKMET")
    asked = parser.parse_args()
    asked.people = asked.resources // len(chart(0, PLACES, VALUES))
    servers: dict[str, Any] = {}
    differing: dict[str, str] = {}
    missing = "left out" if asked.alone else ""
    shared = postgres_server() if asked.database == "postgresql" else nullcontext()
    with tempfile.TemporaryDirectory(prefix="segue-api-") as folder, shared as server:
        servers["Segue"], ours, count = segue(Path(folder) / "segue", asked, server)
        if not asked.alone:
            try:
                servers[PACKAGE], differing = sekmet(Path(folder) / "sekmet", asked, ours)
            except UnavailableError as error:
                missing = str(error)
    if differing:
        both = servers["Segue"]["searches"]["kinds"]
        same = [ms for kind, some in both.items() if kind not in differing for ms in some]
        servers["Segue"]["searches"]["same_kinds_ms"] = middle(same)
    result: dict[str, Any] = {
        "version": 1,
        **conditions(),
        "load": {
            "database": asked.database,
            "resources": count,
            "people": asked.people,
            "clients": asked.clients,
            "importers": IMPORTERS,
            "load_average": os.getloadavg()[0],
        },
        "targets": targets(servers["Segue"]),
        "slowest": _slowest(servers["Segue"])[:SLOWEST],
        "sekmet_differs": differing,
        "sekmet": missing,
        "servers": servers,
    }
    for found in servers.values():
        kinds = found["searches"].pop("kinds")
        found["searches"]["kinds_ms"] = {name: middle(some) for name, some in kinds.items()}
        for what in ("reads", "imports"):
            found[what].pop("kinds")
    write(result, "api.json")
    show(result)


if __name__ == "__main__":
    main()
