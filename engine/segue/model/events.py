"""The ADT trigger events: what each one means for a visit and for a person.

One row for each of the 57 events that HL7 v2.9.1 lists (A01–A18, A20–A55, A60–A62),
with the events that were withdrawn and are still sent. Chapter 3 of HL7 v2 is the
source of titles, structures, and of what a cancel cancels.

>>> EVENTS["A13"].cancels
('A03',)
>>> len(EVENTS)
57
"""

from dataclasses import dataclass
from typing import Literal

Effect = Literal[
    "preadmit", "admit", "register", "class-change", "transfer", "track", "swap", "leave",
    "return", "pending", "update", "attending", "consulting", "discharge", "cancel",
    "delete-visit", "person", "delete-person", "merge", "account-merge", "visit-merge", "move",
    "change", "visit-change", "link", "unlink", "bed-status",
]  # fmt: skip
"""What an event does; `MEANINGS` has it in words."""

MEANINGS: dict[Effect, str] = {
    "preadmit": "the visit is planned; one that is under way stays so",
    "admit": "the visit is under way from PV1-44",
    "register": "the visit is under way; with class P it is planned",
    "class-change": "the visit has another class; the one before goes to classHistory",
    "transfer": "the patient has another place; the one before ends",
    "track": "the patient is somewhere in passing",
    "swap": "two patients exchange their places in one commit",
    "leave": "the visit is on leave",
    "return": "the visit is under way again",
    "pending": "a transfer or discharge is announced; no state changes",
    "update": "what it says holds; no state changes, a discharge time corrects a finished visit",
    "attending": "the visit has another attending doctor, from then on",
    "consulting": "the visit has another consulting doctor, from then on",
    "discharge": "the visit is finished at PV1-45; places and doctors end",
    "cancel": "the event that it names (EVN-6) never was; its trace stays in statusHistory",
    "delete-visit": "every event of the visit never was; the Encounter is entered in error",
    "person": "what it says of the person holds; no visit is made, closed or opened again",
    "delete-person": "the source's Patient is inactive, and kept",
    "merge": "two identities are one person; MRG's Patient is inactive and linked, in A18 and A36 "
    "its Account too",
    "account-merge": "the Account of MRG-3 is inactive, part of the one in PID-18",
    "visit-merge": "two visit numbers are one visit, under the number that stays",
    "move": "an identifier (A43), account (A44) or visit (A45) leaves MRG's patient for PID's",
    "change": "an identifier has another value; in A49 an Account",
    "visit-change": "a visit has another number; the Encounter keeps its id",
    "link": "two identities are one person; neither number is old",
    "unlink": "a link ends",
    "bed-status": "Location.operationalStatus is that of NPU-2",
}
"""Effect to what it does, for people."""


@dataclass(frozen=True, slots=True)
class Event:
    """One trigger event.

    Attributes:
        code: `A01`.
        title: HL7's name of the event, shortened.
        structure: abstract message structure in v2.9.1, or the last one it had.
        effect: what it does.
        rank: place in a visit's life; orders events of the same instant:
            0 pre-admit, 1 admit and register, 2 class change, 3 transfer and leave,
            4 update, 5 discharge, 6 cancel.
        about_visit: whether it can make, change or end a visit.
        cancels: codes of the events that it strikes out.
        older_structure: the structure in v2.5.1, where it was another one.
    """

    code: str
    title: str
    structure: str
    effect: Effect
    rank: int
    about_visit: bool = True
    cancels: tuple[str, ...] = ()
    older_structure: str | None = None


