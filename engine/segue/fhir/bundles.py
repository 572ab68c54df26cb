"""Bundles that are answered: searchset, history, and what became of a batch or transaction.

Source: https://hl7.org/fhir/R4/bundle.html
"""

from collections.abc import Iterable
from typing import Any, Literal

from segue.model.identity import ResourceKey

Link = tuple[str, str]
"""Relation and URL."""


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
