"""Generate `mappings/core/tables/` from the sheets of the HL7 v2-to-FHIR guide.

    python tools/generate_tables.py ../shared/data/v2_to_fhir_maps/codesystems

Takes over facts only: v2 code, FHIR code, display, system. Where a sheet is wrong or
leaves a gap, `CORRECTIONS` says what holds instead, and why; the reason is written
beside the code. Tables that no sheet fills (HL70112, HL70296, CodingSystems) are
written by hand and left alone.
"""

import csv
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent.parent / "mappings" / "core" / "tables"
GUIDE = "HL7 v2-to-FHIR implementation guide, concept map"


class Sheet(NamedTuple):
    """One sheet and the table that it becomes."""

    sheet: str
    name: str
    gives: str
    displays: bool = False


SHEETS = (
    Sheet("AdministrativeSex", "HL70001_AdministrativeGender", "code"),
    Sheet("MaritalStatus", "HL70002_MaritalStatus", "CodeableConcept", displays=True),
    Sheet("PatientClass[EncounterClass]", "HL70004_ActCode", "Coding", displays=True),
    Sheet("AdmissionType", "HL70007_AdmissionType", "CodeableConcept", displays=True),
    Sheet("AmbulatoryStatus", "HL70009_SpecialArrangement", "CodeableConcept", displays=True),
    Sheet("DiagnosisType", "HL70052_DiagnosisRole", "CodeableConcept"),
    Sheet("Relationship", "HL70063_Relationship", "CodeableConcept", displays=True),
    Sheet("HospitalService", "HL70069_ServiceType", "CodeableConcept", displays=True),
    Sheet("InterpretationCodes", "HL70078_Interpretation", "CodeableConcept"),
    Sheet("ObservationResultStatusCodesInterpretation", "HL70085_ObservationStatus", "code"),
    Sheet("ReadmissionIndicator", "HL70092_ReAdmission", "CodeableConcept", displays=True),
    Sheet("AllergenType[AllergyIntoleranceCategory]", "HL70127_AllergyCategory", "code"),
    Sheet("AllergyType", "HL70127_AllergyType", "code"),
    Sheet("AllergySeverity[AllergyIntolerance.criticality]", "HL70128_AllergyCriticality", "code"),
    Sheet(
        "AllergySeverity[AllergyIntolerance.reaction.severity]", "HL70128_ReactionSeverity", "code"
    ),
    Sheet("ContactRole", "HL70131_ContactRole", "CodeableConcept", displays=True),
    Sheet("AddressType[Type]", "HL70190_AddressType", "code"),
    Sheet("AddressType[Use]", "HL70190_AddressUse", "code"),
    Sheet("NameType", "HL70200_NameUse", "code"),
    Sheet("TelecommunicationUseCode", "HL70201_ContactUse", "code"),
    Sheet("TelecommunicationEquipmentType", "HL70202_ContactSystem", "code"),
    Sheet("BedStatus", "HL70116_BedStatus", "Coding", displays=True),
    Sheet("IdentifierType", "HL70203_IdentifierType", "code"),
    Sheet("EncounterPriority", "HL70217_Priority", "CodeableConcept", displays=True),
    Sheet("ProviderRole", "HL70443_ParticipationType", "CodeableConcept"),
)

