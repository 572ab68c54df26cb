"""Conditional references: `Patient?identifier=…` in the place of an id.

Of a transaction they are resolved last: so they find what it creates, and what it changes
as it will be, and do not find what it deletes.

Source: https://hl7.org/fhir/R4/http.html#trules, step 5
"""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from segue.fhir.search.query import parse
from segue.fhir.search.unstored import meets
from segue.model.identity import ResourceKey
from segue.pipeline.targets import Target, matches
from segue.pipeline.transact import Draft


class ConditionalReferences:
    """Finds what conditional references of one write stand for.

    Args:
        draft: what is stored.
        base: our base URL.
        targets: what the write is about; literal references are resolved already.
    """

    def __init__(self, draft: Draft, base: str, targets: Sequence[Target]) -> None:
        self._draft = draft
        self._base = base
        self._written: dict[str, list[Target]] = {}
        self._replaced: dict[str, set[ResourceKey]] = {}
        self._found: dict[tuple[str, str], Sequence[ResourceKey]] = {}
        for target in targets:
            if target.key is None or target.action not in ("create", "update", "delete"):
                continue
            if target.resource is not None:
                self._written.setdefault(target.key.type, []).append(target)
            # Of a Patient there is more than what one client says.
            if target.action == "delete" or target.key.type != "Patient":
                self._replaced.setdefault(target.key.type, set()).add(target.key)

    def find(self, type_: str, text: str) -> Sequence[ResourceKey]:
        """The resources of a type that a query string selects; two mean: several."""
        asked = (type_, text)
        if asked not in self._found:
            self._found[asked] = self._look(type_, text)
        return self._found[asked]

    def _look(self, type_: str, text: str) -> Sequence[ResourceKey]:
        replaced = self._replaced.get(type_, set())
        pairs = parse_qsl(text, keep_blank_values=True)
        most = 2 + len(replaced)
        query = parse(type_, pairs, strict=True, base=self._base, default_count=most, most=most)
        if not query.conditions:
            return []
        stored = [key for key in matches(self._draft, query) if key not in replaced]
        here = [
            target.key
            for target in self._written.get(type_, ())
            if target.key and target.resource and meets(target.resource, query)
        ]
        return list(dict.fromkeys([*stored, *here]))[:2]
