"""Codes that a mapping lacks: the Tasks that ask the analyst for them.

A rule with `unknown: task` that meets a code its table has no entry for leaves the element
out, parks the entry, and asks for the code by one Task per site, table and code
(`segue.pipeline.requeue` for what happens once it is there).
"""

from collections.abc import Iterable
from typing import Any, Final

from segue.care.parties import HUB_REFERENCE
from segue.mapping.context import Wanted
from segue.model.facts import Fragment
from segue.model.identity import stable_id

SYSTEM: Final = "urn:segue:analyst-task"
ADD_CODE: Final = "add-code"
INPUTS: Final = ("site", "table", "code", "field", "rule")


def tasks(site: str, wanted: Iterable[Wanted]) -> list[Fragment]:
    """The Tasks that ask for codes; the same code gives the same Task, however often met."""
    found = {}
    for one in wanted:
        made = _task(site, one)
        found[made.id] = made
    return list(found.values())


def _task(site: str, one: Wanted) -> Fragment:
    said = (site, one.table, one.code, one.field, one.rule)
    elements: dict[str, Any] = {
        "identifier": [{"system": SYSTEM, "value": f"{site}|{one.table}|{one.code}"}],
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": SYSTEM, "code": ADD_CODE, "display": "Add a code"}]},
        "description": (
            f"{site} sends {one.code!r} in {one.field}; {one.table} has no entry for it. Add "
            f"one in mappings/sites/{site}/tables/{one.table}.yaml: what waits is replayed."
        ),
        "owner": HUB_REFERENCE,
        "input": [
            {"type": {"coding": [{"system": SYSTEM, "code": name}]}, "valueString": value}
            for name, value in zip(INPUTS, said, strict=True)
        ],
    }
    return Fragment("Task", stable_id("Task", SYSTEM, *said[:3]), "directory", elements)
