"""How far `$validate` agrees with HL7's own validator, over thousands of changed resources.

    python -m benchmarks.validator [--most N] [--show RULE] [--data FOLDER]

Needs Java 17 and Maven, which fetch HL7's validator once; without them it says so and
ends. Prints the agreement on the verdict (valid or not), false alarms and misses, by rule.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.validator.cases import Case, cases
from segue.fhir.canonical import loads
from segue.fhir.profiles import definitions
from segue.fhir.validate import Gate
from segue.fhir.validation.validator import Validator
from tests.unit.fhir.examples import EXAMPLES
from tests.unit.fhir.validation.samples import SAMPLES

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

# Their validator has no terminology server here; it then calls what it cannot look up wrong.
_CANNOT_KNOW = (
    "CodeSystem could not be found",
    "Unable to expand",
    "http://loinc.org",
    "http://snomed.info/sct",
    "OMB Race Categories",
    "Birth Sex",
    "http://unitsofmeasure.org",
)

# Where the specification itself decides against what their validator lets pass.
_UPHELD = {
    "text-with-control": "datatypes.html#string: no characters below 32 but 9, 10 and 13",
    "blank-value": "datatypes.html#primitive: the expressions of date, uri, code, id",
    "empty-list": "json.html#primitive: an array is never empty",
    "attachment-bad-data": "datatypes.html#base64Binary",
}


def jars(folder: Path) -> str | None:
    """The class path of HL7's validator; None where Java or Maven is absent."""
    if not (shutil.which("java") and shutil.which("mvn")):
        return None
    library = folder / "lib"
    if not library.is_dir():
        command = ["mvn", "-q", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
        subprocess.run([*command, f"-DoutputDirectory={library}"], check=True)
    return str(library / "*")


def theirs(rows: list[Case], path: str, packages: list[Path]) -> list[list[dict[str, Any]]]:
    """What HL7's validator finds in each resource."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name, "in"), Path(name, "out")
        source.write_text("".join(json.dumps(row.resource) + "\n" for row in rows))
        program = str(HERE / "Hl7Validator.java")
        command = ["java", "-cp", path, program, str(source), str(target), *map(str, packages)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return [json.loads(line) for line in target.read_text().splitlines()]


def faults(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The errors that their validator can know."""
    wrong = [f for f in findings if f["severity"] in ("error", "fatal")]
    blind = {f.get("where") for f in wrong if any(part in f["text"] for part in _CANNOT_KNOW)}
    return [
        f
        for f in wrong
        if not (f.get("where") in blind and str(f.get("id", "")).startswith("Terminology"))
    ]


def main() -> int:
    """Run both and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=0, help="every n-th case up to this many")
    parser.add_argument("--show", default="", help="print the disagreements of this rule, or all")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--keep", type=Path, default=ROOT / ".validator", help="for the jars")
    arguments = parser.parse_args()
    path = jars(arguments.keep)
    if path is None:
        print("skipped: HL7's validator needs java and mvn")
        return 0
    package = arguments.data / "definitions" / "us_core_610.tgz"
    if not package.is_file():
        print(f"skipped: {package} is absent")
        return 0
    table = definitions()
    samples = {**EXAMPLES, **SAMPLES}
    rows = [Case(name, "as-it-is", "", sample) for name, sample in samples.items()]
    changed = [case for name, sample in samples.items() for case in cases(name, sample, table)]
    if arguments.most and len(changed) > arguments.most:
        step = len(changed) / arguments.most
        changed = [changed[int(i * step)] for i in range(arguments.most)]
    rows += changed
    began = time.perf_counter()
    found = [faults(f) for f in theirs(rows, path, [package])]
    took = time.perf_counter() - began
    # What their validator says of the unchanged sample says nothing about the change.
    noise = {
        row.sample: {(f.get("where"), f.get("id")) for f in own}
        for row, own in zip(rows, found, strict=True)
        if row.rule == "as-it-is"
    }
    validator = Validator(Gate(table))
    began = time.process_time()
    ours = [[i for i in validator.issues(row.resource) if i.severity == "error"] for row in rows]
    mine = time.process_time() - began
    tally: dict[str, Counter[str]] = {}
    for row, their, our in zip(rows, found, ours, strict=True):
        left = [f for f in their if (f.get("where"), f.get("id")) not in noise[row.sample]]
        kind = "agree" if bool(left) == bool(our) else "miss" if left else "alarm"
        if kind == "alarm" and row.rule in _UPHELD:
            kind = "upheld"
        count = tally.setdefault(row.rule, Counter())
        count[kind] += 1
        count["valid"] += not left
        if kind != "agree" and arguments.show in (row.rule, "all"):
            print(f"{kind} {row.rule} {row.sample}: {row.at}")
            for f in left[:2]:
                print(f"    theirs {f.get('where')}: {f['text'][:160]}")
            for issue in our[:2]:
                print(f"    ours   {issue.where}: {issue.text[:160]}")
    total = sum(tally.values(), Counter())
    cases_ = len(rows)
    print(f"{'rule':32} cases agree alarms misses")
    for rule, count in sorted(tally.items(), key=lambda t: -t[1]["miss"] - t[1]["alarm"]):
        number = sum(count[name] for name in ("agree", "alarm", "miss", "upheld"))
        print(f"{rule:32} {number:5} {count['agree']:5} {count['alarm']:6} {count['miss']:6}")
    print(f"agreement {total['agree'] / cases_:.1%} of {cases_} cases")
    print(f"{total['upheld']} more that the specification calls wrong and HL7's validator valid:")
    for rule, why in _UPHELD.items():
        print(f"    {rule}: {why}")
    valid = total["valid"] - total["upheld"]
    share = total["alarm"] / max(1, valid)
    print(f"false alarms {total['alarm']}: {share:.1%} of {valid} that HL7 calls valid")
    print(f"misses {total['miss']}: {total['miss'] / cases_:.1%}")
    print(f"HL7 {took / cases_ * 1e3:.1f} ms, ours {mine / cases_ * 1e3:.2f} ms CPU per case")
    usual(validator, arguments.data / "fhir" / "synthea")
    return 0


def usual(validator: Validator, folder: Path) -> None:
    """Print what a resource of Synthea costs, one by one."""
    resources = [
        entry["resource"]
        for path in sorted(folder.glob("*.json"))
        for entry in loads(path.read_bytes()).get("entry", ())
    ]
    if not resources:
        return
    for name, judge in (("gate", validator.refusals), ("$validate", validator.issues)):
        for resource in resources[::10]:
            judge(resource)
        began = time.process_time()
        for resource in resources:
            judge(resource)
        each = (time.process_time() - began) / len(resources)
        print(f"{name}: {each * 1e3:.2f} ms CPU per resource of {len(resources)} by Synthea")


if __name__ == "__main__":
    sys.exit(main())
