"""DocumentReference/$docref: the documents of a patient.

Source: http://hl7.org/fhir/us/core/STU6.1/OperationDefinition-docref.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from segue.api import search
from segue.api.exchange import body_of
from segue.api.operations import Invocation
from segue.fhir.bundles import searchset
from segue.fhir.canonical import loads
from segue.fhir.care_dates import span, within
from segue.fhir.outcomes import fhir_error
from segue.store.reader import Reader
from segue.store.records import StoredVersion
from segue.store.search import Searcher

_KNOWN = frozenset({"patient", "start", "end", "type", "on-demand", "profile"})


def docref(asked: Invocation) -> dict[str, Any]:
    """The documents of a `patient`, by `type`, `profile` and when care was given.

    Without `start` and `end` the documents that are current; with one of them all whose care
    (`context.period`, else `date`) lies in that time. Several types or profiles are
    alternatives. No document is made on demand: with `on-demand` true there is none.

    Raises:
        FhirError: 400; no patient is named, or a parameter is not what it should be.
    """
    for name, _ in asked.query:
        if name not in _KNOWN:
            raise fhir_error("incorrect", "not-supported", f"$docref: {name} is not known here")
    patient = asked.text("patient")
    if not patient:
        raise fhir_error("incorrect", "required", "name the patient by its id", "patient")
    on_demand = asked.value("on-demand", False)
    if on_demand not in (True, False, "true", "false"):
        raise fhir_error("incorrect", "value", "on-demand is true or false", "on-demand")
    time = span(asked.text("start"), asked.text("end"))
    profiles = {str(one) for one in asked.values("profile")}
    found: list[tuple[str, dict[str, Any]]] = []
    if on_demand not in (True, "true"):
        types = [_token(one) for one in asked.values("type")]
        with asked.hub.store.read() as reader:
            for stored in _documents(reader, patient, types, asked.root):
                document = loads(body_of(stored))
                if time is None and document["status"] != "current":
                    continue
                if profiles and profiles.isdisjoint(document["meta"].get("profile", ())):
                    continue
                if time is None or within(document, time):
                    found.append((f"{asked.root}/{stored.key.reference}", document))
    return searchset(found, total=len(found))


def _documents(
    reader: Reader, patient: str, types: list[str], root: str
) -> Iterator[StoredVersion]:
    pairs = [("patient", f"Patient/{patient.removeprefix('Patient/')}")]
    pairs += [("status:not", "entered-in-error"), ("_total", "none"), ("_count", "500")]
    if types:
        pairs.append(("type", ",".join(types)))
    query = search.parse(reader, "DocumentReference", pairs, root, strict=True)
    searcher = Searcher(reader.session)
    while True:
        page = searcher.page(query)
        yield from page.items
        if page.next is None:
            return
        query = replace(query, cursor=page.next)


def _token(sent: Any) -> str:
    """`system|code` of a Coding, or as it stands in a URL."""
    if isinstance(sent, str):
        return sent
    code = sent.get("code") if isinstance(sent, Mapping) else None
    if not isinstance(code, str):
        raise fhir_error("incorrect", "value", "type is a Coding with a code", "type")
    escaped = "".join(f"\\{c}" if c in "\\,|$" else c for c in code)
    return f"{sent['system']}|{escaped}" if sent.get("system") else escaped
