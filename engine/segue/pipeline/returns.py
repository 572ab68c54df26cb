"""Application acknowledgements that come back over a feed, for those who wait for them.

A receiver in enhanced mode may say what became of a message in a message of its own, over
a connection that it opens itself. That message is journalled like any other; here it is
handed to the sender that waits for its MSA-2. Acknowledgements name no patient, so all of
a feed lie in one lane of the journal.

Source: HL7 v2.5.1 section 2.9.3.2 (the application acknowledgement is sent over the
receiver's own exchange).
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

import structlog

from segue.hl7v2.ack import read_ack
from segue.hl7v2.peek import peek
from segue.model.messages import InboxEntry
from segue.pipeline.faults import described
from segue.pipeline.receive import IntakeSite, lane
from segue.store.listings import EntryFilter, ListedEntry, Page

POLL_SECONDS = 0.05
LOOKED_AT = 1000
"""Entries that are searched for an acknowledgement that came before."""

log = structlog.get_logger(__name__)

InStore = Callable[[Callable[[], Any]], Awaitable[Any]]
Tell = Callable[[bytes], None]


class Entries(Protocol):
    """The journal, as far as acknowledgements are sought in it."""

    def head(self) -> int:
        """Number of the newest entry."""
        ...

    def read(self, cursors: dict[int, int], limit: int = 200) -> list[InboxEntry]:
        """What lies in lanes beyond their cursors."""
        ...

    def get_many(self, entries: list[int]) -> list[InboxEntry]:
        """Entries by number."""
        ...

    def entries(
        self, asked: EntryFilter, *, limit: int = 50, counted: bool = True
    ) -> Page[ListedEntry]:
        """The newest entries that fit, without their bytes."""
        ...


class Returns:
    """The acknowledgements of one feed; used on one event loop."""

    def __init__(self, journal: Entries, feed: str, in_store: InStore, now_us: int) -> None:
        """Take the parts.

        Args:
            journal: an open journal.
            feed: by which the acknowledgements come.
            in_store: runs a call on the thread that talks to the store.
            now_us: the present; what was queued before may have been answered already.
        """
        self._journal = journal
        self._feed = feed
        self._in_store = in_store
        self._lane = lane(peek(b""), feed, IntakeSite(feed))
        self._cursor = 0
        self._since = now_us
        self._expected: dict[str, Tell] = {}
        self._looking: asyncio.Task[None] | None = None

    async def catch_up(self) -> None:
        """Pass over what came while nobody waited; before anything is sent."""
        if not self._expected:
            head = await self._in_store(self._journal.head)
            if not self._expected:
                self._cursor = head

    def expect(self, control_id: str, tell: Tell) -> None:
        """Hand over the next acknowledgement of a control id; call it before sending."""
        self._expected[control_id] = tell
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    def forget(self, control_id: str) -> None:
        """Nobody waits for it any more."""
        self._expected.pop(control_id, None)

    async def accepted(self, control_id: str, created: int, attempts: int) -> bool:
        """Whether a message that may have been sent before was accepted since.

        A receiver that knows the repeat of a message may answer it with CA alone.

        Args:
            control_id: MSH-10 of the message.
            created: when it was queued, µs UTC.
            attempts: how often it was tried.
        """
        if not attempts and created >= self._since:
            return False
        return bool(await self._in_store(partial(self._find, control_id, created)))

    def _find(self, control_id: str, created: int) -> bool:
        asked = EntryFilter(feed=self._feed, since=created)
        page = self._journal.entries(asked, limit=LOOKED_AT, counted=False)
        found = self._journal.get_many([item.entry.id for item in page.items])
        answers = (read_ack(entry.raw.body) for entry in found)
        return any(one.code == "AA" and one.control_id == control_id for one in answers)

    async def _look(self) -> None:
        while self._expected:
            try:
                cursors = {self._lane: self._cursor}
                entries = await self._in_store(partial(self._journal.read, cursors))
            except Exception as error:  # noqa: BLE001 - the journal may be away for a while
                log.warning("acknowledgements.unread", feed=self._feed, **described(error))
                entries = []
            for entry in entries:
                self._cursor = entry.id
                if entry.raw.feed != self._feed:
                    continue
                tell = self._expected.pop(read_ack(entry.raw.body).control_id, None)
                if tell is not None:
                    tell(entry.raw.body)
            if not entries:
                await asyncio.sleep(POLL_SECONDS)
