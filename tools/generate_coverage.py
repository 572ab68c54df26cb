"""Generate `mappings/standard.json` and `datatypes.json`: what Segue is measured against.

    python tools/generate_coverage.py ../shared/data/v2_to_fhir_maps

Of each segment: how many fields the standard has, which of them the HL7 v2-to-FHIR guide
gives a FHIR attribute in any of its segment sheets, and the datatypes that the sheets name
(`-` where they name none). Of each datatype: how many subcomponents each component has.
"""

import csv
import json
import re
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "mappings" / "standard.json"
DATATYPES = HERE.with_name("datatypes.json")

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

WIDTHS = {
    "AUI": 3, "CP": 6, "DT": 1, "DTM": 2, "DTN": 2, "FC": 2, "ICD": 3, "JCC": 3, "LA2": 16,
    "MOC": 2, "MOP": 4, "PPN": 25, "PRL": 3, "SI": 1, "TM": 1, "VID": 3,
}  # fmt: skip
"""Components of datatypes that have no sheet in the guide (HL7 v2.9 ch. 2A). What is a DTM
now was a TS, whose second component nobody needs."""
NESTED = {"CP": [2], "DTN": [1], "EIP": [4, 4], "PPN": [1, 5], "VID": [1, 22, 22]}
"""Subcomponents where the sheets say nothing of them, by component."""
ANYTHING = frozenset({"varies", "CM", "FT", "TX", ""})
"""What holds whatever it holds."""

FIELD = re.compile(r"([A-Z][A-Z0-9]{2})-([0-9]+)")
COMPONENT = re.compile(r"([A-Z]{2,3})\.([0-9]+)")


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


def types_of(folder: Path, pattern: re.Pattern[str]) -> dict[str, dict[int, Counter[str]]]:
    """The datatypes that sheets name, by segment and field or datatype and component."""
    found: dict[str, dict[int, Counter[str]]] = {}
    for path in sorted(folder.glob("HL7 *.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.reader(file):
                place = pattern.fullmatch(row[1].strip()) if len(row) > 3 else None
                if place:
                    names = found.setdefault(place[1], {}).setdefault(int(place[2]), Counter())
                    names[row[3].strip().partition(" ")[0]] += 1
    return found


def usual(names: Counter[str]) -> str:
    """The datatype that most rows name; of two the one with a name."""
    named = Counter({name: count for name, count in names.items() if name})
    return named.most_common(1)[0][0] if named else ""


def datatypes(folder: Path) -> dict[str, list[int]]:
    """Subcomponents of each component of each datatype."""
    found = types_of(folder, COMPONENT)
    found = {name: parts for name, parts in found.items() if name not in ANYTHING}
    counts = {name: max(parts) for name, parts in found.items()} | WIDTHS
    made: dict[str, list[int]] = {}
    for name, count in counts.items():
        parts = [usual(found.get(name, {}).get(n, Counter())) for n in range(1, count + 1)]
        made[name] = [counts.get(part, 1) for part in parts]
        for place, room in enumerate(NESTED.get(name, ())):
            made[name][place] = room
    return made


def main() -> None:
    """Write the file."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    guide = read(Path(sys.argv[1], "segments"))
    types = types_of(Path(sys.argv[1], "segments"), FIELD)
    rooms = datatypes(Path(sys.argv[1], "datatypes"))
    if not guide:
        raise SystemExit(f"{sys.argv[1]}: no segment sheets here")
    lines = []
    for segment, count in sorted(FIELDS.items()):
        fields = sorted(guide.get(segment, ()))
        if fields and fields[-1] > count:
            raise SystemExit(f"{segment}: the guide maps field {fields[-1]} of {count}")
        entry: dict[str, object] = {"fields": count, "guide": fields}
        if segment in types:
            named = [usual(types[segment].get(n, Counter())) for n in range(1, count + 1)]
            entry["types"] = " ".join(name if name in rooms else "-" for name in named)
        lines.append(f'  "{segment}": {json.dumps(entry)}')
    rows = [f'  "{name}": {json.dumps(parts)}' for name, parts in sorted(rooms.items())]
    DATATYPES.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    HERE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(FIELDS)} segments, {len(rooms)} datatypes in {HERE}")


if __name__ == "__main__":
    main()
