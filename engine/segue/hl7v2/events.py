"""The ADT trigger events: structure, effect, rank, and what a cancel cancels.

Source: HL7 v2.9.1 chapter 3 (events, structures), v2.5.1 chapter 3 for the withdrawn
ones; EVN-6 of a cancel is the time of the event that it cancels (section 3.4.1.6).
"""

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from segue.hl7v2.separators import STANDARD, Separators

Effect = Literal[
    "admit",
    "register",
    "preadmit",
    "class-change",
    "transfer",
    "depart",
    "arrive",
    "swap",
    "leave",
    "return",
    "pending-transfer",
    "pending-discharge",
    "attending-change",
    "consulting-change",
    "update",
    "discharge",
    "cancel-admit",
    "cancel-preadmit",
    "cancel-pending-admit",
    "cancel-transfer",
    "cancel-pending-transfer",
    "cancel-depart",
    "cancel-arrive",
    "cancel-leave",
    "cancel-return",
    "cancel-attending-change",
    "cancel-consulting-change",
    "cancel-pending-discharge",
    "cancel-discharge",
    "cancel-visit",
    "person",
    "delete-person",
    "merge",
    "merge-account",
    "merge-visit",
    "link",
    "unlink",
    "move",
    "move-account",
    "move-visit",
    "change-identifier",
    "change-account",
    "change-visit",
    "bed-status",
    "none",
]


class Event(NamedTuple):
    """What an ADT trigger event says.

    Attributes:
        code: `A01`.
        structure: message structure since v2.7; see `structure_of` for older ones.
        effect: what it does; every cancel's begins with `cancel-`.
        rank: order among events of the same instant: 0 pre-admit, 1 admit and
            register, 2 class change, 3 transfer and other movements, 4 update and
            all that concerns identities, 5 discharge, 6 cancel.
        about_visit: whether it speaks of a visit at all. A28, A31 and A60 carry a PV1
            only because their structure wants one.
        cancels: the events that it can cancel.
        title: in a few words.
    """

    code: str
    structure: str
    effect: Effect
    rank: int
    about_visit: bool
    cancels: tuple[str, ...]
    title: str

    @property
    def is_cancel(self) -> bool:
        """Whether it removes an event instead of being one."""
        return self.effect.startswith("cancel-")


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


_MOVEMENTS = "A01,A02,A03,A04,A05,A06,A07,A08,A09,A10,A14,A15,A16,A17,A21,A22,A54,A61"

