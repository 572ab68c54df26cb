"""Stored Patients that may be the same person as a given one, best first.

Only those are compared that share the birth date, the family and the first given name,
or an identifier: the indexes find these, whatever the number of Patients.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from segue.care.matching.grade import Match, MatchingRules, first_seen_newborn, grade
from segue.care.matching.traits import Traits, traits_of
from segue.fhir.canonical import loads
from segue.fhir.search import query as queries
from segue.fhir.search.conditions import Query
from segue.model.identity import ResourceKey
from segue.model.instants import instant_of
from segue.store.reader import Reader
from segue.store.records import StoredVersion
from segue.store.search_walk import Walker

MOST = 60
"""Patients that are compared for each of the things shared; where a birth date is shared
by more, those of the same family name."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored Patient and how it compares.

    Attributes:
        patient: as stored.
    """

    stored: StoredVersion
    patient: dict[str, Any]
    match: Match


def candidates(
    reader: Reader,
    patient: Mapping[str, Any],
    rules: MatchingRules,
    *,
    without: frozenset[str] = frozenset(),
    now: int,
) -> list[Candidate]:
    """Active Patients that are not certainly another person, best first.

    Args:
        reader: what is stored.
        patient: what is known; need not be stored.
        rules: how to compare.
        without: ids of Patients that are not to be compared: the person's own.
        now: µs; when a Patient that is not stored is taken to be first seen.
    """
    own = traits_of(patient)
    year = instant_of(now).year
    found: list[Candidate] = []
    shared = dict.fromkeys(_sharing(reader, patient, own))
    for key in shared:
        stored = None if key.id in without else reader.read(key.type, key.id)
        if stored is None or stored.body is None:
            continue
        other = loads(stored.body)
        if other.get("active") is False:
            continue
        known = traits_of(other)
        young = first_seen_newborn(own, year) or first_seen_newborn(known, year)
        match = grade(own, known, rules, newborn=young)
        if match.grade != "certainly-not":
            found.append(Candidate(stored, other, match))
    return sorted(found, key=lambda one: (-one.match.bits, one.stored.key.id))


def _sharing(reader: Reader, patient: Mapping[str, Any], own: Traits) -> Iterator[ResourceKey]:
    walk = Walker(reader.session)
    asked: list[list[tuple[str, str]]] = []
    families = [name["family"] for name in patient.get("name", ()) if name.get("family")]
    if len(own.birth) == len("2026-01-01"):
        born = [("birthdate", own.birth)]
        some, more = walk.names(_first_of(born))
        if not more:
            yield from some
        else:
            asked += [[*born, ("family", _text(family))] for family in families[:3]]
    for name in patient.get("name", ())[:3]:
        given = next((one for one in name.get("given", ()) if one), None)
        if name.get("family") and given:
            asked.append([("family", _text(name["family"])), ("given", _text(given))])
    tokens = [
        f"{_text(identifier['system'])}|{_text(identifier['value'])}"
        for identifier in patient.get("identifier", ())[:10]
        if identifier.get("system") and identifier.get("value")
    ]
    if tokens:
        some, more = walk.names(_first_of([("identifier", ",".join(tokens))]))
        if not more:
            yield from some
        else:
            asked += [[("identifier", token)] for token in tokens]
    for pairs in asked:
        yield from walk.names(_first_of(pairs))[0]


def _first_of(pairs: list[tuple[str, str]]) -> Query:
    return queries.parse("Patient", [*pairs, ("_count", str(MOST))])


def _text(value: str) -> str:
    """A text as a search value: https://hl7.org/fhir/R4/search.html#escaping."""
    for sign in "\\|,$":
        value = value.replace(sign, f"\\{sign}")
    return value
