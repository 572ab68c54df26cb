"""Turn HL7's FHIR R4 definitions into the list of the elements that a summary shows.

Writes `definitions/summaries.json`: resource type to the paths that are flagged as summary,
without the type; a choice stands under its name without `[x]`.

    python tools/generate_summaries.py ../shared/data/definitions/hl7.fhir.r4.core-lite.tgz

Source: https://hl7.org/fhir/R4/search.html#summary
"""

import json
import sys
from pathlib import Path

from tools.generate_definitions import resources

FACTS = Path(__file__).resolve().parents[1] / "fhir_profiles" / "definitions"


def main(package: Path) -> None:
    """Write the file."""
    known = json.loads((FACTS / "types.json").read_text(encoding="utf-8"))
    found = {}
    for one in resources(package):
        type_ = one.get("type")
        if one["resourceType"] != "StructureDefinition" or one.get("derivation") == "constraint":
            continue
        if type_ not in known["resources"]:
            continue
        paths = [
            element["path"].partition(".")[2].removesuffix("[x]")
            for element in one["snapshot"]["element"][1:]
            if element.get("isSummary")
        ]
        # Extensions that change the meaning are shown wherever their parent is.
        shown = {"", *paths}
        ours = [
            path
            for path in paths
            if _known(known["types"], type_, path)
            and path.rpartition(".")[0] in shown
            and not path.endswith("modifierExtension")
        ]
        found[type_] = " ".join(dict.fromkeys(ours))
    lines = ",\n".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in sorted(found.items()))
    (FACTS / "summaries.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def _known(types: dict[str, dict[str, list[str]]], type_: str, path: str) -> bool:
    parent, _, name = f"{type_}.{path}".rpartition(".")
    row = types.get(parent)
    if row is None:
        return False
    lines = row["elements"] + types["DomainResource"]["elements"] + types["Resource"]["elements"]
    return any(line.split(" ")[0].removesuffix("[x]") == name for line in lines)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else
              "../shared/data/definitions/hl7.fhir.r4.core-lite.tgz"))  # fmt: skip
