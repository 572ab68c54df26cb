"""One text for one content: canonical JSON, content hashes, and the form that laws compare.

Decimals keep their digits (`0.10` stays `0.10`). The text that is stored has no
`meta.versionId` and no `meta.lastUpdated`: they are known only at the commit, and are
spliced in when it is read.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from segue.fhir.lifecycle import TASK_ENDED
from segue.model.identity import stable_id

Resource = dict[str, Any]

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_encode_sorted = msgspec.json.Encoder(decimal_format="number", order="sorted").encode

_VERSIONED = ("versionId", "lastUpdated")
_VOLATILE = ("versionId", "lastUpdated", "source")
_META_FIRST = '{"meta":{'

OUTSIDE_CONTENT = ("text",)
"""Elements that are no content: a new narrative alone makes no new version."""

OUTSIDE_STATE: dict[str, tuple[str, ...]] = {
    "Task": ("authoredOn", "lastModified"),
    "CarePlan": ("replaces",),
}
"""Elements that depend on arrival, by type; not part of `canonical_state`."""

ARRIVAL_INPUTS = frozenset({"noticed-at", "window-lost"})
"""Codes of `Task.input.type` that depend on arrival."""

RECEIPT_OUTPUTS = frozenset({"delivery-receipt"})
"""Codes of `Task.output.type` that record what a peer acknowledged."""

NEED = "urn:segue:need"
"""System of the identifier that says what a Task is for."""

HISTORY_REASONS = frozenset({"anchor-voided", "merged", "superseded"})
"""Codes of `Task.statusReason` of Tasks that were cancelled as if they had never been."""

RENEWED = "renewed"
"""Code in `meta.tag` of a Task in the place of one that had ended."""

RETRACTED = "retracted"
"""Code in `meta.tag` of what the fold yields no more."""


def loads(text: str | bytes) -> Any:
    """Parse JSON; numbers with a fraction become Decimal.

    Raises:
        ValueError: it is not JSON.

    >>> dumps(loads('{"value":1.00}'))
    '{"value":1.00}'
    """
    return _decode(text)


def dumps(resource: Any) -> str:
    """JSON text in the order of the dict."""
    return _encode(resource).decode()


def indented(text: bytes) -> bytes:
    """The same JSON for people to read; numbers keep their digits."""
    return msgspec.json.format(text, indent=2)


def canonical_json(resource: Resource) -> str:
    """The text that is stored: sorted names, no white space, no version.

    A `meta` stands first, where `splice_meta` finds it without parsing.

    >>> canonical_json({"resourceType": "Basic", "meta": {"versionId": "3"}, "id": "a"})
    '{"id":"a","resourceType":"Basic"}'
    """
    meta = resource.get("meta")
    if meta is None:
        return _encode_sorted(resource).decode()
    kept = {name: value for name, value in meta.items() if name not in _VERSIONED}
    rest = _encode_sorted({n: v for n, v in resource.items() if n != "meta"}).decode()
    if not kept:
        return rest
    return f'{{"meta":{_encode_sorted(kept).decode()},{rest[1:]}'


def content_hash(resource: Resource) -> bytes:
    """16 bytes that change with the content: without version, source and narrative.

    >>> content_hash({"id": "a", "text": {}}) == content_hash({"id": "a", "meta": {"source": "x"}})
    True
    """
    content = _without_meta(resource, _VOLATILE)
    if "text" in content:
        content = {name: value for name, value in content.items() if name != "text"}
    return hash_of(canonical_json(content))


def hash_of(text: str) -> bytes:
    """16 bytes that change with a text: the content hash where all of it is content."""
    return blake2b(text.encode(), digest_size=16).digest()


def encode_with_hash(resource: Resource) -> tuple[str, bytes]:
    """`canonical_json` and `content_hash` of a resource, in one encoding where possible.

    >>> body, content = encode_with_hash({"resourceType": "Basic", "id": "a"})
    >>> body, content == content_hash({"resourceType": "Basic", "id": "a"})
    ('{"id":"a","resourceType":"Basic"}', True)
    """
    meta = resource.get("meta")
    if meta is None and "text" not in resource:
        # Nothing is left out of the content, so its hash is that of the text.
        encoded = _encode_sorted(resource)
        return encoded.decode(), blake2b(encoded, digest_size=16).digest()
    body = canonical_json(resource)
    if "text" in resource or (meta and "source" in meta):
        return body, content_hash(resource)
    return body, hash_of(body)


def _without_meta(resource: Resource, names: tuple[str, ...]) -> Resource:
    meta = resource.get("meta")
    if meta is None or not any(name in meta for name in names):
        return resource
    kept = {name: value for name, value in meta.items() if name not in names}
    copy = dict(resource)
    if kept:
        copy["meta"] = kept
    else:
        del copy["meta"]
    return copy


def splice_meta(body: str, version: int, last_updated: str) -> str:
    """Put the version into a stored text.

    Args:
        body: as `canonical_json` made it.
        version: number of the version.
        last_updated: FHIR instant of its commit.

    >>> splice_meta('{"id":"a","resourceType":"Basic"}', 2, "2026-07-05T12:00:00Z")
    '{"meta":{"versionId":"2","lastUpdated":"2026-07-05T12:00:00Z"},"id":"a","resourceType":"Basic"}'
    """
    new = f'{{"meta":{{"versionId":"{version}","lastUpdated":"{last_updated}"'
    if body.startswith(_META_FIRST):
        return f"{new},{body[9:]}"
    if '"meta":{' in body:
        return _splice_slowly(body, version, last_updated)
    return f"{new}}},{body[1:]}"


def _splice_slowly(body: str, version: int, last_updated: str) -> str:
    """Parse: here the resource's own meta cannot be told from that of a nested one."""
    resource = loads(body)
    meta = {"versionId": str(version), "lastUpdated": last_updated, **resource.get("meta", {})}
    return dumps({**resource, "meta": meta})


