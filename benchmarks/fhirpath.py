"""The share of HL7's FHIRPath test suite that our FHIRPath door passes.

    python -m benchmarks.fhirpath [--data FOLDER] [--show]

The suite's expressions are read from the shared data; the resources they are about come
from Maven Central (Java 17 and Maven). Without either it says so and ends.
"""

import argparse
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from segue.fhir.canonical import loads
from segue.fhir.fhirpath import FhirPathError, evaluate
from segue.fhir.profiles import definitions
from segue.fhir.xml import from_xml

ROOT = Path(__file__).parent.parent
SUITE = Path("fhir", "FHIR_fhir-test-cases_r4", "fhirpath", "tests-fhir-r4.xml")
VERSION = "1.7.69"
_INSIDE = "org/hl7/fhir/testcases/r4/"


def inputs(folder: Path) -> zipfile.ZipFile | None:
    """The archive of HL7's test resources; None where Maven is absent."""
    path = folder / f"fhir-test-cases-{VERSION}.jar"
    if not path.is_file():
        if not (shutil.which("java") and shutil.which("mvn")):
            return None
        folder.mkdir(parents=True, exist_ok=True)
        artifact = f"org.hl7.fhir.testcases:fhir-test-cases:{VERSION}"
        command = ["mvn", "-q", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"]
        command += [f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"]
        subprocess.run(command, check=True)
    return zipfile.ZipFile(path)


def _resource(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    data = re.sub(rb'\sxsi:schemaLocation="[^"]*"', b"", archive.read(_INSIDE + name))
    found: dict[str, Any] = from_xml(data, definitions()) if name.endswith(".xml") else loads(data)
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict) and "value" in value:
        unit = value.get("code") or value.get("unit")
        return f"{_text(value['value'])} '{unit}'"
    if isinstance(value, (float, Decimal)):
        return f"{Decimal(str(value)).normalize():f}"
    return str(value)


def _wanted(output: ElementTree.Element) -> str:
    text = (output.text or "").strip()
    kind = output.get("type")
    if kind in ("date", "dateTime", "time", "instant"):
        return text.removeprefix("@").removeprefix("T") if kind == "time" else text.lstrip("@")
    if kind == "decimal":
        return _text(Decimal(text))
    if kind == "Quantity":
        number, _, unit = text.partition(" ")
        return f"{_text(Decimal(number))} {unit}"
    return text if kind != "string" else (output.text or "")


def passes(test: ElementTree.Element, resource: dict[str, Any]) -> bool:
    """Whether a test of the suite comes out as it says."""
    expression = test.find("expression")
    assert expression is not None
    fails = expression.get("invalid") is not None or test.get("invalid") is not None
    try:
        found = evaluate(resource, expression.text or "")
    except FhirPathError:
        return fails
    if fails:
        return False
    outputs = [_wanted(output) for output in test.findall("output")]
    if test.get("predicate") == "true" and not (len(found) == 1 and isinstance(found[0], bool)):
        found = [bool(found)]
    texts = [_text(value) for value in found]
    if test.findall("output") and test.findall("output")[0].get("type") == "time":
        texts = [text.removeprefix("T") for text in texts]
    return (
        Counter(texts) == Counter(outputs) if test.get("ordered") == "false" else texts == outputs
    )


def main() -> int:
    """Run the suite and print the share, by group."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data")
    parser.add_argument("--keep", type=Path, default=ROOT / ".validator")
    parser.add_argument("--show", action="store_true", help="print what fails")
    arguments = parser.parse_args()
    suite = arguments.data / SUITE
    if not suite.is_file():
        print(f"skipped: {suite} is absent")
        return 0
    archive = inputs(arguments.keep)
    if archive is None:
        print("skipped: the suite's resources need java and mvn")
        return 0
    resources: dict[str, dict[str, Any]] = {}
    total, right = 0, 0
    for group in ElementTree.parse(suite).getroot().iter("group"):
        tests = group.findall("test")
        good = 0
        for test in tests:
            name = test.get("inputfile")
            if name and name not in resources:
                resources[name] = _resource(archive, name)
            ok = passes(test, resources.get(name or "", {}))
            good += ok
            if arguments.show and not ok:
                print(f"    {test.get('name')}: {(test.findtext('expression') or '').strip()}")
        print(f"{group.get('name', ''):40} {good:4} of {len(tests):4}")
        total, right = total + len(tests), right + good
    print(f"FHIRPath suite: {right} of {total} pass, {right / total:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
