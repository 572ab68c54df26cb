"""What becomes of stored care resources that coordination yields no more."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from segue.care.requirements import generation_of
from segue.care.stays import NOT_REAL
from segue.care.tasks import NEED_SYSTEM, REASON_SYSTEM, REASONS
from segue.care.view import Person
from segue.fhir.lifecycle import TASK_ENDED

ENDS_IN_PLACE: Final = frozenset({"Task", "CarePlan", "EpisodeOfCare"})
"""Care resources that people may have seen or worked on: they end, others are deleted."""

_RETRACTED: Final = {"system": "urn:segue:tag", "code": "retracted"}


def retract(
    resource: Mapping[str, Any], person: Person, deleted: Collection[str] = ()
) -> dict[str, Any] | None:
    """What becomes of a stored care resource that coordination yields no more.

    A Task is cancelled (`deceased`, `merged` where its visit goes on under another
    number, `anchor-voided`, or `superseded` where the anchor still stands), unless it has
    ended: then it stays as it is, and where nobody but the hub has acted on it, a tag says
    that it counts no more. A plan is revoked, an episode cancelled.

    Args:
        resource: as stored.
        person: as folded.
        deleted: references of what is deleted with it: it points to none of them any more.

    Returns:
        The resource as it is to be stored; None where it is to be deleted.
    """
    kind = resource["resourceType"]
    if kind == "Task":
        made = dict(resource)
        if resource.get("status") not in TASK_ENDED:
            made["status"] = "cancelled"
            made["statusReason"] = REASONS[_reason(resource, person)]
        elif _was_acted_on(resource):
            return made
    elif kind == "CarePlan":
        made = {**without(resource, deleted), "status": "revoked"}
    elif kind == "EpisodeOfCare":
        made = {**without(resource, deleted), "status": "cancelled"}
    else:
        return None
    meta = dict(resource.get("meta") or {})
    meta["tag"] = [*(tag for tag in meta.get("tag", ()) if tag != _RETRACTED), _RETRACTED]
    made["meta"] = meta
    return made


def is_provisional(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a retracted Task may be taken up again under its own id (ADR 12).

    That is one which was superseded while nobody had touched it: what had come until then
    told of another stay, and what came since of this one after all. Any other end is final.

    Args:
        before: the Task as it was stored. after: what `retract` made of it.
    """
    reasons = after.get("statusReason", {}).get("coding", ())
    return (
        before.get("status") in ("draft", "requested", "on-hold")
        and any(one.get("code") == "superseded" for one in reasons)
        and not any(name in before for name in ("output", "note", "businessStatus"))
    )


def without(resource: Mapping[str, Any], deleted: Collection[str]) -> dict[str, Any]:
    """A resource without the items of its lists that point to what is deleted."""

    def is_gone(item: Any) -> bool:
        target = item.get("reference") if isinstance(item, Mapping) else None
        return isinstance(target, str) and target in deleted

    def stays(item: Any) -> bool:
        within = item.values() if isinstance(item, Mapping) else ()
        return not (is_gone(item) or any(map(is_gone, within)))

    made: dict[str, Any] = {}
    for name, value in resource.items():
        kept = list(filter(stays, value)) if isinstance(value, list) else value
        if kept or not isinstance(value, list):
            made[name] = kept
    return made


def _was_acted_on(task: Mapping[str, Any]) -> bool:
    """Whether anybody but the hub had a part in how a Task ended."""
    reasons = task.get("statusReason", {}).get("coding", ())
    own = any(one.get("system") == REASON_SYSTEM for one in reasons)
    return not own or "output" in task or "note" in task


def _reason(task: Mapping[str, Any], person: Person) -> str:
    if person.deceased is not None:
        return "deceased"
    key = next(
        (one["value"] for one in task.get("identifier", ()) if one.get("system") == NEED_SYSTEM), ""
    )
    visit_key, _, generation = key.rpartition("|")
    visit_key, _, need = visit_key.rpartition("|")
    visit = next((one for one in person.visits if one.key == visit_key), None)
    if visit is None and any(visit_key in one.numbers for one in person.visits):
        return "merged"
    if visit is None or visit.status in NOT_REAL:
        return "anchor-voided"
    if need in ("notify-admit", "find-pcp"):
        return "superseded"
    stands = visit.discharged and int(generation) == generation_of(visit)
    return "superseded" if stands else "anchor-voided"
