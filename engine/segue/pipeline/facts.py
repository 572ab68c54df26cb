"""Facts as rows: two blobs, so that a visit can be folded by itself.

The first one has what orders facts, plain, and at its end the fragments of the person;
the other one the fragments of the visit. Fragments are packed, each lot by itself: to read
one does not need the other, and what was said before is not packed again.
Fields go by position: names would cost more than the values.
"""

import struct
from array import array
from functools import lru_cache
from sys import byteorder
from typing import Any

import msgspec

from segue.model.facts import Fact, Fragment
from segue.model.instants import Moment
from segue.model.memo import Recent
from segue.store import packing
from segue.store.records import FactRow

_ENCODER = msgspec.msgpack.Encoder(decimal_format="number")
_DECODER = msgspec.msgpack.Decoder()

MOST_PACKED = 4_000
"""Lists of fragments that are remembered with their bytes, about 1 kB each."""
_PACKED: Recent[int, tuple[list[Fragment], bytes]] = Recent(MOST_PACKED)


def pack(fact: Fact, entry: int, kind: str = "message") -> FactRow:
    """The row of a fact.

    Args:
        fact: what was said.
        entry: journal entry id, 0 for what is not a message.
        kind: `message`, `statement`, `receipt`, `steward`.
    """
    row = bare(fact, entry, kind)
    fill(row, fact)
    return row


def bare(fact: Fact, entry: int, kind: str = "message") -> FactRow:
    """The row of a fact without what was said: `fill` puts it in."""
    return FactRow(fact.id, entry, kind, fact.identity, fact.visit, b"", b"")


def fill(row: FactRow, fact: Fact) -> None:
    """Put into a row what its fact says."""
    row.person = _ENCODER.encode(
        (
            fact.site,
            fact.authority,
            fact.control_id,
            _from_hex(fact.digest),
            fact.event,
            fact.occurred,
            fact.recorded,
            fact.sent,
            fact.received,
            fact.links,
            fact.targets,
            fact.prior,
            fact.about_visit,
            fact.history,
            fact.labels,
            _from_hex(fact.mapping),
            fact.details,
            _from_numbers(fact.rules),
            _said_before(fact.person),
        )
    )
    if fact.stay or fact.about_visit or fact.visit:
        row.stay = _fragments(fact.stay)


def unpack_stay(row: FactRow) -> Fact | None:
    """The visit part of a fact, None where it has none."""
    if not row.stay:
        return None
    fact, _ = _fact(row)
    fact.rules = []
    fact.stay = _unfragment(row.stay)
    return fact


def unpack_person(row: FactRow) -> Fact:
    """The person part of a fact."""
    fact, fragments = _fact(row)
    fact.person = _said_again(fragments)
    return fact


def unpack(row: FactRow) -> Fact:
    """The whole fact."""
    fact = unpack_person(row)
    if row.stay:
        fact.stay = _unfragment(row.stay)
    return fact


def pack_value(value: object) -> bytes:
    """A value of another kind of fact: a statement, a receipt."""
    return packing.pack(_ENCODER.encode(value))


def unpack_value(blob: bytes) -> Any:
    """The reverse of `pack_value`, as plain lists, dicts and scalars."""
    return _DECODER.decode(packing.unpack(blob))


def _fragments(fragments: list[Fragment]) -> bytes:
    told = [(f.type, f.id, f.scope, f.elements) for f in fragments]
    return packing.pack(_ENCODER.encode(told))


def _said_before(fragments: list[Fragment]) -> bytes:
    """Fragments, packed; those of the same list were so before.

    A patient's messages repeat what they say of the person, and mapping gives the very
    same list for it; to know it again saves the larger one of the two lots.
    """
    known = _PACKED.get(id(fragments))
    # The list is held, so that its id stays its own, and is never changed.
    if known is None or known[0] is not fragments:
        known = fragments, _fragments(fragments)
        _PACKED.put(id(fragments), known)
    return known[1]


@lru_cache(maxsize=256)
def _said_again(packed: bytes) -> list[Fragment]:
    """Fragments of a person, which one message says like the other: shared, never changed."""
    return _unfragment(packed)


def _unfragment(packed: bytes) -> list[Fragment]:
    return [Fragment(*row) for row in _DECODER.decode(packing.unpack(packed))]


def _from_hex(text: str) -> bytes | str:
    """A digest takes half the room as bytes; anything else stays as it is."""
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        return text
    return packed if packed.hex() == text else text


def _from_numbers(numbers: list[int]) -> bytes | list[int]:
    """Ordinals of rules as two bytes each."""
    try:
        return array("H", numbers).tobytes() if byteorder == "little" else numbers
    except OverflowError:
        return numbers


def _fact(row: FactRow) -> tuple[Fact, bytes]:
    (
        site,
        authority,
        control_id,
        digest,
        event,
        occurred,
        recorded,
        sent,
        received,
        links,
        targets,
        prior,
        about_visit,
        history,
        labels,
        mapping,
        details,
        rules,
        fragments,
    ) = _DECODER.decode(row.person)
    for name in ("admitted", "discharged"):
        if isinstance(details.get(name), list):
            details[name] = Moment(*details[name])
    fact = Fact(
        row.id,
        site,
        authority,
        control_id,
        digest.hex() if isinstance(digest, bytes) else digest,
        event,
        Moment(*occurred),
        Moment(*recorded),
        Moment(*sent),
        received,
        row.identity,
        links,
        Moment(*targets) if targets else None,
        prior,
        row.visit,
        about_visit,
        details=details,
        history=history,
        labels=labels,
        mapping=mapping.hex() if isinstance(mapping, bytes) else mapping,
        rules=_to_numbers(rules) if isinstance(rules, bytes) else rules,
    )
    return fact, fragments


def _to_numbers(packed: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(packed) // 2}H", packed))
