"""search-type: GET [base]/[type]?… and POST [base]/[type]/_search.

Source: https://hl7.org/fhir/R4/http.html#search, https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from segue.api.definitions import finder
from segue.api.exchange import body_of
from segue.fhir import canonical
from segue.fhir.definitions import Definitions
from segue.fhir.expansion import Expander
from segue.fhir.profiles import definitions
from segue.fhir.search import query as queries
from segue.fhir.search.compartments import compartment_condition
from segue.fhir.search.conditions import Query
from segue.fhir.search.parameters import parameter
from segue.fhir.subset import Subset
from segue.model.identity import ResourceKey
from segue.pipeline.identities import namesakes
from segue.store.reader import Reader
from segue.store.records import StoredVersion
from segue.store.search import Searcher
from segue.store.search_include import included


def parse(
    reader: Reader,
    type_: str,
    pairs: Iterable[tuple[str, str]],
    root: str,
    *,
    strict: bool = False,
    compartment: ResourceKey | None = None,
) -> Query:
    """Read a search. Who asks for a Patient is answered for all Patients of that person.

    Args:
        compartment: only what belongs to this resource.
        root: base URL, which references may be sent with.
        strict: whether a parameter that is not known is an error.

    Raises:
        FhirError: 400.
    """
    asked = list(pairs)
    expander = Expander(definitions(), finder(reader))
    query = queries.parse(type_, asked, strict=strict, base=root, expander=expander)
    widened = [(name, _widened(reader, type_, name, value, root)) for name, value in asked]
    if widened != asked:
        whole = queries.parse(type_, widened, strict=strict, base=root, expander=expander)
        query = replace(whole, used=query.used)
    if compartment is None:
        return query
    others = namesakes(reader, compartment.id)[1:] if compartment.type == "Patient" else []
    within = compartment_condition(compartment, type_, tuple(others))
    return replace(query, conditions=(within, *query.conditions))


def _widened(reader: Reader, type_: str, name: str, value: str, root: str) -> str:
    code, _, modifier = name.partition(":")
    known = parameter(type_, code)
    if known is None or known.kind != "reference" or modifier not in ("", "Patient"):
        return value
    plain = known.targets == ("Patient",) or modifier == "Patient" or code == "patient"
    found: dict[str, None] = {}
    for one in value.split(","):
        found[one] = None
        text = one.removeprefix(root + "/")
        if not text.startswith("Patient/") and not (plain and "/" not in text):
            continue
        for id_ in namesakes(reader, text.removeprefix("Patient/"))[1:]:
            found[f"Patient/{id_}"] = None
    return ",".join(found)


def search(
    reader: Reader,
    query: Query,
    root: str,
    table: Definitions,
    compartment: ResourceKey | None = None,
) -> str:
    """Run a search and give the searchset Bundle as text.

    Whole matches are spliced in as stored, without being parsed.
    """
    place = (
        f"{root}/{compartment.reference}/{query.type}" if compartment else f"{root}/{query.type}"
    )
    view = Subset.of(query.used)
    searcher = Searcher(reader.session)
    page = searcher.page(query)
    head: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    if page.total is not None:
        head["total"] = page.total
    link = [{"relation": "self", "url": _url(place, query.used)}]
    if page.next is not None:
        used = [*query.used, ("_cursor", page.next)]
        link.append({"relation": "next", "url": _url(place, used)})
    head["link"] = link
    entries = [_entry(root, stored, view, table, "match") for stored in page.items]
    if query.include or query.revinclude:
        more = included(searcher.walk, query, page.items)
        entries += [_entry(root, stored, None, table, "include") for stored in more]
    text = canonical.dumps(head)
    if not entries:
        return text
    return f'{text[:-1]},"entry":[{",".join(entries)}]}}'


def _url(place: str, used: Sequence[tuple[str, str]]) -> str:
    asked = urlencode(used, safe=":|,$/")
    return place + (f"?{asked}" if asked else "")


def _entry(
    root: str, stored: StoredVersion, view: Subset | None, table: Definitions, mode: str
) -> str:
    body = body_of(stored)
    if view is not None:
        body = canonical.dumps(view.apply(canonical.loads(body), table))
    url = f"{root}/{stored.key.type}/{quote(stored.key.id)}"
    return f'{{"fullUrl":"{url}","resource":{body},"search":{{"mode":"{mode}"}}}}'
