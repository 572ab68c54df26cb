"""batch and transaction: many interactions in one request.

Source: https://hl7.org/fhir/R4/http.html#transaction
"""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import structlog

from segue.api import read, search
from segue.api.context import Context
from segue.api.exchange import body_of
from segue.api.operations import Invocation, Level
from segue.api.write import done, left, location
from segue.fhir import bundles
from segue.fhir.canonical import loads
from segue.fhir.outcomes import FhirError, fhir_error, outcome
from segue.fhir.requests import METADATA, Entry, entries, entry_of, kind_of
from segue.fhir.subset import Subset
from segue.model.identity import ResourceKey
from segue.model.instants import rfc3339_us
from segue.model.issues import Issue
from segue.pipeline.faults import described
from segue.pipeline.statements import Written, write_all
from segue.store.records import StoredVersion

log = structlog.get_logger(__name__)

MOST_ENTRIES = 10_000
"""Entries of one Bundle."""


def together(context: Context, bundle: dict[str, Any]) -> dict[str, Any]:
    """Do a batch or transaction; the response Bundle.

    Operations are done in a batch, and in a transaction as far as they only read.

    Raises:
        FhirError: the Bundle is wrong; of a transaction, an entry cannot be done, and
            nothing was written.
    """
    _check_shape(bundle)
    kind = kind_of(bundle)
    if kind == "batch":
        sent = enumerate(bundle.get("entry", ()))
        return bundles.response(kind, [_alone(context, n, one) for n, one in sent])
    requests = entries(bundle)
    for entry in requests:
        _check_right(context, entry)
    hub = context.hub
    written = write_all(hub, context.speaker, requests, base=context.root)
    stored = left(hub, written)
    answers = []
    for n, (entry, one) in enumerate(zip(requests, written, strict=True)):
        if one is not None:
            answers.append(_written(context, one, stored.get(n)))
            continue
        try:
            answers.append(_read(context, entry))
        except FhirError as error:
            answers.append(_refused(error))
    return bundles.response(kind, answers)


def _check_shape(bundle: Mapping[str, Any]) -> None:
    found = bundle.get("entry", [])
    if not isinstance(found, list):
        raise fhir_error("incorrect", "structure", "entry is a list", "Bundle.entry")
    if len(found) > MOST_ENTRIES:
        text = f"a Bundle is limited to {MOST_ENTRIES} entries: send several"
        raise fhir_error("too-large", "too-costly", text, "Bundle.entry")
    for n, entry in enumerate(found):
        where = f"Bundle.entry[{n}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("request", {}), dict):
            raise fhir_error(
                "incorrect", "structure", "an entry and its request are objects", where
            )
        request = entry.get("request", {})
        texts = [entry.get("fullUrl"), *(request.get(name) for name in _TEXTS)]
        if any(text is not None and not isinstance(text, str) for text in texts):
            text = "fullUrl and what stands in request are strings"
            raise fhir_error("incorrect", "structure", text, where)
        if any(text is not None and "\x00" in text for text in texts):
            raise fhir_error("incorrect", "value", "there is a NUL character", where)


_TEXTS = ("method", "url", "ifMatch", "ifNoneMatch", "ifNoneExist", "ifModifiedSince")


def _reads(entry: Entry) -> bool:
    return entry.method in ("GET", "HEAD") or entry.rest.startswith("$")


def _check_right(context: Context, entry: Entry) -> None:
    if not context.speaker.may_write and not _reads(entry):
        raise fhir_error("forbidden", "forbidden", "this client may read, and not write")


