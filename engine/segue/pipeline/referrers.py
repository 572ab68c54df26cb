"""Who refers to a resource that is to be deleted."""

from collections.abc import Collection, Mapping
from typing import Any

from segue.fhir.references import parse_reference, walk_references
from segue.fhir.search.hashes import reference_hash
from segue.fhir.search.parameters import references_to
from segue.model.identity import ResourceKey
from segue.pipeline.transact import Draft

_MOST = 50


def referrers(
    draft: Draft, key: ResourceKey, without: Collection[ResourceKey]
) -> list[ResourceKey]:
    """Resources of clients that refer to a resource by an indexed reference.

    What the engine computes is computed anew without the resource, and does not count.

    Args:
        without: resources that are deleted or rewritten in the same request.
    """
    numbers = sorted(
        {reference_hash(known.type, known.code, key.reference) for known in references_to(key.type)}
    )
    found = draft.reader.clients_with(numbers, _MOST + len(without))
    return [other for other in found if other != key and other not in without]


def refers(resource: Mapping[str, Any], key: ResourceKey) -> bool:
    """Whether a resource has a literal reference to another.

    >>> refers({"subject": {"reference": "Patient/1"}}, ResourceKey("Patient", "1"))
    True
    """
    return any(parse_reference(one["reference"]) == key for _, one in walk_references(resource))
