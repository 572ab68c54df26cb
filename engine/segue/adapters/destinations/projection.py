"""A stored resource as a peer can take it: named by identifier, references resolvable.

The hub's logical ids mean nothing at a peer. A hub-owned resource therefore travels as
a conditional update, `PUT Task?identifier=urn:segue|<id>`, without an id and with that
identifier added. Its references are rewritten so that a server that checks them accepts
them, best first:

1. the target is in the same Bundle: its entry's `urn:uuid` full URL;
2. the peer has told us where it keeps the target: that literal reference;
3. the target was never sent there: a logical reference (`Reference.identifier`), with
   `urn:segue|<id>` where the destination subscribes to such resources, else with the
   target's own business identifier (a patient's MRN), by which the peer knows it.

A conditional reference is not used: a server must refuse the whole transaction where
nothing matches it. Contained (`#x`), absolute and `urn:` references stay as they are.

Source: https://hl7.org/fhir/R4/http.html#trules, references.html#logical.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segue.model.identity import stable_id

SYSTEM = "urn:segue"
"""System of the identifier that every resource of the hub bears at a peer."""

UNIDENTIFIED: frozenset[str] = frozenset(
    {"AuditEvent", "Binary", "Bundle", "Composition", "Linkage", "Provenance",
     "QuestionnaireResponse", "Subscription"}
)  # fmt: skip
"""Types that hold no list of identifiers: these keep the hub's id at the peer."""

_JOINED = ("identifier", "note", "output")
_HEX = frozenset("0123456789abcdef")

Resolve = Callable[[str], tuple[str | None, Mapping[str, Any] | None]]
"""Relative reference to (literal reference at the peer, or identifier); never both."""


def full_url(reference: str) -> str:
    """A UUID of the shape of version 4, always the same for a reference.

    >>> full_url("Patient/88c7219165eee856969476ecf1107143")
    'urn:uuid:88c72191-65ee-4856-a694-76ecf1107143'
    """
    type_, _, id_ = reference.partition("/")
    if len(id_) != 32 or not _HEX.issuperset(id_):
        id_ = stable_id(type_, id_)
    return f"urn:uuid:{id_[:8]}-{id_[8:12]}-4{id_[13:16]}-a{id_[17:20]}-{id_[20:]}"


def address(reference: str) -> str:
    """How the peer is asked for a hub-owned resource.

    >>> address("Task/9c"), address("Provenance/9c")
    ('Task?identifier=urn:segue|9c', 'Provenance/9c')
    """
    type_, _, id_ = reference.partition("/")
    return reference if type_ in UNIDENTIFIED else f"{type_}?identifier={SYSTEM}|{id_}"


def entry(
    resource: dict[str, Any] | None,
    reference: str,
    resolve: Resolve,
    *,
    url: str,
    found: Sequence[dict[str, Any]],
    if_match: str | None = None,
) -> dict[str, Any]:
    """The Bundle entry that brings a resource to the peer, or deletes it there.

    Args:
        resource: parsed and ours to change; None deletes.
        reference: of the resource in the hub.
        resolve: for the references inside.
        url: its full URL in the Bundle.
        found: the references inside.
        if_match: the peer's version of it, `W/"3"`, where it is known.
    """
    where = address(reference)
    if resource is None:
        return {"request": {"method": "DELETE", "url": where}}
    type_, _, id_ = reference.partition("/")
    if type_ not in UNIDENTIFIED:
        resource.pop("id", None)
        mark(resource, id_)
    rewrite(found, resolve)
    request = {"method": "PUT", "url": where}
    if if_match is not None:
        request["ifMatch"] = if_match
    return {"fullUrl": url, "resource": resource, "request": request}


def mark(resource: dict[str, Any], id_: str) -> None:
    """Add the hub's identifier, if it is not there."""
    identifiers = resource.setdefault("identifier", [])
    if not any(item.get("system") == SYSTEM and item.get("value") == id_ for item in identifiers):
        identifiers.append({"system": SYSTEM, "value": id_})


def references(resource: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every Reference with a relative literal, wherever it stands.

    >>> references({"for": {"reference": "Patient/1"}, "owner": {"reference": "#x"}})
    [{'reference': 'Patient/1'}]
    """
    found: list[dict[str, Any]] = []
    stack: list[Any] = [resource]
    while stack:
        value = stack.pop()
        if type(value) is dict:
            target = value.get("reference")
            if type(target) is str and "/" in target and ":" not in target:
                found.append(value)
            value = value.values()
        for item in value:
            if type(item) is dict or type(item) is list:
                stack.append(item)
    return found


def target_of(reference: Mapping[str, Any]) -> str:
    """`Type/id` of a Reference that `references` found, without a version."""
    target: str = reference["reference"]
    return target if target.count("/") == 1 else target.partition("/_history/")[0]


def rewrite(found: Sequence[dict[str, Any]], resolve: Resolve) -> None:
    """Make references mean something at the peer, in place."""
    for reference in found:
        target = target_of(reference)
        literal, identifier = resolve(target)
        if literal is not None:
            reference["reference"] = literal
            continue
        del reference["reference"]
        reference.setdefault("type", target.partition("/")[0])
        reference["identifier"] = dict(identifier or own_identifier(target))


def own_identifier(reference: str) -> dict[str, str]:
    """The hub's identifier of a resource."""
    return {"system": SYSTEM, "value": reference.partition("/")[2]}


def business_identifier(resource: Mapping[str, Any]) -> dict[str, Any] | None:
    """The identifier by which others know it: the first usual or official one, else the first.

    >>> business_identifier({"identifier": [
    ...     {"use": "old", "system": "a", "value": "1"}, {"system": "b", "value": "2"}]})
    {'system': 'b', 'value': '2'}
    """
    found = [
        item
        for item in resource.get("identifier", ())
        if isinstance(item, dict) and item.get("value") and item.get("system")
    ]
    current = [item for item in found if item.get("use") != "old"]
    for item in current or found:
        return {key: item[key] for key in ("type", "system", "value") if key in item}
    return None


def merge(ours: dict[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Our version over what the peer has made of it since.

    The hub is the author: each element it holds wins. Elements that only the peer has
    stay, and so do its own identifiers, notes and outputs.

    >>> merge({"status": "ready", "note": [{"text": "a"}]},
    ...       {"status": "draft", "note": [{"text": "b"}], "priority": "asap", "id": "7"})
    {'status': 'ready', 'note': [{'text': 'a'}, {'text': 'b'}], 'priority': 'asap'}
    """
    merged = dict(ours)
    for key, value in theirs.items():
        if key in ("id", "meta", "text", "resourceType"):
            continue
        if key not in merged:
            merged[key] = value
        elif key in _JOINED and isinstance(value, list) and isinstance(merged[key], list):
            merged[key] = merged[key] + [item for item in value if item not in merged[key]]
    return merged
