"""FHIR XML to the dict of its JSON form and back, by the type table. The one door to lxml.

Nothing is rewritten on the way: decimals keep their digits, instants their text, and
narratives their markup. What is no FHIR (a wrong code, a missing element) passes as it
is: the gate judges it.

Sources: https://hl7.org/fhir/R4/xml.html, https://hl7.org/fhir/R4/json.html
"""

import re
from copy import deepcopy
from html.entities import name2codepoint
from typing import Any, NoReturn

from lxml import etree

from segue.fhir.canonical import dumps, loads
from segue.fhir.definitions import Definitions, Property

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,64})?(?:[eE][+-]?[0-9]{1,3})?")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_XML_ENTITIES = frozenset({"amp", "lt", "gt", "quot", "apos"})
_NUMERIC = frozenset({"integer", "unsignedInt", "positiveInt", "decimal"})


class XmlError(ValueError):
    """Text that is no FHIR XML; the message says where, without values."""


def _parser() -> etree.XMLParser:
    # Entities are not followed, nothing is fetched, and depth and size stay bounded.
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def from_xml(data: bytes, definitions: Definitions) -> dict[str, Any]:
    """Read a resource.

    Args:
        data: an XML document in any encoding that it declares.
        definitions: says which elements repeat, and which are numbers.

    Raises:
        XmlError: it is not well formed, has a DOCTYPE, or holds what FHIR does not know.
    """
    try:
        root = etree.fromstring(data, _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        message = "the body is not well-formed XML" + (f" at line {line}" if line else "")
        raise XmlError(message) from None
    if root.getroottree().docinfo.doctype:
        raise XmlError("a document type declaration is not taken")
    return _Reader(definitions).resource(root)


class _Reader:
    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions

    def resource(self, element: Any) -> dict[str, Any]:
        name = _local(element, "the root")
        if name not in self.definitions.resources:
            raise XmlError(f"<{name[:40]}> is no resource of FHIR R4")
        return {"resourceType": name, **self.children(element, name, name)}

    def children(self, element: Any, type_: str, path: str) -> dict[str, Any]:
        """The members of a complex element; `path` is for errors."""
        properties = self.definitions.structure(type_).properties
        found: dict[str, Any] = {}
        beside: dict[str, Any] = {}
        for attribute, text in element.attrib.items():
            if attribute != "id" and (attribute, type_) != ("url", "Extension"):
                _unknown(path, f"attribute {attribute}")
            found[attribute] = text
        if (element.text or "").strip():
            _unknown(path, "text")
        for child in element:
            name = _local(child, path)
            known = properties.get(name)
            if known is None:
                _unknown(path, f"element {name}")
            if (child.tail or "").strip():
                _unknown(path, "text")
            value, more = self.value(child, known, f"{path}.{name}")
            if not known.element.many:
                if name in found or name in beside:
                    raise XmlError(f"{path}.{name} may appear once")
                if value is not None:
                    found[name] = value
                if more:
                    beside[name] = more
                continue
            found.setdefault(name, []).append(value)
            if known.kind.primitive:
                beside.setdefault(name, []).append(more or None)
        for name, more in beside.items():
            if not isinstance(more, list):
                found[f"_{name}"] = more
            elif any(more):
                found[f"_{name}"] = more
                if not any(value is not None for value in found[name]):
                    del found[name]
        return found

    def value(self, element: Any, known: Property, path: str) -> tuple[Any, dict[str, Any] | None]:
        """The value of an element, and what a primitive has beside it."""
        kind = known.kind
        if kind.type == "xhtml":
            return _markup(element), None
        if kind.type == "Resource":
            inner = list(element)
            if len(inner) != 1:
                raise XmlError(f"{path} holds one resource")
            return self.resource(inner[0]), None
        if not kind.primitive:
            return self.children(element, kind.type, path), None
        attributes = dict(element.attrib)
        text = attributes.pop("value", None)
        more: dict[str, Any] = {}
        if "id" in attributes:
            more["id"] = attributes.pop("id")
        if attributes:
            _unknown(path, f"attribute {next(iter(attributes))}")
        if len(element):
            more |= self.children(_without_attributes(element), "Element", path)
        return None if text is None else _typed(text, kind.type), more or None


def _local(element: Any, path: str) -> str:
    name = etree.QName(element) if isinstance(element.tag, str) else None
    if name is None:
        raise XmlError(f"{path}: entities are not taken")
    if name.namespace != FHIR and not (name.namespace == XHTML and name.localname == "div"):
        raise XmlError(f"{path}: the namespace of <{name.localname[:40]}> is not {FHIR}")
    return str(name.localname)


def _unknown(path: str, what: str) -> NoReturn:
    raise XmlError(f"{path}: FHIR R4 has no {what[:60]} there")


def _without_attributes(element: Any) -> Any:
    copy = deepcopy(element)
    for name in list(copy.attrib):
        del copy.attrib[name]
    return copy


def _typed(text: str, type_: str) -> Any:
    if type_ == "boolean" and text in ("true", "false"):
        return text == "true"
    if type_ in _NUMERIC and _NUMBER.fullmatch(text):
        return loads(text)
    return text


def _markup(element: Any) -> str:
    copy = deepcopy(element)
    copy.tail = None
    etree.cleanup_namespaces(copy)
    return str(etree.tostring(copy, encoding="unicode"))


def to_xml(resource: dict[str, Any], definitions: Definitions, *, pretty: bool = False) -> bytes:
    """Write a valid resource as an XML document in UTF-8.

    Args:
        definitions: gives the order of the elements.
        pretty: with line ends and indentation, but in narratives.
    """
    writer = _Writer(definitions)
    root = etree.Element(f"{{{FHIR}}}{resource['resourceType']}", nsmap={None: FHIR})
    writer.children(root, resource, resource["resourceType"], resource=True)
    if pretty:
        etree.indent(root)
    for parent, markup in writer.markups:
        parent.append(_parsed(markup))
    return bytes(etree.tostring(root, encoding="UTF-8", xml_declaration=True))


class _Writer:
    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self.markups: list[tuple[Any, str]] = []

    def resource(self, parent: Any, resource: dict[str, Any]) -> None:
        root = etree.SubElement(parent, f"{{{FHIR}}}{resource['resourceType']}")
        self.children(root, resource, resource["resourceType"], resource=True)

    def children(
        self, parent: Any, value: dict[str, Any], type_: str, *, resource: bool = False
    ) -> None:
        for name, known in self.definitions.structure(type_).properties.items():
            found, beside = value.get(name), value.get(f"_{name}")
            if found is None and beside is None:
                continue
            if (name == "id" and not resource) or (name == "url" and type_ == "Extension"):
                parent.set(name, _legal(str(found)))
                continue
            values = found if isinstance(found, list) else [found]
            more = beside if isinstance(beside, list) else [beside]
            for n in range(max(len(values), len(more))):
                self.one(
                    parent,
                    name,
                    known,
                    values[n] if n < len(values) else None,
                    more[n] if n < len(more) else None,
                )

    def one(self, parent: Any, name: str, known: Property, value: Any, more: Any) -> None:
        type_ = known.kind.type
        if type_ == "xhtml":
            self.markups.append((parent, value))
            return
        element = etree.SubElement(parent, f"{{{FHIR}}}{name}")
        if type_ == "Resource":
            self.resource(element, value)
        elif not known.kind.primitive:
            self.children(element, value, type_)
        else:
            if more:
                self.children(element, more, "Element")
            if value is not None:
                element.set("value", _legal(value if isinstance(value, str) else dumps(value)))


def _legal(text: str) -> str:
    """Without what XML cannot hold; nothing that was stored has it."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\ufffd", str(text))


def _parsed(markup: str) -> Any:
    """A narrative as element; as plain text where it is not well formed."""

    def number(found: re.Match[str]) -> str:
        known = found[1] not in _XML_ENTITIES and name2codepoint.get(found[1])
        return f"&#{known};" if known else found[0]

    try:
        return etree.fromstring(_ENTITY.sub(number, markup), _parser())
    except (etree.XMLSyntaxError, ValueError):
        element = etree.Element(f"{{{XHTML}}}div", nsmap={None: XHTML})
        element.text = _legal(markup)
        return element
