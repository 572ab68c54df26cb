"""What `_include` and `_revinclude` add to a page of matches.

Source: https://hl7.org/fhir/R4/search.html#revinclude
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Iterator, Sequence
from itertools import islice

from segue.fhir.canonical import loads
from segue.fhir.references import parse_reference
from segue.fhir.search.conditions import Query, ReverseInclude
from segue.fhir.search.hashes import reference_hash
from segue.fhir.search.parameters import Parameter, parameter, parameters_of, references_to
from segue.fhir.search.values import references
from segue.model.identity import ResourceKey
from segue.store.reader import Reader
from segue.store.records import StoredVersion
from segue.store.search_merged import with_gone
from segue.store.search_walk import Walker

MOST_INCLUDED = 1000
_AT_ONCE = 500


def included(walk: Walker, query: Query, matches: Sequence[StoredVersion]) -> list[StoredVersion]:
    """The resources that are added: each once, no match again, `MOST_INCLUDED` at most."""
    reader = Reader(walk.session)
    seen = {match.key for match in matches}
    found: list[StoredVersion] = []
    frontier = list(matches)
    first = True
    while frontier and len(found) < MOST_INCLUDED:
        keys = _referred(query, frontier, first=first)
        keys |= _referring(walk, query, frontier, first=first)
        new = sorted(keys - seen)[: MOST_INCLUDED - len(found)]
        seen.update(new)
        bodies = reader.bodies(new)
        frontier = [bodies[k] for k in new if k in bodies and bodies[k].body is not None]
        found += frontier
        first = False
    return found


def _referred(query: Query, frontier: Sequence[StoredVersion], *, first: bool) -> set[ResourceKey]:
    rules = [rule for rule in query.include if first or rule.iterate]
    keys: set[ResourceKey] = set()
    for one in frontier:
        wanted = [rule for rule in rules if rule.source in ("*", one.key.type)]
        if not wanted or one.body is None:
            continue
        resource = loads(one.body)
        for rule in wanted:
            for known in _named(one.key.type, rule.parameter):
                for text in references(resource, known.code):
                    key = parse_reference(text)
                    if key is not None and rule.target in (None, key.type):
                        keys.add(key)
    return keys


def _named(type_: str, code: str) -> Sequence[Parameter]:
    if code == "*":
        return [one for one in parameters_of(type_) if one.kind == "reference"]
    known = parameter(type_, code)
    return [known] if known else []


def _referring(
    walk: Walker, query: Query, frontier: Sequence[StoredVersion], *, first: bool
) -> set[ResourceKey]:
    hashes: set[int] = set()
    unindexed: list[tuple[Parameter, set[str]]] = []
    for rule in query.revinclude:
        if not (first or rule.iterate):
            continue
        texts = {one.key.reference for one in frontier if rule.target in (None, one.key.type)}
        texts = with_gone(walk.session, texts)
        for known in _pointing(rule, {text.partition("/")[0] for text in texts}):
            if walk.indexed(known):
                hashes |= {reference_hash(known.type, known.code, text) for text in texts}
            else:
                unindexed.append((known, texts))
    keys = set(_by_index(walk, sorted(hashes)))
    for known, texts in unindexed:
        keys.update(_by_body(walk, known, texts))
    return keys


def _pointing(rule: ReverseInclude, targets: set[str]) -> Iterator[Parameter]:
    """The parameters of a rule that may point to one of the types."""
    if rule.source == "*":
        # Only what the index knows: else everything would be read.
        found = {known for target in targets for known in references_to(target)}
        yield from (one for one in found if rule.parameter in ("*", one.code))
        return
    for known in _named(rule.source, rule.parameter):
        if not known.targets or not targets.isdisjoint(known.targets):
            yield known


def _by_index(walk: Walker, hashes: Sequence[int]) -> Iterator[ResourceKey]:
    for start in range(0, len(hashes), _AT_ONCE):
        where, params = walk.session.among(
            ("t.hash",), [(number,) for number in hashes[start : start + _AT_ONCE]]
        )
        rows = walk.session.rows(
            "SELECT r.type, r.id FROM search_token t JOIN resource r ON r.pk = t.resource "
            f"WHERE {where} AND r.deleted = 0 ORDER BY r.pk LIMIT ?",
            [*params, MOST_INCLUDED],
        )
        yield from (ResourceKey(*row) for row in rows)


def _by_body(walk: Walker, known: Parameter, texts: set[str]) -> Iterator[ResourceKey]:
    def points(resource: dict[str, object]) -> bool:
        return not texts.isdisjoint(references(resource, known.code))

    found = walk.reading(known.type, known.code, points)
    yield from islice(found, MOST_INCLUDED)