def canonical_state(resources: Iterable[Resource]) -> bytes:
    """The form in which two states are compared: equal facts, equal bytes.

    Left out is what depends on when and in which order things arrived: versions,
    narrative, `Task.authoredOn` and `.lastModified`, the plan of somebody who was merged
    away later than it was made (`CarePlan.replaces`), the inputs and outputs named above,
    Provenance, retracted resources, and Tasks that were cancelled because their anchor
    was voided or superseded. A Task in the place of one that had ended is shown as that
    one, which is left out.
    """
    return b"\n".join(sorted(state for _, state in canonical_parts(resources)))


def canonical_parts(resources: Iterable[Resource]) -> Iterator[tuple[Resource, bytes]]:
    """`canonical_state`, resource by resource: each that counts, with its bytes."""
    for resource in _as_first(list(resources)):
        compared = _state_of(resource)
        if compared is not None:
            yield resource, _encode_sorted(compared)


def renewals(resource: Resource) -> dict[str, str]:
    """Id of a Task that took the place of one that had ended, to that one's; {} of others."""
    if RENEWED not in _tags(resource):
        return {}
    need = next(i["value"] for i in resource["identifier"] if i["system"] == NEED)
    return {resource["id"]: stable_id("Task", *need.rsplit("|", 2))}


def _as_first(resources: list[Resource]) -> list[Resource]:
    """Tasks that took the place of others under the others' ids, and without these."""
    renewed = [one for one in resources if RENEWED in _tags(one)]
    if not renewed:
        return resources
    first = {new: old for one in renewed for new, old in renewals(one).items()}
    # Of several in one place the last one counts: the others have ended.
    places: dict[str, Resource] = {}
    for one in sorted(renewed, key=lambda task: task["status"] not in TASK_ENDED):
        places[first[one["id"]]] = one
    text = _encode_sorted(
        [
            one
            for one in resources
            if RENEWED not in _tags(one)
            and not (one["resourceType"] == "Task" and one["id"] in places)
        ]
        + list(places.values())
    ).decode()
    for new, old in first.items():
        text = text.replace(new, old)
    shown: list[Resource] = loads(text)
    for one in shown:
        if RENEWED in _tags(one):
            one["meta"]["tag"] = [tag for tag in one["meta"]["tag"] if tag["code"] != RENEWED]
            one["meta"] = {name: value for name, value in one["meta"].items() if value}
            if not one["meta"]:
                del one["meta"]
    return shown


def _tags(resource: Resource) -> set[str]:
    return {tag.get("code", "") for tag in resource.get("meta", {}).get("tag", ())}


def _state_of(resource: Resource) -> Resource | None:
    kind = resource["resourceType"]
    tags = resource.get("meta", {}).get("tag", ())
    if kind == "Provenance" or any(tag.get("code") == RETRACTED for tag in tags):
        return None
    if (
        kind == "Task"
        and resource.get("status") == "cancelled"
        and _codes(resource.get("statusReason")) & HISTORY_REASONS
    ):
        return None
    without = (*OUTSIDE_CONTENT, *OUTSIDE_STATE.get(kind, ()))
    compared = {
        name: value
        for name, value in _without_meta(resource, _VOLATILE).items()
        if name not in without
    }
    if kind == "Task":
        for name, codes in (("input", ARRIVAL_INPUTS), ("output", RECEIPT_OUTPUTS)):
            items = [i for i in compared.pop(name, ()) if not _codes(i.get("type")) & codes]
            if items:
                compared[name] = items
    return compared


def _codes(concept: dict[str, Any] | None) -> set[str]:
    return {coding.get("code", "") for coding in (concept or {}).get("coding", ())}
