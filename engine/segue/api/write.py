"""create, update, delete, and what batch and transaction do.

Sources: https://hl7.org/fhir/R4/http.html#create, #update, #delete, #transaction
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Literal

import structlog
from starlette.responses import Response

from segue.api import read, search
from segue.api.exchange import Preferences, answer, body_of, rfc3339_us, version_headers
from segue.api.operations import Invocation, Level, Operations
from segue.fhir import bundles
from segue.fhir.bundles import Entry
from segue.fhir.canonical import loads
from segue.fhir.outcomes import FhirError, fhir_error, outcome
from segue.model.issues import Issue
from segue.pipeline.engine import Hub
from segue.pipeline.faults import described
from segue.pipeline.statements import Speaker, Written, write_all
from segue.store.records import StoredVersion

log = structlog.get_logger(__name__)

_WORD = {200: "there already, or changed", 201: "created", 204: "deleted"}


def single(hub: Hub, speaker: Speaker, entry: Entry, root: str, prefer: Preferences) -> Response:
    """Do one write and answer it.

    Args:
        root: base URL. prefer: what the answer is to hold.

    Raises:
        FhirError: it cannot be done.
    """
    (written,) = write_all(hub, speaker, [entry], base=root, bundle=False)
    assert written is not None
    stored = _stored(hub, [written]).get(0)
    headers = version_headers(stored) if stored is not None else {}
    if written.status == 204:
        return answer(None, 204, headers)
    assert stored is not None
    headers["Location"] = location(root, stored)
    if prefer.answer == "minimal":
        return answer(None, written.status, headers)
    if prefer.answer == "OperationOutcome":
        return answer(outcome([_done(written)]), written.status, headers)
    return answer(body_of(stored), written.status, headers)


def location(root: str, stored: StoredVersion) -> str:
    """The URL of a version."""
    return f"{root}/{stored.key.reference}/_history/{stored.version}"


def _done(written: Written) -> Issue:
    changed = "" if written.changed else ": nothing had to be changed"
    return Issue("information", "informational", "", f"{_WORD[written.status]}{changed}")


def _stored(hub: Hub, written: Sequence[Written | None]) -> dict[int, StoredVersion]:
    """What each write left, by its place."""
    wanted = {
        n: (one.key, one.version)
        for n, one in enumerate(written)
        if one is not None and one.key is not None
    }
    with hub.store.read() as reader:
        found = {(one.key, one.version): one for one in reader.versions(set(wanted.values()))}
    return {n: found[asked] for n, asked in wanted.items() if asked in found}


def together(
    hub: Hub,
    speaker: Speaker,
    bundle: dict[str, Any],
    root: str,
    prefer: Preferences,
    operations: Operations,
) -> dict[str, Any]:
    """Do a batch or transaction; the response Bundle.

    Operations are done in a batch, and in a transaction as far as they only read.

    Raises:
        FhirError: the Bundle is wrong; of a transaction, an entry cannot be done, and
            nothing was written.
    """
    _check_shape(bundle)
    requests = bundles.entries(bundle)
    kind: Literal["batch", "transaction"] = bundle["type"]
    if not speaker_may(requests, speaker):
        raise fhir_error("forbidden", "forbidden", "this client may read, and not write")
    if kind == "transaction":
        written = write_all(hub, speaker, requests, base=root)
        stored = _stored(hub, written)
        answers = []
        for n, (entry, one) in enumerate(zip(requests, written, strict=True)):
            if one is None:
                try:
                    answers.append(_read(hub, speaker, entry, root, prefer, operations))
                except FhirError as error:
                    answers.append(_refused(error))
            else:
                answers.append(_written(one, stored.get(n), root, prefer))
        return bundles.response(kind, answers)
    return bundles.response(
        kind, [_alone(hub, speaker, one, root, prefer, operations) for one in requests]
    )


def speaker_may(requests: Sequence[Entry], speaker: Speaker) -> bool:
    """Whether all requests are reads, or the speaker may write."""
    return speaker.may_write or all(
        one.method in ("GET", "HEAD") or one.rest.startswith("$") for one in requests
    )


def _check_shape(bundle: Mapping[str, Any]) -> None:
    found = bundle.get("entry", [])
    if not isinstance(found, list):
        raise fhir_error("incorrect", "structure", "entry is a list", "Bundle.entry")
    for n, entry in enumerate(found):
        where = f"Bundle.entry[{n}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("request", {}), dict):
            raise fhir_error(
                "incorrect", "structure", "an entry and its request are objects", where
            )
        texts = [entry.get("fullUrl"), *entry.get("request", {}).values()]
        if any(text is not None and not isinstance(text, str) for text in texts):
            text = "fullUrl and what stands in request are strings"
            raise fhir_error("incorrect", "structure", text, where)


def _alone(
    hub: Hub,
    speaker: Speaker,
    entry: Entry,
    root: str,
    prefer: Preferences,
    operations: Operations,
) -> dict[str, Any]:
    """One entry of a batch, independent of the others."""
    try:
        if entry.method in ("GET", "HEAD") or entry.rest.startswith("$"):
            return _read(hub, speaker, entry, root, prefer, operations)
        (written,) = write_all(hub, speaker, [replace(entry, index=0)], base=root, bundle=False)
        assert written is not None
        return _written(written, _stored(hub, [written]).get(0), root, prefer)
    except FhirError as error:
        return _refused(error)
    except Exception as error:  # noqa: BLE001 - one entry must not spoil the others
        log.error("request.broke", method=entry.method, **described(error))  # noqa: TRY400
        issue = Issue("error", "exception", "", "the engine failed: its log has more")
        return bundles.response_entry("500 Internal Server Error", outcome=outcome([issue]))


def _refused(error: FhirError) -> dict[str, Any]:
    return bundles.response_entry(_line(error.status), outcome=outcome(error.issues))


def _line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _written(
    one: Written, stored: StoredVersion | None, root: str, prefer: Preferences
) -> dict[str, Any]:
    if stored is None:
        return bundles.response_entry(_line(one.status))
    shown = stored.body is not None and prefer.answer == "representation"
    told = prefer.answer == "OperationOutcome"
    return bundles.response_entry(
        _line(one.status),
        location=location(root, stored) if stored.body is not None else None,
        version=stored.version,
        last_modified=rfc3339_us(stored.at),
        resource=loads(body_of(stored)) if shown else None,
        outcome=outcome([_done(one)]) if told else None,
    )


def _operated(
    hub: Hub,
    speaker: Speaker,
    entry: Entry,
    root: str,
    prefer: Preferences,
    operations: Operations,
) -> dict[str, Any]:
    level: Level = "instance" if entry.id else "type" if entry.type else "system"
    asked = Invocation(
        hub,
        speaker,
        level,
        entry.type,
        entry.id or "",
        entry.resource,
        entry.query,
        root,
        prefer,
    )
    done = operations.run(asked, entry.rest.removeprefix("$"), post=entry.method == "POST")
    body = loads(done.body) if isinstance(done.body, str) else done.body
    return bundles.response_entry(_line(done.status), resource=body)


def _read(
    hub: Hub,
    speaker: Speaker,
    entry: Entry,
    root: str,
    prefer: Preferences,
    operations: Operations,
) -> dict[str, Any]:
    """A read, vread, history, search or operation within a Bundle."""
    if entry.rest.startswith("$"):
        return _operated(hub, speaker, entry, root, prefer, operations)
    with hub.store.read() as reader:
        if entry.type not in hub.gate.definitions.resources:
            raise fhir_error("not-found", "not-supported", f"no resource type {entry.type!r}")
        if entry.rest == "_history" or entry.rest.startswith("_history?"):
            found = read.history(reader, root, dict(entry.query), entry.type, entry.id)
            return bundles.response_entry("200 OK", resource=found)
        if entry.id is None:
            query = search.parse(reader, entry.type, entry.query, root, strict=prefer.strict)
            return bundles.response_entry(
                "200 OK", resource=loads(search.search(reader, query, root))
            )
        if entry.rest:
            number = entry.rest.removeprefix("_history/")
            stored = read.version(reader, entry.type, entry.id, number)
        else:
            stored = read.current(reader, entry.type, entry.id)
    tag = {"if-none-match": entry.if_none_match} if entry.if_none_match else {}
    if read.unchanged(stored, tag):
        return bundles.response_entry("304 Not Modified", version=stored.version)
    return bundles.response_entry(
        "200 OK",
        version=stored.version,
        last_modified=rfc3339_us(stored.at),
        resource=loads(body_of(stored)),
    )
