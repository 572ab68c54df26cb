"""Laws: what must hold of whatever a seed makes, be it a history or a graph of merges.

`make test` asks each law of 1,000 seeds that hypothesis chooses. `make prove` asks all of
them of 100,000 others, on every core: `python -m tests.support.laws [--seeds N] [--first N]`.
Laws about what is stored take a store for each order of a history; they are asked of fewer.
What fails is shown again by `python -m tests.support.laws --law NAME --seed N`.
"""

import argparse
import gc
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from importlib import import_module

from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLES = 1_000
"""Seeds of each law in `make test`."""
AT_ONCE = 100
"""Seeds that a process is given at a time."""
STORED_EXAMPLES = 8
"""Seeds of a law about what is stored, in `make test`."""
STORED_EVERY = 400
"""Of so many seeds of `make prove` such a law is asked of one."""
MODULES = (
    "unit.care.test_fold_laws",
    "unit.care.test_identity",
    "unit.care.test_merge_graphs",
    "unit.care.test_movement_corrections",
    "integration.test_shared_numbers",
)

Law = Callable[[int], None]
LAWS: dict[str, Law] = {}
"""Every law by its name, once the modules are imported that hold them."""
EVERY: dict[str, int] = {}
"""Of how many seeds a law is asked of one."""


def law(check: Law) -> Callable[[], None]:
    """Declare a test that holds for every seed."""
    LAWS[check.__name__] = check
    test: Callable[[], None] = settings(max_examples=EXAMPLES, deadline=None)(
        given(st.integers(0, 2**32))(check)
    )
    return test


def stored_law(check: Law) -> Callable[[], None]:
    """Declare a test that holds for every seed, and that is slow: it works on a store."""
    LAWS[check.__name__], EVERY[check.__name__] = check, STORED_EVERY
    test: Callable[[], None] = settings(max_examples=STORED_EXAMPLES, deadline=None)(
        given(st.integers(0, 2**32))(check)
    )
    return test


def load() -> None:
    """Import all laws."""
    for name in MODULES:
        import_module(f"tests.{name}")


class Broken(Exception):  # noqa: N818
    """A law does not hold."""


def prove(first: int, count: int) -> dict[str, float]:
    """Ask all laws of some seeds; CPU seconds of each.

    Raises:
        Broken: the law, the seed and what it raised.
    """
    spent = dict.fromkeys(LAWS, 0.0)
    for seed in range(first, first + count):
        for name, check in LAWS.items():
            if seed % EVERY.get(name, 1):
                continue
            begin = time.process_time()
            try:
                check(seed)
            except Exception as error:
                msg = f"{name} --seed {seed}\n{traceback.format_exc()}"
                raise Broken(msg) from error
            spent[name] += time.process_time() - begin
    return spent


def _begin() -> None:
    load()
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)


def _asked(pool: ProcessPoolExecutor, first: int, seeds: int) -> Iterator[dict[str, float]]:
    """What each lot of seeds took, as the lots end; few are in hand at a time."""
    starts = iter(range(first, first + seeds, AT_ONCE))
    running: set[Future[dict[str, float]]] = set()
    for start in starts:
        running.add(pool.submit(prove, start, min(AT_ONCE, first + seeds - start)))
        if len(running) > 2 * (os.cpu_count() or 1):
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (one.result() for one in done)
    yield from (one.result() for one in wait(running).done)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100_000, help="how many of each law")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--law", help="only this law, of one seed")
    parser.add_argument("--seed", type=int, default=0)
    given_ = parser.parse_args()
    load()
    if given_.law:
        LAWS[given_.law](given_.seed)
        return 0
    begin, done = time.monotonic(), 0
    spent = dict.fromkeys(LAWS, 0.0)
    with ProcessPoolExecutor(initializer=_begin) as pool:
        try:
            for part in _asked(pool, given_.first, given_.seeds):
                done += AT_ONCE
                for name, seconds in part.items():
                    spent[name] += seconds
                if done % (AT_ONCE * 20) == 0:
                    print(f"{done:8} seeds  {time.monotonic() - begin:7.0f} s", flush=True)
        except Broken as broken:
            pool.shutdown(cancel_futures=True)
            print(f"BROKEN --law {broken}", file=sys.stderr)
            return 1
    for name, seconds in spent.items():
        print(f"{name:75} {given_.seeds} seeds  {seconds:8.1f} s of CPU")
    print(f"{len(LAWS)} laws hold, {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    # As the module that the tests import: there is one list of laws.
    sys.exit(import_module("tests.support.laws").main())
