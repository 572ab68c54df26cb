"""`make bench`: what the engine does a second, at what latency, at what cost.

Starts the engine as a user would, on SQLite and on PostgreSQL, with a FHIR and an MLLP
destination as processes of their own, and feeds it a generated ADT mix from another
process. Prints a table and writes benchmarks/results/bench.json.

messages/s = messages ÷ (first byte sent → last one stored, or delivered); *delivered*
means acknowledged by both destinations. Engine CPU is utime + stime of all Segue
processes; PostgreSQL's is reported apart. Before the counted runs of a database comes a
warm-up; runs of the databases are interleaved, and medians are shown.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from benchmarks.mix import DISORDER
from tests.stories.engine import ROOT, Engine, free_port
from tests.support.databases import postgres_server

CONFIG = """\
version: 1
data_dir: ./data
http: {{listen: "127.0.0.1:{{http}}"}}
sites:
  general: {{name: General Hospital, authority: GENHOSP, zone: America/New_York}}
  hie: {{name: HIE, authority: HIE}}
  lab: {{name: Laboratory, authority: LAB}}
feeds:
  adt: {{kind: mllp, listen: "127.0.0.1:{mllp}", site: general}}
destinations:
  hie:
    kind: fhir_rest
    url: http://127.0.0.1:{fhir}/fhir
    site: hie
    send: [Encounter, CarePlan, Task]
    bed_moves: true
  lab:
    kind: mllp
    address: 127.0.0.1:{sink}
    site: lab
    send: [adt]
"""
STAGES = (
    "journal", "parse", "map", "fold", "care", "validate", "rows", "sql", "deliver", "other",
)  # fmt: skip


@dataclass
class Bench:
    """An engine with its two destinations."""

    engine: Engine
    mllp: int
    peers: dict[str, tuple[subprocess.Popen[bytes], int]]
    postgres: int | None
    cold_start: float = 0.0
    seed: int = 1
    sent: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    disorder: list[str] = field(default_factory=list)

    def metrics(self) -> dict[str, float]:
        """The engine's counters that the bench reads, by name with labels."""
        with urllib.request.urlopen(self.engine.base + "/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found: dict[str, float] = {}
        for line in lines:
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = found.get(name, 0.0) + float(value)
        return found

    def peer(self, name: str) -> dict[str, Any]:
        """A destination's own count."""
        url = f"http://127.0.0.1:{self.peers[name][1]}/-/stats"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())


