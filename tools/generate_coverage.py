"""Generate `mappings/standard.json`: what `segue map coverage` measures Segue against.

    python tools/generate_coverage.py ../shared/data/v2_to_fhir_maps/segments

Numbers only. Of each segment: how many fields the standard has, and which of them the
HL7 v2-to-FHIR guide gives a FHIR attribute in any of its segment sheets.
"""

import csv
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "mappings" / "standard.json"

FIELDS = {
    "ACC": 13, "AIG": 14, "AIL": 12, "AIP": 12, "AIS": 12, "AL1": 6, "ARV": 6, "CTD": 8,
    "DB1": 8, "DG1": 26, "DRG": 33, "EVN": 7, "GOL": 22, "GT1": 57, "IAM": 30, "IN1": 55,
    "IN2": 72, "IN3": 28, "MRG": 7, "MSH": 28, "NK1": 41, "NTE": 9, "OBR": 55, "OBX": 33,
    "OH1": 7, "OH2": 18, "OH3": 8, "OH4": 6, "ORC": 38, "PD1": 23, "PDA": 9, "PID": 40,
    "PR1": 25, "PRB": 28, "PRD": 14, "PRT": 26, "PTH": 7, "PV1": 54, "PV2": 50, "RF1": 25,
    "RGS": 3, "ROL": 14, "SCH": 28, "SFT": 6, "SPM": 35, "TQ1": 14, "TXA": 28, "UAC": 2,
    "UB1": 23, "UB2": 17, "VAR": 6, "ZBE": 9,
}  # fmt: skip
"""Fields of a segment in HL7 v2.9; of ZBE in IHE PAM."""

FIELD = re.compile(r"([A-Z][A-Z0-9]{2})-([0-9]+)")


def read(folder: Path) -> dict[str, set[int]]:
    """The fields that the guide's sheets map, by segment."""
    mapped: dict[str, set[int]] = {}
    for path in sorted(folder.glob("HL7 Segment*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.reader(file):
                found = FIELD.match(row[1].strip()) if len(row) > 9 else None
                if found and row[9].strip():
                    mapped.setdefault(found[1], set()).add(int(found[2]))
    return mapped


def main() -> None:
    """Write the file."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    guide = read(Path(sys.argv[1]))
    if not guide:
        raise SystemExit(f"{sys.argv[1]}: no segment sheets here")
    lines = []
    for segment, count in sorted(FIELDS.items()):
        fields = sorted(guide.get(segment, ()))
        if fields and fields[-1] > count:
            raise SystemExit(f"{segment}: the guide maps field {fields[-1]} of {count}")
        entry = json.dumps({"fields": count, "guide": fields})
        lines.append(f'  "{segment}": {entry}')
    HERE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(lines)} segments in {HERE}")


if __name__ == "__main__":
    main()