_ROWS = (
    Event("A01", "Admit", "ADT_A01", "admit", 1),
    Event("A02", "Transfer", "ADT_A02", "transfer", 3),
    Event("A03", "Discharge", "ADT_A03", "discharge", 5),
    Event("A04", "Register", "ADT_A01", "register", 1),
    Event("A05", "Pre-admit", "ADT_A05", "preadmit", 0),
    Event("A06", "Outpatient to inpatient", "ADT_A06", "class-change", 2),
    Event("A07", "Inpatient to outpatient", "ADT_A06", "class-change", 2),
    Event("A08", "Update patient information", "ADT_A01", "update", 4),
    Event("A09", "Departing, tracking", "ADT_A09", "track", 3),
    Event("A10", "Arriving, tracking", "ADT_A09", "track", 3),
    Event("A11", "Cancel admit", "ADT_A09", "cancel", 6, cancels=("A01", "A04")),
    Event("A12", "Cancel transfer", "ADT_A12", "cancel", 6, cancels=("A02",)),
    Event("A13", "Cancel discharge", "ADT_A01", "cancel", 6, cancels=("A03",)),
    Event("A14", "Pending admit", "ADT_A05", "preadmit", 0),
    Event("A15", "Pending transfer", "ADT_A15", "pending", 4),
    Event("A16", "Pending discharge", "ADT_A16", "pending", 4),
    Event("A17", "Swap patients", "ADT_A17", "swap", 3),
    Event("A18", "Merge patient information", "ADT_A18", "merge", 4, False),
    Event("A20", "Bed status update", "ADT_A20", "bed-status", 4, False),
    Event("A21", "Leave of absence begins", "ADT_A21", "leave", 3),
    Event("A22", "Leave of absence ends", "ADT_A21", "return", 3),
    Event("A23", "Delete patient record", "ADT_A21", "delete-visit", 6),
    Event("A24", "Link patients", "ADT_A24", "link", 4, False),
    Event("A25", "Cancel pending discharge", "ADT_A21", "cancel", 6, cancels=("A16",)),
    Event("A26", "Cancel pending transfer", "ADT_A21", "cancel", 6, cancels=("A15",)),
    Event("A27", "Cancel pending admit", "ADT_A21", "cancel", 6, cancels=("A14",)),
    Event("A28", "Add person", "ADT_A05", "person", 4, False),
    Event("A29", "Delete person", "ADT_A21", "delete-person", 4, False),
    Event("A30", "Merge person", "ADT_A30", "merge", 4, False),
    Event("A31", "Update person", "ADT_A05", "person", 4, False),
    Event("A32", "Cancel arriving, tracking", "ADT_A21", "cancel", 6, cancels=("A10",)),
    Event("A33", "Cancel departing, tracking", "ADT_A21", "cancel", 6, cancels=("A09",)),
    Event("A34", "Merge patient, id only", "ADT_A30", "merge", 4, False),
    Event("A35", "Merge patient, account only", "ADT_A30", "account-merge", 4, False),
    Event("A36", "Merge patient, id and account", "ADT_A30", "merge", 4, False),
    Event("A37", "Unlink patients", "ADT_A37", "unlink", 4, False),
    Event("A38", "Cancel pre-admit", "ADT_A38", "cancel", 6, cancels=("A05",)),
    Event("A39", "Merge person, patient id", "ADT_A39", "merge", 4, False),
    Event("A40", "Merge patient, identifier list", "ADT_A39", "merge", 4, False),
    Event("A41", "Merge account", "ADT_A39", "account-merge", 4, False),
    Event("A42", "Merge visit", "ADT_A39", "visit-merge", 4),
    Event("A43", "Move patient, identifier list", "ADT_A43", "move", 4, False),
    Event("A44", "Move account", "ADT_A44", "move", 4, False, older_structure="ADT_A43"),
    Event("A45", "Move visit", "ADT_A45", "move", 4),
    Event("A46", "Change patient id", "ADT_A30", "change", 4, False),
    Event(
        "A47", "Change identifier list", "ADT_A44", "change", 4, False, older_structure="ADT_A30"
    ),
    Event("A48", "Change alternate patient id", "ADT_A30", "change", 4, False),
    Event("A49", "Change account", "ADT_A43", "change", 4, False, older_structure="ADT_A30"),
    Event("A50", "Change visit number", "ADT_A50", "visit-change", 4),
    Event("A51", "Change alternate visit id", "ADT_A50", "visit-change", 4),
    Event("A52", "Cancel leave of absence", "ADT_A52", "cancel", 6, cancels=("A21",)),
    Event("A53", "Cancel return from leave", "ADT_A52", "cancel", 6, cancels=("A22",)),
    Event("A54", "Change attending doctor", "ADT_A54", "attending", 3),
    Event("A55", "Cancel change of attending", "ADT_A54", "cancel", 6, cancels=("A54",)),
    Event("A60", "Update adverse reactions", "ADT_A60", "person", 4, False),
    Event("A61", "Change consulting doctor", "ADT_A61", "consulting", 3),
    Event("A62", "Cancel change of consulting", "ADT_A61", "cancel", 6, cancels=("A61",)),
)

EVENTS: dict[str, Event] = {row.code: row for row in _ROWS}
"""All events by code; an unknown code has no effect and is kept as sent."""

MOVEMENT_UPDATE = "Z99"
"""IHE PAM's event that corrects or cancels a movement; its ZBE segment says which."""

MOVEMENT_CANCEL = Event(
    MOVEMENT_UPDATE, "Cancel movement (IHE PAM)", "ADT_A01", "cancel", 6,
    cancels=("A06", "A07", "A17"),
)  # fmt: skip
"""A `Z99` that cancels a movement which has no cancel event of its own."""

HAPPENINGS: dict[str, Event] = {**EVENTS, MOVEMENT_UPDATE: MOVEMENT_CANCEL}
"""What the event of a fact may be."""

ONCE: frozenset[str] = frozenset({"A01", "A03", "A04", "A05", "A14"})
"""Events that can be in force only once in a visit: sent again, they are the same."""

STARTING: frozenset[Effect] = frozenset({"preadmit", "admit", "register"})
"""Effects without which there is no visit."""

UPDATES: frozenset[Effect] = frozenset({
    "class-change", "transfer", "track", "swap", "leave", "return", "pending", "update",
    "attending", "consulting", "discharge", "cancel", "delete-visit",
})  # fmt: skip
"""Effects on a visit that another event has started."""
