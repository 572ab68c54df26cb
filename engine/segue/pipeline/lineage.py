"""Which message, field and rule each element of a stored resource comes from.

Element lineage is not stored, but the mapping sets are that messages were read by: the
messages of the person are read again, each with its own set, and what each rule did is
listed beside the element that it fills. What the fold or a protocol makes of several
messages names those.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from segue.care.movements import EFFECTS
from segue.fhir.canonical import loads
from segue.hl7v2.errors import Hl7Error
from segue.mapping.apply import apply
from segue.mapping.context import Step
from segue.mapping.load import MappingSet
from segue.model.identity import ResourceKey, stable_id
from segue.model.messages import InboxEntry
from segue.pipeline.charts import Chart
from segue.pipeline.facts import unpack_person
from segue.pipeline.hub import Hub
from segue.pipeline.kept_mappings import kept
from segue.pipeline.process import context_of, parse_entry
from segue.pipeline.recall import numbers_of
from segue.pipeline.transact import Draft

_OF_DETAIL = {
    "admitted": "period",
    "discharged": "period",
    "disposition": "hospitalization",
    "practice": "generalPractitioner",
    "deceased": "deceasedBoolean",
}
"""What a rule tells the fold, by the element that the fold makes of it."""

_FOLDED = frozenset(
    {"status", "statusHistory", "classHistory", "period", "length", "episodeOfCare"}
)
_COORDINATED = frozenset(
    {"CarePlan", "CareTeam", "EpisodeOfCare", "Goal", "RiskAssessment", "Task"}
)
"""Types that the hub makes; what a message says of one has origins."""
_ENGINE = frozenset({"resourceType", "id", "meta", "text"})


@dataclass(frozen=True, slots=True)
class Origin:
    """One rule's part in an element.

    Attributes:
        entry: journal entry; control_id, event, recorded: of its message.
        step: what the rule did, see `segue map explain`.
        mapping: digest of the mapping set that the entry was mapped with.
        current: whether that set is in force today; known: whether it is what the step
            is of, or it was not kept, and the step is of the set in force.
        table: `file:line` of the code table's entry that the rule found; "" without.
    """

    entry: int
    control_id: str
    event: str
    recorded: str
    step: Step
    mapping: str
    current: bool
    known: bool
    table: str


@dataclass(slots=True)
class Lineage:
    """An element of a stored resource, and where it comes from.

    Attributes:
        value: as stored.
        origins: newest first.
        made: in words, what else made it; "" where the origins say it all.
    """

    element: str
    value: Any
    origins: list[Origin] = field(default_factory=list)
    made: str = ""


class NotExplainedError(Exception):
    """There is nothing to tell of this resource; the text says why and what to ask."""


def lineage(hub: Hub, key: ResourceKey) -> list[Lineage]:
    """Where each element of the present version of a resource comes from.

    Args:
        hub: the engine.
        key: of a resource that is a person's, or is in the directory.

    Raises:
        NotExplainedError: it is not stored, or no message has made it.
    """
    with hub.store.read() as reader:
        stored = reader.read(key.type, key.id)
        if stored is None or stored.body is None:
            raise NotExplainedError(f"{key.reference}: it is not stored")
        head = reader.heads([key])[key]
        if head.kind == "directory":
            return _of_directory(hub, key, reader.history.causes(key), loads(stored.body))
        if head.owner is None or head.kind != "fold":
            raise NotExplainedError(
                f"{key.reference}: its versions were written as they are: "
                f"see Provenance?target={key.reference}"
            )
        draft = Draft(hub, reader, hub.now())
        draft.load(pks=[head.owner])
        chart = draft.chart(head.owner)
        causes = set(reader.history.causes(key))
        rows = [row for row in reader.people.facts_of(chart.identities) if row.entry]
    mappings = {row.entry: unpack_person(row).mapping for row in rows}
    entries = hub.journal.get_many(sorted(mappings))
    sets = _sets(hub, {(mappings[entry.id], entry.envelope.site) for entry in entries})
    resource = loads(stored.body)
    names = _names(chart, key)
    origins: dict[str, list[Origin]] = {}
    moves: list[str] = []
    for entry in entries:
        mapping = mappings[entry.id]
        speaks = False
        for element, origin in _of(hub, entry, names, mapping, sets[mapping, entry.envelope.site]):
            origins.setdefault(element, []).append(origin)
            speaks = True
        if speaks and entry.envelope.event in EFFECTS:
            moves.append(_event(entry))
    hub_made = _by_protocols(resource, [entry for entry in entries if entry.id in causes])
    told = []
    for element, value in resource.items():
        if element in _ENGINE:
            continue
        found = Lineage(element, value, origins.get(element, [])[::-1])
        if key.reference in chart.margin.care or (key.type in _COORDINATED and not found.origins):
            found.made = hub_made
        elif element in _FOLDED and key.type == "Encounter":
            found.made = f"the fold of {', '.join(moves)}"
        elif not found.origins:
            found.made = "the fold, from who the person and what the visit is"
        told.append(found)
    return told


def _event(entry: InboxEntry) -> str:
    return f"{entry.envelope.event} ({entry.envelope.control_id})"


def _by_protocols(resource: dict[str, Any], causes: Sequence[InboxEntry]) -> str:
    """The protocols that a resource follows, and the messages after which it was written."""
    urls = resource.get("instantiatesCanonical", ())
    urls = [urls] if isinstance(urls, str) else urls
    names = sorted(url.rpartition("/")[2].partition("|")[0] for url in urls)
    after = ", ".join(_event(entry) for entry in causes)
    by = f"the hub, by {', '.join(names) or 'its protocols'}"
    return f"{by}, after {after}" if after else by


def _of_directory(
    hub: Hub, key: ResourceKey, causes: Iterable[int], resource: dict[str, Any]
) -> list[Lineage]:
    """Of what is nobody's (a doctor, a place): the last messages that changed it."""
    entries = hub.journal.get_many(sorted(causes))
    with hub.store.read() as reader:
        rows = reader.people.facts_of_entries([entry.id for entry in entries])
    mappings = {row.entry: unpack_person(row).mapping for row in rows}
    for entry in entries:
        mappings.setdefault(entry.id, hub.mapping_for(entry.envelope.site).digest)
    sets = _sets(hub, {(mappings[entry.id], entry.envelope.site) for entry in entries})
    origins: dict[str, list[Origin]] = {}
    for entry in entries:
        rules = sets[mappings[entry.id], entry.envelope.site]
        found = _of(hub, entry, {key.reference}, mappings[entry.id], rules)
        for element, origin in {str(one): one for one in found}.values():
            origins.setdefault(element, []).append(origin)
    made = ", ".join(_event(one) for one in entries)
    return [
        Lineage(
            element,
            value,
            origins.get(element, [])[::-1],
            "" if element in origins else f"the engine, of who or what {made or 'it'} names",
        )
        for element, value in resource.items()
        if element not in _ENGINE
    ]


