"""Facts as rows: two compressed blobs, so that a visit can be folded by itself.

The person part and the visit part each carry what orders facts; a visit's fold reads
nothing else. Fields go by position: names would cost more than the values.
"""

import zlib
from collections.abc import Iterable
from importlib import resources
from typing import Any

import msgspec

from segue.model.facts import Fact, Fragment
from segue.model.instants import Moment
from segue.store.records import FactRow

_ENCODER = msgspec.msgpack.Encoder(decimal_format="number")
_DECODER = msgspec.msgpack.Decoder()
_LEVEL, _WINDOW, _MEMORY = 1, -14, 7


def dictionary() -> bytes:
    """What facts usually look like, so that each is stored as its difference to it.

    Stored facts cannot be read without these very bytes: the file never changes. A
    better one would be a second file, told from this one by the first byte of a blob.
    """
    sample = resources.files("segue.pipeline").joinpath("fact_dictionary.json").read_bytes()
    return _ENCODER.encode(msgspec.json.decode(sample))


_DICTIONARY = dictionary()
_FRESH = zlib.compressobj(
    _LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY
)


def pack(fact: Fact, entry: int, kind: str = "message") -> FactRow:
    """The row of a fact.

    Args:
        fact: what was said.
        entry: journal entry id, 0 for what is not a message.
        kind: `message`, `statement`, `receipt`, `steward`.
    """
    head = (
        fact.id,
        fact.site,
        fact.authority,
        fact.control_id,
        fact.digest,
        fact.event,
        fact.occurred,
        fact.recorded,
        fact.sent,
        fact.received,
        fact.identity,
        fact.links,
        fact.targets,
        fact.prior,
        fact.visit,
        fact.about_visit,
        fact.history,
        fact.labels,
        fact.mapping,
    )
    person = (head, _fragments(fact.person), fact.details, fact.rules)
    stay = b""
    if fact.stay or fact.about_visit or fact.visit:
        stay = _squeeze((head, _fragments(fact.stay), fact.details))
    return FactRow(fact.id, entry, kind, fact.identity, fact.visit, _squeeze(person), stay)


def unpack_stay(row: FactRow) -> Fact | None:
    """The visit part of a fact, None where it has none."""
    if not row.stay:
        return None
    head, fragments, details = _DECODER.decode(_inflate(row.stay))
    fact = _fact(head, details)
    fact.stay = _unfragment(fragments)
    return fact


def unpack_person(row: FactRow) -> Fact:
    """The person part of a fact."""
    head, fragments, details, rules = _DECODER.decode(_inflate(row.person))
    fact = _fact(head, details)
    fact.person = _unfragment(fragments)
    fact.rules = rules
    return fact


def unpack(row: FactRow) -> Fact:
    """The whole fact."""
    fact = unpack_person(row)
    if row.stay:
        _, fragments, _ = _DECODER.decode(_inflate(row.stay))
        fact.stay = _unfragment(fragments)
    return fact


def pack_value(value: object) -> bytes:
    """A value of another kind of fact: a statement, a receipt."""
    return _squeeze(value)


def unpack_value(blob: bytes) -> Any:
    """The reverse of `pack_value`, as plain lists, dicts and scalars."""
    return _DECODER.decode(_inflate(blob))


def _squeeze(value: object) -> bytes:
    squeeze = _FRESH.copy()
    return squeeze.compress(_ENCODER.encode(value)) + squeeze.flush()


def _inflate(blob: bytes) -> bytes:
    return zlib.decompressobj(_WINDOW, _DICTIONARY).decompress(blob)


def _fragments(fragments: Iterable[Fragment]) -> list[tuple[object, ...]]:
    return [(f.type, f.id, f.scope, f.elements) for f in fragments]


def _unfragment(rows: Iterable[Any]) -> list[Fragment]:
    return [Fragment(*row) for row in rows]


def _fact(head: list[Any], details: dict[str, Any]) -> Fact:
    (
        id_,
        site,
        authority,
        control_id,
        digest,
        event,
        occurred,
        recorded,
        sent,
        received,
        identity,
        links,
        targets,
        prior,
        visit,
        about_visit,
        history,
        labels,
        mapping,
    ) = head
    for name in ("admitted", "discharged"):
        if isinstance(details.get(name), list):
            details[name] = Moment(*details[name])
    return Fact(
        id_,
        site,
        authority,
        control_id,
        digest,
        event,
        Moment(*occurred),
        Moment(*recorded),
        Moment(*sent),
        received,
        identity,
        links,
        Moment(*targets) if targets else None,
        prior,
        visit,
        about_visit,
        details=details,
        history=history,
        labels=labels,
        mapping=mapping,
    )
