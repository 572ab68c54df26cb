"""References between resources: read, list, rewrite.

Source: https://hl7.org/fhir/R4/references.html
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from segue.fhir.outcomes import fhir_error
from segue.fhir.profiles import definitions
from segue.model.identity import ResourceKey

_TYPE = re.compile(r"[A-Z][A-Za-z]+")
_RELATIVE = re.compile(
    r"(?:https?://\S+/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.\-]{1,64})(?:/_history/[A-Za-z0-9.\-]{1,64})?"
)
# uri, url, uuid and oid elements point to entries of a bundle by these only.
_LINKED = ("urn:uuid:", "urn:oid:")


def reference(key: ResourceKey, display: str | None = None) -> dict[str, str]:
    """A Reference to a resource of this store.

    >>> reference(ResourceKey("Patient", "1"))
    {'reference': 'Patient/1'}
    """
    if display is None:
        return {"reference": f"{key[0]}/{key[1]}"}
    return {"reference": f"{key[0]}/{key[1]}", "display": display}


def parse_reference(text: str, base: str | None = None) -> ResourceKey | None:
    """The key that a literal reference names; None for anything else.

    Args:
        text: `Patient/1`, `Patient/1/_history/2`, or an absolute URL.
        base: our own base URL. An absolute URL of another server names nothing here;
            without a base every absolute URL of that form is taken.

    >>> parse_reference("Patient/1/_history/2")
    ResourceKey(type='Patient', id='1')
    >>> parse_reference("#a") is None, parse_reference("http://x/Patient/1", "http://y") is None
    (True, True)
    """
    if base is not None and text.startswith(("http://", "https://")):
        root = base.rstrip("/") + "/"
        if not text.startswith(root):
            return None
        text = text[len(root) :]
    found = _RELATIVE.fullmatch(text)
    return ResourceKey(found[1], found[2]) if found else None


def walk_references(resource: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Reference with a literal `reference`, with its path, in document order.

    >>> list(walk_references({"subject": {"reference": "Patient/1"}}))
    [('subject', {'reference': 'Patient/1'})]
    """
    if isinstance(resource, dict):
        if isinstance(resource.get("reference"), str) and path:
            yield path, resource
        for name, value in resource.items():
            if isinstance(value, (dict, list)):
                yield from walk_references(value, f"{path}.{name}" if path else name)
    elif isinstance(resource, list):
        for index, item in enumerate(resource):
            if isinstance(item, (dict, list)):
                yield from walk_references(item, f"{path}[{index}]")


def rewrite(resource: Any, mapping: Mapping[str, str]) -> Any:
    """A copy in which references that are keys of the mapping are replaced.

    Replaced are `Reference.reference`, elements of type uri, url, uuid, oid and canonical
    whose whole value is a `urn:uuid:` or `urn:oid:` of the mapping, and links within a
    narrative. An Identifier's value is a string and stays, even if it looks like one.

    >>> rewrite({"subject": {"reference": "urn:uuid:1"}}, {"urn:uuid:1": "Patient/1"})
    {'subject': {'reference': 'Patient/1'}}
    >>> rewrite({"value": "urn:uuid:1"}, {"urn:uuid:1": "Patient/1"})
    {'value': 'urn:uuid:1'}
    """
    if not mapping:
        return resource
    if isinstance(resource, dict):
        copy: dict[str, Any] = {}
        for name, value in resource.items():
            if isinstance(value, str):
                if name == "reference" or (value.startswith(_LINKED) and name in _linking()):
                    copy[name] = _replaced(value, mapping)
                elif name == "div":
                    copy[name] = _linked(value, mapping)
                else:
                    copy[name] = value
            elif isinstance(value, list):
                links = name in _linking()
                copy[name] = [
                    _replaced(item, mapping)
                    if links and isinstance(item, str) and item.startswith(_LINKED)
                    else rewrite(item, mapping)
                    for item in value
                ]
            else:
                copy[name] = rewrite(value, mapping)
        return copy
    if isinstance(resource, list):
        return [rewrite(item, mapping) for item in resource]
    return resource


@lru_cache(maxsize=1)
def _linking() -> frozenset[str]:
    """JSON names of the elements that may point to an entry of a Bundle."""
    return definitions().names_of("uri", "url", "uuid", "oid", "canonical")


def _replaced(value: str, mapping: Mapping[str, str]) -> str:
    if value in mapping:
        return mapping[value]
    # A version-specific or fragment suffix goes with what it belongs to.
    head, mark, tail = value.partition("#")
    if mark and head in mapping:
        return f"{mapping[head]}#{tail}"
    return value


def _linked(div: str, mapping: Mapping[str, str]) -> str:
    def replaced(found: re.Match[str]) -> str:
        return found[1] + mapping.get(found[2], found[2]) + found[3]

    return re.sub(r"""((?:href|src)=["'])([^"']*)(["'])""", replaced, div)


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
