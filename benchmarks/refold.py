"""How long it takes to fold anew: `python -m benchmarks.refold`.

A person of 500 events in 25 visits, read from stored facts as a late message makes the
engine do it: the visit that it is about from its facts, and the person from the person
parts of all facts. And one visit of 500 events. Wanted: 20 ms and 40 ms of CPU time.
"""

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from time import process_time

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "engine")]

from segue.care.fold import fold_visit  # noqa: E402
from segue.care.person import fold_person  # noqa: E402
from segue.model.facts import Fact  # noqa: E402
from segue.pipeline.facts import pack, unpack_person, unpack_stay  # noqa: E402
from segue.store.records import FactRow  # noqa: E402
from tests.support.facts import history  # noqa: E402

ROUNDS = 15


def main() -> int:
    """Measure and print; 1 where a figure is missed."""
    visits = [_of_visit(history(seed, 20)[:20], f"HOSPA|V{seed}") for seed in range(25)]
    states = [fold_visit(facts) for facts in visits]
    person = _rows([fact for facts in visits for fact in facts])
    ward = _rows(_of_visit(history(1, 500)[:500], "HOSPA|V1"))
    late = [row for row in person if row.visit == "HOSPA|V7"]

    def one_late_message() -> None:
        visit = fold_visit(filter(None, map(unpack_stay, late)))
        fold_person(map(unpack_person, person), (), [*states, visit])

    def one_long_visit() -> None:
        fold_visit(filter(None, map(unpack_stay, ward)))

    # As a worker process does.
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 10, 10)
    missed = _report("a person of 500 events in 25 visits", one_late_message, 20)
    missed += _report("a visit of 500 events", one_long_visit, 40)
    chance = Random(7)
    shuffled = [unpack_person(row) for row in chance.sample(person, len(person))]
    _report("  of it folding the person alone", lambda: fold_person(shuffled, (), states), 20)
    return 1 if missed else 0


def _of_visit(facts: list[Fact], visit: str) -> list[Fact]:
    return [replace(fact, id=f"{visit}{n}", visit=visit) for n, fact in enumerate(facts)]


def _rows(facts: list[Fact]) -> list[FactRow]:
    return [pack(fact, n) for n, fact in enumerate(facts, 1)]


def _report(what: str, work: Callable[[], object], wanted: float) -> int:
    times = []
    for _ in range(ROUNDS):
        begin = process_time()
        work()
        times.append((process_time() - begin) * 1000)
    times.sort()
    best, median = times[0], times[len(times) // 2]
    print(f"{what:40} median {median:6.1f} ms, best {best:6.1f} ms, wanted < {wanted} ms")
    return int(best > wanted)


if __name__ == "__main__":
    sys.exit(main())