NONE = None
CORRECTIONS: dict[str, dict[str, tuple[str | None, str]]] = {
    "HL70052_DiagnosisRole": {
        "W": ("CC", "a working diagnosis is what the stay is about so far; the sheet has none"),
        "F": ("DD", "a final diagnosis is the discharge diagnosis; the sheet has none"),
    },
    "HL70127_AllergyCategory": {
        "AA": ("environment", "contact with animals, not a biological product"),
    },
    "HL70128_AllergyCriticality": {
        "U": ("unable-to-assess", "FHIR has a code for it; the sheet has none"),
    },
    "HL70085_ObservationStatus": {
        "B": ("amended", "appended to after it was final; the sheet has none"),
        "I": ("registered", "specimen is there, no result yet; the sheet has none"),
        "N": ("unknown", "not asked; FHIR has no status for it"),
        "O": ("registered", "order detail without a result; the sheet has none"),
        "R": ("preliminary", "entered, not verified; the sheet has none"),
        "S": ("preliminary", "partial results; the sheet has none"),
        "U": ("final", "becomes final without being sent again; the sheet has none"),
        "V": ("final", "verified, no change of the value; the sheet has none"),
    },
    "HL70190_AddressUse": {
        "P": ("home", "the permanent address is where the patient lives"),
        "L": ("home", "the legal address is where the patient is registered"),
        "M": (NONE, "a mailing address says nothing about its use"),
    },
    "HL70201_ContactUse": {
        "ORN": ("home", "another number at home; the sheet has none"),
        "VHN": ("temp", "a holiday home; the sheet has none"),
        "EMR": (NONE, "an emergency number may be anybody's"),
    },
    "HL70202_ContactSystem": {
        "CP": ("phone", "the sheet gives a ContactPoint.use here, not a system"),
    },
    "HL70200_NameUse": {
        "A": (NONE, "meant alias before v2.5.1 and assigned since"),
    },
}


def rows(path: Path) -> list[tuple[str, str, str, str]]:
    """The sheet's rows: v2 code, FHIR code, display, system; only those with a v2 code."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.reader(file))
    found = []
    for row in table[2:]:
        cells = [cell.strip() for cell in row] + [""] * 10
        if cells[0]:
            found.append((cells[0], cells[6], cells[8] or cells[7], cells[9]))
    return found


def quoted(text: str) -> str:
    """A YAML scalar that is text whatever it looks like."""
    if text.replace("-", "").replace("_", "").isalpha() and text not in ("true", "false", "null"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def render(sheet: Sheet, found: list[tuple[str, str, str, str]]) -> str:
    """The table as YAML."""
    corrections = CORRECTIONS.get(sheet.name, {})
    systems = [system for _, code, _, system in found if code and system]
    main = max(sorted(set(systems)), key=systems.count) if systems else ""
    lines = [
        f"# Generated by tools/generate_tables.py; {GUIDE} {sheet.sheet}",
        f"table: {sheet.name.partition('_')[0]}",
        f"gives: {sheet.gives}",
    ]
    if sheet.gives != "code":
        lines.append(f"system: {main}")
    lines.append("codes:")
    seen = set()
    for v2, *given in found:
        if v2 in seen:
            continue
        seen.add(v2)
        code, display, system = given
        why = ""
        if v2 in corrections:
            right, why = corrections[v2]
            code, display = right or "", ""
            system = main
        entry = quoted(code) if code else "null"
        extra = []
        if code and system != main and sheet.gives != "code":
            extra.append(f"system: {quoted(system)}")
        if code and display and sheet.displays:
            extra.append(f"display: {quoted(display)}")
        if code and why:
            extra.append(f"because: {quoted(why)}")
        if extra:
            entry = f"{{ code: {entry}, {', '.join(extra)} }}"
        comment = f"  # {why}" if why and not code else ""
        lines.append(f"  {quoted(v2)}: {entry}{comment}")
    missing = set(corrections) - seen
    if missing:
        raise SystemExit(f"{sheet.name}: corrections of codes that the sheet has not: {missing}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the tables."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    source = Path(sys.argv[1])
    HERE.mkdir(parents=True, exist_ok=True)
    for sheet in SHEETS:
        path = source / f"HL7 Concept Map_ {sheet.sheet} - Sheet1.csv"
        if not path.is_file():
            raise SystemExit(f"{path}: no such sheet")
        (HERE / f"{sheet.name}.yaml").write_text(render(sheet, rows(path)), encoding="utf-8")
    print(f"{len(SHEETS)} tables in {HERE}")


if __name__ == "__main__":
    main()
