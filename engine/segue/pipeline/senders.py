"""All senders of a process, on one event loop, with one thread for the store.

What only reads an embedded store is done on the event loop: nobody keeps it waiting, and to
hand it to the thread and back would cost more than the reading itself.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

from segue.pipeline.deliver import Sender
from segue.pipeline.partitions import POLL_SECONDS
from segue.store.wake import Bell

GATHER_SECONDS = 0.1
"""How long a ring is answered no more after one was; the first one is at once."""

T = TypeVar("T")


class Senders:
    """All senders of a process, with the one thread that talks to the store.

    Attributes:
        senders: in the order of `add`.
    """

    def __init__(self, *, embedded: bool = False) -> None:
        """Start the thread.

        Args:
            embedded: whether the store is a file of this machine.
        """
        self._embedded = embedded
        self._thread = ThreadPoolExecutor(1, "outbox")
        self.senders: list[Sender] = []
        self._stopped = Event()

    async def in_store(self, call: Callable[[], T]) -> T:
        """Run a call on the store's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def reading(self, call: Callable[[], T]) -> T:
        """Run a call that only reads: at once where the store is embedded."""
        return call() if self._embedded else await self.in_store(call)

    def add(self, sender: Sender) -> None:
        """Take a sender that was built with this object's `in_store`."""
        self.senders.append(sender)

    def wake(self) -> None:
        """There may be something new in the outbox; call it on the event loop."""
        for sender in self.senders:
            sender.wake()

    async def run(self, bell: Bell | None = None) -> None:
        """Run all until `stop`; one that breaks down does not stop the others.

        Args:
            bell: rings for what is new; without it only polling finds it.
        """
        loop = asyncio.get_running_loop()

        def listen() -> None:
            while bell is not None and not self._stopped.is_set():
                if bell.wait("outbox", POLL_SECONDS) and not self._stopped.is_set():
                    loop.call_soon_threadsafe(self.wake)
                    # What is committed meanwhile is then read, sent and settled together:
                    # under load this halves the cost of a delivery.
                    self._stopped.wait(GATHER_SECONDS)

        listening = asyncio.create_task(asyncio.to_thread(listen))
        results = await asyncio.gather(
            *(sender.run() for sender in self.senders), return_exceptions=True
        )
        self._stopped.set()
        await listening
        self._thread.shutdown()
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            raise errors[0]

    def stop(self) -> None:
        """Let all senders finish what is under way."""
        for sender in self.senders:
            sender.stop()
