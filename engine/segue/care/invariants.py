"""What must hold of a person's care at any instant.

I-1  at most one open Task for each need of an anchor
I-2  at most one active coordinating plan
I-6  every open Task has an owner, a due date and a rule for its evidence
I-7  plan activities and Tasks match one to one, and nothing refers to what is not there
I-8  a plan that has ended has no open Tasks, but for what the billing office closes
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from segue.care.tasks import NEED_SYSTEM
from segue.fhir.lifecycle import TASK_ENDED
from segue.model.issues import Issue

Resource = Mapping[str, Any]

_PLAN_ENDED: Final = frozenset({"completed", "revoked", "entered-in-error"})
_HISTORY: Final = frozenset({"anchor-voided", "merged", "superseded", "deceased"})
_AFTER_THE_END: Final = frozenset({"bill-tcm"})


def check(resources: Iterable[Resource]) -> list[Issue]:
    """The invariants that the care resources of one person break.

    Args:
        resources: all care resources as stored; others are ignored.
    """
    care = list(resources)
    tasks = [one for one in care if one["resourceType"] == "Task"]
    plans = [one for one in care if one["resourceType"] == "CarePlan"]
    return [
        *_one_task_for_each_need(tasks),
        *_one_coordinating_plan(plans),
        *_open_tasks_are_complete(tasks),
        *_activities_match(plans, tasks),
        *_ended_plans_are_empty(plans, tasks),
    ]


def _broken(code: str, resource: Resource, text: str) -> Issue:
    return Issue("error", code, f"{resource['resourceType']}/{resource['id']}", text)


def _open(task: Resource) -> bool:
    return task["status"] not in TASK_ENDED


def _need(task: Resource) -> str:
    return next(
        (
            str(one["value"])
            for one in task.get("identifier", ())
            if one.get("system") == NEED_SYSTEM
        ),
        "",
    )


def _one_task_for_each_need(tasks: list[Resource]) -> Iterable[Issue]:
    # The generation is part of the key, but two generations may not be open at once.
    held = Counter(_need(task).rpartition("|")[0] for task in tasks if _open(task))
    for task in tasks:
        if _open(task) and held[_need(task).rpartition("|")[0]] > 1:
            yield _broken("I-1", task, "another Task is open for the same need")


def _one_coordinating_plan(plans: list[Resource]) -> Iterable[Issue]:
    active = [one for one in plans if "partOf" not in one and one["status"] == "active"]
    for one in active[1:]:
        yield _broken("I-2", one, "another coordinating plan is active")


def _open_tasks_are_complete(tasks: list[Resource]) -> Iterable[Issue]:
    for task in tasks:
        if not _open(task):
            continue
        if not task.get("owner"):
            yield _broken("I-6", task, "an open Task without owner")
        if not (task.get("restriction") or {}).get("period", {}).get("end"):
            yield _broken("I-6", task, "an open Task without due date")
        if not task.get("instantiatesCanonical"):
            yield _broken("I-6", task, "an open Task without a rule for its evidence")


def _activities_match(plans: list[Resource], tasks: list[Resource]) -> Iterable[Issue]:
    known = {f"Task/{task['id']}": task for task in tasks}
    plan_ids = {f"CarePlan/{plan['id']}" for plan in plans}
    listed: Counter[str] = Counter()
    for plan in plans:
        for activity in plan.get("activity", ()):
            reference = str((activity.get("reference") or {}).get("reference", ""))
            listed[reference] += 1
            # Activities of the coordinating plan are what sources do.
            if reference not in known and "partOf" in plan:
                yield _broken("I-7", plan, f"the activity {reference} is not there")
        for parent in plan.get("partOf", ()):
            if parent["reference"] not in plan_ids:
                yield _broken("I-7", plan, f"part of {parent['reference']}, which is not there")
    for reference, task in known.items():
        if _withdrawn(task):
            continue
        if listed[reference] != 1:
            yield _broken("I-7", task, f"stands in {listed[reference]} plans instead of one")


def _withdrawn(task: Resource) -> bool:
    """Tasks that the hub took back are history, outside the plans."""
    codes = {one.get("code") for one in (task.get("statusReason") or {}).get("coding", ())}
    return task["status"] == "cancelled" and not _HISTORY.isdisjoint(codes)


def _ended_plans_are_empty(plans: list[Resource], tasks: list[Resource]) -> Iterable[Issue]:
    by_plan: dict[str, list[Resource]] = {}
    for task in tasks:
        for plan in task.get("basedOn", ()):
            by_plan.setdefault(str(plan["reference"]), []).append(task)
    for plan in plans:
        if plan["status"] not in _PLAN_ENDED:
            continue
        for task in by_plan.get(f"CarePlan/{plan['id']}", ()):
            code = task["code"]["coding"][0]["code"]
            if _open(task) and not (code in _AFTER_THE_END and task["status"] == "draft"):
                yield _broken("I-8", task, "open, though its plan has ended")
