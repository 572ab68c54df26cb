"""Extensions: known ones must stand where they may, and hold what they define.

Source: https://hl7.org/fhir/R4/defining-extensions.html#context
"""

from collections.abc import Iterator
from typing import Any

from segue.fhir.validation.compact import CORE
from segue.fhir.validation.conform import Conformance
from segue.fhir.validation.items import Item
from segue.model.issues import Issue

_RESOURCES = ("Resource", "DomainResource")


class Extensions:
    """Judges the extensions of an element.

    Args:
        book: the known extensions are among its profiles.
    """

    def __init__(self, book: Conformance) -> None:
        self.book = book

    def issues(
        self, name: str, item: Item, owner: Item, spot: str, inside: dict[str, Any], outer: str
    ) -> Iterator[Issue]:
        """What is wrong with one extension.

        Args:
            name: `extension` or `modifierExtension`.
            owner: the element that it extends, at `spot` of its own owner (`Patient.name`).
            inside: the resource.
            outer: the URL of the extension that it is part of, or "".
        """
        url = item.value.get("url")
        if not isinstance(url, str):
            return
        known = self.book.profiles.get(url)
        if known is None:
            yield from self._unknown(name, url, item, outer)
            return
        if known.type != "Extension":
            yield Issue("error", "extension", item.where, "this URL is a profile, no extension")
            return
        if known.modifier != (name == "modifierExtension"):
            wanted = "modifierExtension" if known.modifier else "extension"
            text = f"this extension belongs into {wanted}"
            yield Issue("error", "extension", item.where, text, url)
        if known.context and not any(
            self._fits(kind, expression, owner, spot, outer) for kind, expression in known.context
        ):
            places = ", ".join(expression for _, expression in known.context)
            text = f"this extension may not stand here, only on {places}"
            yield Issue("error", "extension", item.where, text, url)
        yield from self.book.part(item, known, inside, inside)

    def _unknown(self, name: str, url: str, item: Item, outer: str) -> Iterator[Issue]:
        if outer and ":" not in url:
            return
        if url.startswith(CORE):
            text = "R4 has no extension of this URL: a later release's, or a slip of the pen?"
            yield Issue("warning", "extension", item.where, text, url)
        elif name == "modifierExtension":
            text = "this modifier is not known here: what it changes is not understood"
            yield Issue("warning", "extension", item.where, text, url)
        elif not outer:
            text = "this extension is not known here, so it was not checked"
            yield Issue("information", "informational", item.where, text, url)

    def _fits(self, kind: str, expression: str, owner: Item, spot: str, outer: str) -> bool:
        if kind == "extension":
            return expression == outer
        if kind != "element":
            return True
        wanted = expression.replace("[x]", "")
        if wanted in (owner.path, spot, owner.type):
            return True
        table = self.book.table
        resource = owner.type in table.resources
        if wanted in ("Element", "BackboneElement"):
            return not resource and (wanted == "Element" or "." in owner.type)
        return wanted in _RESOURCES and resource
