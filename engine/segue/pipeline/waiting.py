"""Holds answers back until what they speak of has been delivered (`ack: delivered`).

Those of `ack: mapped` wait until it has been processed, where a site rejects what only the
store can tell (`unknown_visit: reject`).

The message is durable before; only its answer waits. Answers of one connection leave in
the order of their messages. What is not delivered in time is answered AE: its sender
sends it again, and as a duplicate it waits once more and is done only once.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from typing import Any

import structlog

from segue.hl7v2.ack import AckError, ack
from segue.hl7v2.peek import peek
from segue.model.messages import RawMessage
from segue.pipeline.answers import code_of, errors_of
from segue.pipeline.faults import described
from segue.pipeline.ports import AnswerSink
from segue.store.records import Fate

POLL_SECONDS = 0.05
LATE = "The message is stored and not yet delivered."
UNDECIDED = "The message is stored and not yet processed."
UNDELIVERED = "A destination refused what the message caused; an operator looks at it."

log = structlog.get_logger(__name__)

Fates = Callable[[Collection[int]], Mapping[int, Fate]]
"""Says what became of journal entries; those that are not processed yet are left out."""


Note = Callable[[Mapping[int, str]], object]
"""Is told MSA-1 of journal entries whose answer is not the one that is stored."""

MOST_REFUSED = 10_000
"""Entries that are remembered, for they may be accepted when they are sent again."""


@dataclass(slots=True)
class Held:
    """An answer that waits.

    Attributes:
        entry: journal entry; 0 for what has its answer already.
        answer: of success, or the one it has; None: nothing was made durable.
        until: monotonic seconds.
        delivered: whether it waits for deliveries too.
    """

    sink: AnswerSink
    ticket: Any
    raw: RawMessage
    entry: int
    answer: bytes | None
    until: float
    delivered: bool = True


@dataclass
class Waiting:
    """The answers that wait, and the thread that lets them go."""

    fates: Fates
    stamp: Callable[[], str]
    note: Note | None = None
    _refused: set[int] = field(default_factory=set)
    _queues: dict[int, deque[Held]] = field(default_factory=dict)
    _changed: Condition = field(default_factory=Condition)
    _thread: Thread | None = None
    _closing: Event = field(default_factory=Event)

    def hold(self, held: Held) -> None:
        """Keep an answer until its message is delivered; on the writer's thread."""
        with self._changed:
            self._queues.setdefault(id(held.ticket), deque()).append(held)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="waiting", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Let go of all that waits without an answer: senders send it again."""
        with self._changed:
            self._closing.set()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queues and not self._closing.is_set():
                    self._changed.wait()
                if self._closing.is_set():
                    left = [held for queue in self._queues.values() for held in queue]
                    self._queues.clear()
                    break
                entries = {one.entry for queue in self._queues.values() for one in queue}
            try:
                fates = self.fates(entries - {0})
            except Exception as error:  # noqa: BLE001 - the store may be away for a while
                log.warning("answers.wait", **described(error))
                fates = {}
            self._let_go(fates)
            self._closing.wait(POLL_SECONDS)
        self._send([(held, None) for held in left])

    def _let_go(self, fates: Mapping[int, Fate]) -> None:
        codes: dict[int, str] = {}
        ready: list[tuple[Held, bytes | None]] = []
        now = time.monotonic()
        with self._changed:
            for key, queue in list(self._queues.items()):
                while queue:
                    held = queue[0]
                    if not held.entry:
                        ready.append((held, held.answer))
                    elif (fate := fates.get(held.entry)) and not (held.delivered and fate.open):
                        answer = self._answer(held, fate)
                        ready.append((held, answer))
                        if answer is not held.answer:
                            codes[held.entry] = "AE"
                        elif held.entry in self._refused:
                            codes[held.entry] = "AA"
                    elif now >= held.until:
                        late = AckError("207", "", LATE if held.delivered else UNDECIDED)
                        ready.append((held, self._refuse(held, [late])))
                        codes[held.entry] = "AE"
                    else:
                        break
                    queue.popleft()
                if not queue:
                    del self._queues[key]
        self._note(codes)
        self._send(ready)

    def _note(self, codes: Mapping[int, str]) -> None:
        if not codes or self.note is None:
            return
        if len(self._refused) > MOST_REFUSED:
            self._refused.clear()
        self._refused |= {entry for entry, code in codes.items() if code == "AE"}
        self._refused -= {entry for entry, code in codes.items() if code == "AA"}
        try:
            self.note(codes)
        except Exception as error:  # noqa: BLE001 - who waits for an answer must get it
            log.warning("answers.not-noted", **described(error))

    def _answer(self, held: Held, fate: Fate) -> bytes | None:
        errors = errors_of(fate.issues)
        if fate.dead and held.delivered:
            errors.append(AckError("207", "", UNDELIVERED))
        return self._refuse(held, errors) if code_of(errors) == "AE" else held.answer

    def _refuse(self, held: Held, errors: list[AckError]) -> bytes:
        seen = peek(held.raw.body)
        return ack(seen, "AE", control_id=f"E{held.entry}", now=self.stamp(), errors=errors)

    def _send(self, ready: list[tuple[Held, bytes | None]]) -> None:
        for held, answer in ready:
            try:
                held.sink.answered([(held.ticket, answer)])
            except Exception as error:  # noqa: BLE001 - one source must not harm another
                log.error("answers.dropped", count=1, **described(error))  # noqa: TRY400
