"""What a client may say about a resource that the engine computes.

Such a write is a statement: who, when, and which elements differ from what is stored.
The engine takes it into account and keeps the resource its own. Elements that are not
the client's to state are refused by name (docs/architecture.md, "Three kinds of stored resource").
"""

from collections.abc import Iterable, Mapping
from typing import Any

from segue.care.parties import practice_party, site_party
from segue.care.person_view import person_view
from segue.care.statements import actor_of, check_statement
from segue.care.view import CareSetting, TaskStatement
from segue.fhir.lifecycle import Actor
from segue.fhir.outcomes import FhirError
from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from segue.pipeline.charts import Chart

PLAN_ELEMENTS = frozenset({"note", "contributor"})
"""Elements of the hub's CarePlan that others may add."""

_HUB = "segue"
_UNREAD = frozenset({"resourceType", "id", "meta", "text", "lastModified"})
_FILED_BY_PRACTICE = frozenset({"notify-admit", "send-dc-info"})


def changed(stored: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """The elements that a write changes, with their new values; None takes one away.

    >>> changed({"status": "requested", "id": "1"}, {"status": "accepted", "id": "1"})
    {'status': 'accepted'}
    """
    names = sorted((stored.keys() | sent.keys()) - _UNREAD)
    return {name: sent.get(name) for name in names if stored.get(name) != sent.get(name)}


def actor(
    task: Mapping[str, Any], site: str, chart: Chart, setting: CareSetting, *, anonymous: bool
) -> Actor | None:
    """As what somebody may speak of a Task of the hub; None where it is not their business.

    Its owner may; the practice may confirm what was sent to it; without any configured
    client (loopback only) everybody stands for the owners outside the hub.

    Args:
        site: the site that writes, "" where it speaks for none.
        chart: of the person that the Task is for.
        anonymous: no client is configured.
    """
    if anonymous:
        return None if _is_hubs(task) else "owner"
    if not site:
        return None
    found = actor_of(task, site) if site != _HUB else None
    codes = {coding.get("code") for coding in (task.get("code") or {}).get("coding", ())}
    if found is None and codes & _FILED_BY_PRACTICE:
        practice = practice_party(person_view(chart.person, chart.visits, setting), setting)
        if practice is not None and practice.site == site:
            return "owner"
    return found


def _is_hubs(task: Mapping[str, Any]) -> bool:
    owner = (task.get("owner") or {}).get("reference")
    return bool(owner) and owner == (task.get("requester") or {}).get("reference")


def task_issues(
    task: Mapping[str, Any],
    elements: Mapping[str, Any],
    who: Actor | None,
    resources: Mapping[str, Mapping[str, Any]],
) -> list[Issue]:
    """What is wrong with a statement about a Task, the owner named where it is not theirs.

    Args:
        resources: what new outputs refer to, by `Type/id`, as far as it is known.
    """
    issues = check_statement(task, elements, who, resources)
    if who is None:
        owner = (task.get("owner") or {}).get("display") or "its owner"
        return [
            Issue(i.severity, i.code, i.where, f"{i.text}: {owner}") if i.code == "not-owner" else i
            for i in issues
        ]
    return issues


def plan_issues(elements: Mapping[str, Any]) -> list[Issue]:
    """What is wrong with a statement about a CarePlan of the hub."""
    return [
        _not_theirs("CarePlan", name, "the hub") for name in elements if name not in PLAN_ELEMENTS
    ]


def with_words(plan: Mapping[str, Any], statements: Iterable[TaskStatement]) -> dict[str, Any]:
    """The hub's CarePlan with what others have added to it; nothing is taken away.

    >>> said = TaskStatement("CarePlan/p", {"note": [{"text": "a"}]}, "pcpb", 1)
    >>> with_words({"resourceType": "CarePlan", "id": "p"}, [said])["note"]
    [{'text': 'a'}]
    """
    made = dict(plan)
    for one in statements:
        if one.task != f"CarePlan/{plan['id']}":
            continue
        for name in PLAN_ELEMENTS & one.elements.keys():
            known = made.get(name, [])
            made[name] = [*known, *(v for v in one.elements[name] or () if v not in known)]
    return made


def refusal(type_: str, elements: Mapping[str, Any], owner: str) -> FhirError:
    """The error of a write to what somebody else decides (422)."""
    return FhirError("unprocessable", [_not_theirs(type_, name, owner) for name in elements])


def _not_theirs(type_: str, name: str, owner: str) -> Issue:
    return Issue("error", "not-owned", f"{type_}.{name}", f"{type_}.{name} is decided by {owner}")


DEFINED = frozenset(
    {"ActivityDefinition", "CodeSystem", "ConceptMap", "OperationDefinition", "PlanDefinition",
     "SearchParameter", "StructureDefinition", "ValueSet"}
)  # fmt: skip
"""Types of what the engine works by; see `segue.pipeline.definitions`."""


def decider(type_: str, id_: str, chart: Chart | None, setting: CareSetting) -> str:
    """In words, who decides about a computed resource."""
    if chart is None and type_ in DEFINED:
        return "the engine's own files: store yours under another id"
    if chart is None:
        return "the feeds that it is taken from"
    if f"{type_}/{id_}" in chart.margin.care:
        return "the hub"
    for visit in chart.visits.values():
        if visit.encounter == id_ or f"{type_}/{id_}" in visit.others:
            return str(site_party(visit.site, setting).reference.get("display", visit.site))
    return "the feeds that it is taken from"


def may_be_stated(key: ResourceKey, chart: Chart) -> bool:
    """Whether others may speak of a computed resource at all: the hub's Tasks and plans."""
    return key.type in ("Task", "CarePlan") and key.reference in chart.margin.care


def statement(
    chart: Chart, key: ResourceKey, elements: Mapping[str, Any], source: str, recorded: int
) -> TaskStatement | None:
    """The statement, None where the source has said just that the last time.

    Args:
        key: of the Task or CarePlan.
        recorded: microseconds UTC.
    """
    subject = key.id if key.type == "Task" else key.reference
    made = TaskStatement(subject, dict(elements), source, recorded)
    last = [one for one in chart.person.statements if one.task == subject]
    if last and last[-1].source == source and last[-1].elements == made.elements:
        return None
    return made
