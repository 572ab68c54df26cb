"""How much of HL7 v2 a mapping reads: against the standard, the guide and real messages.

A field counts as mapped where a rule, a key or a condition reads it, or where it carries
nothing beyond the message itself. All others are kept verbatim with the Provenance.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from segue.hl7v2.message import Message
from segue.mapping.context import Mapped
from segue.mapping.fields import split_field
from segue.mapping.load import MappingSet, shipped

_MERGE = frozenset({1, 3, 4, 5})
"""Fields of MRG that say which identity, account and visit go."""


class Standard(NamedTuple):
    """Of a segment: how many fields HL7 gives it, and which ones the guide maps."""

    fields: int
    guide: frozenset[int]


@dataclass(slots=True)
class SegmentCoverage:
    """Of one segment.

    Attributes:
        standard: fields of the standard, 0 for a segment that it does not know.
        mapped, guide: numbers of fields.
        populated: number of a field to how many segments of the messages fill it.
        kept: likewise, of fields that no rule read.
    """

    segment: str
    standard: int
    mapped: list[int]
    guide: list[int]
    populated: Counter[int] = field(default_factory=Counter)
    kept: Counter[int] = field(default_factory=Counter)

    @property
    def guide_only(self) -> list[int]:
        """Fields that the guide maps and Segue keeps."""
        return [n for n in self.guide if n not in self.mapped]


def standard() -> dict[str, Standard]:
    """The facts that coverage is measured against, generated from the guide's sheets."""
    facts = json.loads((shipped() / "standard.json").read_text(encoding="utf-8"))
    return {
        name: Standard(entry["fields"], frozenset(entry["guide"])) for name, entry in facts.items()
    }


def read_by(mapping: MappingSet) -> dict[str, set[int]]:
    """The fields that a mapping reads, by segment."""
    found: dict[str, set[int]] = {}
    for plan in mapping.plans.values():
        for name, numbers in plan.structural.items():
            found.setdefault(name, set()).update(numbers)
        for name, options in plan.options.items():
            for option in options:
                found.setdefault(name, set()).update(option.reads)
    identity = mapping.identity
    for path in (*identity.fields, *(one for entry in identity.visit for one in entry)):
        segment, number, _, _ = split_field(path)
        found.setdefault(segment, set()).add(number)
    found.setdefault("MRG", set()).update(_MERGE)
    return {name: numbers - {0} for name, numbers in found.items()}


def coverage(
    mapping: MappingSet, messages: Iterable[tuple[Message, Mapped]] = ()
) -> list[SegmentCoverage]:
    """Coverage by segment, in the order of their names.

    Args:
        mapping: the mapping set.
        messages: parsed messages and what came of them, to count what real ones fill.
    """
    known, reads = standard(), read_by(mapping)
    rows: dict[str, SegmentCoverage] = {}

    def row(name: str) -> SegmentCoverage:
        if name not in rows:
            fact = known.get(name, Standard(0, frozenset()))
            rows[name] = SegmentCoverage(
                name, fact.fields, sorted(reads.get(name, ())), sorted(fact.guide)
            )
        return rows[name]

    for name in (*known, *reads):
        row(name)
    for message, mapped in messages:
        for segment in message.segments:
            counts = row(segment.name).populated
            for n, raw in enumerate(segment.fields):
                if n and raw.strip('^~&\\ "\t'):
                    counts[n] += 1
        for name in mapped.verbatim:
            place, _, number = name.rpartition("-")
            if not number.isdigit():
                continue  # beyond a datatype: the field itself is mapped
            row(place.partition("[")[0]).kept[int(number)] += 1
    return [rows[name] for name in sorted(rows)]


def share(rows: Sequence[SegmentCoverage]) -> float | None:
    """Which part of all populated fields a rule read, None without messages."""
    populated = sum(sum(row.populated.values()) for row in rows)
    kept = sum(sum(row.kept.values()) for row in rows)
    return (populated - kept) / populated if populated else None


def spans(numbers: Iterable[int] | Mapping[int, int]) -> str:
    """Numbers in short: neighbours as a span.

    >>> spans([1, 2, 3, 7, 9, 10])
    '1-3 7 9-10'
    """
    parts: list[list[int]] = []
    for n in sorted(numbers):
        if parts and parts[-1][-1] == n - 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return " ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
