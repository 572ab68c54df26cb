"""Who must hear of a change: a pure decision, made before anything is stored.

A source never gets back its own statement; what the hub decides goes to every
subscriber, the site that caused it included. A resource with a protected label
leaves to nobody but the site that it came from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segue.care.consent import PROTECTED
from segue.model.changes import Cause, Write
from segue.model.deliveries import Delivery
from segue.model.identity import ResourceKey
from segue.pipeline.routes import Route

ORDER: dict[str, int] = {
    kind: place
    for place, kind in enumerate(
        (
            "Organization",
            "Location",
            "Practitioner",
            "PractitionerRole",
            "Patient",
            "RelatedPerson",
            "Coverage",
            "Account",
            "EpisodeOfCare",
            "Encounter",
            "Condition",
            "AllergyIntolerance",
            "Observation",
            "Procedure",
            "RiskAssessment",
            "Goal",
            "CareTeam",
            "CarePlan",
            "Flag",
            "Task",
        )
    )
}
"""Types in the order in which they refer to each other."""


@dataclass(slots=True)
class Change:
    """A write, and what fan-out must know of its resource beyond the text.

    Attributes:
        sources: sites whose statements it is folded from; empty for what the hub
            decided.
        labels: security label codes it carries.
        status: `Task.status` or the like, "" where it has none.
        said: content hash that the causing site itself sent for this resource: the
            site has this content already.
        internal: a Task that the hub owns, or a question of its own: bookkeeping, which
            nobody is told (docs/adr/0002).
        notice: see `Delivery.notice`.
        held: types of the person's resources, where who the person is has changed:
            who gets any of them must hear of it.
    """

    write: Write
    sources: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    status: str = ""
    said: bytes | None = None
    internal: bool = False
    notice: str = ""
    held: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """The coordinating plan as it stands after the step.

    Attributes:
        labels: security label codes it carries.
    """

    key: ResourceKey
    version: int
    labels: frozenset[str] = frozenset()


def fan_out(
    changes: Sequence[Change],
    routes: Iterable[Route],
    cause: Cause,
    lane: int,
    *,
    plan: Plan | None = None,
    ended: Sequence[Plan] = (),
    forward: str | None = None,
    labels: frozenset[str] = frozenset(),
    after: tuple[int, ...] = (),
) -> list[Delivery]:
    """Decide the deliveries of one step, in the order in which they must go.

    Args:
        changes: what the step writes, all of one person.
        routes: all destinations.
        cause: of the step; its source is the site that spoke.
        lane: pk of the person.
        plan: the person's coordinating plan, None while there is none.
        ended: coordinating plans that are none any more: of a cancelled admission, of
            somebody who was merged. Who shows them must be told.
        forward: id of the journal entry whose message is forwarded as it came.
        labels: security labels of that message's facts.
        after: see `Delivery.after`.
    """
    deliveries: list[Delivery] = []
    ordered = sorted(changes, key=_place)
    if labels & PROTECTED:
        forward = None
    if plan is not None and (plan.labels & PROTECTED or not _is_due(ordered)):
        plan = None
    plans = [one for one in ended if not one.labels & PROTECTED]
    if plan is not None:
        plans.append(plan)
    for route in routes:
        send = route.send
        if forward is not None and "adt" in send and cause.source != route.site:
            deliveries.append(Delivery(route.name, lane, "adt", forward, 0, cause.ref, after))
        if "careplan" in send:
            deliveries += [
                Delivery(
                    route.name, lane, "careplan", one.key.reference, one.version, cause.ref, after
                )
                for one in plans
            ]
        for change in ordered:
            write = change.write
            wanted = write.key.type in send or not change.held.isdisjoint(send)
            if wanted and _must_hear(change, route, cause):
                what, notice = write.key.reference, change.notice
                deliveries.append(
                    Delivery(
                        route.name, lane, "fhir", what, write.version, cause.ref, after, notice
                    )
                )
            elif (
                "alerts" in send
                and write.key.type == "Encounter"
                and write.body is not None
                and _must_hear(change, route, cause)
            ):
                what = write.key.reference
                deliveries.append(
                    Delivery(route.name, lane, "alert", what, write.version, cause.ref, after)
                )
    return deliveries


def _place(change: Change) -> tuple[int, str]:
    key = change.write.key
    return (ORDER.get(key.type, len(ORDER)), key.id)


def _must_hear(change: Change, route: Route, cause: Cause) -> bool:
    write = change.write
    if change.labels & PROTECTED and change.sources != {route.site}:
        return False
    if change.sources == {route.site}:
        return False  # its own statement
    if change.said == write.content and cause.source == route.site:
        return False
    if change.internal or (write.key.type == "Task" and change.status == "draft"):
        return False
    return route.bed_moves or not _is_bed_move(write)


def _is_bed_move(write: Write) -> bool:
    base = write.base
    return (
        base is not None
        and not base.deleted
        and write.body is not None
        and base.gist == write.gist
        and base.content != write.content
    )


def _is_due(changes: Sequence[Change]) -> bool:
    """Whether the plan's rendering is out of date: the plan or a Task of it changed."""
    return any(
        not change.sources
        and not change.internal
        and (
            change.write.key.type == "CarePlan"
            or (change.write.key.type == "Task" and change.status != "draft")
        )
        and not change.labels & PROTECTED
        for change in changes
    )
