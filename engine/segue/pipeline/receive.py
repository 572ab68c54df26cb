"""Makes messages durable, then answers them.

All sources hand their messages to one writer thread. It takes whatever came in while the
last commit ran, up to 1,000, and makes them durable in one fsynced commit; only then do
the acknowledgements leave. So the rate adapts by itself: one message alone waits for one
fsync, a thousand wait for one fsync together.

What intake can see decides the answer: a message with a header is accepted (AA, also a
quarantined one), what has none or is not taken by policy is rejected (AR). What mapping
finds later never changes it, but for feeds that are answered when `mapped` or `delivered`
(`segue.pipeline.acceptance`). An acknowledgement that comes in is not acknowledged.
What did not come whole is kept in quarantine, as far as the feed's `Allowance` goes, and
takes neither the turn nor the control id of the whole message that its sender sends again.
Source: HL7 v2.5.1 ch. 2.9; docs/architecture.md, "Intake".
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Literal

import structlog

from segue.hl7v2.ack import ANSWERS, AckCode, AckError, ack, conditions, wants
from segue.hl7v2.peek import Peek, peek
from segue.hl7v2.truncation import whole_segments
from segue.model.instants import instant_of
from segue.model.messages import Cut, Envelope, RawMessage
from segue.pipeline.acceptance import DEFAULT, HEADER_VALUES, FeedPolicy, refusal
from segue.pipeline.allowance import Allowance
from segue.pipeline.answers import Judge, code_of
from segue.pipeline.faults import described
from segue.pipeline.metrics import Metrics, NoMetrics
from segue.pipeline.ports import AnswerSink, Journal
from segue.pipeline.waiting import Held, Waiting
from segue.store.listings import EntryFilter
from segue.store.records import Appended, NewEntry

Verdict = Literal["A", "E", "R"]
_ORIGINAL: Mapping[Verdict, AckCode] = {"A": "AA", "E": "AE", "R": "AR"}

LANES = 64
BATCH = 1000
"""Messages per commit, at most."""

BUSY, FULL, GATHER_SECONDS = 4, 64, 0.001
"""After a commit of BUSY messages or more their senders are about to send the next: a batch
that is smaller than FULL waits this long for them, once. That saves fsyncs and the CPU of
commits; whoever sends alone never waits."""

NO_ANSWER = ""
"""MSA-1 of what is not answered."""
CUT_MARK = b"cut\x00"
"""Hashed before the bytes of what did not come whole."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class IntakeSite:
    """What intake must know of a site.

    Attributes:
        authority: stands in for an assigner that PID-3 leaves out.
        sends_as: values of MSH-4 that mean this site.
        links_by: identifier types that identify a person; they choose the lane.
        control_id_reuse: whether a used MSH-10 with other bytes is processed or held.
    """

    name: str
    authority: str = ""
    sends_as: tuple[str, ...] = ()
    links_by: tuple[str, ...] = ("MR", "PI")
    control_id_reuse: Literal["process", "quarantine"] = "process"


class NotDurable(Exception):  # noqa: N818 - reads as what happened
    """The journal could not take the message; the sender must send it again."""


@dataclass(frozen=True, slots=True)
class _Submission:
    raw: RawMessage
    sink: AnswerSink | None
    ticket: Any
    refusal: AckError | None = None
    cut: Cut | None = None


