"""Code tables as ConceptMaps: what `$translate` answers from.

Source: https://hl7.org/fhir/R4/conceptmap.html
"""

from typing import Any

from segue.mapping.language import Table
from segue.mapping.tables import V2_SYSTEM, V2_TABLE, coding_of

PREFIX = "urn:segue:ConceptMap:"
"""URL of the ConceptMap of a table: this and the table's name, with hyphens."""


def source_system(table: Table) -> str:
    """The code system of the codes that a table takes.

    >>> from segue.mapping.language import Place, Table
    >>> place = Place("core", "tables/HL70112_x.yaml", 1)
    >>> source_system(Table("HL70112_x", "HL70112", "code", "", 2, None, place))
    'http://terminology.hl7.org/CodeSystem/v2-0112'
    """
    name = table.v2 or table.name
    if name.startswith(V2_TABLE) and name[3:7].isdigit():
        return V2_SYSTEM + name[3:7]
    return f"urn:segue:table:{name}"


def concept_map(table: Table, name: str) -> dict[str, Any]:
    """A table as ConceptMap; what is known to have no FHIR code is `unmatched`.

    Args:
        name: of the table, `HL70112_DischargeDisposition`; a site's own with the site before.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for code, entry in table.codes.items():
        if entry is None:
            groups.setdefault("", []).append(
                {"code": code, "target": [{"equivalence": "unmatched"}]}
            )
            continue
        coding = coding_of(table, entry)
        target = {"code": coding["code"], "equivalence": "equivalent"}
        if "display" in coding:
            target["display"] = coding["display"]
        groups.setdefault(coding.get("system", ""), []).append({"code": code, "target": [target]})
    made: list[dict[str, Any]] = []
    for system, elements in sorted(groups.items()):
        group: dict[str, Any] = {"source": source_system(table)}
        if system:
            group["target"] = system
        made.append({**group, "element": elements})
    id_ = name.replace("_", "-")
    return {
        "resourceType": "ConceptMap",
        "id": id_,
        "url": PREFIX + id_,
        "name": name.replace("-", "_"),
        "status": "active",
        "group": made,
    }
