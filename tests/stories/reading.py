"""What the stories read from an engine: encounters, tasks and plans, in short words."""

import json
from typing import Any

from tests.stories.cast import Cast

Resource = dict[str, Any]


def code_of(task: Resource) -> str:
    """Task.code."""
    return str(task["code"]["coding"][0]["code"])


def due_of(task: Resource) -> str:
    """The date that the task is due: restriction.period.end."""
    return str(task["restriction"]["period"]["end"])[:10]


def tasks_of(cast: Cast, **parameters: str) -> list[Resource]:
    """All Tasks, by code and due date."""
    return sorted(cast.find("Task", **parameters), key=lambda t: (code_of(t), due_of(t), t["id"]))


def summary(tasks: list[Resource]) -> list[str]:
    """`contact 2026-07-14 requested` for each."""
    return [f"{code_of(t)} {due_of(t)} {t['status']}" for t in tasks]


def visit(cast: Cast, number: str) -> Resource:
    """The one Encounter with a visit number."""
    found = cast.find("Encounter", identifier=number)
    assert len(found) == 1, [e["id"] for e in found]
    return found[0]


def anchored(tasks: list[Resource], encounter: Resource) -> list[Resource]:
    """The Tasks that belong to an Encounter."""
    reference = f"Encounter/{encounter['id']}"
    return [t for t in tasks if t["encounter"]["reference"] == reference]


def inputs(task: Resource, code: str) -> list[Any]:
    """Values of the inputs with a type code."""
    found = []
    for item in task.get("input", []):
        if item["type"]["coding"][0]["code"] == code:
            (value,) = (v for k, v in item.items() if k.startswith("value"))
            found.append(json.loads(value) if code == "requirement" else value)
    return found


def coordinating(cast: Cast) -> list[Resource]:
    """CarePlans that are nobody's part and active."""
    return [p for p in cast.find("CarePlan") if not p.get("partOf") and p["status"] == "active"]


def lace(cast: Cast, encounter: Resource) -> Resource:
    """The LACE RiskAssessment of an Encounter."""
    reference = f"Encounter/{encounter['id']}"
    (found,) = [
        r
        for r in cast.find("RiskAssessment")
        if r.get("encounter", {}).get("reference") == reference
    ]
    return found


def components(cast: Cast, assessment: Resource) -> list[int]:
    """The points of L, A, C and E, where each of them is known."""
    observation = cast.read(assessment["basis"][0]["reference"])
    return [int(part["valueRange"]["low"]["value"]) for part in observation["component"]]


def score(cast: Cast, assessment: Resource) -> tuple[int, int]:
    """Low and high end of the score that a RiskAssessment rests on."""
    observation = cast.read(assessment["basis"][0]["reference"])
    if "valueRange" in observation:
        value = observation["valueRange"]
        return int(value["low"]["value"]), int(value["high"]["value"])
    value = observation.get("valueInteger", observation.get("valueQuantity", {}).get("value"))
    return int(value), int(value)
