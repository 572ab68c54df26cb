"""Bundles: searchset, history, transactions and their responses.

Sources: https://hl7.org/fhir/R4/bundle.html, https://hl7.org/fhir/R4/http.html#transaction
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

from segue.fhir.outcomes import FhirError, fhir_error
from segue.fhir.patch import Patch, patch_in
from segue.fhir.references import rewrite
from segue.model.identity import ResourceKey
from segue.model.issues import Issue

Method = Literal["DELETE", "POST", "PUT", "PATCH", "GET", "HEAD"]
ORDER: dict[str, int] = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2, "GET": 3, "HEAD": 3}
"""The order in which a transaction's entries are processed."""

METADATA = "metadata"
"""Where a server states what it can (https://hl7.org/fhir/R4/http.html#capabilities)."""

_TYPE = re.compile(r"[A-Z][A-Za-z]+")
_ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")

Link = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One request of a batch or transaction.

    Attributes:
        index: its place in the bundle; answers are given in this order.
        type: resource type of the URL; "" for a system-level request.
        id: logical id of the URL, None for a type-level or conditional one.
        query: decoded parameters of a conditional URL or a search.
        rest: what follows the id (`_history/2`, `$everything`), or is asked of the whole
            server (`metadata`); else "".
        patch: what a PATCH is to do.
    """

    index: int
    method: Method
    type: str
    id: str | None
    query: tuple[tuple[str, str], ...]
    rest: str
    resource: dict[str, Any] | None
    full_url: str | None
    if_match: str | None = None
    if_none_match: str | None = None
    if_none_exist: str | None = None
    if_modified_since: str | None = None
    patch: Patch | None = None


def kind_of(bundle: dict[str, Any]) -> Literal["batch", "transaction"]:
    """What a Bundle that is sent to the base asks for.

    Raises:
        FhirError: 400; it is neither a batch nor a transaction.
    """
    kind = bundle.get("type")
    if bundle.get("resourceType") != "Bundle" or kind not in ("batch", "transaction"):
        raise fhir_error(
            "incorrect", "value", "POST to the base takes a Bundle of type batch or transaction",
            "Bundle.type",
        )  # fmt: skip
    return "batch" if kind == "batch" else "transaction"


def entries(bundle: dict[str, Any]) -> list[Entry]:
    """The requests of a batch or transaction, in the bundle's order.

    Raises:
        FhirError: 400; not a batch or transaction, or an entry without a usable request.
    """
    kind_of(bundle)
    return [entry_of(index, entry) for index, entry in enumerate(bundle.get("entry", ()))]


def entry_of(index: int, entry: dict[str, Any]) -> Entry:
    """The request of an entry.

    Raises:
        FhirError: 400; it has none that is usable.
    """
    where = f"Bundle.entry[{index}]"
    request = entry.get("request", {})
    method, url = request.get("method"), request.get("url")
    if method not in ORDER or not isinstance(url, str):
        raise fhir_error("incorrect", "required", "an entry needs request.method and .url", where)
    path, _, query = url.partition("?")
    type_, _, rest = path.strip("/").partition("/")
    id_, _, rest = rest.partition("/")
    if (type_.startswith(("$", "_")) or type_ == METADATA) and not id_:
        type_, id_ = "", type_
    if (type_ and not _TYPE.fullmatch(type_)) or (
        id_ and not id_.startswith(("_", "$")) and not _ID.fullmatch(id_)
    ):
        text = "request.url is Type, Type/id or Type?query, relative to the base"
        raise fhir_error("incorrect", "value", text, f"{where}.request.url")
    if id_.startswith(("_", "$")) or not type_:
        id_, rest = "", f"{id_}/{rest}".rstrip("/")
    operation = rest.startswith("$")
    if operation and method not in ("GET", "POST"):
        raise fhir_error(
            "incorrect", "not-supported", "an operation is asked by GET or POST", where
        )
    needed = method in ("POST", "PUT", "PATCH") and not operation
    if needed and "resource" not in entry:
        raise fhir_error("incorrect", "required", f"{method} needs a resource", where)
    patch = None
    if method == "PATCH":
        try:
            patch = patch_in(entry["resource"])
        except FhirError as error:
            raise at_entry(error, index) from None
    return Entry(
        index,
        method,
        type_,
        id_ or None,
        tuple(parse_qsl(query, keep_blank_values=True)),
        rest,
        entry.get("resource"),
        entry.get("fullUrl"),
        request.get("ifMatch"),
        request.get("ifNoneMatch"),
        request.get("ifNoneExist"),
        request.get("ifModifiedSince"),
        patch,
    )


def in_order(requests: Iterable[Entry]) -> list[Entry]:
    """The order of processing: DELETE, POST, PUT and PATCH, GET; else as sent."""
    return sorted(requests, key=lambda entry: ORDER[entry.method])


def check_distinct(requests: Iterable[Entry]) -> None:
    """Refuse a transaction that touches one resource twice.

    Raises:
        FhirError: 400.
    """
    seen: dict[tuple[str, str], int] = {}
    for entry in requests:
        if entry.id is None or entry.method in ("GET", "HEAD"):
            continue
        key = (entry.type, entry.id)
        if key in seen:
            text = f"the same resource as entry {seen[key]}: a transaction touches each once"
            raise fhir_error("incorrect", "invalid", text, f"Bundle.entry[{entry.index}]")
        seen[key] = entry.index


def conditional_references(resource: Any) -> list[str]:
    """The references of the form `Patient?identifier=…`, which the store must look up."""
    found: list[str] = []
    if isinstance(resource, dict):
        for name, value in resource.items():
            if name == "reference" and isinstance(value, str):
                head, mark, _ = value.partition("?")
                if mark and _TYPE.fullmatch(head) and value not in found:
                    found.append(value)
            elif isinstance(value, (dict, list)):
                found += [v for v in conditional_references(value) if v not in found]
    elif isinstance(resource, list):
        for item in resource:
            found += [v for v in conditional_references(item) if v not in found]
    return found


def resolve_conditional(
    resource: dict[str, Any], look_up: Callable[[str, str], Sequence[ResourceKey]]
) -> dict[str, Any]:
    """Replace conditional references by what they match.

    Args:
        resource: with or without such references.
        look_up: (type, query string) to the keys that match.

    Raises:
        FhirError: 412 where none or more than one matches.
    """
    links = {}
    for text in conditional_references(resource):
        type_, _, query = text.partition("?")
        found = look_up(type_, query)
        if len(found) != 1:
            word = "nothing" if not found else "more than one resource"
            message = f"a conditional reference to {type_} matches {word}"
            raise fhir_error("precondition", "multiple-matches", message)
        links[text] = found[0].reference
    replaced: dict[str, Any] = rewrite(resource, links)
    return replaced


def searchset(
    matches: Iterable[tuple[str, dict[str, Any]]],
    *,
    included: Iterable[tuple[str, dict[str, Any]]] = (),
    total: int | None = None,
    links: Iterable[Link] = (),
    issues: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A search result.

    Args:
        matches: (fullUrl, resource) of what was found.
        included: the same of what came along.
        total: number of all matches.
        links: (relation, url).
        issues: an OperationOutcome about the search.
    """
    found = [
        {"fullUrl": url, "resource": resource, "search": {"mode": mode}}
        for mode, group in (("match", matches), ("include", included))
        for url, resource in group
    ]
    if issues is not None:
        found.append({"resource": issues, "search": {"mode": "outcome"}})
    return _bundle("searchset", found, total, links)


