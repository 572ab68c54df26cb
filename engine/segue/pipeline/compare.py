"""What must be written so that the stored resources are as they should be.

Content that is there already makes no version; what is not valid is never stored.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from segue.fhir.canonical import canonical_json, content_hash, encode_with_hash
from segue.fhir.validate import Gate
from segue.model.changes import Head, Kind, SearchTerms, Write
from segue.model.identity import ResourceKey
from segue.model.issues import Issue

Resource = dict[str, Any]

TAG = {"system": "urn:segue:tag", "code": "retracted"}
"""Marks what the fold yields no more."""

_NO_TERMS = SearchTerms()


class InvalidError(Exception):
    """A resource that was to be stored is not valid; nothing of its step is stored.

    Attributes:
        issues: what is wrong, by element path; without patient data.
    """

    def __init__(self, key: ResourceKey, issues: list[Issue]) -> None:
        self.issues = issues
        super().__init__(f"{key.type}: {len(issues)} errors")


def key_of(resource: Mapping[str, Any]) -> ResourceKey:
    """The key of a resource that has an id."""
    return ResourceKey(resource["resourceType"], resource["id"])


def parse_key(reference: str) -> ResourceKey:
    """The key of a relative reference.

    >>> parse_key("Task/9c").id
    '9c'
    """
    kind, _, id_ = reference.partition("/")
    return ResourceKey(kind, id_)


class Content(NamedTuple):
    """A resource as it is to be compared and stored.

    Attributes:
        digest: 16-byte content hash.
        body: canonical JSON.
    """

    resource: Resource
    key: ResourceKey
    digest: bytes
    body: str


def content_of(resource: Resource) -> Content:
    """Serialise a resource once, for comparing and for storing."""
    body, digest = encode_with_hash(resource)
    return Content(resource, ResourceKey(resource["resourceType"], resource["id"]), digest, body)


def differing(resources: Iterable[Resource], heads: Mapping[ResourceKey, Head]) -> list[Content]:
    """Those whose content is not the stored one."""
    found = []
    for resource in resources:
        content = content_of(resource)
        head = heads.get(content.key)
        if head is None or head.deleted or head.content != content.digest:
            found.append(content)
    return found


def check(gate: Gate, resource: Resource, key: ResourceKey) -> None:
    """Let a valid resource pass.

    Raises:
        InvalidError: with every issue found.
    """
    if not gate.is_valid(resource):
        raise InvalidError(key, gate.issues(resource))


def write(
    resource: Resource,
    key: ResourceKey,
    digest: bytes,
    head: Head | None,
    new_pk: Callable[[], int],
    *,
    kind: Kind = "fold",
    owner: int | None = None,
    recorded: tuple[int, str] | None = None,
    body: str | None = None,
) -> Write:
    """The next version of a resource, not indexed yet.

    Args:
        resource, key, digest, body: see `Content`.
        head: its present head, None creates it.
        new_pk: gives the number of a new resource.
        kind: who may write it. owner: pk of its person.
        recorded: order key of a directory register.
    """
    gist = digest
    if key.type == "Encounter":
        rest = {k: v for k, v in resource.items() if k not in {"location", "participant"}}
        gist = content_hash(rest)
    return Write(
        key,
        head.pk if head else new_pk(),
        head.version + 1 if head else 1,
        kind,
        canonical_json(resource) if body is None else body,
        digest,
        gist,
        _NO_TERMS,
        head,
        owner,
        recorded,
    )


def deletion(key: ResourceKey, head: Head, owner: int | None) -> Write:
    """The version that deletes a resource; its history stays."""
    return Write(
        key,
        head.pk,
        head.version + 1,
        head.kind,
        None,
        b"",
        b"",
        _NO_TERMS,
        head,
        owner,
    )


def retracted(encounter: Resource) -> Resource:
    """What becomes of a stored Encounter that the fold yields no more.

    >>> retracted({"resourceType": "Encounter", "status": "finished"})["status"]
    'entered-in-error'
    """
    meta = dict(encounter.get("meta") or {})
    tags = [tag for tag in meta.get("tag", ()) if tag != TAG]
    meta["tag"] = [*tags, TAG]
    return {**encounter, "status": "entered-in-error", "meta": meta}
