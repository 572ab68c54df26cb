"""What the entries of a batch or transaction ask for.

Source: https://hl7.org/fhir/R4/http.html#transaction
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

from segue.fhir.outcomes import FhirError, fhir_error
from segue.fhir.patch import Patch, patch_in
from segue.model.issues import Issue

Method = Literal["DELETE", "POST", "PUT", "PATCH", "GET", "HEAD"]
ORDER: dict[str, int] = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2, "GET": 3, "HEAD": 3}
"""The order in which a transaction's entries are processed."""

METADATA = "metadata"
"""Where a server states what it can (https://hl7.org/fhir/R4/http.html#capabilities)."""

_TYPE = re.compile(r"[A-Z][A-Za-z]+")
_ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")


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


def at_entry(error: FhirError, index: int) -> FhirError:
    """The same error, with its place in the bundle."""
    prefix = f"Bundle.entry[{index}]"
    issues = [
        Issue(i.severity, i.code, f"{prefix} {i.where}".rstrip(), i.text, i.rule)
        for i in error.issues
    ]
    return FhirError(error.category, issues)
