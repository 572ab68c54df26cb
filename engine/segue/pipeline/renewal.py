"""A Task that has ended never opens again: what is to be done all the same is a new Task.

Coordination is a function of the facts, so a Task that it once ended can be wanted
again: when a death, or a merge that bridged two stays, turns out to have been an error.
People have seen it end. So the stored Task stays as it is, and a new one takes its
place, with the same need and an id of its own. Protocols know nothing of this: to them
the new one is shown under the first one's id. A Task that was superseded before anybody
touched it is taken up again under its own id (ADR 12).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from segue.care.view import Person
from segue.fhir.canonical import RENEWED
from segue.fhir.lifecycle import TASK_ENDED
from segue.fhir.references import rewrite
from segue.model.identity import stable_id

Resource = dict[str, Any]
TAGS = "urn:segue:tag"


def as_first(view: Person, renewed: Mapping[str, str]) -> Person:
    """The person as protocols see them, with each new Task under the first one's id.

    Args:
        view: with statements, evidence and receipts as they were made.
        renewed: reference of the first Task to the one that has taken its place.
    """
    if not renewed:
        return view
    back = {new: first for first, new in renewed.items()}

    def first_of(reference: str) -> str:
        return back.get(reference, reference)

    return replace(
        view,
        statements=[
            replace(one, task=first_of(f"Task/{one.task}").removeprefix("Task/"))
            for one in view.statements
        ],
        evidence=[replace(one, resource=rewrite(one.resource, back)) for one in view.evidence],
        receipts=[replace(one, reference=first_of(one.reference)) for one in view.receipts],
    )


def renew(
    resources: list[Resource], ended: Collection[str], renewed: Mapping[str, str]
) -> tuple[list[Resource], dict[str, str]]:
    """Let new Tasks take the place of those that have ended and are wanted again.

    Args:
        resources: as coordination yields them.
        ended: references of the stored Tasks that have ended.
        renewed: see `as_first`.

    Returns:
        The resources as they are to be stored, and the new `renewed`.
    """
    places = dict(renewed)
    for one in resources:
        if one["resourceType"] == "Task" and one["status"] not in TASK_ENDED:
            first = f"Task/{one['id']}"
            while (present := places.get(first, first)) in ended:
                places[first] = f"Task/{stable_id('Task', present, 'again')}"
    if not places:
        return resources, places
    return [_in_place(rewrite(one, places), places) for one in resources], places


def _in_place(resource: Resource, places: Mapping[str, str]) -> Resource:
    new = places.get(f"{resource['resourceType']}/{resource['id']}")
    if new is None:
        return resource
    logical_id = new.removeprefix("Task/")
    meta = dict(resource.get("meta", {}))
    meta["tag"] = [*meta.get("tag", ()), {"system": TAGS, "code": RENEWED}]
    identifiers = [
        {**item, "value": logical_id} if item.get("value") == resource["id"] else item
        for item in resource.get("identifier", ())
    ]
    return {**resource, "id": logical_id, "meta": meta, "identifier": identifiers}


def ended_of(resources: Iterable[Resource]) -> set[str]:
    """References of the Tasks among them that have ended."""
    return {
        f"Task/{one['id']}"
        for one in resources
        if one["resourceType"] == "Task" and one["status"] in TASK_ENDED
    }
