"""What each request of a write is about: which resource, and whether it is there.

Ids are settled before anything is stored, so that references within a bundle can be
resolved whatever their order.

Source: https://hl7.org/fhir/R4/http.html (create, update, conditional interactions)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

from segue.fhir.outcomes import FhirError, fhir_error
from segue.fhir.requests import Entry
from segue.fhir.search.conditions import Query
from segue.fhir.search.query import lock_number, parse
from segue.model.changes import Head
from segue.model.identity import ResourceKey
from segue.pipeline.identities import Identified
from segue.pipeline.transact import Draft
from segue.store.search_walk import Walker

Resource = dict[str, Any]
Action = Literal["create", "update", "found", "delete", "nothing", "read"]

MULTIPLE = "conditionalDelete"
"""Parameter of a conditional delete; `multiple` deletes all that meet the condition."""

MOST_DELETED = 1_000
"""Resources that one conditional delete may delete."""

_ETAG = re.compile(r'(?:W/)?"?([0-9]{1,9})"?\Z')
_ID = re.compile(r"[A-Za-z0-9.\-]{1,64}\Z")


@dataclass(slots=True)
class Target:
    """One request, and what it is about.

    Attributes:
        action: `found`: it is there and nothing is to be done; `nothing`: a delete of
            what is not there; `read`: it is answered after the commit.
        key: of the resource; of `read` and `nothing` it may be None.
        resource: what was sent, with its id; references are resolved later.
        identity: of a Patient. visits: visit keys of an Encounter.
        restated: a create that turned out to be about what is there already.
    """

    entry: Entry
    action: Action
    key: ResourceKey | None = None
    resource: Resource | None = None
    identity: Identified | None = None
    visits: Sequence[str] = ()
    restated: bool = False


def versions_of(tags: str, header: str) -> frozenset[int] | None:
    """The versions that a list of ETags names; None for `*`.

    Raises:
        FhirError: 400; one is none of ours.

    >>> sorted(versions_of('W/"3", W/"4"', "If-Match"))
    [3, 4]
    """
    if tags.strip() == "*":
        return None
    found = set()
    for tag in tags.split(","):
        match = _ETAG.match(tag.strip())
        if match is None:
            raise fhir_error("incorrect", "value", f'{header}: expected W/"version"')
        found.add(int(match.group(1)))
    return frozenset(found)


def condition(entry: Entry, base: str | None) -> Query | None:
    """The query that decides what a conditional request is about; None for others.

    A create with a search in its URL, as some clients send it, is one with If-None-Exist.

    Raises:
        FhirError: 400 for a parameter that is not known, 412 where nothing is asked for.
    """
    if entry.method == "POST" and entry.if_none_exist is not None:
        text = entry.if_none_exist.partition("?")[2] or entry.if_none_exist
        pairs = parse_qsl(text, keep_blank_values=True)
    elif entry.method in ("PUT", "PATCH", "DELETE") and entry.id is None:
        pairs = [pair for pair in entry.query if pair[0] != MULTIPLE]
    elif entry.method == "POST" and entry.query:
        pairs = list(entry.query)
    else:
        return None
    if not pairs:
        raise fhir_error(
            "incorrect", "required", f"{entry.method} needs an id, or a search that selects"
        )
    most = MOST_DELETED + 1 if deletes_many(entry) else 2
    query = parse(entry.type, pairs, strict=True, base=base, default_count=most, most=most)
    if not query.conditions:
        raise fhir_error(
            "precondition",
            "incomplete",
            "a conditional request needs at least one search parameter",
        )
    return query


def lock_of(entry: Entry, base: str | None) -> int | None:
    """Number to hold while a condition is looked up and written; None for others."""
    query = condition(entry, base)
    return None if query is None else lock_number(query)


def deletes_many(entry: Entry) -> bool:
    """Whether a conditional delete is to delete all that meet its condition."""
    return entry.method == "DELETE" and (MULTIPLE, "multiple") in entry.query


def matches(draft: Draft, query: Query) -> list[ResourceKey]:
    """The first resources that meet a query, as the draft's snapshot has them."""
    return Walker(draft.reader.session).first(query, query.count)


def check_type(entry: Entry, types: frozenset[str]) -> None:
    """Let a request pass whose type exists and whose body is of it.

    Raises:
        FhirError: 404 for an unknown type, 400 for a body that does not fit the URL.
    """
    if not entry.type and entry.method in ("GET", "HEAD"):
        return
    if entry.type not in types:
        raise fhir_error("not-found", "not-supported", f"there is no resource type {entry.type!r}")
    if entry.method == "PATCH" and entry.patch is None:
        raise fhir_error("incorrect", "required", "PATCH needs a patch")
    if entry.method not in ("POST", "PUT"):
        return
    resource = entry.resource
    if not isinstance(resource, dict) or resource.get("resourceType") != entry.type:
        found = resource.get("resourceType") if isinstance(resource, dict) else None
        text = f"the body is {found or 'no resource'}, the URL names {entry.type}"
        raise fhir_error("incorrect", "invalid", text)


def check_id(entry: Entry) -> None:
    """Let an update pass whose body has the id of its URL.

    Raises:
        FhirError: 400.
    """
    assert entry.resource is not None
    id_ = entry.resource.get("id")
    if entry.id is None:
        if id_ is not None and not (isinstance(id_, str) and _ID.match(id_)):
            raise fhir_error("incorrect", "value", "the id is no FHIR id")
        return
    if not _ID.match(entry.id):
        raise fhir_error("incorrect", "value", "the id in the URL is no FHIR id")
    if id_ != entry.id:
        word = "has no id" if id_ is None else "has another id than the URL"
        raise fhir_error("incorrect", "invalid", f"the body {word}")


def check_match(entry: Entry, head: Head | None) -> None:
    """Judge `If-Match` and `If-None-Match` against what is stored.

    Raises:
        FhirError: 412.
    """
    there = head is not None and not head.deleted
    if entry.if_none_match is not None and there and head is not None:
        named = versions_of(entry.if_none_match, "If-None-Match")
        if named is None or head.version in named:
            text = f"If-None-Match: {entry.if_none_match[:40]}, but the resource exists"
            raise fhir_error("precondition", "conflict", text)
    if entry.if_match is None:
        return
    wanted = versions_of(entry.if_match, "If-Match")
    if not there:
        raise fhir_error("precondition", "conflict", "If-Match: the resource does not exist")
    if wanted is not None and head is not None and head.version not in wanted:
        raise fhir_error(
            "precondition",
            "conflict",
            f"If-Match: the version is {head.version} by now: read it, and apply the change to it",
        )


def several(entry: Entry) -> FhirError:
    """The error of a condition that more than one resource meets."""
    return fhir_error(
        "precondition", "multiple-matches", f"more than one {entry.type} meets the condition"
    )
