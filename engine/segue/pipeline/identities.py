"""Which identity a client's Patient or Encounter states, and what it says as a fact.

A resource of a client that carries an identifier of a known authority stands for that
source identity, as a message with the same number would: the person or visit is found
by it, and there is one resource for it (docs/architecture.md, "Identity").
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from segue.care.consent import labels
from segue.care.states import PersonState, Told
from segue.mapping.context import SiteRules
from segue.model.facts import Fact, Fragment
from segue.model.identity import ResourceKey
from segue.model.instants import Moment
from segue.pipeline.charts import unpack_person
from segue.store.reader import Reader
from segue.store.records import PersonRow

STATEMENT = "statement"
"""`Fact.event` of what a client said."""

UNNAMED = "segue"
"""Authority of a Patient without an identifier of a known authority: its id names it."""

_MERGES = 20
_PREFIX = "urn:segue:authority:"
_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
_LABEL = {"communication": "language"}
_OUTSIDE = frozenset({"resourceType", "id", "meta"})
_VERSIONED = frozenset({"versionId", "lastUpdated", "source", "security"})


@dataclass(frozen=True, slots=True)
class Identified:
    """The identity of a Patient.

    Attributes:
        key: `PCPB|77`. links: all keys that name the same person, `key` among them.
    """

    key: str
    links: tuple[str, ...]

    @property
    def authority(self) -> str:
        """Who assigned it."""
        return self.key.partition("|")[0]


class Authorities:
    """Identifier systems of the known authorities."""

    def __init__(self, sites: Iterable[SiteRules]) -> None:
        self._of: dict[str, str] = {}
        for site in sites:
            self._of |= {system: name for name, system in site.systems.items() if system}
            if site.system and site.authority:
                self._of[site.system] = site.authority

    def of(self, system: str) -> str | None:
        """The authority of an identifier system, None where it is not known.

        >>> Authorities([]).of("urn:segue:authority:HIE"), Authorities([]).of("urn:x")
        ('HIE', None)
        """
        known = self._of.get(system)
        if known is None and system.startswith(_PREFIX):
            known = system[len(_PREFIX) :]
        return known or None

    def keys(self, resource: Mapping[str, Any]) -> list[tuple[str, str]]:
        """(identity key, type code) of each identifier of a known authority."""
        found = []
        for item in resource.get("identifier", ()):
            if not item.get("value") or item.get("use") == "old":
                continue
            authority = self.of(item.get("system", ""))
            if authority is not None:
                found.append((f"{authority}|{item['value']}", _type_of(item)))
        return found


def _type_of(identifier: Mapping[str, Any]) -> str:
    for coding in identifier.get("type", {}).get("coding", ()):
        if coding.get("system", _TYPES) == _TYPES and coding.get("code"):
            return str(coding["code"])
    return ""


def identify(
    patient: Mapping[str, Any],
    authorities: Authorities,
    own: str,
    links_by: Collection[str],
    never: Collection[str],
) -> Identified | None:
    """The identity that a Patient states.

    The client's own authority comes first, there the medical record number; of equals the
    smallest key, so that the order of the identifiers does not matter.

    Args:
        own: authority of the client's site, "" where it speaks for none.
        links_by: identifier types that link persons.
        never: identifier types that never identify or link.
    """
    found = [(key, type_) for key, type_ in authorities.keys(patient) if type_ not in never]
    if not found:
        return None
    rank = {"MR": 0, "PI": 1}
    key = min(found, key=lambda one: (*_place(one, own, rank), one[0]))[0]
    links = {other for other, type_ in found if type_ in links_by} | {key}
    return Identified(key, tuple(sorted(links)))


def _place(one: tuple[str, str], own: str, rank: Mapping[str, int]) -> tuple[bool, int]:
    key, type_ = one
    return (not own or not key.startswith(f"{own}|"), rank.get(type_, 2))


def visit_keys(encounter: Mapping[str, Any], authorities: Authorities, own: str) -> list[str]:
    """The visit keys that an Encounter states, its own authority's first."""
    found = [(key, type_) for key, type_ in authorities.keys(encounter) if type_ != "AN"]
    ordered = sorted(found, key=lambda one: (*_place(one, own, {"VN": 0}), one[0]))
    return list(dict.fromkeys(key for key, _ in ordered))


