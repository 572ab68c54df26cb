"""read, vread and history.

Sources: https://hl7.org/fhir/R4/http.html#read, #vread, #history
"""

import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from segue.api.exchange import Gone, body_of
from segue.fhir import bundles
from segue.fhir.canonical import loads
from segue.fhir.datetimes import interval
from segue.fhir.definitions import Definitions
from segue.fhir.outcomes import fhir_error
from segue.fhir.subset import Subset
from segue.model.identity import ResourceKey
from segue.model.instants import microseconds, rfc3339_us
from segue.store.reader import Reader
from segue.store.records import StoredVersion

DEFAULT_COUNT, MOST = 50, 1_000

_KNOWN = frozenset({"_count", "_since", "_at", "_before", "_summary", "_elements"})
_ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")


def key(type_: str, id_: str) -> ResourceKey:
    """The key of a resource that a URL names.

    Raises:
        FhirError: 404; nothing has such an id.
    """
    if not _ID.fullmatch(id_):
        raise fhir_error("not-found", "not-found", f"there is no such {type_[:64]}")
    return ResourceKey(type_, id_)


def current(reader: Reader, type_: str, id_: str) -> StoredVersion:
    """The current version of a resource.

    Raises:
        FhirError: 404 where it never was, 410 where it was deleted.
    """
    stored = reader.read(type_, id_) if _ID.fullmatch(id_) else None
    if stored is None:
        raise fhir_error("not-found", "not-found", f"there is no {type_}/{id_[:64]}")
    if stored.body is None:
        raise Gone(stored)
    return stored


def version(reader: Reader, type_: str, id_: str, number: str) -> StoredVersion:
    """One version of a resource.

    Raises:
        FhirError: 404 where it never was, 410 where it is the deletion.
    """
    stored = None
    if _ID.fullmatch(id_) and number.isdecimal() and len(number) < 10:
        stored = reader.vread(type_, id_, int(number))
    if stored is None:
        raise fhir_error("not-found", "not-found", f"there is no {type_}/{id_}/_history/{number}")
    if stored.body is None:
        raise Gone(stored)
    return stored


def unchanged(stored: StoredVersion, headers: Mapping[str, str]) -> bool:
    """Whether a conditional read (If-None-Match, If-Modified-Since) needs no answer.

    A tag that is none of ours matches nothing; a date that cannot be read asks nothing.
    """
    tags = headers.get("if-none-match")
    if tags is not None:
        ours = (f'W/"{stored.version}"', f'"{stored.version}"', str(stored.version), "*")
        return any(tag.strip() in ours for tag in tags.split(","))
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
    pairs: Iterable[tuple[str, str]],
    type_: str | None = None,
    id_: str | None = None,
    *,
    definitions: Definitions,
    strict: bool = False,
) -> dict[str, Any]:
    """Versions, newest first: of one resource, of a type, or of everything.

    Args:
        root: base URL.
        pairs: parameters `_count`, `_since`, `_at`, `_summary`, `_elements`, and `_before`
            of the next page.
        strict: whether other parameters are errors.

    Raises:
        FhirError: 404 where the resource never was, 400 for a wrong parameter.
    """
    asked = dict(pairs)
    if strict and (other := asked.keys() - _KNOWN):
        text = f"history knows {', '.join(sorted(_KNOWN))}"
        raise fhir_error("incorrect", "not-supported", text, min(other))
    if id_ is not None and not _ID.fullmatch(id_):
        raise fhir_error("not-found", "not-found", f"there is no such {type_}")
    count = number(asked, "_count", DEFAULT_COUNT)
    before = number(asked, "_before", None)
    limit = min(DEFAULT_COUNT if count is None else count, MOST)
    if asked.get("_summary") == "count":
        limit = 0
    page = reader.history.page(
        type_,
        id_,
        before=before,
        since=_span(asked, "_since")[0] if "_since" in asked else None,
        span=_span(asked, "_at") if "_at" in asked else None,
        limit=max(limit, 1),
    )
    place = "/".join(part for part in (root, type_, id_, "_history") if part)
    if id_ is not None and not page.items and reader.read(str(type_), id_) is None:
        raise fhir_error("not-found", "not-found", f"there is no {type_}/{id_}")
    used = [(name, asked[name]) for name in sorted(_KNOWN & asked.keys() - {"_before"})]
    links = [("self", _url(place, used))]
    if limit and page.next is not None:
        links.append(("next", _url(place, [*used, ("_before", str(page.next))])))
    items = page.items if limit else []
    view = Subset.of(asked.items())
    revived = reader.history.revived((one.pk, one.version) for one in items)
    return bundles.history(
        (_entry(root, one, view, definitions, revived) for one in items),
        total=page.total,
        links=links,
    )


def _entry(
    root: str,
    stored: StoredVersion,
    view: Subset | None,
    definitions: Definitions,
    revived: set[tuple[int, int]],
) -> dict[str, Any]:
    resource = None if stored.body is None else loads(body_of(stored))
    if view is not None and resource is not None:
        resource = view.apply(resource, definitions)
    return bundles.history_entry(
        f"{root}/{stored.key.reference}",
        stored.key,
        stored.version,
        rfc3339_us(stored.at),
        resource,
        revived=(stored.pk, stored.version) in revived,
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


def _span(asked: Mapping[str, str], name: str) -> tuple[int, int]:
    try:
        return interval(asked[name].replace(" ", "+"))
    except (ValueError, OverflowError):
        text = f"{name}: expected a FHIR date, dateTime or instant"
        raise fhir_error("incorrect", "value", text, name) from None