_TABLE = """
A01  ADT_A01  admit                      1  visit   -        admit
A02  ADT_A02  transfer                   3  visit   -        transfer
A03  ADT_A03  discharge                  5  visit   -        discharge, end of visit
A04  ADT_A01  register                   1  visit   -        register an outpatient or ED visit
A05  ADT_A05  preadmit                   0  visit   -        pre-admit
A06  ADT_A06  class-change               2  visit   -        outpatient becomes inpatient
A07  ADT_A06  class-change               2  visit   -        inpatient becomes outpatient
A08  ADT_A01  update                     4  visit   -        update patient information
A09  ADT_A09  depart                     3  visit   -        patient departs (tracking)
A10  ADT_A09  arrive                     3  visit   -        patient arrives (tracking)
A11  ADT_A09  cancel-admit               6  visit   A01,A04  cancel admit
A12  ADT_A12  cancel-transfer            6  visit   A02      cancel transfer
A13  ADT_A01  cancel-discharge           6  visit   A03      cancel discharge
A14  ADT_A05  preadmit                   0  visit   -        pending admit
A15  ADT_A15  pending-transfer           3  visit   -        pending transfer
A16  ADT_A16  pending-discharge          3  visit   -        pending discharge
A17  ADT_A17  swap                       3  visit   -        two patients swap beds
A18  ADT_A18  merge                      4  person  -        merge patient information
A20  ADT_A20  bed-status                 4  person  -        bed status update
A21  ADT_A21  leave                      3  visit   -        leave of absence begins
A22  ADT_A21  return                     3  visit   -        return from leave of absence
A23  ADT_A21  cancel-visit               6  visit   *        delete a patient record (visit)
A24  ADT_A24  link                       4  person  -        link patient information
A25  ADT_A21  cancel-pending-discharge   6  visit   A16      cancel pending discharge
A26  ADT_A21  cancel-pending-transfer    6  visit   A15      cancel pending transfer
A27  ADT_A21  cancel-pending-admit       6  visit   A14      cancel pending admit
A28  ADT_A05  person                     4  person  -        add person information
A29  ADT_A21  delete-person              4  person  -        delete person information
A30  ADT_A30  merge                      4  person  -        merge person information
A31  ADT_A05  person                     4  person  -        update person information
A32  ADT_A21  cancel-arrive              6  visit   A10      cancel patient arriving
A33  ADT_A21  cancel-depart              6  visit   A09      cancel patient departing
A34  ADT_A30  merge                      4  person  -        merge patients, identifier only
A35  ADT_A30  merge-account              4  person  -        merge accounts, account number only
A36  ADT_A30  merge                      4  person  -        merge patients and accounts
A37  ADT_A37  unlink                     4  person  -        unlink patient information
A38  ADT_A38  cancel-preadmit            6  visit   A05      cancel pre-admit
A39  ADT_A39  merge                      4  person  -        merge persons, external identifier
A40  ADT_A39  merge                      4  person  -        merge patients, identifier list
A41  ADT_A39  merge-account              4  person  -        merge accounts
A42  ADT_A39  merge-visit                4  visit   -        merge visits
A43  ADT_A43  move                       4  person  -        move patient information
A44  ADT_A44  move-account               4  person  -        move account information
A45  ADT_A45  move-visit                 4  visit   -        move visit information
A46  ADT_A30  change-identifier          4  person  -        change patient identifier
A47  ADT_A44  change-identifier          4  person  -        change patient identifier list
A48  ADT_A30  change-identifier          4  person  -        change alternate patient identifier
A49  ADT_A43  change-account             4  person  -        change patient account number
A50  ADT_A50  change-visit               4  visit   -        change visit number
A51  ADT_A50  change-visit               4  visit   -        change alternate visit identifier
A52  ADT_A52  cancel-leave               6  visit   A21      cancel leave of absence
A53  ADT_A52  cancel-return              6  visit   A22      cancel return from leave of absence
A54  ADT_A54  attending-change           3  visit   -        change attending doctor
A55  ADT_A54  cancel-attending-change    6  visit   A54      cancel change of attending doctor
A60  ADT_A60  person                     4  person  -        update adverse reaction information
A61  ADT_A61  consulting-change          3  visit   -        change consulting doctor
A62  ADT_A61  cancel-consulting-change   6  visit   A61      cancel change of consulting doctor
"""

# Before v2.7 (v2.5.1 table 0354).
_OLDER: Final = dict.fromkeys(("A46", "A47", "A48", "A49"), "ADT_A30") | {"A44": "ADT_A43"}


def _read_table() -> dict[str, Event]:
    events = {}
    for row in _TABLE.strip().splitlines():
        code, structure, effect, rank, about, cancelled, title = row.split(maxsplit=6)
        if cancelled == "*":
            cancelled = _MOVEMENTS
        events[code] = Event(
            code,
            structure,
            effect,  # type: ignore[arg-type]  # tests hold the table to the Literal
            int(rank),
            about == "visit",
            () if cancelled == "-" else tuple(cancelled.split(",")),
            title,
        )
    return events


EVENTS: Final[dict[str, Event]] = _read_table()
"""All 57 ADT events of v2.1 to v2.9.1 (A19 is a query; A56 to A59 do not exist)."""


def event(code: str) -> Event:
    """The event of that code; an unknown one has the effect `none` and is about no visit."""
    return EVENTS.get(code) or Event(code, f"ADT_{code}", "none", 4, False, (), "unknown event")


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
    if event in _OLDER and version and version_number(version) < (2, 7):
        return _OLDER[event]
    return known.structure


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
    parts = [part.strip(' "') for part in message_type.split(separators.component)]
    first, second, third = (*parts, "", "", "")[:3]
    stated = stated.split(separators.component, maxsplit=1)[0].strip(' "')
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
        if second and second not in EVENTS:
            codes.append("event-unknown")
        version = version.split(separators.component, maxsplit=1)[0].strip()
        structure = structure_of(second, third, version)
    else:
        structure = third or (f"{first}_{second}" if second else first)
    return Trigger(first, second, structure, tuple(codes))
