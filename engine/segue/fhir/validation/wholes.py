"""What must fit within a whole resource, and no invariant says.

Sources: https://hl7.org/fhir/R4/documents.html#content, bundle.html#links,
questionnaire.html
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from segue.fhir.references import walk_references
from segue.model.issues import Issue

# What a document's Composition refers to directly must travel with it.
_DIRECT = ("subject", "encounter", "author", "attester", "custodian", "event", "section")


def whole_issues(resource: Mapping[str, Any], where: str) -> Iterator[Issue]:
    """What does not fit within one resource.

    Args:
        where: its FHIRPath.
    """
    check = _CHECKS.get(str(resource.get("resourceType")))
    if check is not None:
        yield from check(resource, where)


def _bundle(bundle: Mapping[str, Any], where: str) -> Iterator[Issue]:
    relations: set[str] = set()
    for index, link in enumerate(bundle.get("link", ())):
        relation = link.get("relation")
        if relation in relations:
            spot = f"{where}.link[{index}].relation"
            yield Issue("error", "duplicate", spot, "a relation may be given once", "bundle-links")
        relations.add(relation)
    entries = bundle.get("entry", ())
    for index, entry in enumerate(entries):
        id_, url = entry.get("resource", {}).get("id"), entry.get("fullUrl", "")
        is_rest = url.startswith(("http://", "https://"))
        if id_ is not None and is_rest and url.rpartition("/")[2] != id_:
            spot = f"{where}.entry[{index}].fullUrl"
            text = "the URL ends with another id than the resource has"
            yield Issue("error", "value", spot, text, "bundle-url-id")
    if bundle.get("type") == "document" and entries:
        yield from _document(entries, where)


def _document(entries: list[Mapping[str, Any]], where: str) -> Iterator[Issue]:
    composition = entries[0].get("resource", {})
    urls = {str(entry.get("fullUrl")) for entry in entries}
    for name in _DIRECT:
        for path, reference in walk_references({name: composition.get(name)}):
            text = reference["reference"]
            known = text in urls or any(url.endswith("/" + text) for url in urls)
            if not known and not text.startswith("#"):
                spot = f"{where}.entry[0].resource.{path}"
                message = "a document holds what its Composition refers to; this is not in it"
                yield Issue("error", "not-found", spot, message, "document-content")


def _questionnaire(questionnaire: Mapping[str, Any], where: str) -> Iterator[Issue]:
    items = list(_below(questionnaire, where))
    known = {item.get("linkId") for item, _ in items}
    for item, spot in items:
        for index, when in enumerate(item.get("enableWhen", ())):
            if when.get("question") not in known:
                text = "no item of this questionnaire has this linkId"
                place = f"{spot}.enableWhen[{index}].question"
                yield Issue("error", "not-found", place, text, "questionnaire-enable-when")


def _below(item: Mapping[str, Any], where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    for index, inner in enumerate(item.get("item", ())):
        spot = f"{where}.item[{index}]"
        yield inner, spot
        yield from _below(inner, spot)


_CHECKS: dict[str, Callable[[Mapping[str, Any], str], Iterator[Issue]]] = {
    "Bundle": _bundle,
    "Questionnaire": _questionnaire,
}
