"""create, update, patch and delete, alone.

Sources: https://hl7.org/fhir/R4/http.html#create, #update, #patch, #delete
"""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from segue.api.context import Context
from segue.api.exchange import answer, body_of, version_headers
from segue.fhir.outcomes import outcome
from segue.fhir.requests import Entry
from segue.model.issues import Issue
from segue.pipeline.hub import Hub
from segue.pipeline.statements import Written, write_all
from segue.store.records import StoredVersion

_WORD = {200: "there already, or changed", 201: "created", 204: "deleted"}


def single(context: Context, entry: Entry) -> Response:
    """Do one write and answer it.

    Raises:
        FhirError: it cannot be done.
    """
    hub, prefer = context.hub, context.prefer
    (written,) = write_all(hub, context.speaker, [entry], base=context.root, bundle=False)
    assert written is not None
    stored = left(hub, [written]).get(0)
    headers = version_headers(stored) if stored is not None else {}
    if written.status == 204:
        if prefer.answer == "OperationOutcome":
            return answer(done(written), 200, headers)
        return answer(None, 204, headers)
    assert stored is not None
    headers["Location"] = location(context.root, stored)
    if prefer.answer == "minimal":
        return answer(None, written.status, headers)
    if prefer.answer == "OperationOutcome":
        return answer(done(written), written.status, headers)
    return answer(body_of(stored), written.status, headers)


def location(root: str, stored: StoredVersion) -> str:
    """The URL of a version."""
    return f"{root}/{stored.key.reference}/_history/{stored.version}"


def done(written: Written) -> dict[str, Any]:
    """An OperationOutcome that says what was done."""
    changed = "" if written.changed else ": nothing had to be changed"
    text = f"{_WORD[written.status]}{changed}"
    return outcome([Issue("information", "informational", "", text)])


def left(hub: Hub, written: Sequence[Written | None]) -> dict[int, StoredVersion]:
    """What each write left, by its place."""
    wanted = {
        n: (one.key, one.version)
        for n, one in enumerate(written)
        if one is not None and one.key is not None
    }
    with hub.store.read() as reader:
        found = {(one.key, one.version): one for one in reader.versions(set(wanted.values()))}
    return {n: found[asked] for n, asked in wanted.items() if asked in found}
