"""Chains (`patient.name=x`) and `_has`: conditions on what a reference leads to, or comes from.

They are followed from the end that few resources meet.

Source: https://hl7.org/fhir/R4/search.html#chaining
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from segue.fhir.canonical import loads
from segue.fhir.search.conditions import (
    ChainCondition,
    HasCondition,
    IdCondition,
    IndexCondition,
    Query,
    TokenCondition,
)
from segue.fhir.search.hashes import reference_hash
from segue.fhir.search.parameters import Parameter
from segue.fhir.search.values import references
from segue.model.identity import ResourceKey
from segue.store.dialects import Row, Session
from segue.store.packing import unpack
from segue.store.search_merged import merged, with_gone
from segue.store.search_plan import Candidate, Filter, kept

LINKED = 1000
"""A chain whose end so few resources meet is followed from its end; else from its start."""


class Walk(Protocol):
    """Answers the query at the other end."""

    def first(self, query: Query, most: int) -> list[ResourceKey]:
        """The first matches in creation order."""
        ...

    def matches(self, query: Query, most: int | None) -> Iterator[Row]:
        """The rows of matches in creation order."""
        ...

    def indexed(self, known: Parameter) -> bool:
        """Whether the index answers for a parameter in this store."""
        ...


class Chains:
    """Turns conditions on the other end of a reference into conditions on this end."""

    def __init__(self, session: Session, walk: Walk) -> None:
        self._session = session
        self._walk = walk

    def chained(self, type_: str, chain: ChainCondition) -> IndexCondition | Filter:
        """What names one of the resources that meet the end of the chain."""
        known = chain.parameter
        ends: set[str] = set()
        for query in chain.queries:
            found = self._walk.first(query, LINKED + 1 - len(ends))
            ends.update(key.reference for key in found)
            if len(ends) > LINKED:
                return self._chained_from_start(chain)
        if not ends:
            return IdCondition(())
        ends = with_gone(self._session, ends)
        if self._walk.indexed(known):
            numbers = {reference_hash(type_, known.code, end) for end in ends}
            return TokenCondition(tuple(sorted(numbers)))
        return kept(lambda resource: not ends.isdisjoint(references(resource, known.code)))

    def _chained_from_start(self, chain: ChainCondition) -> Filter:
        code = chain.parameter.code

        def keep(batch: Sequence[Candidate]) -> Sequence[Candidate]:
            named = [set(references(one.resource, code)) for one in batch]
            now = merged(self._session, {text for refs in named for text in refs})
            named = [{now.get(text, text) for text in refs} | refs for refs in named]
            ends: set[str] = set()
            for query in chain.queries:
                mark = f"{query.type}/"
                ids = {
                    text[len(mark) :] for refs in named for text in refs if text.startswith(mark)
                }
                if ids:
                    among = (IdCondition(tuple(sorted(ids))), *query.conditions)
                    found = self._walk.first(replace(query, conditions=among), len(ids))
                    ends.update(key.reference for key in found)
            return [
                one for one, refs in zip(batch, named, strict=True) if not ends.isdisjoint(refs)
            ]

        return keep

    def pointed_at(self, type_: str, has: HasCondition) -> IndexCondition | Filter:
        """What one of the resources that meet the query points to."""
        query, code = has.query, has.parameter.code
        most = LINKED + 1 if self._walk.indexed(has.parameter) else None
        rows = list(self._walk.matches(query, most))
        if most is not None and len(rows) > LINKED:
            return self._pointed_at_from_end(type_, has)
        return IdCondition(tuple(sorted(self._survivors(type_, _named(type_, code, rows)))))

    def _survivors(self, type_: str, ids: set[str]) -> set[str]:
        """The same, with the survivors instead of Patients that were merged."""
        if type_ != "Patient" or not ids:
            return ids
        now = merged(self._session, {f"Patient/{one}" for one in ids})
        return {now.get(f"Patient/{one}", one).removeprefix("Patient/") for one in ids}

    def _pointed_at_from_end(self, type_: str, has: HasCondition) -> Filter:
        query, code = has.query, has.parameter.code

        def keep(batch: Sequence[Candidate]) -> Sequence[Candidate]:
            texts = with_gone(self._session, {f"{type_}/{one.row[1]}" for one in batch})
            hashes = {reference_hash(query.type, code, text) for text in texts}
            among = (TokenCondition(tuple(sorted(hashes))), *query.conditions)
            rows = self._walk.matches(replace(query, conditions=among), None)
            ids = self._survivors(type_, _named(type_, code, rows))
            return [one for one in batch if one.row[1] in ids]

        return keep


def _named(type_: str, code: str, rows: Iterable[Row]) -> set[str]:
    """Ids of one type that the rows' resources name by a parameter."""
    mark = f"{type_}/"
    return {
        text[len(mark) :]
        for row in rows
        for text in references(loads(unpack(row[4])), code)
        if text.startswith(mark)
    }