def _alone(context: Context, index: int, sent: dict[str, Any]) -> dict[str, Any]:
    """One entry of a batch, independent of the others."""
    try:
        entry = entry_of(index, sent)
        _check_right(context, entry)
        if _reads(entry):
            return _read(context, entry)
        alone = [replace(entry, index=0)]
        hub = context.hub
        (written,) = write_all(hub, context.speaker, alone, base=context.root, bundle=False)
        assert written is not None
        return _written(context, written, left(hub, [written]).get(0))
    except FhirError as error:
        return _refused(error)
    except Exception as error:  # noqa: BLE001 - one entry must not spoil the others
        log.error("request.broke", method="batch", **described(error))  # noqa: TRY400
        issue = Issue("error", "exception", "", "the engine failed: its log has more")
        return bundles.response_entry("500 Internal Server Error", outcome=outcome([issue]))


def _refused(error: FhirError) -> dict[str, Any]:
    return bundles.response_entry(_line(error.status), outcome=outcome(error.issues))


def _line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _written(context: Context, one: Written, stored: StoredVersion | None) -> dict[str, Any]:
    if stored is None:
        return bundles.response_entry(_line(one.status))
    shown = stored.body is not None and context.prefer.answer == "representation"
    told = context.prefer.answer == "OperationOutcome"
    return bundles.response_entry(
        _line(one.status),
        location=location(context.root, stored) if stored.body is not None else None,
        version=stored.version,
        last_modified=rfc3339_us(stored.at),
        resource=loads(body_of(stored)) if shown else None,
        outcome=done(one) if told else None,
    )


def _operated(context: Context, entry: Entry) -> dict[str, Any]:
    level: Level = "instance" if entry.id else "type" if entry.type else "system"
    asked = Invocation(
        context.hub,
        context.speaker,
        level,
        entry.type,
        entry.id or "",
        entry.resource,
        entry.query,
        context.root,
        context.prefer,
    )
    name = entry.rest.removeprefix("$")
    found = context.operations.run(asked, name, post=entry.method == "POST")
    body = loads(found.body) if isinstance(found.body, str) else found.body
    return bundles.response_entry(_line(found.status), resource=body)


def _read(context: Context, entry: Entry) -> dict[str, Any]:
    """A read, vread, history, search or operation within a Bundle."""
    if entry.type:
        context.check(entry.type)
    elif entry.rest == METADATA:
        return bundles.response_entry("200 OK", resource=loads(context.statement()))
    if entry.rest.startswith("$"):
        return _operated(context, entry)
    definitions = context.hub.gate.definitions
    with context.hub.store.read() as reader:
        if entry.rest == "_history":
            found = read.history(
                reader,
                context.root,
                entry.query,
                entry.type or None,
                entry.id,
                definitions=definitions,
                strict=context.prefer.strict,
            )
            return bundles.response_entry("200 OK", resource=found)
        if not entry.type:
            raise fhir_error("not-found", "not-supported", "there is nothing at that URL")
        within = entry.id is not None and entry.rest in context.types
        if within or (entry.id is None and not entry.rest):
            compartment = ResourceKey(entry.type, entry.id or "") if within else None
            query = search.parse(
                reader,
                entry.rest or entry.type,
                entry.query,
                context.root,
                strict=context.prefer.strict,
                compartment=compartment,
            )
            text = search.search(reader, query, context.root, definitions, compartment)
            return bundles.response_entry("200 OK", resource=loads(text))
        if entry.rest:
            before, _, number = entry.rest.partition("/")
            if before != "_history" or entry.id is None:
                raise fhir_error("not-found", "not-supported", "there is nothing at that URL")
            stored = read.version(reader, entry.type, entry.id, number)
        else:
            assert entry.id is not None
            stored = read.current(reader, entry.type, entry.id)
    conditions = {
        "if-none-match": entry.if_none_match,
        "if-modified-since": entry.if_modified_since,
    }
    if read.unchanged(stored, {name: text for name, text in conditions.items() if text}):
        return bundles.response_entry("304 Not Modified", version=stored.version)
    resource = loads(body_of(stored))
    view = Subset.of(entry.query)
    return bundles.response_entry(
        "200 OK",
        version=stored.version,
        last_modified=rfc3339_us(stored.at),
        resource=resource if view is None else view.apply(resource, definitions),
    )
