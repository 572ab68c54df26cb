"""What came in, as it came, and what became of it."""

from dataclasses import dataclass
from typing import Literal, get_args

EntryState = Literal["waiting", "processed", "parked", "failed", "quarantined", "discarded"]
"""`parked`: applied in part; `failed`: nothing applied; `quarantined`: held back by the site's
policy, or because it did not come whole; `discarded`: a person gave it up."""

Cut = Literal["truncated", "oversize"]
CUT: frozenset[str] = frozenset(get_args(Cut))
"""Why what came of a message is not all of it."""


@dataclass(frozen=True, slots=True)
class RawMessage:
    """The payload of one frame, file or request body, untouched.

    Attributes:
        body: the bytes between the frame's marks.
        feed: name of the feed that it came by.
        received: microseconds UTC.
    """

    body: bytes
    feed: str
    received: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """What intake can see of a message without mapping it.

    Attributes:
        sender: `MSH-3|MSH-4`; the feed's name where both are empty.
        control_id: MSH-10; the content hash where it is empty.
            What did not come whole names it and does not claim it.
        event: `A01`, "" where unknown.
        digest: SHA-256 of the body, hexadecimal; of one that did not come whole it is
            another, so that the same bytes as a whole message are not taken for it.
        site: the site that speaks, by MSH-4, else the feed's.
        lane: 0…63, hash of the patient identifier that the site's rule chooses.
        quarantined: why it is held back, None where it is not; `CUT` are among it.
    """

    sender: str
    control_id: str
    event: str
    digest: str
    site: str
    lane: int
    quarantined: str | None = None

    @property
    def cut(self) -> bool:
        """Whether the body is not all of the message."""
        return self.quarantined in CUT


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """A journal row: a message that was made durable and acknowledged.

    Attributes:
        id: position in the journal's commit order, dense, from 1.
        ack: the answer that was sent, bytes without frame.
        ack_code: MSA-1 of it.
        reused: its control id had come before from this sender, with other bytes.
    """

    id: int
    raw: RawMessage
    envelope: Envelope
    ack: bytes
    ack_code: str
    reused: bool = False
