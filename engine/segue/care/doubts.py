"""Where a message is in doubt to the fold, and what is made of it all the same."""

from typing import Final

from segue.care.fold import AWAITS_START, NO_TARGET, OPEN_DISCHARGE, OTHER_PLACE
from segue.care.identity import MERGE_CYCLE, MERGE_REVERSED
from segue.care.movements import ADMITTED_ALREADY, AFTER_DISCHARGE, NO_LEAVE
from segue.care.numbers import NUMBER_CYCLE

DOUBTS: Final[dict[str, tuple[str, str]]] = {
    OPEN_DISCHARGE: (
        "PV1-45",
        "a discharge time, but no discharge was sent: the visit stays open",
    ),
    AWAITS_START: (
        "PV1-19",
        "nothing has started this visit yet; what is said of it waits for its A01, A04, A05 or A14",
    ),
    NO_TARGET: ("EVN-1", "what this cancels has not been heard of; it waits for that"),
    OTHER_PLACE: (
        "PV1-3",
        "the place after this cancelled transfer is not the one before it: what is stated counts",
    ),
    AFTER_DISCHARGE: (
        "EVN-6",
        "it happened after the discharge in force, which stands: nobody is moved by it",
    ),
    NO_LEAVE: ("EVN-1", "no leave of absence is in force that could end: the status stays"),
    ADMITTED_ALREADY: (
        "EVN-1",
        "the visit is under way or over, and does not become a planned one",
    ),
    MERGE_CYCLE: (
        "MRG-1",
        "earlier merges lead from the one that stays to the one that goes: the two are one "
        "person, and who stands for them remains who it was",
    ),
    MERGE_REVERSED: (
        "MRG-1",
        "an earlier merge of the same two went the other way round: this one holds",
    ),
    NUMBER_CYCLE: (
        "MRG-5",
        "earlier changes lead from the new visit number to the old one: the visit is kept "
        "under the number that it had",
    ),
}
"""Code to (field, what is made of it); a warning, but for what waits."""
