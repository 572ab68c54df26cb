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

Bodies are the text that is stored (`fhir.canonical`) and stay text: most of a resource
is neither parsed nor built again to be sent.

Source: https://hl7.org/fhir/R4/http.html#trules, references.html#logical.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from segue.fhir.canonical import dumps, loads
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

_LITERAL = re.compile(r'"reference":"([^"\\:]*/[^"\\:]*)"')
_REFERENCE = re.compile(
    r'\{("display":"[^"\\]*(?:\\.[^"\\]*)*",)?"reference":"([^"\\]*)"\}'
)  # fmt: skip

_top_level = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

StandsFor = Callable[[str], str]
"""`Type/id` to the members of a Reference to it at the peer: `literal` or `logical`."""


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
    body: str, reference: str, stands_for: StandsFor, *, url: str, if_match: str | None = None
) -> str:
    """The Bundle entry that brings a resource to the peer, or deletes it there; JSON text.

    Args:
        body: the stored text; "" deletes.
        reference: of the resource in the hub.
        stands_for: for the references inside.
        url: its full URL in the Bundle.
        if_match: the peer's version of it, `W/"3"`, where it is known.
    """
    where = dumps(address(reference))
    if not body:
        return f'{{"request":{{"method":"DELETE","url":{where}}}}}'
    type_, _, id_ = reference.partition("/")
    resource = rewritten(body, stands_for)
    if type_ not in UNIDENTIFIED:
        resource = marked(resource, id_)
    condition = "" if if_match is None else f',"ifMatch":{dumps(if_match)}'
    return (
        f'{{"fullUrl":"{url}","resource":{resource},'
        f'"request":{{"method":"PUT","url":{where}{condition}}}}}'
    )


def marked(body: str, id_: str) -> str:
    """Take the id away and add the hub's identifier, if it is not there.

    Only the top level is taken apart: what is inside stays the text that it is.

    >>> marked('{"id":"9c","resourceType":"Task","status":"ready"}', "9c")
    '{"resourceType":"Task","status":"ready","identifier":[{"system":"urn:segue","value":"9c"}]}'
    """
    elements = _top_level(body)
    elements.pop("id", None)
    known = elements.get("identifier")
    identifiers = loads(bytes(known)) if known is not None else []
    if not any(item.get("system") == SYSTEM and item.get("value") == id_ for item in identifiers):
        identifiers.append({"system": SYSTEM, "value": id_})
        elements["identifier"] = msgspec.Raw(dumps(identifiers).encode())
    return msgspec.json.encode(elements).decode()


def targets(body: str) -> list[str]:
    """`Type/id` of every relative Reference, wherever it stands, without versions.

    In JSON text a quotation mark inside a string is escaped, so that what looks like
    this member is one.

    >>> targets('{"for":{"reference":"Patient/1/_history/2"},"owner":{"reference":"#x"}}')
    ['Patient/1']
    """
    return [_unversioned(target) for target in _LITERAL.findall(body)]


def rewritten(body: str, stands_for: StandsFor) -> str:
    """The resource with references that mean something at the peer.

    References as the hub writes them are replaced in the text; a resource with any other
    (an identifier or a type of its own, an extension) is parsed for it.

    >>> rewritten('{"for":{"reference":"Patient/1"}}', lambda target: '"reference":"urn:x"')
    '{"for":{"reference":"urn:x"}}'
    """

    def replaced(found: re.Match[str]) -> str:
        display, target = found.groups("")
        if "/" not in target or ":" in target:
            return found[0]
        return f"{{{display}{stands_for(_unversioned(target))}}}"

    text, count = _REFERENCE.subn(replaced, body)
    if count == body.count('"reference":"'):
        return text
    resource = loads(body)
    for reference in _references(resource):
        said = loads(f"{{{stands_for(_unversioned(reference.pop('reference')))}}}")
        if "type" in reference:
            said.pop("type", None)
        reference.update(said)
    return dumps(resource)


def literal(reference: str) -> str:
    """What stands for a Reference that the peer can follow."""
    return f'"reference":{dumps(reference)}'


def logical(target: str, identifier: Mapping[str, Any] | None) -> str:
    """What stands for a Reference by identifier, by the hub's own where it has no other.

    >>> logical("Patient/1", None)
    '"type":"Patient","identifier":{"system":"urn:segue","value":"1"}'
    """
    type_ = target.partition("/")[0]
    return f'"type":"{type_}","identifier":{dumps(identifier or own_identifier(target))}'


def _references(resource: Mapping[str, Any]) -> list[dict[str, Any]]:
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


def _unversioned(target: str) -> str:
    return target if target.count("/") == 1 else target.partition("/_history/")[0]


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
