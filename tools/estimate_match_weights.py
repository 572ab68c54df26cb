"""Estimate the m and u of `fhir_profiles/matching/matching.yaml` from Patients without labels.

    python -m tools.estimate_match_weights FIRST.ndjson SECOND.ndjson [--rounds 20]
    python -m tools.estimate_match_weights --made-up 1

u is counted on random pairs, which are hardly ever one person; m by expectation and
maximisation with u held still: over pairs that share a birth date for all fields but that
one, over pairs that share family and given name for the birth date. Prints the `prior` of
a random pair and the `weights` of the file. Only figures leave this tool, never a Patient.

Source: Winkler, Using the EM Algorithm for Weight Computation in the Fellegi-Sunter Model
of Record Linkage (US Census Bureau, 2000).
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from segue.care.matching.comparison import LEVELS, compare
from segue.care.matching.grade import nicknames
from segue.care.matching.traits import traits_of
from segue.fhir.profiles import shipped
from tests.support.populations import two_hospitals

RANDOM_PAIRS = 200_000
SMALLEST = 1e-5

Pattern = tuple[tuple[str, str], ...]


def estimate(
    first: list[dict[str, Any]], second: list[dict[str, Any]], rounds: int, seed: int = 0
) -> dict[str, Any]:
    """`prior` and `weights`, as the file has them."""
    names = nicknames(shipped() / "matching" / "nicknames.yaml")
    traits = {id(patient): traits_of(patient) for patient in (*first, *second)}

    def pattern(one: dict[str, Any], other: dict[str, Any]) -> Pattern:
        return tuple(sorted(compare(traits[id(one)], traits[id(other)], names).items()))

    rng = random.Random(seed)
    strangers = Counter(pattern(rng.choice(first), rng.choice(second)) for _ in range(RANDOM_PAIRS))
    u = _shares({found: float(n) for found, n in strangers.items()})
    of_birth, matches = _maximise(_blocked(first, second, _birth, pattern), {"birth"}, u, rounds)
    of_names, _ = _maximise(
        _blocked(first, second, _names, pattern), {"family", "given"}, u, rounds
    )
    m = of_birth | {"birth": of_names["birth"]}
    prior = matches / m["birth"]["exact"] / (len(first) * len(second))
    weights = {
        field: {
            level: {"m": round(m[field][level], 5), "u": round(u[field][level], 5)}
            for level in levels
        }
        for field, levels in LEVELS.items()
    }
    return {"prior": float(f"{prior:.2g}"), "weights": weights}


def _birth(patient: dict[str, Any]) -> object:
    return patient["birthDate"]


def _names(patient: dict[str, Any]) -> object:
    name = patient["name"][0]
    return name.get("family"), *name.get("given", ())[:1]


def _blocked(
    first: list[dict[str, Any]],
    second: list[dict[str, Any]],
    key: Callable[[dict[str, Any]], object],
    pattern: Callable[[dict[str, Any], dict[str, Any]], Pattern],
) -> Counter[Pattern]:
    blocks: dict[object, list[dict[str, Any]]] = {}
    for one in first:
        blocks.setdefault(key(one), []).append(one)
    return Counter(pattern(one, other) for other in second for one in blocks.get(key(other), ()))


def _maximise(
    together: Counter[Pattern],
    shared: set[str],
    u: dict[str, dict[str, float]],
    rounds: int,
) -> tuple[dict[str, dict[str, float]], float]:
    """m, and how many of these pairs are one person.

    Args:
        together: patterns of pairs that share something.
        shared: the fields that say nothing among these pairs, since all share them.
        u: held still.
        rounds: of the iteration.
    """
    m = {field: _start(levels) for field, levels in LEVELS.items()}
    prior, weighted = 0.1, dict[Pattern, float]()
    for _ in range(rounds):
        for found, n in together.items():
            same, other = prior, 1 - prior
            for field, level in found:
                if field not in shared:
                    same *= m[field][level]
                    other *= u[field][level]
            weighted[found] = n * same / (same + other)
        prior = sum(weighted.values()) / together.total()
        m = _shares(weighted)
    return m, sum(weighted.values())


def _start(levels: tuple[str, ...]) -> dict[str, float]:
    rest = 0.1 / max(1, len(levels) - 1)
    return {level: 0.9 if n == 0 else rest for n, level in enumerate(levels)}


def _shares(counts: dict[Pattern, float]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for field, levels in LEVELS.items():
        sums = dict.fromkeys(levels, 0.0)
        for pattern, n in counts.items():
            level = dict(pattern).get(field)
            if level is not None:
                sums[level] += n
        total = sum(sums.values()) or 1.0
        found[field] = {level: max(n / total, SMALLEST) for level, n in sums.items()}
    return found


def _read(path: Path) -> list[dict[str, Any]]:
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)
    return [row for row in rows if row.get("birthDate") and row.get("name")]


def main() -> None:
    """Read Patients or make some up, estimate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="two NDJSON files of Patients")
    parser.add_argument("--made-up", type=int, metavar="SEED", help="instead of files")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    if options.made_up is not None:
        first, second = (
            [one.patient for one in side] for side in two_hospitals(options.made_up, 20_000)
        )
    elif len(options.files) == 2:
        first, second = (_read(path) for path in options.files)
    else:
        parser.error("give two NDJSON files of Patients, or --made-up SEED")
    print(yaml.safe_dump(estimate(first, second, options.rounds), sort_keys=False), end="")


if __name__ == "__main__":
    main()
