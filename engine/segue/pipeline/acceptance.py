"""What a feed takes, and when it is answered: decided before anything is stored.

Source: HL7 v2.5.1 section 2.9.2 (AR for type, event, processing id and version), table 0357.
"""

from dataclasses import dataclass
from typing import Literal

from segue.hl7v2.ack import AckError
from segue.hl7v2.peek import Peek

When = Literal["durable", "mapped", "delivered"]
"""`durable`: after the commit; `mapped`: after the commit, AE for what mapping cannot use;
`delivered`: when every delivery that the message causes was accepted."""


@dataclass(frozen=True, slots=True)
class FeedPolicy:
    """The habits of a feed, as intake sees them.

    Attributes:
        ack: when an answer of original mode leaves.
        processing_ids: MSH-11 that are taken; None takes all.
        types: message types (`ADT`) or events (`ORU^R01`) that are taken; None: all.
        versions: MSH-12 that are taken; None: all.
        charset_fallback: Python codecs to try where MSH-18 does not hold.
        answer_within: seconds that an answer which waits may take.
        decided: answers of `mapped` wait until the message is processed: a site rejects
            what only the store can tell.
    """

    ack: When = "durable"
    processing_ids: frozenset[str] | None = None
    types: frozenset[str] | None = None
    versions: frozenset[str] | None = None
    charset_fallback: tuple[str, ...] = ("cp1252",)
    answer_within: float = 30.0
    decided: bool = False


DEFAULT = FeedPolicy()


HEADER_VALUES = frozenset({"200", "201", "202", "203"})
"""Errors of MSH-9, -11 and -12: a commit reject (CR); for any other reason it is a commit
error (CE)."""


def refusal(seen: Peek, policy: FeedPolicy) -> AckError | None:
    """Why a message is not taken; None where it is."""
    if not seen.header:
        return AckError("100", "MSH^1", "No MSH segment was found.")
    if not seen.readable:
        return AckError("102", "MSH^1^18", "No character set that is known here fits the text.")
    if policy is DEFAULT:
        return None
    if policy.processing_ids is not None and seen.processing_id not in policy.processing_ids:
        return AckError("202", "MSH^1^11", "This processing id is not taken here.")
    if policy.versions is not None and seen.version not in policy.versions:
        return AckError("203", "MSH^1^12", "This version is not taken here.")
    types = policy.types
    if types is not None and not {seen.type, f"{seen.type}^{seen.event}"} & types:
        if any(one.partition("^")[0] == seen.type for one in types):
            return AckError("201", "MSH^1^9^1^2", "This event is not taken here.")
        return AckError("200", "MSH^1^9", "Messages of this type are not taken here.")
    return None