def processes(root: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """utime + stime of a process tree, its ended children among them."""
    ticks = 0
    for pid in processes(root):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(stat[11]) + int(stat[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb(root: int) -> dict[str, int]:
    """Peak resident memory by part of the engine, in MB."""
    found: dict[str, int] = {}
    for pid in processes(root):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().split()
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        part = name[1].split("-")[0] if name[0] == "segue" and len(name) > 1 else "parent"
        peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
        found[part] = max(found.get(part, 0), peak)
    return found


@contextmanager
def started(directory: Path, database: str | None, postgres: int | None) -> Iterator[Bench]:
    """Start the destinations and the engine; end them all."""
    ports = [free_port() for _ in range(4)]
    mllp, fhir, sink, control = ports
    quiet = {"cwd": ROOT, "stdout": subprocess.DEVNULL}
    peers = {
        "fhir": (
            subprocess.Popen(
                [sys.executable, "-m", "tests.peers.fhir", "--port", str(fhir), "--count-only"],
                **quiet,
            ),
            fhir,
        ),
        "mllp": (
            subprocess.Popen(
                [sys.executable, "-m", "tests.peers.mllp", "--port", str(sink),
                 "--control", str(control), "--count-only"],
                **quiet,
            ),
            control,
        ),
    }  # fmt: skip
    engine = Engine(directory, CONFIG.format(mllp=mllp, fhir=fhir, sink=sink), None, database)
    bench = Bench(engine, mllp, peers, postgres)
    try:
        for _, port in peers.values():
            _listening(port)
        bench.cold_start = engine.start()
        yield bench
    finally:
        engine.stop()
        for process, _ in peers.values():
            process.terminate()
            process.wait(10)


def _listening(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nothing listens on {port}")


def feed(bench: Bench, count: int, connections: int, rate: float = 0.0) -> dict[str, Any]:
    """Send messages and wait until all are stored and delivered; the figures of the run."""
    assert bench.engine.process is not None
    root = bench.engine.process.pid
    bench.seed += 1
    generator = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load", "--port", str(bench.mllp), "--messages",
         str(count), "--connections", str(connections), "--seed", str(bench.seed), "--rate",
         str(rate), *bench.disorder],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert generator.stdout is not None
    assert generator.stdin is not None
    generator.stdout.readline()
    before = bench.metrics()
    peers_before = {name: bench.peer(name) for name in bench.peers}
    cpu = cpu_seconds(root)
    database = cpu_seconds(bench.postgres) if bench.postgres else 0.0
    begin = time.time()
    generator.stdin.write(b"go\n")
    generator.stdin.flush()
    backlog, stored = 0, 0.0
    while True:
        state = bench.engine.state()
        ended = generator.poll() is not None
        backlog = max(backlog, state["inbox"]["waiting"])
        if ended and not stored and state["inbox"]["waiting"] == 0:
            stored = time.time()
        # A delivery behind a merge is delayed until what came before it has gone.
        if stored and not any(state["outbox"][name] for name in ("waiting", "delayed", "blocked")):
            break
        time.sleep(0.25)
    delivered = time.time()
    cpu = cpu_seconds(root) - cpu
    database = cpu_seconds(bench.postgres) - database if bench.postgres else 0.0
    after = bench.metrics()
    sent = json.loads(generator.stdout.readline())
    bench.sent += count
    peers = {
        name: bench.peer(name)["cpu_seconds"] - peers_before[name]["cpu_seconds"]
        for name in bench.peers
    }
    got = bench.peer("mllp")["distinct"] - peers_before["mllp"]["distinct"]
    if sent["refused"]:
        raise RuntimeError(f"{sent['refused']} messages were not accepted")
    if got != count:
        raise RuntimeError(f"{count} messages sent, {got} forwarded to the MLLP destination")
    stages: dict[str, float] = {}
    for name, value in after.items():
        if name.startswith("segue_stage_cpu_seconds_total{"):
            stage = name.split('stage="')[1].split('"')[0]
            spent = (value - before.get(name, 0.0)) / count * 1000
            stages[stage] = stages.get(stage, 0.0) + spent
    stages["other"] = max(0.0, cpu / count * 1000 - sum(stages.values()))
    return {
        "seconds": delivered - begin,
        "acked_per_s": count / sent["seconds"],
        "stored_per_s": count / (stored - begin),
        "delivered_per_s": count / (delivered - begin),
        "delivered": {"fhir": bench.peer("fhir")["count"], "mllp": got},
        "ack_ms": {"p50": sent["p50"], "p99": sent["p99"], "max": sent["max"]},
        "cpu_ms_per_message": {
            "engine": cpu / count * 1000,
            "database": database / count * 1000,
            "generator": sent["cpu_seconds"] / count * 1000,
            "sinks": sum(peers.values()) / count * 1000,
            "stages": stages,
        },
        "memory_mb_max": memory_mb(root),
        "backlog_max": backlog,
        "bytes_mean": sent["bytes"] / count,
        "events": sent["events"],
    }


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure."""
    first = runs[0]
    out: dict[str, Any] = {}
    for key, value in first.items():
        if isinstance(value, dict):
            keys = {k for run in runs for k in run[key]}
            out[key] = middle([{k: run[key].get(k, 0.0) for k in sorted(keys)} for run in runs])
        else:
            out[key] = round(median(run[key] for run in runs), 3)
    return out


def reference_us() -> float:
    """A fixed unit of work, to compare machines by: orjson.loads of a fixed text, in µs."""
    text = orjson.dumps({"entry": [{"id": str(n), "value": n / 7} for n in range(200)]})
    best = 1e9
    for _ in range(5):
        begin = time.process_time()
        for _ in range(2000):
            orjson.loads(text)
        best = min(best, (time.process_time() - begin) / 2000 * 1e6)
    return round(best, 1)


def conditions(postgres: str = "") -> dict[str, Any]:
    """When, of which commit and on which machine something is measured."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    ).stdout.strip()
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit,
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30,
            "python": platform.python_version(),
            "postgres": postgres,
        },
        "reference_us": reference_us(),
    }


def write(result: dict[str, Any], name: str) -> None:
    """Keep what was measured in benchmarks/results."""
    file = ROOT / "benchmarks" / "results" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2))
    print(f"written to {file.relative_to(ROOT)}")


def disk(bench: Bench, directory: Path, postgres_url: str | None) -> dict[str, float]:
    """Bytes per message after a checkpoint, the engine stopped."""
    bench.engine.stop()
    if postgres_url:
        import psycopg

        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            sizes = dict(
                connection.execute(
                    "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
                    "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
                ).fetchall()
            )
        journal = sum(v for k, v in sizes.items() if k.startswith(("entry", "journal")))
        store = sum(sizes.values()) - journal
    else:
        data = directory / "data"
        journal = sum(f.stat().st_size for f in data.glob("journal.db*"))
        store = sum(f.stat().st_size for f in data.glob("store.db*"))
    n = bench.sent
    return {
        "total": round((journal + store) / n),
        "journal": round(journal / n),
        "store": round(store / n),
    }