def history(
    versions: Iterable[dict[str, Any]], *, total: int | None = None, links: Iterable[Link] = ()
) -> dict[str, Any]:
    """A history of entries made by `history_entry`, newest first."""
    return _bundle("history", list(versions), total, links)


def history_entry(
    full_url: str,
    key: ResourceKey,
    version: int,
    last_modified: str,
    resource: dict[str, Any] | None,
    *,
    revived: bool = False,
) -> dict[str, Any]:
    """One version; without a resource it is a deletion (bdl-3, bdl-4).

    Args:
        revived: the version before was a deletion.
    """
    entry: dict[str, Any] = {"fullUrl": full_url}
    if resource is None:
        method, status = "DELETE", "204 No Content"
    else:
        entry["resource"] = resource
        method = "POST" if version == 1 else "PUT"
        status = "201 Created" if version == 1 or revived else "200 OK"
    url = key.type if method == "POST" else key.reference
    entry["request"] = {"method": method, "url": url}
    entry["response"] = {
        "status": status,
        "etag": f'W/"{version}"',
        "lastModified": last_modified,
    }
    return entry


def response_entry(
    status: str,
    *,
    location: str | None = None,
    version: int | None = None,
    last_modified: str | None = None,
    resource: dict[str, Any] | None = None,
    outcome: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The answer to one entry of a batch or transaction.

    Args:
        status: such as `201 Created`.
        location: `[base]/Type/id/_history/n`.
        version: for the ETag.
        last_modified: FHIR instant.
        resource: what `Prefer: return=representation` or a GET asks for.
        outcome: an OperationOutcome.
    """
    response: dict[str, Any] = {"status": status}
    if location is not None:
        response["location"] = location
    if version is not None:
        response["etag"] = f'W/"{version}"'
    if last_modified is not None:
        response["lastModified"] = last_modified
    if outcome is not None:
        response["outcome"] = outcome
    entry: dict[str, Any] = {"response": response}
    if resource is not None:
        entry = {"resource": resource, **entry}
    return entry


def response(
    kind: Literal["batch", "transaction"], answers: list[dict[str, Any]]
) -> dict[str, Any]:
    """The answer to a batch or transaction, entries in the order of the request."""
    return _bundle(f"{kind}-response", answers, None, ())


def at_entry(error: FhirError, index: int) -> FhirError:
    """The same error, with its place in the bundle."""
    prefix = f"Bundle.entry[{index}]"
    issues = [
        Issue(i.severity, i.code, f"{prefix} {i.where}".rstrip(), i.text, i.rule)
        for i in error.issues
    ]
    return FhirError(error.category, issues)


def _bundle(
    kind: str, found: list[dict[str, Any]], total: int | None, links: Iterable[Link]
) -> dict[str, Any]:
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": kind}
    if total is not None:
        bundle["total"] = total
    listed = [{"relation": relation, "url": url} for relation, url in links]
    if listed:
        bundle["link"] = listed
    if found:
        bundle["entry"] = found
    return bundle