class Receiver:
    """The intake of a process: one queue, one writer thread, one journal."""

    def __init__(
        self,
        journal: Journal,
        feeds: Mapping[str, str],
        sites: Iterable[IntakeSite],
        *,
        policies: Mapping[str, FeedPolicy] | None = None,
        judge: Judge | None = None,
        waiting: Waiting | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Take the parts and start the writer.

        Args:
            journal: where messages become durable.
            feeds: feed to the site that it stands for.
            sites: all sites.
            policies: of feeds that have one.
            judge: maps messages of feeds that are answered when `mapped`.
            waiting: holds the answers of feeds that are answered when `delivered`, or decided.
            metrics: where figures go.
        """
        self._journal = journal
        self._sites = {site.name: site for site in sites}
        self._feeds = {feed: self._sites[site] for feed, site in feeds.items()}
        self._facilities = {
            facility: site for site in self._sites.values() for facility in site.sends_as
        }
        self._policies = policies or {}
        self._judge_mapping = judge
        self._held = waiting
        self._allowance = Allowance(time.monotonic)
        self._metrics = metrics or NoMetrics()
        self._queue: SimpleQueue[_Submission | None] = SimpleQueue()
        self._closing = Event()
        self._submitted = 0
        self._answered = 0
        self.commits = 0
        self.entries = 0
        self.cpu_seconds = 0.0
        self._writer = Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    @property
    def waiting(self) -> int:
        """Messages submitted and not yet answered."""
        return self._submitted - self._answered

    def submit(self, raw: RawMessage, sink: AnswerSink, ticket: Any) -> None:
        """Queue a message; its answer goes to the sink, with the ticket."""
        self._submitted += 1
        self._queue.put(_Submission(raw, sink, ticket))

    def reject(self, raw: RawMessage, cut: Cut, reason: str, sink: AnswerSink, ticket: Any) -> None:
        """Answer AR in this message's turn; what came of it is kept in quarantine.

        Args:
            raw: as much of it as there is.
            cut: why that is not all.
            reason: MSA-3; no patient data.
            sink: gets the answer, with the ticket.
            ticket: the sink's own.
        """
        self._submitted += 1
        self._queue.put(_Submission(raw, sink, ticket, AckError("199", "", reason), cut))

    def quarantine(self, raw: RawMessage, cut: Cut) -> None:
        """Keep what came of a message that did not come whole; nobody is answered."""
        self._submitted += 1
        self._queue.put(_Submission(raw, None, None, None, cut))

    def close(self) -> None:
        """Answer what was submitted, then stop the writer."""
        self._closing.set()
        self._queue.put(None)
        self._writer.join()
        if self._held is not None:
            self._held.close()

    # --- the writer's thread ---------------------------------------------------------------

    def _write(self) -> None:
        batch: list[_Submission] = []
        open_ = True
        while open_:
            gather = len(batch) >= BUSY
            batch = []
            one = self._queue.get()
            while one is not None:
                batch.append(one)
                if gather and self._queue.empty():
                    gather = False
                    if len(batch) < FULL:
                        self._closing.wait(GATHER_SECONDS)
                if len(batch) == BATCH or self._queue.empty():
                    break
                one = self._queue.get()
            else:
                open_ = False
            if batch:
                try:
                    self._take(batch)
                except Exception as error:  # noqa: BLE001 - the writer must live on
                    log.error("messages.not-durable", count=len(batch), **described(error))  # noqa: TRY400
                    self._answer(batch, [None] * len(batch), [0] * len(batch))

    def _take(self, batch: Sequence[_Submission]) -> None:
        begin, cpu = time.perf_counter(), time.thread_time()
        stamp = ""
        answers: list[bytes | None] = [None] * len(batch)
        numbers: list[int] = [0] * len(batch)
        entries: list[NewEntry] = []
        places: list[int] = []
        tally: dict[tuple[str, str], int] = {}
        for place, one in enumerate(batch):
            stamp = stamp or instant_of(one.raw.received).strftime("%Y%m%d%H%M%S+0000")
            code, entry = self._judge(one, stamp)
            if isinstance(entry, NewEntry):
                entries.append(entry)
                places.append(place)
            else:
                answers[place] = entry
                _count(tally, one.raw.feed, code)
        if entries:
            entries = self._quarantine_reused(entries)
            verdicts = self._append(entries)
            for place, entry, verdict in zip(places, entries, verdicts, strict=True):
                if verdict is None:
                    _count(tally, entry.raw.feed, "none")
                    continue
                answers[place] = verdict.ack
                # A commit acknowledgement, or none, waits for nothing.
                if verdict.ack and entry.ack_code.startswith("A") and not entry.envelope.cut:
                    numbers[place] = verdict.entry
                code = "duplicate" if verdict.duplicate else entry.ack_code
                _count(tally, entry.raw.feed, code)
                if verdict.reused:
                    log.warning("control-id.reused", entry=verdict.entry, feed=entry.raw.feed)
            self.commits += 1
            self.entries += len(entries)
            self._metrics.committed(len(entries), time.perf_counter() - begin)
        self._answer(batch, answers, numbers)
        for (feed, code), count in tally.items():
            self._metrics.received(feed, code, count)
        self._metrics.waiting(self.waiting)
        self.cpu_seconds += time.thread_time() - cpu

    def _append(self, entries: Sequence[NewEntry]) -> list[Appended | None]:
        """Append all; if that fails, one by one, so that one message harms only itself."""
        try:
            return list(self._journal.append(entries))
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is durable
            log.error("messages.not-durable", count=len(entries), **described(error))  # noqa: TRY400
            if len(entries) == 1:
                return [None]
        verdicts: list[Appended | None] = []
        failed = 0
        for entry in entries:
            verdict = self._append([entry])[0] if failed < 3 else None
            failed = failed + 1 if verdict is None else 0
            verdicts.append(verdict)
        return verdicts

    def _answer(
        self,
        batch: Sequence[_Submission],
        answers: Sequence[bytes | None],
        numbers: Sequence[int],
    ) -> None:
        by_sink: dict[AnswerSink, list[tuple[Any, bytes | None]]] = {}
        for one, answer, number in zip(batch, answers, numbers, strict=True):
            if one.sink is None or (self._policies and self._hold(one, one.sink, answer, number)):
                continue
            by_sink.setdefault(one.sink, []).append((one.ticket, answer))
        self._answered += len(batch)
        for sink, pairs in by_sink.items():
            try:
                sink.answered(pairs)
            except Exception as error:  # noqa: BLE001 - one source must not harm another
                log.error("answers.dropped", count=len(pairs), **described(error))  # noqa: TRY400

    def _hold(self, one: _Submission, sink: AnswerSink, answer: bytes | None, number: int) -> bool:
        """Whether an answer waits; those of a connection keep their order."""
        policy = self._policies.get(one.raw.feed, DEFAULT)
        delivered = policy.ack == "delivered"
        if not (delivered or policy.decided) or self._held is None:
            return False
        until = time.monotonic() + policy.answer_within
        held = Held(sink, one.ticket, one.raw, number, answer, until, delivered)
        self._held.hold(held)
        return True

    def _judge(self, one: _Submission, stamp: str) -> tuple[str, NewEntry | bytes]:
        """The code of the answer, and the entry to store or the rejection to send."""
        raw = one.raw
        policy = self._policies.get(raw.feed, DEFAULT)
        if one.cut is not None:
            return self._judge_cut(one, one.cut, policy, stamp)
        seen = peek(raw.body, policy.charset_fallback)
        digest = hashlib.sha256(raw.body).hexdigest()
        site = self._facilities.get(seen.sender_facility) or self._feeds[raw.feed]
        refused = one.refusal or refusal(seen, policy)
        errors = [refused] if refused else []
        verdict: Verdict = "R" if refused else "A"
        if not refused:
            sent = envelope(seen, raw, digest, site)
            if policy.ack == "mapped" and self._judge_mapping is not None:
                errors = self._judge_mapping(raw, sent)
                verdict = "E" if code_of(errors) == "AE" else "A"
        code, wanted = _code(seen, verdict)
        if code == "CR" and refused and refused.code not in HEADER_VALUES:
            code = "CE"
        told = errors if code[0] == "A" or refused else ()
        answer = _answer(seen, code, digest, stamp, refused, told) if wanted else b""
        if refused:
            return code, answer
        return code, NewEntry(raw, sent, answer, code)

    def _judge_cut(
        self, one: _Submission, cut: Cut, policy: FeedPolicy, stamp: str
    ) -> tuple[str, NewEntry | bytes]:
        """The same of what did not come whole; what has no header is nobody's message."""
        raw = one.raw
        whole = whole_segments(raw.body)
        seen = peek(whole or raw.body, policy.charset_fallback)
        digest = hashlib.sha256(CUT_MARK + raw.body).hexdigest()
        code, answer = NO_ANSWER, b""
        if one.refusal is not None:
            code, wanted = _code(seen, "R")
            code = "CE" if code == "CR" else code
            if wanted:
                answer = _answer(seen, code, digest, stamp, one.refusal, [one.refusal])
        kept = bool(seen.header) and self._allowance.take(raw.feed, len(raw.body))
        self._metrics.cut(raw.feed, cut, kept=kept)
        if not kept:
            return code, answer
        site = self._facilities.get(seen.sender_facility) or self._feeds[raw.feed]
        sent = _held(envelope(seen, raw, digest, site), cut)
        if not whole:
            sent = replace(sent, control_id=digest, event="")  # the header is cut, too
        return code, NewEntry(raw, sent, answer, code)

    def _quarantine_reused(self, entries: list[NewEntry]) -> list[NewEntry]:
        """Hold back what reuses a control id, at sites that want that."""
        first: dict[tuple[str, str], set[str]] = {}
        for place, entry in enumerate(entries):
            sent = entry.envelope
            if sent.cut or self._sites[sent.site].control_id_reuse != "quarantine":
                continue
            key = (sent.sender, sent.control_id)
            if key not in first:
                page = self._journal.entries(EntryFilter(control_id=sent.control_id), limit=50)
                first[key] = {
                    item.entry.envelope.digest
                    for item in page.items
                    if item.entry.envelope.sender == sent.sender and not item.entry.envelope.cut
                }
            if first[key] and sent.digest not in first[key]:
                entries[place] = NewEntry(
                    entry.raw, _held(sent, "control-id-reused"), entry.ack, entry.ack_code
                )
            first[key].add(sent.digest)
        return entries


def envelope(seen: Peek, raw: RawMessage, digest: str, site: IntakeSite) -> Envelope:
    """What the journal notes of a message beside its bytes."""
    sender = f"{seen.sender_app}|{seen.sender_facility}"
    return Envelope(
        _clean(raw.feed if sender == "|" else sender),
        _clean(seen.control_id) or digest,
        _clean(seen.event),
        digest,
        site.name,
        lane(seen, raw.feed, site),
    )


def lane(seen: Peek, feed: str, site: IntakeSite) -> int:
    """The lane: always the same for a patient identifier, spread evenly over all.

    The identifier is the first one of a linking type by the site's own authority, else
    the first of a linking type, else the first; without any, the feed decides.
    """
    chosen = None
    rank = 3
    for found in seen.pid3:
        links = found.type in site.links_by
        own = not found.authority or found.authority == site.authority
        this = 0 if links and own else 1 if links else 2
        if this < rank:
            chosen, rank = found, this
    key = f"{chosen.authority or site.authority}|{chosen.value}" if chosen else feed
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") % LANES


def _answer(
    seen: Peek,
    code: AckCode,
    digest: str,
    stamp: str,
    refused: AckError | None,
    errors: Sequence[AckError],
) -> bytes:
    """MSH-10 of the answer is as unique as the message, and the same if that is repeated."""
    return ack(
        seen if seen.header else None,
        code,
        control_id=digest[:16],
        now=stamp,
        text=refused.text if refused else None,
        errors=errors,
    )


def _code(seen: Peek, verdict: Verdict) -> tuple[AckCode, bool]:
    """MSA-1, and whether the sender wants it (MSH-15, MSH-16)."""
    original = _ORIGINAL[verdict]
    if len(seen.header) <= 15:
        return original, seen.type not in ANSWERS
    asked = conditions(seen)
    if not asked.enhanced and seen.type in ANSWERS:
        return original, False
    if asked.accept == "NE":
        # Without an accept acknowledgement this is the original mode.
        return original, wants(asked.application, success=verdict == "A")
    # What mapping finds is for the application acknowledgement: the message is stored.
    commit: AckCode = "CR" if verdict == "R" else "CA"
    return commit, wants(asked.accept, success=verdict != "R")


def _held(sent: Envelope, why: str) -> Envelope:
    return replace(sent, quarantined=why)


def _clean(text: str) -> str:
    # PostgreSQL's text cannot hold NUL.
    return text.replace("\x00", "") if "\x00" in text else text


def _count(tally: dict[tuple[str, str], int], feed: str, code: str) -> None:
    tally[feed, code] = tally.get((feed, code), 0) + 1
