"""What came in, as it came, and what became of it."""

from dataclasses import dataclass
from typing import Literal

EntryState = Literal["waiting", "processed", "parked", "failed", "quarantined"]
"""`parked`: applied in part; `failed`: nothing applied; `quarantined`: site policy."""


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
        event: `A01`, "" where unknown.
        digest: SHA-256 of the body, hexadecimal.
        site: the site that speaks, by MSH-4, else the feed's.
        lane: 0…63, hash of the patient identifier that the site's rule chooses.
        quarantined: why it is held back, None where it is not.
    """

    sender: str
    control_id: str
    event: str
    digest: str
    site: str
    lane: int
    quarantined: str | None = None


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