def _names(chart: Chart, key: ResourceKey) -> set[str]:
    """What mapping calls the resource: by its identities, before anybody adopted it."""
    names = {key.reference}
    if key.type == "Patient":
        for identity, patient in chart.person.patients.items():
            if key.id in (patient.id, chart.person.patient):
                names |= {f"Patient/{patient.id}", f"Patient/{stable_id('Patient', identity)}"}
    if key.type == "Encounter":
        kept = numbers_of(chart.person)
        for number, visit in chart.visits.items():
            if visit.encounter == key.id:
                all_ = [number, *(gone for gone, into in kept.items() if into == number)]
                names |= {f"Encounter/{stable_id('Encounter', one)}" for one in all_}
    return names


def _sets(hub: Hub, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], MappingSet]:
    """The mapping sets by digest and site, as they were; the one in force for those not kept."""
    found: dict[tuple[str, str], MappingSet] = {}
    with hub.store.read() as reader:
        for digest, site in sorted(wanted):
            today = hub.mapping_for(site)
            was = today if today.digest == digest else kept(reader, digest, site)
            found[digest, site] = was or today
    return found


def _of(
    hub: Hub, entry: InboxEntry, names: set[str], mapping: str, rules: MappingSet
) -> Iterator[tuple[str, Origin]]:
    """Each element that a message filled of a resource, with how."""
    envelope = entry.envelope
    try:
        message = parse_entry(hub, entry)
        mapped = apply(rules, message, context_of(hub, entry), trace=True)
    except Hl7Error:
        return
    recorded = mapped.facts[0].recorded.text if mapped.facts else ""
    which = mapping, mapping == hub.mapping_for(envelope.site).digest, mapping == rules.digest
    for step in mapped.trace or ():
        if step.resource not in names:
            continue
        element = step.element
        if element.startswith("details."):
            element = _OF_DETAIL.get(element.removeprefix("details."), "")
        root = element.partition("#")[0].partition(".")[0].partition("=")[0]
        about = entry.id, envelope.control_id, envelope.event, recorded
        yield root, Origin(*about, step, *which, rules.entry_of(step))
