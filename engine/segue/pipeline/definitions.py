"""The definitions that the engine works by, stored so that clients can read and search them.

They are the protocols (drafts where they are not in force) and their activities, the code
tables as ConceptMaps, and what the folders of a site hold: profiles, value sets, code
systems, search parameters. What HL7 publishes is known by its canonical URL and not stored.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import structlog

from segue.fhir.canonical import loads
from segue.fhir.profiles import site_definitions
from segue.mapping.concept_maps import concept_map
from segue.model.identity import ResourceKey, stable_id
from segue.pipeline.compare import content_of
from segue.pipeline.hub import Hub
from segue.pipeline.owned import DEFINED
from segue.pipeline.record import register

Resource = Mapping[str, Any]

RETIRED = "retired"
"""Source: https://hl7.org/fhir/R4/valueset-publication-status.html"""

log = structlog.get_logger(__name__)


def own(hub: Hub, type_: str | None = None) -> Iterator[Resource]:
    """The engine's own definitions, of a type or all; each has an id."""
    if type_ in (None, "ConceptMap"):
        yield from _tables(hub)
    protocols = hub.protocols
    published = site_definitions(hub.validator.folders)
    for one in itertools.chain(protocols.definitions, protocols.activities, published):
        if type_ in (None, one["resourceType"]):
            made = stable_id(one["resourceType"], str(one.get("url", "")))
            yield one if "id" in one else {**one, "id": made}


def _tables(hub: Hub) -> Iterator[Resource]:
    """The code tables: core's once, and each that a site changed under the site's name."""
    seen = set()
    for site in ("", *sorted(hub.sites)):
        for name, table in sorted(hub.mapping_for(site).tables.items()):
            changed = any(place.layer != "core" for place in table.places.values())
            known = f"{site}-{name}" if changed and site else "" if changed else name
            if known and known not in seen:
                seen.add(known)
                yield concept_map(table, known)


def register_definitions(hub: Hub) -> None:
    """Store them as they are now: to be called at the start, and when a mapping changed.

    What a client has stored under the same id stays. A site's file that is no valid
    resource is left out, and said; it is used all the same. What was stored of a file
    that is gone stays as `retired`, so that what names it can still be read.
    """
    found = {ResourceKey(one["resourceType"], one["id"]): dict(one) for one in own(hub)}
    with hub.store.read() as reader:
        heads = reader.heads(found)
        known = reader.registers(DEFINED)
    fresh = []
    for key, resource in found.items():
        head = heads.get(key)
        if head is not None and (
            head.kind == "client" or head.content == content_of(resource).digest
        ):
            continue
        if not hub.gate.is_valid(resource):
            log.warning("definition.left_out", resource=key.reference, url=resource.get("url"))
            continue
        fresh.append(resource)
    for version in known:
        resource = loads(version.body or "{}")
        if version.key not in found and resource.get("status") != RETIRED:
            fresh.append({**resource, "status": RETIRED})
    register(hub, "definitions", fresh)
