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

from collections.abc import Mapping, Sequence
from json import JSONDecoder
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
_HEX = "0123456789abcdef"
_MEMBER = '"reference":"'
_IDENTIFIERS = '"identifier":['

_top_level = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_value_at = JSONDecoder().raw_decode

Said = Mapping[str, str]
"""References as bodies have them to the members that stand for them at the peer: `literal`,
`logical`."""


def full_url(reference: str) -> str:
    """A UUID of the shape of version 4, always the same for a reference.

    >>> full_url("Patient/88c7219165eee856969476ecf1107143")
    'urn:uuid:88c72191-65ee-4856-a694-76ecf1107143'
    """
    type_, _, id_ = reference.partition("/")
    if len(id_) != 32 or id_.strip(_HEX):
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
    parts: Sequence[str], reference: str, said: Said, *, url: str, if_match: str | None = None
) -> str:
    """The Bundle entry that brings a resource to the peer, or deletes it there; JSON text.

    Args:
        parts: the stored text, `apart`; nothing deletes.
        reference: of the resource in the hub.
        said: for the references inside.
        url: its full URL in the Bundle.
        if_match: the peer's version of it, `W/"3"`, where it is known.
    """
    where = address(reference)
    if not parts:
        return f'{{"request":{{"method":"DELETE","url":"{where}"}}}}'
    type_, _, id_ = reference.partition("/")
    resource = rewritten(parts, said)
    if type_ not in UNIDENTIFIED:
        resource = marked(resource, id_)
    condition = "" if if_match is None else f',"ifMatch":{dumps(if_match)}'
    return (
        f'{{"fullUrl":"{url}","resource":{resource},'
        f'"request":{{"method":"PUT","url":"{where}"{condition}}}}}'
    )


def marked(body: str, id_: str) -> str:
    """Take the id away and add the hub's identifier, if it is not there.

    Stored text has sorted names, so that identifiers follow the id; only they are parsed.
    Where the text leaves a doubt about that, its top level is taken apart.

    Args:
        body: of a resource whose id is `id_`.
        id_: in the hub.

    >>> marked('{"id":"9c","resourceType":"Task","status":"ready"}', "9c")
    '{"identifier":[{"system":"urn:segue","value":"9c"}],"resourceType":"Task","status":"ready"}'
    """
    before, found, after = body.partition(f'"id":"{id_}",')
    if not found or found[:-1] in after:
        return _marked(body, id_)
    if not after.startswith(_IDENTIFIERS):
        if _IDENTIFIERS in body:
            return _marked(body, id_)
        return f'{before}"identifier":[{dumps(_own(id_))}],{after}'
    identifiers, end = _value_at(after, len(_IDENTIFIERS) - 1)
    if _bears(identifiers, id_):
        return before + after
    comma = "," if identifiers else ""
    return f"{before}{after[: end - 1]}{comma}{dumps(_own(id_))}{after[end - 1 :]}"


def _marked(body: str, id_: str) -> str:
    elements = _top_level(body)
    elements.pop("id", None)
    known = elements.get("identifier")
    identifiers = loads(bytes(known)) if known is not None else []
    if not _bears(identifiers, id_):
        identifiers.append(_own(id_))
        elements["identifier"] = msgspec.Raw(dumps(identifiers).encode())
    return msgspec.json.encode(elements).decode()


def _bears(identifiers: Sequence[Mapping[str, Any]], id_: str) -> bool:
    return any(item.get("system") == SYSTEM and item.get("value") == id_ for item in identifiers)


def apart(body: str) -> list[str]:
    """A stored text around the References in it: text, reference, text, reference, … text.

    In JSON text a quotation mark inside a string is escaped, so that what looks like
    this member is one.

    >>> apart('{"for":{"reference":"Patient/1"},"id":"a"}')
    ['{"for":{', 'Patient/1', '},"id":"a"}']
    """
    first, *others = body.split(_MEMBER)
    parts = [first]
    for other in others:
        reference, _, text = other.partition('"')
        parts += (reference, text)
    return parts


def together(parts: Sequence[str]) -> str:
    """The text that was taken apart.

    >>> together(apart('{"for":{"reference":"Patient/1"},"id":"a"}'))
    '{"for":{"reference":"Patient/1"},"id":"a"}'
    """
    texts = list(parts)
    texts[1::2] = [unchanged(reference) for reference in parts[1::2]]
    return "".join(texts)


def rewritten(parts: Sequence[str], said: Said) -> str:
    """The resource with references that mean something at the peer.

    References as the hub writes them are replaced in the text. A type of a Reference would
    follow its reference, an identifier precede it: a resource with such is parsed for it.

    >>> rewritten(apart('{"for":{"reference":"Patient/1"}}'), {"Patient/1": literal("urn:x")})
    '{"for":{"reference":"urn:x"}}'
    """
    before, after = parts[:-1:2], parts[2::2]
    if {text[0] for text in after} - {"}"} or "}," in {text[-2:] for text in before}:
        return _rewritten(together(parts), said)
    texts = list(parts)
    texts[1::2] = [said[reference] for reference in parts[1::2]]
    return "".join(texts)


def _rewritten(body: str, said: Said) -> str:
    resource = loads(body)
    for reference in _references(resource):
        member = said.get(reference["reference"])
        if member is None or not relative(reference["reference"]):
            continue
        del reference["reference"]
        found = loads(f"{{{member}}}")
        if "type" in reference:
            found.pop("type", None)
        reference.update(found)
    return dumps(resource)


def literal(reference: str) -> str:
    """What stands for a Reference that the peer can follow."""
    return f"{_MEMBER[:-1]}{dumps(reference)}"


def unchanged(reference: str) -> str:
    """What stands for a reference, as it is in JSON text, that means the same everywhere."""
    return f'{_MEMBER}{reference}"'


def logical(target: str, identifier: Mapping[str, Any] | None = None) -> str:
    """What stands for a Reference by identifier, by the hub's own where it has no other.

    >>> logical("Patient/1")
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
            if type(value.get("reference")) is str:
                found.append(value)
            value = value.values()
        for item in value:
            if type(item) is dict or type(item) is list:
                stack.append(item)
    return found


def relative(reference: str) -> str:
    """`Type/id` of a relative reference, without its version; "" of any other.

    >>> relative("Patient/1/_history/2"), relative("#inside"), relative("urn:uuid:a/b")
    ('Patient/1', '', '')
    """
    if "/" not in reference or ":" in reference or "\\" in reference or '"' in reference:
        return ""
    return reference if reference.count("/") == 1 else reference.partition("/_history/")[0]


def _own(id_: str) -> dict[str, str]:
    return {"system": SYSTEM, "value": id_}


def own_identifier(reference: str) -> dict[str, str]:
    """The hub's identifier of a resource."""
    return _own(reference.partition("/")[2])


def business_identifier(identifiers: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The identifier by which others know it: the first usual or official one, else the first.

    >>> business_identifier([
    ...     {"use": "old", "system": "a", "value": "1"}, {"system": "b", "value": "2"}])
    {'system': 'b', 'value': '2'}
    """
    found = [item for item in identifiers if item.get("value") and item.get("system")]
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
