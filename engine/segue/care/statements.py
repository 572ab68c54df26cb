"""What owners say of their Tasks: whether it may be said, and what it points to.

A Task is completed by evidence, so `completed` without a valid output is refused; all
other words follow the state machine of `segue.fhir.lifecycle`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from segue.care.evidence import readable
from segue.care.parties import HUB, organization_id
from segue.care.requirements import POINTED_TO
from segue.fhir.lifecycle import TASK_ENDED, Actor, allowed, allowed_from
from segue.model.issues import Issue

OWNED: Final = frozenset(
    {
        "status",
        "businessStatus",
        "statusReason",
        "owner",
        "output",
        "note",
        "executionPeriod",
    }
)
"""Elements of a Task that its owner may state; all others are the hub's."""

_EVIDENCE_KINDS: Final = {
    "contact": POINTED_TO["two-way-contact"],
    "visit": POINTED_TO["office-visit"],
    "schedule-visit": POINTED_TO["appointment"],
    "med-rec": POINTED_TO["medication-list"],
    "tcm-records": POINTED_TO["discharge-summary"],
    "send-dc-info": POINTED_TO["discharge-summary"],
    "surveillance": POINTED_TO["contact-or-visit"],
}


def actor_of(task: Mapping[str, Any], site: str) -> Actor | None:
    """As what a site may speak of a Task; None where it is not its business.

    Args:
        task: as stored.
        site: name of the site that writes.
    """
    if site == HUB:
        return "hub"
    organization = f"Organization/{organization_id(site)}"
    recipients = (task.get("restriction") or {}).get("recipient") or ()
    owners = [task.get("owner") or {}, *recipients]
    if any(owner.get("reference") == organization for owner in owners):
        return "owner"
    return None


def check_statement(
    task: Mapping[str, Any],
    elements: Mapping[str, Any],
    actor: Actor | None,
    resources: Mapping[str, Mapping[str, Any]] | None = None,
    decider: str = "the hub",
) -> list[Issue]:
    """What is wrong with a statement about a Task; nothing where it may be made.

    Args:
        task: as stored.
        elements: top-level elements that the write changes, with their new values.
        actor: as what the writer speaks, see `actor_of`.
        resources: bodies of what the outputs refer to, by `Type/id`, as far as known.
            With them a voicemail is refused as evidence of a contact.
        decider: who decides about all that is not the owner's.
    """
    issues = [
        Issue("error", "not-owned", f"Task.{name}", f"Task.{name} is decided by {decider}")
        for name in elements
        if name not in OWNED
    ]
    if actor is None:
        issues.append(
            Issue("error", "not-owner", "Task.owner", "only the owner may speak of this Task")
        )
        return issues
    status = elements.get("status")
    before = str(task.get("status"))
    if status is None or status == before:
        return issues
    if status == "completed":
        if before in TASK_ENDED or before == "draft":
            issues.append(transition(before, "completed", _next(before, actor)))
        stated = elements.get("output") or task.get("output") or ()
        if not _evident(stated):
            issues.append(
                Issue(
                    "error",
                    "output-required",
                    "Task.output",
                    "a Task is completed by evidence: give an output that refers to it",
                )
            )
        elif resources is not None:
            issues.extend(_unfit(task, references(stated), resources))
    elif not allowed("Task", before, str(status), actor):
        issues.append(transition(before, str(status), _next(before, actor)))
    return issues


def _evident(outputs: Any) -> bool:
    """Whether there are outputs, and each has a type and a value; attempts are none."""
    if not isinstance(outputs, list | tuple) or not outputs:
        return False
    real = 0
    for one in outputs:
        if not isinstance(one, Mapping) or not one.get("type"):
            return False
        if not any(key.startswith("value") and one[key] not in (None, "", {}) for key in one):
            return False
        codes = {c.get("code") for c in (one["type"].get("coding") or ())}
        real += "attempt" not in codes
    return real > 0


def _unfit(
    task: Mapping[str, Any], pointed: Sequence[str], resources: Mapping[str, Mapping[str, Any]]
) -> Iterable[Issue]:
    """An issue where all that the outputs refer to is known, and none of it can count."""
    code = task["code"]["coding"][0]["code"]
    kinds = _EVIDENCE_KINDS.get(code)
    if kinds is None or any(one not in resources for one in pointed):
        return
    given = readable({one: resources[one] for one in pointed})
    if not any(one.startswith(kinds) and one in given for one in pointed):
        wanted = ", ".join(kind.rstrip("/") for kind in kinds)
        text = f"none of the outputs is evidence for {code}; one of {wanted} that counts is needed"
        yield Issue("error", "output-unfit", "Task.output", text)


def _next(before: str, actor: Actor) -> list[str]:
    may = set(allowed_from("Task", before, actor))
    if before not in TASK_ENDED and before != "draft":
        may.add("completed")
    return sorted(may)


def transition(before: str, after: str, may: Iterable[str]) -> Issue:
    """A Task that cannot become what somebody says.

    Args:
        may: what it can become instead.
    """
    return Issue(
        "error",
        "transition",
        "Task.status",
        f"a Task that is {before} cannot become {after}; from here: {', '.join(may) or 'nothing'}",
    )


def references(outputs: Iterable[Mapping[str, Any]]) -> list[str]:
    """`Type/id` of what outputs point to."""
    found = []
    for one in outputs:
        reference = (one.get("valueReference") or {}).get("reference")
        if reference:
            parts = str(reference).split("/_history/")[0].split("/")
            found.append("/".join(parts[-2:]))
    return found
