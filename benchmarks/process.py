"""CPU µs per message of processing: parse, map, fold, care, validate, rows, SQL.

An ADT mix goes through `segue.pipeline.process` into an SQLite store, in one process
and without servers: `python -m benchmarks.process [messages]`. With `--out-of-order 0.05
--cancels 0.02 --merges 0.005` it is as untidy as real feeds are.
"""

import argparse
import cProfile
import gc
import json
import pstats
import tempfile
import time
from pathlib import Path

from benchmarks.mix import Mix
from segue.pipeline.process import process
from segue.pipeline.routes import Route
from segue.pipeline.stages import Stages
from tests.support.hub import TestClock, make_hub

TARGETS = {"parse": 50, "map": 150, "fold + care": 150, "validate": 50, "rows": 70}
STORING = ("compare", "validate", "rows", "sql")
"""The stages whose work grows with the number of versions."""
QUIET_US = 11.4
"""`reference_us` on the development machine when nothing else runs."""
ROUTES = (
    Route("sink-fhir", "sink", frozenset({"Patient", "Encounter", "CarePlan", "Task"})),
    Route("sink-mllp", "sink2", frozenset({"adt", "careplan"})),
)


def reference_us() -> float:
    """CPU µs of a fixed unit of work: how fast this machine is at the moment."""
    text = "PID|1||100234^^^HOSPA^MR~900017^^^HIE^PI||DOE^JANE^Q^^^^L||19550214|F|||1 OAK ST"
    begin = time.thread_time()
    for _ in range(20):
        made = {n: field.split("^") for n, field in enumerate(text.split("|"))}
        json.dumps(made)
    return (time.thread_time() - begin) / 20 * 1e6


def run(
    messages: int, warm_up: int, patients: int, batch: int, *, profile: bool, **untidy: float
) -> None:
    """Process a mix and print µs per stage.

    Args:
        untidy: shares of the mix: `out_of_order`, `cancels`, `merges`.
    """
    mix = Mix(seed=7, patients=patients, concurrent=min(2_000, patients // 5), **untidy)
    with tempfile.TemporaryDirectory() as folder:
        bench = make_hub(Path(folder), TestClock.at("2026-03-01T08:00:00+00:00"), ROUTES)
        hub = bench.hub
        states: dict[str, int] = {}
        profiler = cProfile.Profile() if profile else None

        reference: list[float] = []

        def go(count: int) -> float:
            spent = 0.0
            for start in range(0, count, batch):
                entries = []
                for _ in range(min(batch, count - start)):
                    bench.clock.us = int(mix.now.timestamp() * 1_000_000)
                    entries.append(bench.entry(next(mix)))
                begin = time.process_time()
                if profiler:
                    profiler.enable()
                outcome = process(hub, entries)
                if profiler:
                    profiler.disable()
                spent += time.process_time() - begin
                # The first one fetches its own code and tables from memory again.
                reference_us()
                reference.append(reference_us())
                for state in outcome.states.values():
                    states[state] = states.get(state, 0) + 1
            return spent

        go(warm_up)
        # As a worker process does.
        gc.collect()
        gc.freeze()
        gc.set_threshold(1_000_000, 10, 10)
        reference.clear()
        if profiler:
            profiler.clear()
        # To look at the clock takes time too: of every second batch only.
        hub.stages = Stages(every=2)
        states.clear()
        with hub.store.read() as reader:
            before = reader.sizes()["version"]
        spent = go(messages)
        stages = hub.stages.microseconds()
        reference.sort()
        print(f"{messages} messages, batches of {batch}, events {mix.counts}")
        print(f"  reference  {reference[len(reference) // 2]:8.1f} µs (a fixed unit of work)")
        for name, value in stages.items():
            print(f"  {name:10} {value:8.1f} µs")
        shown = {
            "parse": stages["parse"],
            "map": stages["map"],
            "fold + care": stages["fold"] + stages["care"] + stages["compare"],
            "validate": stages["validate"],
            "rows": stages["rows"],
        }
        for name, value in shown.items():
            target = TARGETS[name]
            print(f"  {name:12} {value:7.1f} of {target} µs{'' if value <= target else '  MISSED'}")
        total = sum(shown.values())
        everything = spent / messages * 1e6
        alone = everything * QUIET_US / reference[len(reference) // 2]
        print(
            f"  all but SQL {total:8.1f} µs, everything {everything:.1f} µs CPU; "
            f"{alone:.0f} µs on a quiet machine"
        )
        print("  not plainly processed:", states or "none")
        with hub.store.read() as reader:
            written = reader.sizes()["version"] - before
            storing = sum(stages[name] for name in STORING) * messages / written
            quiet = storing * QUIET_US / reference[len(reference) // 2]
            print(
                f"  {written / messages:.2f} versions per message, each {storing:.1f} µs to store "
                f"({', '.join(STORING)}); {quiet:.1f} µs on a quiet machine"
            )
            rows = reader.session.rows(
                "SELECT type, count(*), sum(version) FROM resource GROUP BY 1"
            )
            print("  resources:", {row[0]: (row[1], row[2]) for row in rows})
            for sql in (
                "SELECT count(*) FROM outbox",
                "SELECT issues, count(*) FROM inbox_exception GROUP BY 1 ORDER BY 2 DESC LIMIT 3",
            ):
                print(" ", [tuple(row) for row in reader.session.rows(sql)])
        if profiler:
            pstats.Stats(profiler).sort_stats("cumtime").print_stats(70)
        hub.store.close()
        hub.journal.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("messages", nargs="?", type=int, default=4_000)
    parser.add_argument("--warm-up", type=int, default=2_000)
    parser.add_argument("--patients", type=int, default=5_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out-of-order", type=float, default=0.0)
    parser.add_argument("--cancels", type=float, default=0.0)
    parser.add_argument("--merges", type=float, default=0.0)
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
