"""Messages beside ADT that say something of a patient and move nobody.

An appointment, a document, a result, a problem or a referral may name a visit. Only ADT
says how that visit goes: what such a message tells is added to it, and a visit that no
ADT has spoken of yet is known by name only.

Source: HL7 v2.9 chapters 7 (ORU), 9 (MDM), 10 (SIU), 11 (REF) and 12 (PPR, PGL, PPP, PPG).

>>> NOTES["S15"].visit, ("MDM", "T02") in MESSAGES, ("ADT", "T02") in MESSAGES
('cancelled', True, False)
"""

from typing import Literal, NamedTuple

VisitStatus = Literal["planned", "cancelled", "unknown"]


class Note(NamedTuple):
    """One trigger event.

    Attributes:
        type: message type, `SIU`.
        code: `S12`.
        title: HL7's name of the event, shortened.
        visit: status of a visit that only such messages speak of.
    """

    type: str
    code: str
    title: str
    visit: VisitStatus = "unknown"


_ROWS = (
    Note("SIU", "S12", "New appointment booked", "planned"),
    Note("SIU", "S13", "Appointment moved", "planned"),
    Note("SIU", "S14", "Appointment changed", "planned"),
    Note("SIU", "S15", "Appointment cancelled", "cancelled"),
    Note("SIU", "S16", "Appointment discontinued", "cancelled"),
    Note("SIU", "S17", "Appointment deleted", "cancelled"),
    Note("SIU", "S26", "Patient did not show up", "cancelled"),
    Note("MDM", "T01", "Original document announced"),
    Note("MDM", "T02", "Original document"),
    Note("MDM", "T03", "Status of a document announced"),
    Note("MDM", "T04", "Status of a document"),
    Note("MDM", "T05", "Addendum announced"),
    Note("MDM", "T06", "Addendum"),
    Note("MDM", "T07", "Edited document announced"),
    Note("MDM", "T08", "Edited document"),
    Note("MDM", "T09", "Replacement announced"),
    Note("MDM", "T10", "Replacement"),
    Note("MDM", "T11", "Document cancelled"),
    Note("ORU", "R01", "Observations"),
    Note("ORU", "R30", "Point-of-care observations, no order yet"),
    Note("ORU", "R31", "Point-of-care observations, order to be sought"),
    Note("ORU", "R32", "Point-of-care observations, ordered"),
    Note("PPR", "PC1", "Problem added"),
    Note("PPR", "PC2", "Problem changed"),
    Note("PPR", "PC3", "Problem deleted"),
    Note("PGL", "PC6", "Goal added"),
    Note("PGL", "PC7", "Goal changed"),
    Note("PGL", "PC8", "Goal deleted"),
    Note("PPP", "PCB", "Pathway for problems added"),
    Note("PPP", "PCC", "Pathway for problems changed"),
    Note("PPP", "PCD", "Pathway for problems deleted"),
    Note("PPG", "PCG", "Pathway for goals added"),
    Note("PPG", "PCH", "Pathway for goals changed"),
    Note("PPG", "PCJ", "Pathway for goals deleted"),
    Note("REF", "I12", "Patient referred"),
    Note("REF", "I13", "Referral changed"),
    Note("REF", "I14", "Referral cancelled"),
    Note("REF", "I15", "Status of a referral asked for"),
)

NOTES: dict[str, Note] = {row.code: row for row in _ROWS}
"""All of them by code; none is a code of `segue.model.events`."""

MESSAGES: frozenset[tuple[str, str]] = frozenset((row.type, row.code) for row in _ROWS)
"""Message type and event of each."""
