"""Patient/[id]/$everything: all of a person, and what it refers to.

Source: https://hl7.org/fhir/R4/patient-operation-everything.html
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from segue.api import read
from segue.api.exchange import body_of
from segue.api.operations import Invocation
from segue.fhir import canonical
from segue.fhir.care_dates import Span, span, within
from segue.fhir.outcomes import fhir_error
from segue.fhir.references import parse_reference, walk_references
from segue.model.identity import ResourceKey
from segue.pipeline.identities import owners_of
from segue.store.reader import Reader
from segue.store.records import StoredVersion

MOST = 1_000
"""Resources of the person on a page, unless `_count` asks for fewer."""

_HOPS = 4
_USED = frozenset({"start", "end", "_since", "_type", "_count"})
_KNOWN = _USED | {"_after", "_format", "_pretty"}


def everything(asked: Invocation) -> str:
    """The searchset of a person: resources of the person, then what those refer to.

    A person who was merged is one: all Patients and all that was said of each. What is
    nobody's (Practitioner, Organization, Location and the like) is included with the page
    that refers to it; what is somebody else's never is. With `start` or `end` it is care of that
    time, and what has no time; the total is not known then.

    Raises:
        FhirError: 400, 404, 410.
    """
    for name, _ in asked.query:
        if name not in _KNOWN:
            raise fhir_error("incorrect", "not-supported", f"$everything: {name} is not known here")
    since, count = asked.text("_since"), asked.value("_count")
    types = {one.strip() for text in asked.values("_type") for one in str(text).split(",")}
    unknown = sorted(types - asked.hub.gate.definitions.resources)
    if unknown:
        text = f"_type: there is no resource type {unknown[0]!r}"
        raise fhir_error("incorrect", "value", text, "_type")
    time = span(asked.text("start"), asked.text("end"))
    limit = min(read.number({"_count": str(count)}, "_count") or MOST, MOST) if count else MOST
    after = read.number(dict(asked.query), "_after") or 0
    with asked.hub.store.read() as reader:
        patient = read.current(reader, "Patient", asked.id)
        owners = owners_of(reader, patient.key)
        page = reader.owned(
            owners, types, since=read.instant(since, "_since"), after=after, limit=limit
        )
        items = _of(page.items, time)
        sources: Iterable[StoredVersion] = items
        if types and not after:
            # A type that is nobody's is found only through what refers to it.
            sources = _of(reader.owned(owners, limit=MOST).items, time)
        included = _referred(reader, sources, types) if not types or not after else []
    place = f"{asked.root}/Patient/{quote(asked.id)}/$everything"
    used = [(name, value) for name, value in asked.query if name in _USED]
    links = [{"relation": "self", "url": _url(place, used)}]
    if page.next is not None:
        following = [*used, ("_after", str(page.next))]
        links.append({"relation": "next", "url": _url(place, following)})
    total = {"total": page.total} if time is None else {}
    head = canonical.dumps({"resourceType": "Bundle", "type": "searchset", **total, "link": links})
    entries = [
        *(_entry(asked.root, one, "match") for one in items),
        *(_entry(asked.root, one, "include") for one in included),
    ]
    return f'{head[:-1]},"entry":[{",".join(entries)}]}}' if entries else head


def _of(found: list[StoredVersion], time: Span | None) -> list[StoredVersion]:
    """What of it is about care of a time."""
    if time is None:
        return found
    return [one for one in found if within(canonical.loads(one.body or "{}"), time)]


def _referred(
    reader: Reader, sources: Iterable[StoredVersion], types: Collection[str]
) -> list[StoredVersion]:
    """What is nobody's own and is referred to, also by one another."""
    found: dict[ResourceKey, StoredVersion] = {}
    seen: set[ResourceKey] = {one.key for one in sources}
    frontier = list(sources)
    for _ in range(_HOPS):
        new = {key for one in frontier for key in _references(one)} - seen
        seen |= new
        heads = reader.heads(new)
        free = [key for key, head in heads.items() if head.owner is None and not head.deleted]
        bodies = reader.bodies(free)
        frontier = [one for one in bodies.values() if one.body is not None]
        found |= {one.key: one for one in frontier}
        if not frontier:
            break
    return [found[key] for key in sorted(found) if not types or key.type in types]


def _references(stored: StoredVersion) -> Iterable[ResourceKey]:
    resource: Mapping[str, Any] = canonical.loads(stored.body or "{}")
    for _, reference in walk_references(resource):
        key = parse_reference(reference["reference"], "")
        if key is not None:
            yield key


def _entry(root: str, stored: StoredVersion, mode: str) -> str:
    url = f"{root}/{stored.key.type}/{quote(stored.key.id)}"
    return f'{{"fullUrl":"{url}","resource":{body_of(stored)},"search":{{"mode":"{mode}"}}}}'


def _url(place: str, used: list[tuple[str, str]]) -> str:
    return f"{place}?{urlencode(used, safe=':,')}" if used else place
