"""How long mapping a message takes: `python -m benchmarks.mapping [folder]`.

ADT messages of a folder of real ones (`../shared/data/hl7v2`), and of the generated mix,
whose messages have 12 full segments; each where its patient was never heard of, and where
the segments that repeat are known. Wanted: 150 µs of CPU time for a typical one, on the
development machine when nothing else runs: each round is set against a fixed unit of work
that is taken before and after it.
"""

import gc
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import thread_time_ns

from benchmarks.mix import messages
from benchmarks.process import QUIET_US, reference_us
from segue.hl7v2.errors import Hl7Error
from segue.hl7v2.message import Message
from segue.hl7v2.parse import parse
from segue.mapping.apply import apply
from segue.mapping.context import Context, SiteRules
from segue.mapping.load import load, shipped
from segue.mapping.walk import memory

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "hl7v2"
ROUNDS = 25
WANTED_US = 150


def main() -> int:
    """Measure and print; 1 where the median of the real messages is missed."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else REAL
    found = {"real": _real(folder), "mix": [parse(raw) for raw in messages(300)]}
    missed = 0
    for name, some in found.items():
        if not some:
            print(f"{name}: no messages in {folder}")
            continue
        for known in (False, True):
            times, units = _times(some, known=known)
            times.sort()
            middle, most, unit = median(times), times[len(times) * 9 // 10], median(units)
            late = middle * QUIET_US / unit > WANTED_US and name == "real"
            missed += late
            print(
                f"{name}: {len(some)} ADT, patient {'known' if known else 'new':5}: median "
                f"{middle:.0f} µs, 9 of 10 below {most:.0f} µs; {middle * QUIET_US / unit:.0f} and "
                f"{most * QUIET_US / unit:.0f} µs on a quiet machine (a fixed unit of work: "
                f"{unit:.1f} for {QUIET_US} µs){'  MISSED' if late else ''}"
            )
    return 1 if missed else 0


def _real(folder: Path) -> list[Message]:
    found = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            try:
                message = parse(file.read_bytes())
            except Hl7Error:
                continue
            if message.type == "ADT":
                found.append(message)
    return found


def _times(some: list[Message], *, known: bool) -> tuple[list[float], list[float]]:
    """CPU µs of each message, the median of several rounds; and of the unit of each round."""
    site = SiteRules("general", "GENHOSP")
    with tempfile.TemporaryDirectory() as empty:
        mapping = load(shipped() / "core", [Path(empty)], site.name)
    context = Context(site, "adt", 0, digest="0" * 64)
    spent: list[list[int]] = [[] for _ in some]
    units: list[float] = []
    for turn in range(ROUNDS + 1):
        gc.collect()
        gc.disable()
        if not known and turn:
            # Doctors, places and codes stay known; patients do not.
            mapping.caches[id(site)] = (*mapping.caches[id(site)][:3], memory())
        units += [reference_us(), reference_us()][1:]  # the first one warms
        for message, times in zip(some, spent, strict=True):
            begin = thread_time_ns()
            apply(mapping, message, context)
            if turn:
                times.append(thread_time_ns() - begin)
        units += [reference_us(), reference_us()][1:]
        gc.enable()
    return [median(times) / 1000 for times in spent], units


if __name__ == "__main__":
    sys.exit(main())