def elements_of(patient: Mapping[str, Any]) -> dict[str, Any]:
    """A Patient as element paths, see `path_of`.

    >>> elements_of({"resourceType": "Patient", "gender": "female", "name": [{"family": "A"}]})
    {'gender': 'female', 'name#name': [{'family': 'A'}]}
    """
    made = {path_of(name, value): value for name, value in patient.items() if name not in _OUTSIDE}
    meta = {k: v for k, v in patient.get("meta", {}).items() if k not in _VERSIONED}
    if meta:
        made["meta"] = meta
    return made


def path_of(name: str, value: Any) -> str:
    """The path of an element: lists under the label that the maps of PID give them.

    Identifiers of all sources add up and are kept in the order they were sent.
    """
    if not isinstance(value, list) or name == "identifier":
        return name
    return f"{name}#{_LABEL.get(name, name)}"


def name_of(path: str) -> str:
    """The element of a path, the reverse of `path_of`."""
    return path.partition("#")[0].partition(".")[0]


def namesakes(reader: Reader, patient: str) -> list[str]:
    """Ids of all Patients of the person that a Patient is of, this one first.

    What clients stored about a Patient that was merged stays as they wrote it; by these
    it is found under the survivor too.

    Args:
        patient: logical id.
    """
    row = _person_of(reader, ResourceKey("Patient", patient))
    if row is None:
        return [patient]
    person, _margin = unpack_person(row.state)
    others = sorted({one.id for one in person.patients.values()} - {patient})
    return [patient, *others]


def owners_of(reader: Reader, key: ResourceKey) -> list[int]:
    """Numbers under which the resources of a person are kept, those of merged ones too.

    Args:
        key: of a resource of the person; nobody's has no owners.
    """
    row = _person_of(reader, key)
    if row is None:
        return []
    _person, margin = unpack_person(row.state)
    return [row.pk, *margin.absorbed]


def _person_of(reader: Reader, key: ResourceKey) -> PersonRow | None:
    """The person that a resource belongs to; of one who was merged, the survivor."""
    head = reader.heads([key]).get(key)
    owner = head.owner if head is not None else None
    for _ in range(_MERGES):
        row = reader.people.by_pk([owner]).get(owner) if owner is not None else None
        if row is None or row.merged_into is None:
            return row
        owner = row.merged_into
    return None


def told_by(person: PersonState, source: str, resource: str = "Patient") -> dict[str, Any]:
    """What a source says now of a resource of a person, by element path."""
    told: Told | None = person.sources.get(source)
    said: dict[str, Any] = {}
    for _, group in told.resources.get(resource, ()) if told is not None else ():
        said |= group
    return said


def fact_of(
    id_: str,
    site: str,
    identity: Identified,
    now: Moment,
    fragment: Fragment,
    *,
    history: bool = False,
    resource: Mapping[str, Any],
    visit: str | None = None,
) -> Fact:
    """A client's statement about a person or a visit, as a fact.

    Args:
        id_: of the fact; also its control id.
        site: who speaks.
        now: when.
        fragment: what is said of the Patient, or of the Encounter of `visit`.
        resource: as it was sent, for its security labels.
    """
    return Fact(
        id=id_,
        site=site,
        authority=identity.authority,
        control_id=id_,
        digest="",
        event=STATEMENT,
        occurred=now,
        recorded=now,
        sent=now,
        received=now.us,
        identity=identity.key,
        links=list(identity.links),
        visit=visit,
        about_visit=visit is not None,
        person=[fragment] if visit is None else [],
        stay=[fragment] if visit is not None else [],
        history=history,
        labels=sorted(labels(resource)),
    )
