"""Whose a client's own resource is, and what others may change of it.

What a source system stored is its own: nobody else changes it, but for those whom the
configuration names. A Task is shared: who owns it says where its work stands, who asked
for it says the rest and may take it back.

Sources: https://hl7.org/fhir/R4/task.html#statemachine and
docs/architecture.md, "Three kinds of stored resource".
"""

from collections.abc import Mapping
from typing import Any

from segue.care.parties import organization_id
from segue.care.statements import check_statement, transition
from segue.care.view import CareSetting
from segue.fhir.lifecycle import TASK_ENDED, allowed, allowed_from, reachable_from
from segue.fhir.outcomes import FhirError, fhir_error
from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from segue.pipeline.owned import changed
from segue.pipeline.speaker import Speaker

SITE = "urn:segue:site"
"""System of a site's name in an identifier of its Organization."""


def stamped(resource: dict[str, Any], speaker: Speaker) -> dict[str, Any]:
    """The resource with the name of its source, where it names none itself.

    >>> stamped({"resourceType": "Goal"}, Speaker("pcpb-post", "pcpb"))["meta"]
    {'source': 'urn:segue:site:pcpb'}
    """
    meta = resource.get("meta") or {}
    if speaker.anonymous or "source" in meta:
        return resource
    source = f"{SITE}:{speaker.site}" if speaker.site else f"urn:segue:client:{speaker.name}"
    return {**resource, "meta": {**meta, "source": source}}


def may_edit(speaker: Speaker, author: str) -> bool:
    """Whether somebody may change what an author stored.

    >>> may_edit(Speaker("a", "pcpb"), "pcpb"), may_edit(Speaker("a", "pcpb"), "payx")
    (True, False)
    """
    return author in (speaker.source, "client:anonymous") or speaker.edits(author)


def not_yours(key: ResourceKey, author: str, verb: str = "changed") -> FhirError:
    """The error of a write to what somebody else stored (403)."""
    text = (
        f"{key.reference} is {author.removeprefix('client:')}'s own and cannot be {verb} by "
        "others: store one of your own that refers to it, or have the feed's `edits` name that site"
    )
    return fhir_error("forbidden", "forbidden", text)


def check_update(
    key: ResourceKey,
    stored: Mapping[str, Any],
    sent: Mapping[str, Any],
    author: str,
    speaker: Speaker,
    setting: CareSetting,
) -> None:
    """Let an update of a client's own resource pass that its speaker may make.

    Args:
        key: of the resource.
        stored, sent: as it is, and as it would be.
        author: source of who stored it first.

    Raises:
        FhirError: 403, it is somebody else's; 422, a Task cannot become that from here.
    """
    authored = may_edit(speaker, author)
    if key.type != "Task":
        if not authored:
            raise not_yours(key, author)
        return
    owner = owner_site(stored, setting)
    if not authored and (not owner or owner != speaker.site):
        raise not_yours(key, author)
    issues: list[Issue] = []
    elements = changed(stored, sent)
    if not authored:
        issues = check_statement(stored, elements, "owner", decider=author)
    elif "status" in elements:
        before, after = str(stored.get("status")), str(elements["status"])
        elsewhere = bool(owner) and owner != speaker.site
        if elsewhere and not allowed("Task", before, after, "requester"):
            issues = [transition(before, after, allowed_from("Task", before, "requester"))]
        elif not elsewhere and after not in (may := _mirrored(before)):
            issues = [transition(before, after, sorted(may))]
    if issues:
        raise FhirError("unprocessable", issues)


def _mirrored(before: str) -> frozenset[str]:
    """Where a source may lead a Task of its own; it may always say that it never was."""
    if before in TASK_ENDED:
        return frozenset({"entered-in-error"})
    return reachable_from("Task", before)


def owner_site(task: Mapping[str, Any], setting: CareSetting) -> str:
    """The site that owns a Task, "" where none of ours does.

    >>> owner_site({"owner": {"identifier": {"system": SITE, "value": "x"}}}, CareSetting({}))
    ''
    """
    owner = task.get("owner") or {}
    sites = setting.sites.keys() | set(setting.destination_sites.values())
    named = owner.get("identifier") or {}
    if named.get("system") == SITE:
        return str(named.get("value")) if named.get("value") in sites else ""
    reference = owner.get("reference")
    return next((s for s in sites if reference == f"Organization/{organization_id(s)}"), "")
