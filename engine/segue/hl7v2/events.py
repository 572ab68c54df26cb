"""Which event a message speaks of, and which structure it then has.

What events mean stands in `segue.model.events`.
Source: HL7 v2.5.1 sections 2.15.9.9 (MSH-9) and 3.4.1.1 (EVN-1), table 0354.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from segue.hl7v2.separators import STANDARD, Separators
from segue.model.events import EVENTS, MOVEMENT_UPDATE


class Trigger(NamedTuple):
    """MSH-9 as understood.

    Attributes:
        type: `ADT`; "" where unknown.
        event: `A01`; "" where unknown.
        structure: `ADT_A01`; "" where unknown.
        codes: warning codes, see `segue.hl7v2.normalise.WARNINGS`.
    """

    type: str
    event: str
    structure: str
    codes: tuple[str, ...] = ()


def structure_of(event: str, declared: str = "", version: str = "") -> str:
    """The message structure of an ADT event.

    The table decides, as MSH-9.3 is missing in four of ten real messages and repeats
    the event in many others (`ADT_A08`). An unknown event has what is declared.

    >>> structure_of("A08", "ADT_A08"), structure_of("A47", version="2.5.1")
    ('ADT_A01', 'ADT_A30')
    """
    known = EVENTS.get(event)
    if known is None:
        return declared or (f"ADT_{event}" if event else "")
    if known.older_structure and version and version_number(version) < (2, 7):
        return known.older_structure
    return known.structure


@lru_cache(maxsize=64)  # a feed says the same in every message
def version_number(version: str) -> tuple[int, ...]:
    """MSH-12.1 as numbers that compare; () where it holds none.

    >>> version_number("2.5.1") >= (2, 5), version_number("2.3") >= (2, 5)
    (True, False)
    """
    parts = version[:20].split(".")
    return tuple(int(part) for part in parts if part.isascii() and part.isdigit())


_STRUCTURE = re.compile(r"([A-Z]{3})[_^]?([A-Z]\w{2})")


@lru_cache(maxsize=2048)
def identify(
    message_type: str, stated: str, version: str, separators: Separators = STANDARD
) -> Trigger:
    """Understand MSH-9, with EVN-1 where MSH-9 does not name the event.

    Args:
        message_type: MSH-9, raw.
        stated: EVN-1, raw; "" without EVN.
        version: MSH-12, raw.
        separators: those of the message.

    >>> identify("ADT^A40", "", "2.5.1")
    Trigger(type='ADT', event='A40', structure='ADT_A39', codes=())
    >>> identify("adt", "A01", "2.3")
    Trigger(type='ADT', event='A01', structure='ADT_A01', codes=('event-lower-case', \
'event-from-evn'))
    """
    codes = []
    parts = [part.strip(' "\n') for part in message_type.split(separators.component)]
    first, second, third = (*parts, "", "", "")[:3]
    stated = stated.partition("\n")[0].partition(separators.component)[0].strip(' "')
    if any(part != part.upper() for part in (first, second, third)):
        codes.append("event-lower-case")
        first, second, third = first.upper(), second.upper(), third.upper()
    stated = stated.upper()
    if not second and (joined := _STRUCTURE.fullmatch(first)):
        first, second = joined.groups()  # `ADT_A01` alone
        codes.append("event-joined")
    elif not second and first in EVENTS:
        first, second = "ADT", first
        codes.append("event-joined")
    elif "_" in second:
        second = second.rpartition("_")[2]
        codes.append("event-joined")
    if not second and (first in ("ADT", "") and stated):
        second = stated
        codes.append("event-from-evn")
    elif not second and third.startswith("ADT_") and third[4:] in EVENTS:
        second = third[4:]
        codes.append("event-from-structure")
    elif stated and second and first == "ADT" and stated != second:
        codes.append("event-disagrees")
    if not first and second in EVENTS:
        first = "ADT"
    if not second and first != "ACK":
        codes.append("event-missing")
    if first == "ADT" or not first:
        if second and second not in EVENTS and second != MOVEMENT_UPDATE:
            codes.append("event-unknown")
        version = version.split(separators.component, maxsplit=1)[0].strip()
        structure = structure_of(second, third, version)
    else:
        structure = third or (f"{first}_{second}" if second else first)
    return Trigger(first, second, structure, tuple(codes))