def targets(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is to be reached, and whether it is."""
    found = []
    by_name = {f"{run['database']}/{run['name']}": run for run in runs}

    def target(name: str, run: str, want: float, got: float, *, at_most: bool = False) -> None:
        met = got <= want if at_most else got >= want
        found.append({"name": name, "run": run, "want": want, "got": got, "met": met})

    for name, run in by_name.items():
        if run["name"] == "16":
            target("stored_per_s", name, 1000, run["stored_per_s"])
            target("delivered_per_s", name, 1000, run["delivered_per_s"])
            cpu = run["cpu_ms_per_message"]["engine"]
            target("engine_cpu_ms", name, 1.0, cpu, at_most=True)
        if run["name"] == "paced" or name == "sqlite/16":
            target("ack_p99_ms", name, 50, run["ack_ms"]["p99"], at_most=True)
        if "disk_bytes_per_message" in run:
            target("disk_bytes", name, 20000, run["disk_bytes_per_message"]["total"], at_most=True)
        target("cold_start_s", name, 3.0, run["cold_start_s"], at_most=True)
    return found


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=150)
    table = Table(box=None, header_style="bold")
    for heading in (
        "run", "acked/s", "stored/s", "delivered/s", "ack p50", "p99", "max ms", "engine ms",
        "database ms", "disk B", "backlog",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "run" else "right")
    for run in result["runs"]:
        cpu, ack = run["cpu_ms_per_message"], run["ack_ms"]
        table.add_row(
            f"{run['database']}/{run['name']}", f"{run['acked_per_s']:.0f}",
            f"{run['stored_per_s']:.0f}", f"{run['delivered_per_s']:.0f}", f"{ack['p50']:.1f}",
            f"{ack['p99']:.1f}", f"{ack['max']:.0f}", f"{cpu['engine']:.3f}",
            f"{cpu['database']:.3f}",
            str(run.get("disk_bytes_per_message", {}).get("total", "")),
            f"{run['backlog_max']:.0f}",
        )  # fmt: skip
    console.print(table)
    stages = Table(box=None, header_style="bold", title="CPU ms per message by stage")
    names = [
        name
        for name in STAGES
        if any(name in r["cpu_ms_per_message"]["stages"] for r in result["runs"])
    ]
    names += sorted(
        {k for r in result["runs"] for k in r["cpu_ms_per_message"]["stages"]} - set(names)
    )
    stages.add_column("run")
    for name in names:
        stages.add_column(name, justify="right")
    for run in result["runs"]:
        values = run["cpu_ms_per_message"]["stages"]
        stages.add_row(
            f"{run['database']}/{run['name']}", *(f"{values.get(n, 0):.3f}" for n in names)
        )
    console.print(stages)
    for item in result["targets"]:
        word = "met" if item["met"] else "MISSED"
        console.print(f"{item['run']:16} {item['name']:16} want {item['want']:>8} got {item['got']:>10} {word}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=4000, help="per run")
    parser.add_argument("--runs", type=int, default=3, help="interleaved repetitions")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--names", default="1,16,paced", help="which kinds of run")
    parser.add_argument("--keep", action="store_true", help="keep the data directories")
    for name in DISORDER:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=0.0)
    options = parser.parse_args()
    disorder = [
        text
        for name in DISORDER
        for text in (f"--{name.replace('_', '-')}", str(getattr(options, name)))
    ]
    chosen = options.databases.split(",")
    names = options.names.split(",")
    scratch = Path(tempfile.mkdtemp(prefix="segue-bench-"))
    collected: dict[tuple[str, str], list[dict[str, Any]]] = {}
    disks: dict[str, dict[str, float]] = {}
    cold: dict[str, float] = {}
    version = ""
    try:
        with postgres_server() if "postgresql" in chosen else nullcontext() as server:
            for run in range(options.runs):
                for database in chosen:
                    url, pid = None, None
                    directory = scratch / f"{database}-{run}"
                    if database == "postgresql":
                        url, pid = server.upgraded(), server.pid
                        version = _version(url)
                    with started(directory, url, pid) as bench:
                        bench.disorder = disorder
                        cold.setdefault(database, round(bench.cold_start, 2))
                        feed(bench, min(2000, options.messages), 16)
                        if url:
                            server.analyze(url)
                        for name in names:
                            count = options.messages // 4 if name == "1" else options.messages
                            figures = feed(
                                bench, count, 1 if name == "1" else 16,
                                1000.0 if name == "paced" else 0.0,
                            )  # fmt: skip
                            collected.setdefault((database, name), []).append(figures)
                            print(f"run {run + 1} {database}/{name}: {figures['delivered_per_s']:.0f}/s delivered, "
                                  f"{figures['cpu_ms_per_message']['engine']:.3f} ms", flush=True)  # fmt: skip
                        disks[database] = disk(bench, directory, url)
    finally:
        if options.keep:
            print(f"kept {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    runs = []
    for (database, name), figures_list in collected.items():
        runs.append(
            {"database": database, "name": name, "connections": 1 if name == "1" else 16}
            | middle(figures_list)
            | {"cold_start_s": cold[database]}
            | ({"disk_bytes_per_message": disks[database]} if name == "16" else {})
        )
    fed = [(run.pop("bytes_mean"), run.pop("events")) for run in runs]
    result = {
        "version": 1,
        **conditions(version),
        "mix": {
            "messages": options.messages,
            "patients": 10000,
            "bytes_mean": round(fed[0][0]),
            "events": fed[0][1],
            **{name: getattr(options, name) for name in DISORDER},
        },
        "runs": runs,
        "targets": targets(runs),
    }
    write(result, "bench.json")
    show(result)


def _version(url: str) -> str:
    import psycopg

    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW server_version").fetchone()
        return str(row[0]) if row else ""


if __name__ == "__main__":
    main()
