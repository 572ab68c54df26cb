"""Components beyond those that a field's datatype has: nobody reads them, so they are kept.

Which datatype a field has, and what a datatype consists of, is generated from the guide's
sheets; of segments without a sheet the datatype that a rule names stands for it.
Source: HL7 v2.9 ch. 2A; `mappings/standard.json`, `mappings/datatypes.json`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_BLANK = ' "\t^~&'


class Width(NamedTuple):
    """What a datatype has room for: components, and subcomponents of each."""

    components: int
    parts: tuple[int, ...]


TEXTS = frozenset({"ST", "TX", "FT"})
"""What reads a field whole, whatever it holds."""
FUNCTION = "a function"
"""Reads what it is made for: of a text nobody can say how much of it."""
UNKNOWN = "-"
"""Of a field whose datatype hangs on others, or is known to nobody."""
_AS = {"DT": "TS", "DTM": "TS", "moment": "TS", "instant": "TS", "place": "PL", "SSN": "CX"}
"""What a rule calls a datatype, where that is none of HL7's. Times had two components."""


class Widths:
    """Widths by segment and field.

    Args:
        facts: the content of `mappings/standard.json`.
        datatypes: of `mappings/datatypes.json`.
    """

    def __init__(
        self, facts: Mapping[str, Mapping[str, Any]], datatypes: Mapping[str, Sequence[int]]
    ) -> None:
        self._types = {name: Width(len(parts), tuple(parts)) for name, parts in datatypes.items()}
        self._fields: dict[str, list[str]] = {
            name: entry["types"].split() for name, entry in facts.items() if "types" in entry
        }

    def of(self, segment: str, number: int, read_as: Collection[str] = ()) -> Width | None:
        """Of a field; None where no width can be said.

        Args:
            segment, number: of the field.
            read_as: datatypes that rules read it as, whole; `FUNCTION` among them.
        """
        if not TEXTS.isdisjoint(read_as):
            return None
        types = self._fields.get(segment, ())
        own = types[number - 1] if 0 < number <= len(types) else ""
        if own == UNKNOWN or (own == "ST" and FUNCTION in read_as):
            return None
        names = [own, *(_AS.get(name, name.partition("_")[0]) for name in read_as)]
        found = [self._types[name] for name in names if name in self._types]
        # What is read as more than the standard says has the more room.
        return max(found, default=None)

    def segment(self, segment: str) -> list[Width | None]:
        """Of all fields of a segment that has a sheet, from number 0."""
        return [self.of(segment, n) for n in range(len(self._fields.get(segment, ())) + 1)]


def fits(raw: str, width: Width, delimiters: str) -> bool:
    """Whether a field, with its repetitions, has no more parts than its datatype."""
    component, repetition, subcomponent = tuple(delimiters)
    if raw.count(component) < width.components and subcomponent not in raw:
        return True
    return all(
        n <= width.components and part.count(subcomponent) < width.parts[n - 1]
        for one in raw.split(repetition)
        for n, part in enumerate(one.split(component), 1)
    )


def beyond(raw: str, width: Width, delimiters: str) -> Iterator[tuple[str, str]]:
    """Place in a field and raw text of what has content beyond its datatype.

    Args:
        raw: the field.
        width: of its datatype.
        delimiters: component, repetition and subcomponent.

    >>> list(beyond("7^^^A&1&ISO&x^y~8^^^^z", Width(4, (1, 1, 1, 3)), "^~&"))
    [('.4.4', 'x'), ('.5', 'y'), ('(2).5', 'z')]
    """
    component, repetition, subcomponent = tuple(delimiters)
    for place, one in enumerate(raw.split(repetition), 1):
        which = f"({place})" if place > 1 else ""
        for n, part in enumerate(one.split(component), 1):
            if n > width.components:
                if part.strip(_BLANK):
                    yield f"{which}.{n}", part
                continue
            for k, leaf in enumerate(part.split(subcomponent), 1):
                if k > width.parts[n - 1] and leaf.strip(_BLANK):
                    yield f"{which}.{n}.{k}", leaf
