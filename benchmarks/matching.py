"""How well Patients of two hospitals are matched, on made-up people with the truth known.

    python -m benchmarks.matching [--size 20000] [--seed 1]

Prints precision and recall of the links that are made at once, and how much is left for
a person to decide. Automatic links must all be right: the command ends with 1 if one is
not.
"""

import argparse
import json
import sys
import time

from segue.care.matching.grade import first_seen_newborn, grade, load
from segue.care.matching.traits import traits_of
from segue.fhir.profiles import shipped
from tests.support.populations import FIRST_SEEN, pairs, two_hospitals


def measure(seed: int, size: int) -> dict[str, float]:
    """Figures of one town."""
    rules = load(shipped() / "matching")
    first, second = two_hospitals(seed, size)
    both = {one.who for one in first} & {one.who for one in second}
    traits = {id(one): traits_of(one.patient) for one in (*first, *second)}
    counts = {"certain": 0, "probable": 0, "possible": 0, "certainly-not": 0}
    right = dict.fromkeys(counts, 0)
    begin, compared = time.process_time(), 0
    for one, other in pairs(first, second):
        a, b = traits[id(one)], traits[id(other)]
        young = any(first_seen_newborn(t, FIRST_SEEN.year) for t in (a, b))
        found = grade(a, b, rules, newborn=young)
        compared += 1
        counts[found.grade] += 1
        right[found.grade] += one.who == other.who
    spent = time.process_time() - begin
    asked = counts["probable"] + counts["possible"]
    return {
        "people_in_both": len(both),
        "pairs_compared": compared,
        "automatic_links": counts["certain"],
        "automatic_precision": right["certain"] / max(1, counts["certain"]),
        "automatic_recall": right["certain"] / len(both),
        "probable": counts["probable"],
        "probable_precision": right["probable"] / max(1, counts["probable"]),
        "possible": counts["possible"],
        "review_share_right": (right["probable"] + right["possible"]) / max(1, asked),
        "recall_with_review": (sum(right.values()) - right["certainly-not"]) / len(both),
        "microseconds_per_pair": spent * 1e6 / max(1, compared),
    }


def main() -> int:
    """Measure, print, and judge the automatic links."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.seed, options.size)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:24}{value:>14,.4f}" if value % 1 else f"{name:24}{int(value):>14,}")
    return 0 if figures["automatic_precision"] == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
