"""Definitions by their canonical URL: those that are stored, and those that are shipped."""

from collections.abc import Callable, Mapping
from typing import Any

from segue.api import read
from segue.fhir.canonical import loads
from segue.fhir.search.query import parse
from segue.pipeline.definitions import own
from segue.pipeline.hub import Hub
from segue.store.reader import Reader
from segue.store.search import Searcher

Resource = Mapping[str, Any]

MOST = 500
"""Stored definitions of a type that are looked through where none is named."""


def stored(reader: Reader, type_: str, canonical: str) -> Resource | None:
    """The newest stored definition of a URL, perhaps with `|version`; not a retired one.

    Raises:
        FhirError: 400; it is no URL.
    """
    url, _, version = canonical.partition("|")
    pairs = [("url", url), ("_sort", "-_lastUpdated"), ("_count", "50")]
    for one in Searcher(reader.session).page(parse(type_, pairs, strict=True)).items:
        found: Resource = loads(one.body or "{}")
        if found.get("status") == "retired" and not version:
            continue
        if not version or found.get("version") == version:
            return found
    return None


def finder(reader: Reader) -> Callable[[str, str], Resource | None]:
    """Finds stored definitions by type and URL."""
    return lambda type_, url: stored(reader, type_, url)


def by_url(reader: Reader, hub: Hub, type_: str, canonical: str) -> Resource | None:
    """A definition by its URL: a stored one, else one of the engine's own."""
    found = stored(reader, type_, canonical)
    if found is not None:
        return found
    url, _, version = canonical.partition("|")
    return next(
        (
            one
            for one in own(hub, type_)
            if one.get("url") == url and version in ("", one.get("version"))
        ),
        None,
    )


def all_stored(reader: Reader, type_: str) -> list[Resource]:
    """The stored definitions of a type that are in force, the newest `MOST`."""
    query = parse(type_, [("_count", str(MOST)), ("_sort", "-_lastUpdated")], strict=True)
    bodies = [loads(one.body or "{}") for one in Searcher(reader.session).page(query).items]
    return [one for one in bodies if one.get("status") != "retired"]


def named(reader: Reader, hub: Hub, type_: str, id_: str) -> Resource:
    """A definition by its id: stored, or one of the engine's own.

    Raises:
        FhirError: 404, 410.
    """
    if reader.read(type_, id_) is None:
        for one in own(hub, type_):
            if one["id"] == id_:
                return one
    found: Resource = loads(read.current(reader, type_, id_).body or "{}")
    return found
