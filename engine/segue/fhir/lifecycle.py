"""Which status may follow which, and who may set it.

Source: https://hl7.org/fhir/R4/task.html#statemachine, https://hl7.org/fhir/R4/request.html
and docs/architecture.md for the edges that only the hub may take.
"""

from typing import Literal

Actor = Literal["hub", "owner", "requester"]
"""`hub`: Segue itself; `owner`: Task.owner's system; `requester`: who asked for it."""

HUB: frozenset[Actor] = frozenset({"hub"})
OWNER: frozenset[Actor] = frozenset({"owner"})
REQUESTER: frozenset[Actor] = frozenset({"requester", "hub"})
EITHER: frozenset[Actor] = frozenset({"owner", "requester", "hub"})
OWNER_OR_HUB: frozenset[Actor] = frozenset({"owner", "hub"})

TASK_ENDED = frozenset({"completed", "failed", "cancelled", "rejected", "entered-in-error"})
"""Task states that nothing follows; new work is a Task of a new generation."""

TASK_OPEN = ("draft", "requested", "received", "accepted", "ready", "in-progress", "on-hold")
"""Task states in which there is something left to do."""


def _task() -> dict[tuple[str, str], frozenset[Actor]]:
    edges: dict[tuple[str, str], frozenset[Actor]] = {
        ("draft", "requested"): REQUESTER,
        ("draft", "ready"): REQUESTER,
        ("requested", "received"): OWNER,
        ("requested", "accepted"): OWNER,
        ("received", "accepted"): OWNER,
        ("requested", "rejected"): OWNER,
        ("received", "rejected"): OWNER,
        ("accepted", "ready"): OWNER,
        ("accepted", "in-progress"): OWNER,
        ("ready", "in-progress"): OWNER,
        ("accepted", "on-hold"): OWNER_OR_HUB,
        ("ready", "on-hold"): OWNER_OR_HUB,
        ("in-progress", "on-hold"): OWNER_OR_HUB,
        ("on-hold", "in-progress"): OWNER_OR_HUB,
        ("accepted", "completed"): OWNER_OR_HUB,
        ("ready", "completed"): OWNER_OR_HUB,
        ("in-progress", "completed"): OWNER_OR_HUB,
        ("accepted", "failed"): OWNER_OR_HUB,
        ("ready", "failed"): OWNER_OR_HUB,
        ("in-progress", "failed"): OWNER_OR_HUB,
        ("on-hold", "failed"): OWNER_OR_HUB,
        ("accepted", "cancelled"): EITHER,
        ("ready", "cancelled"): EITHER,
        ("in-progress", "cancelled"): EITHER,
        ("on-hold", "cancelled"): EITHER,
        ("requested", "cancelled"): REQUESTER,
        ("received", "cancelled"): REQUESTER,
        ("draft", "cancelled"): REQUESTER,
    }
    for state in TASK_OPEN:
        for end in ("cancelled", "failed"):
            edges.setdefault((state, end), HUB)
        edges.setdefault((state, "entered-in-error"), REQUESTER)
        if state not in ("draft", "on-hold"):
            # Evidence closes a task whatever its owner has said so far.
            edges.setdefault((state, "completed"), HUB)
        if state != "on-hold":
            # Work rests while the patient is in a facility, and goes on where it was.
            edges.setdefault((state, "on-hold"), HUB)
            edges.setdefault(("on-hold", state), HUB)
    # Evidence may also arrive for a task that rests.
    edges.setdefault(("on-hold", "completed"), HUB)
    return edges


def _plan() -> dict[tuple[str, str], frozenset[Actor]]:
    # https://hl7.org/fhir/R4/request.html#statemachine
    names = {
        "draft": ("active", "revoked", "entered-in-error"),
        "active": ("on-hold", "completed", "revoked", "entered-in-error"),
        "on-hold": ("active", "completed", "revoked", "entered-in-error"),
        "unknown": ("draft", "active", "on-hold", "completed", "revoked", "entered-in-error"),
        "completed": ("entered-in-error",),
        "revoked": ("entered-in-error",),
    }
    edges = {(a, b): EITHER for a, following in names.items() for b in following}
    # Reinstated after an erroneous death or cancel.
    edges["revoked", "active"] = HUB
    edges["completed", "active"] = HUB
    return edges


def _encounter() -> dict[tuple[str, str], frozenset[Actor]]:
    # https://hl7.org/fhir/R4/encounter.html; a cancelled discharge opens it again.
    live = ("planned", "arrived", "triaged", "in-progress", "onleave", "finished", "unknown")
    edges = {(a, b): EITHER for a in live for b in (*live, "cancelled") if a != b}
    edges |= {(a, "entered-in-error"): EITHER for a in (*live, "cancelled")}
    edges |= {("cancelled", b): HUB for b in live}
    return edges


TRANSITIONS: dict[str, dict[tuple[str, str], frozenset[Actor]]] = {
    "Task": _task(),
    "CarePlan": _plan(),
    "Encounter": _encounter(),
}
"""Type to (from, to) to who may do it. Types that are not here are free."""


def allowed(type_: str, before: str, after: str, actor: Actor) -> bool:
    """Whether the actor may lead a resource from one status to another.

    >>> allowed("Task", "requested", "completed", "hub")
    True
    >>> allowed("Task", "requested", "completed", "owner")
    False
    >>> allowed("Task", "completed", "in-progress", "hub")
    False
    """
    edges = TRANSITIONS.get(type_)
    return edges is None or before == after or actor in edges.get((before, after), ())


def allowed_from(type_: str, before: str, actor: Actor) -> tuple[str, ...]:
    """The states that the actor may set next, sorted.

    >>> allowed_from("Task", "requested", "owner")
    ('accepted', 'received', 'rejected')
    """
    edges = TRANSITIONS.get(type_, {})
    return tuple(
        sorted(
            after for (state, after), actors in edges.items() if state == before and actor in actors
        )
    )


def reachable_from(type_: str, before: str) -> frozenset[str]:
    """The states that owner and requester together can lead to, in one step or several.

    A source system that reports its own work may leave out steps; it never leaves an end.

    >>> sorted(reachable_from("Task", "in-progress"))
    ['cancelled', 'completed', 'entered-in-error', 'failed', 'in-progress', 'on-hold']
    >>> reachable_from("Task", "completed")
    frozenset()
    """
    edges = TRANSITIONS.get(type_, {})
    found: set[str] = set()
    new = {before}
    while new:
        state = new.pop()
        following = {b for (a, b), actors in edges.items() if a == state and actors - HUB}
        new |= following - found
        found |= following
    return frozenset(found)
