"""read, vread and history.

Sources: https://hl7.org/fhir/R4/http.html#read, #vread, #history
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from segue.api.exchange import Gone, body_of, rfc3339_us
from segue.fhir import bundles
from segue.fhir.canonical import loads
from segue.fhir.datetimes import interval
from segue.fhir.outcomes import fhir_error
from segue.model.instants import microseconds
from segue.pipeline.targets import version_of
from segue.store.reader import Reader
from segue.store.records import StoredVersion

DEFAULT_COUNT, MOST = 50, 1_000


def current(reader: Reader, type_: str, id_: str) -> StoredVersion:
    """The current version of a resource.

    Raises:
        FhirError: 404 where it never was, 410 where it was deleted.
    """
    stored = reader.read(type_, id_)
    if stored is None:
        raise fhir_error("not-found", "not-found", f"there is no {type_}/{id_}")
    if stored.body is None:
        raise Gone(stored)
    return stored


def version(reader: Reader, type_: str, id_: str, number: str) -> StoredVersion:
    """One version of a resource.

    Raises:
        FhirError: 404 where it never was, 410 where it is the deletion.
    """
    stored = None
    if number.isdecimal() and len(number) < 10:
        stored = reader.vread(type_, id_, int(number))
    if stored is None:
        raise fhir_error("not-found", "not-found", f"there is no {type_}/{id_}/_history/{number}")
    if stored.body is None:
        raise Gone(stored)
    return stored


def unchanged(stored: StoredVersion, headers: Mapping[str, str]) -> bool:
    """Whether a conditional read (If-None-Match, If-Modified-Since) needs no answer."""
    tag = headers.get("if-none-match")
    if tag is not None:
        return tag.strip() == "*" or version_of(tag, "If-None-Match") == stored.version
    since = headers.get("if-modified-since")
    if since is None:
        return False
    try:
        instant = parsedate_to_datetime(since)
    except (ValueError, TypeError):
        return False
    if instant.tzinfo is None:
        return False
    return stored.at // 1_000_000 <= microseconds(instant) // 1_000_000


def history(
    reader: Reader,
    root: str,
    asked: Mapping[str, str],
    type_: str | None = None,
    id_: str | None = None,
) -> dict[str, Any]:
    """Versions, newest first: of one resource, of a type, or of everything.

    Args:
        root: base URL.
        asked: parameters `_count`, `_since`, and `_before` of the next page.

    Raises:
        FhirError: 404 where the resource never was, 400 for a wrong parameter.
    """
    count = number(asked, "_count", DEFAULT_COUNT)
    before = number(asked, "_before", None)
    since = instant(asked.get("_since"), "_since")
    limit = min(count if count is not None else DEFAULT_COUNT, MOST)
    page = reader.history(type_, id_, before=before, since=since, limit=max(limit, 1))
    place = "/".join(part for part in (root, type_, id_, "_history") if part)
    if id_ is not None and not page.items and reader.read(str(type_), id_) is None:
        raise fhir_error("not-found", "not-found", f"there is no {type_}/{id_}")
    used = [(name, asked[name]) for name in ("_count", "_since") if name in asked]
    links = [("self", _url(place, used))]
    if limit and page.next is not None:
        links.append(("next", _url(place, [*used, ("_before", str(page.next))])))
    items = page.items if limit else []
    return bundles.history(
        (_entry(root, stored) for stored in items), total=page.total, links=links
    )


def _entry(root: str, stored: StoredVersion) -> dict[str, Any]:
    return bundles.history_entry(
        f"{root}/{stored.key.reference}",
        stored.key,
        stored.version,
        rfc3339_us(stored.at),
        None if stored.body is None else loads(body_of(stored)),
    )


def _url(place: str, used: list[tuple[str, str]]) -> str:
    return f"{place}?{urlencode(used)}" if used else place


def number(asked: Mapping[str, str], name: str, default: int | None = None) -> int | None:
    """A parameter that is a whole number.

    Raises:
        FhirError: 400.
    """
    text = asked.get(name)
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 18:
        raise fhir_error("incorrect", "value", f"{name}: expected a whole number", name)
    return int(text)


def instant(text: str | None, name: str) -> int | None:
    """A parameter that is an instant, or a part of one: microseconds UTC of its begin.

    Raises:
        FhirError: 400.
    """
    if text is None:
        return None
    try:
        return interval(text.replace(" ", "+"))[0]
    except ValueError:
        raise fhir_error("incorrect", "value", f"{name}: expected a FHIR instant", name) from None
