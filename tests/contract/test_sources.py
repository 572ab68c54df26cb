"""What every kind of source keeps: one kit, run for each kind.

A kind brings a small harness: how its outside sends messages and sees the answers.
"""

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from segue.adapters.sources.folder import Folder, FolderConfig
from segue.adapters.sources.http import HttpIntake, UnknownFeedError
from segue.adapters.sources.mllp import MllpListener, MllpListenerConfig
from segue.hl7v2.ack import read_ack
from segue.pipeline.acceptance import FeedPolicy
from segue.pipeline.clock import SystemClock
from segue.pipeline.receive import IntakeSite, NotDurable, Receiver
from segue.pipeline.waiting import Waiting
from segue.settings.sections import FEEDS
from segue.store.listings import EntryFilter, Page
from segue.store.records import Appended, Fate, NewEntry
from segue.store.store import open_journal
from tests.peers.hospital import Hospital


def adt(control_id: str, mrn: str = "100", text: str = "") -> bytes:
    return (
        f"MSH|^~\\&|ADT|HOSPA|SEGUE|HUB|20260705134200||ADT^A01^ADT_A01|{control_id}|P|2.5.1\r"
        f"EVN|A01|20260705134200\rPID|1||{mrn}^^^HOSPA^MR\rNTE|1||{text}\r"
    ).encode()


@dataclass
class GatedJournal:
    """A journal in memory whose commits can be held up or made to fail."""

    stored: list[NewEntry] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    broken: bool = False

    def __post_init__(self) -> None:
        self.open.set()

    def append(self, entries):
        assert self.open.wait(10)
        if self.broken:
            raise OSError("disk full")
        found = []
        for entry in entries:
            self.stored.append(entry)
            found.append(Appended(len(self.stored), entry.ack))
        return found

    def entries(self, asked: EntryFilter, *, limit: int = 50):
        return Page([], None, 0)

    @property
    def held(self) -> list[tuple[str, str | None]]:
        return [(entry.envelope.control_id, entry.envelope.quarantined) for entry in self.stored]

    @property
    def control_ids(self) -> list[str]:
        return [entry.envelope.control_id for entry in self.stored]


class MllpHarness:
    kind = "mllp"

    def __init__(
        self, receiver: Receiver, folder: Path, longest: int | None = None, **options
    ) -> None:
        if longest is not None:
            options["max_frame_bytes"] = longest
        config = MllpListenerConfig("feed", "127.0.0.1", 0, **options)
        self.source = MllpListener(config, receiver, SystemClock())

    async def send(self, *bodies: bytes, wait: float = 5.0) -> list[bytes]:
        """Send and return the answers that come within `wait` seconds."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.source.port)
        for body in bodies:
            writer.write(b"\x0b" + body + b"\x1c\r")
        answers = []
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.timeout(wait):
                while len(answers) < len(bodies):
                    answers.append((await reader.readuntil(b"\x1c\r"))[1:-2])
        writer.close()
        return answers


class HttpHarness:
    kind = "http"

    def __init__(self, receiver: Receiver, folder: Path, longest: int = 100_000) -> None:
        self.source = HttpIntake({"feed": longest}, receiver, SystemClock())

    async def send(self, *bodies: bytes, wait: float = 5.0) -> list[bytes]:
        answers = []
        for body in bodies:
            with contextlib.suppress(TimeoutError, NotDurable):
                async with asyncio.timeout(wait):
                    answers.append(await self.source.handle_er7(body, "feed"))
        return answers


class FolderHarness:
    kind = "folder"

    def __init__(self, receiver: Receiver, folder: Path, longest: int = 100_000, **options) -> None:
        self.path = folder / "drop"
        quick = timedelta(milliseconds=20)
        config = FolderConfig(
            "feed", self.path, poll=quick, settle=quick, max_bytes=longest, **options
        )
        self.source = Folder(config, receiver, SystemClock())
        self.number = 0

    async def send(self, *bodies: bytes, wait: float = 5.0) -> list[bytes]:
        names = []
        for body in bodies:
            self.number += 1
            names.append(f"{self.number:04d}.hl7")
            await asyncio.to_thread((self.path / names[-1]).write_bytes, body)
            await asyncio.sleep(0.002)
        answers: list[bytes] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                for name in names:
                    while not (found := list(self.path.glob(f"*/{name}.ack"))):
                        await asyncio.sleep(0.01)
                    while any(not file.with_suffix("").exists() for file in found):
                        await asyncio.sleep(0.01)
                    answers.append(found[0].read_bytes())
        return answers


HARNESSES = {one.kind: one for one in (MllpHarness, HttpHarness, FolderHarness)}


def test_every_kind_of_source_is_in_the_kit():
    assert set(HARNESSES) == set(FEEDS) - {"fhir"}, "clients of kind fhir speak to the API"


@pytest.fixture(params=sorted(HARNESSES))
def kit(request, tmp_path) -> Callable[..., contextlib.AbstractAsyncContextManager]:
    def run(journal, *, longest: int = 100_000, **habits):
        options = {"longest": longest}
        return running(HARNESSES[request.param], journal, tmp_path, options, **habits)

    return run


@contextlib.asynccontextmanager
async def running(harness_of, journal, folder: Path, options, **habits) -> AsyncIterator:
    sites = [IntakeSite("hospa", "HOSPA", ("HOSPA",))]
    receiver = Receiver(journal, {"feed": "hospa"}, sites, **habits)
    harness = harness_of(receiver, folder, **options)
    harness.receiver = receiver
    if hasattr(harness.source, "start"):
        await harness.source.start()
    try:
        yield harness
    finally:
        if hasattr(journal, "open") and isinstance(journal, GatedJournal):
            journal.open.set()
        if hasattr(harness.source, "stop"):
            await harness.source.stop()
        await asyncio.to_thread(receiver.close)


# --- the kit -----------------------------------------------------------------------------


def test_a_message_is_stored_untouched_and_accepted(kit):
    async def story():
        journal = GatedJournal()
        async with kit(journal) as source:
            body = adt("77", text="J\\S\\rg M\u00fcller")
            (answer,) = await source.send(body)
        assert (read_ack(answer).code, read_ack(answer).control_id) == ("AA", "77")
        assert [(e.raw.body, e.raw.feed) for e in journal.stored] == [(body, "feed")]

    asyncio.run(story())


def test_no_answer_leaves_before_the_commit(kit):
    async def story():
        journal = GatedJournal()
        journal.open.clear()
        async with kit(journal) as source:
            assert await source.send(adt("1"), wait=0.3) == []
            assert journal.stored == []

    asyncio.run(story())


def test_a_failed_commit_is_never_accepted(kit):
    async def story():
        journal = GatedJournal(broken=True)
        async with kit(journal) as source:
            answers = await source.send(adt("1"), wait=0.5)
            assert [read_ack(a).code for a in answers if a not in (b"",)] in ([], ["AE"])
            journal.broken = False
            if source.kind == "folder":
                async with asyncio.timeout(5):
                    while not journal.stored:
                        await asyncio.sleep(0.01)
            else:
                (answer,) = await source.send(adt("1"))
                assert read_ack(answer).code == "AA"
        assert journal.control_ids == ["1"]

    asyncio.run(story())


def test_messages_are_stored_and_answered_in_order(kit):
    async def story():
        journal = GatedJournal()
        async with kit(journal) as source:
            answers = await source.send(*(adt(str(n)) for n in range(30)))
        names = [str(n) for n in range(30)]
        assert [read_ack(a).control_id for a in answers] == names
        assert journal.control_ids == names

    asyncio.run(story())


def test_a_payload_with_several_messages_is_taken_apart(kit):
    async def story():
        journal = GatedJournal()
        batch = b"FHS|^~\\&|ADT\rBHS|^~\\&|ADT\r" + adt("1") + adt("2") + b"BTS|2\rFTS|1\r"
        async with kit(journal) as source:
            (answer,) = await source.send(batch)
            async with asyncio.timeout(5):
                while len(journal.stored) < 2:
                    await asyncio.sleep(0.01)
        assert journal.control_ids == ["1", "2"]
        assert [e.raw.body for e in journal.stored] == [adt("1"), adt("2")]
        assert answer.startswith(b"FHS|")
        assert answer.endswith(b"BTS|2\rFTS|1\r")
        assert answer.index(b"MSA|AA|1") < answer.index(b"MSA|AA|2")

    asyncio.run(story())


def test_what_is_no_message_is_rejected_and_not_stored(kit):
    async def story():
        journal = GatedJournal()
        async with kit(journal) as source:
            answers = await source.send(b"not HL7 at all", b"", b"\x00\xff\xfe", adt("1"))
        assert [read_ack(answer).code for answer in answers] == ["AR", "AR", "AR", "AA"]
        assert journal.control_ids == ["1"]

    asyncio.run(story())


def test_a_message_that_is_too_long_is_rejected_and_the_next_one_taken(kit):
    async def story():
        journal = GatedJournal()
        async with kit(journal, longest=500) as source:
            answers = await source.send(adt("1", text="x" * 5000), adt("2"))
        first, second = map(read_ack, answers)
        assert (first.code, first.control_id) == ("AR", "1")
        assert (second.code, second.control_id) == ("AA", "2")
        assert journal.held == [("1", "oversize"), ("2", None)]

    asyncio.run(story())


@pytest.mark.parametrize(
    "body",
    [
        adt("1").replace(b"\r", b"\n"),
        adt("1").replace(b"\r", b"\r\n"),
        b"\xef\xbb\xbf" + adt("1"),
        adt("1", text="M\u00fcller").decode().encode("cp1252"),
        adt("1") + b"NTE|2||\x80\x00\x1a\r",
        adt("1").rstrip(b"\r"),
        adt("1", text="x" * 70_000),
        adt("1").replace(b"|", b"#"),
    ],
    ids=["lf", "crlf", "bom", "cp1252", "control-characters", "no-end", "long", "separators"],
)
def test_what_is_taken_is_stored_byte_for_byte(kit, body):
    async def story():
        journal = GatedJournal()
        async with kit(journal) as source:
            (answer,) = await source.send(body)
        assert (read_ack(answer).code, read_ack(answer).control_id) == ("AA", "1")
        (stored,) = journal.stored
        assert stored.raw.body == body
        assert stored.envelope.digest == hashlib.sha256(body).hexdigest()

    asyncio.run(story())


def test_a_message_of_a_batch_that_is_rejected_harms_no_other(kit):
    async def story():
        journal = GatedJournal()
        other = adt("2").replace(b"|P|2.5.1", b"|T|2.5.1")
        batch = b"BHS|^~\\&|ADT\r" + adt("1") + other + adt("3") + b"BTS|3\r"
        async with kit(journal, policies={"feed": FeedPolicy(processing_ids={"P"})}) as source:
            (answer,) = await source.send(batch)
        assert [line for line in answer.split(b"\r") if line[:3] == b"MSA"] == [
            b"MSA|AA|1",
            b"MSA|AR|2|This processing id is not taken here.",
            b"MSA|AA|3",
        ]
        assert journal.control_ids == ["1", "3"]

    asyncio.run(story())


def test_who_wants_no_answer_gets_none_and_the_next_one_its_own(kit):
    async def story():
        journal = GatedJournal()
        quiet = adt("1").replace(b"|P|2.5.1", b"|P|2.5.1|||NE|NE")
        async with kit(journal) as source:
            answers = [a for a in await source.send(quiet, adt("2"), wait=0.5) if a]
        assert [read_ack(answer).control_id for answer in answers] == ["2"]
        assert journal.control_ids == ["1", "2"]

    asyncio.run(story())


def test_an_answer_of_delivered_waits_for_its_deliveries(kit):
    async def story():
        journal = GatedJournal()
        fates: dict[int, Fate] = {}
        waiting = Waiting(lambda entries: {n: fates[n] for n in entries if n in fates}, str)
        habits = {"policies": {"feed": FeedPolicy(ack="delivered")}, "waiting": waiting}
        async with kit(journal, **habits) as source:
            sending = asyncio.create_task(source.send(adt("1"), adt("2")))
            async with asyncio.timeout(5):
                while not journal.stored:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.15)
            assert not sending.done()
            fates |= {1: Fate("processed"), 2: Fate("processed", dead=1)}
            answers = [read_ack(answer) for answer in await sending]
        assert [(one.code, one.control_id) for one in answers] == [("AA", "1"), ("AE", "2")]

    asyncio.run(story())


def test_a_repeat_after_a_restart_changes_nothing_and_gets_the_same_answer(kit, tmp_path):
    async def story():
        answers = []
        for _ in range(2):
            journal = open_journal(tmp_path / "data")
            async with kit(journal) as source:
                answers += await source.send(adt("1"))
            stored = journal.entries(EntryFilter(), limit=10).items
            journal.close()
        assert len(stored) == 1
        assert answers[0] == answers[1]

    asyncio.run(story())


def test_stopping_answers_what_was_taken(kit):
    async def story():
        journal = GatedJournal()
        journal.open.clear()
        async with kit(journal) as source:
            sending = asyncio.create_task(source.send(adt("1")))
            async with asyncio.timeout(5):
                while not _waiting(source):
                    await asyncio.sleep(0.01)
            asyncio.get_running_loop().call_later(0.1, journal.open.set)
            if hasattr(source.source, "stop"):
                await source.source.stop()
            assert read_ack((await sending)[0]).code == "AA"

    asyncio.run(story())


def _waiting(harness) -> int:
    return harness.receiver.waiting


# --- MLLP alone --------------------------------------------------------------------------


def mllp(journal, **options):
    return running(MllpHarness, journal, Path(), options)


def test_frames_cut_at_every_byte_are_the_same_messages():
    async def story():
        journal = GatedJournal()
        wire = b"".join(b"\x0b" + adt(str(n)) + b"\x1c\r" for n in range(2))
        async with mllp(journal) as source:
            reader, writer = await asyncio.open_connection("127.0.0.1", source.source.port)
            for cut in range(1, len(wire), 7):
                writer.write(wire[:cut])
                await asyncio.sleep(0)
                writer.write(wire[cut:])
                for _ in range(2):
                    await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 5)
            writer.close()
        assert set(journal.control_ids) == {"0", "1"}

    asyncio.run(story())


def test_a_frame_that_ends_nowhere_is_not_answered_and_the_connection_closed():
    async def story():
        journal = GatedJournal()
        stall = timedelta(milliseconds=100)
        async with mllp(journal, frame_timeout=stall) as source:
            reader, writer = await asyncio.open_connection("127.0.0.1", source.source.port)
            writer.write(b"\x0b" + adt("1"))
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        assert journal.held == [("1", "truncated")]

    asyncio.run(story())


def test_a_line_that_ends_within_a_frame_leaves_its_message_in_quarantine():
    async def story():
        journal = GatedJournal()
        async with mllp(journal) as source:
            _, writer = await asyncio.open_connection("127.0.0.1", source.source.port)
            writer.write(b"\x0b" + adt("1")[:-30])
            writer.close()
            (answer,) = await source.send(adt("2")[:-4] + b"\x0b" + adt("1"))
            while len(journal.stored) < 3:
                await asyncio.sleep(0.01)
        assert read_ack(answer).code == "AA"
        assert sorted(journal.held, key=str) == [
            ("1", "truncated"),
            ("1", None),
            ("2", "truncated"),
        ]
        half = next(entry for entry in journal.stored if entry.envelope.cut)
        assert half.raw.body in (adt("1")[:-30], adt("2")[:-4])

    asyncio.run(story())


def test_a_connection_that_the_listener_closes_leaves_no_half_message():
    async def story():
        journal = GatedJournal()
        async with mllp(journal) as source:
            _, writer = await asyncio.open_connection("127.0.0.1", source.source.port)
            writer.write(b"\x0b" + adt("1")[:-30])
            await source.send(adt("2"))
        await asyncio.sleep(0.02)
        assert journal.held == [("2", None)]
        writer.close()

    asyncio.run(story())


def test_a_silent_connection_is_closed():
    async def story():
        async with mllp(GatedJournal(), idle_timeout=timedelta(milliseconds=100)) as source:
            reader, writer = await asyncio.open_connection("127.0.0.1", source.source.port)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()

    asyncio.run(story())


def test_a_peer_that_is_not_in_allow_is_turned_away():
    async def story():
        journal = GatedJournal()
        async with mllp(journal, allow=("10.0.0.0/8",)) as source:
            assert await source.send(adt("1"), wait=1) == []
        async with mllp(journal, allow=("10.0.0.0/8", "127.0.0.0/8")) as source:
            assert len(await source.send(adt("2"), wait=1)) == 1
        assert journal.control_ids == ["2"]

    asyncio.run(story())


def test_too_many_connections_are_turned_away():
    async def story():
        async with mllp(GatedJournal(), max_connections=2) as source:
            port = source.source.port
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            assert await asyncio.wait_for(held[2][0].read(), 5) == b""
            for _, writer in held:
                writer.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("limit", "connections"), [("unanswered_per_connection", 1), ("unanswered_in_total", 4)]
)
def test_reading_stops_while_too_much_is_unanswered(limit: str, connections: int):
    async def story():
        journal = GatedJournal()
        journal.open.clear()
        async with mllp(journal, **{limit: 10}) as source:
            hospital = Hospital(source.source.port, connections=connections, window=500, timeout=20)
            sending = asyncio.create_task(
                hospital.send(adt(str(n), text="x" * 60_000) for n in range(500))
            )
            async with asyncio.timeout(20):
                while source.receiver.waiting < 10:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
            taken = source.receiver.waiting
            assert 10 <= taken < 100
            journal.open.set()
            await sending
        assert len(hospital.accepted) == 500

    asyncio.run(story())


def test_a_connection_whose_message_is_not_durable_is_closed_without_an_answer():
    async def story():
        async with mllp(GatedJournal(broken=True)) as source:
            reader, writer = await asyncio.open_connection("127.0.0.1", source.source.port)
            writer.write(b"\x0b" + adt("1") + b"\x1c\r")
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()

    asyncio.run(story())


def test_a_hospital_loses_nothing_when_the_journal_fails_for_a_while():
    async def story():
        journal = GatedJournal(broken=True)
        async with mllp(journal) as source:
            hospital = Hospital(source.source.port, connections=4, retry_pause=0.05)
            sending = asyncio.create_task(hospital.send(adt(str(n)) for n in range(40)))
            await asyncio.sleep(0.3)
            assert hospital.accepted == []
            journal.broken = False
            await sending
        assert sorted(hospital.accepted, key=int) == [str(n) for n in range(40)]
        assert set(journal.control_ids) == set(hospital.accepted)

    asyncio.run(story())


# --- HTTP and folder alone ---------------------------------------------------------------


def test_http_says_which_feed_it_does_not_know():
    async def story():
        async with running(HttpHarness, GatedJournal(), Path(), {}) as source:
            with pytest.raises(UnknownFeedError, match="elsewhere"):
                await source.source.handle_er7(adt("1"), "elsewhere")

    asyncio.run(story())


def test_http_says_that_nothing_was_stored():
    async def story():
        async with running(HttpHarness, GatedJournal(broken=True), Path(), {}) as source:
            with pytest.raises(NotDurable):
                await source.source.handle_er7(adt("1"), "feed")

    asyncio.run(story())


def test_files_go_to_done_or_failed_with_their_answers_beside_them(tmp_path):
    async def story():
        async with running(FolderHarness, GatedJournal(), tmp_path, {}) as source:
            await source.send(adt("1") + adt("2"), b"nothing", adt("3"))
        drop = tmp_path / "drop"
        assert sorted(f.name for f in (drop / "done").iterdir()) == [
            "0001.hl7", "0001.hl7.ack", "0003.hl7", "0003.hl7.ack",
        ]  # fmt: skip
        assert sorted(f.name for f in (drop / "failed").iterdir()) == ["0002.hl7", "0002.hl7.ack"]
        assert (drop / "done" / "0001.hl7.ack").read_bytes().count(b"MSA|AA") == 2
        assert (drop / "done" / "0001.hl7").read_bytes() == adt("1") + adt("2")

    asyncio.run(story())


def test_a_batch_file_that_was_cut_off_leaves_its_last_message_in_quarantine(tmp_path):
    async def story():
        journal = GatedJournal()
        async with running(FolderHarness, journal, tmp_path, {}) as source:
            head = b"FHS|^~\\&|ADT|HOSPA\rBHS|^~\\&|ADT|HOSPA\r"
            await source.send(head + adt("1") + adt("2")[:-6], wait=1)
        assert journal.held == [("1", None), ("2", "truncated")]
        assert journal.stored[1].raw.body == adt("2")[:-6]

    asyncio.run(story())


def test_a_file_that_is_still_being_written_is_left_alone(tmp_path):
    async def story():
        journal = GatedJournal()
        async with running(FolderHarness, journal, tmp_path, {}) as source:
            source.source._sizes.clear()
            object.__setattr__(source.source.config, "settle", timedelta(milliseconds=150))
            file = tmp_path / "drop" / "growing.hl7"
            for n in range(5):
                with file.open("ab") as handle:
                    handle.write(adt(str(n)))
                await asyncio.sleep(0.05)
                assert journal.stored == []
            async with asyncio.timeout(5):
                while len(journal.stored) < 5:
                    await asyncio.sleep(0.01)

    asyncio.run(story())


def test_a_file_of_a_name_that_was_there_before_replaces_nothing(tmp_path):
    async def story():
        async with running(FolderHarness, GatedJournal(), tmp_path, {}) as source:
            await source.send(adt("1"))
            source.number = 0
            (tmp_path / "drop" / "0001.hl7").write_bytes(adt("2"))
            async with asyncio.timeout(5):
                while not (tmp_path / "drop" / "done" / "0001.hl7.2").exists():
                    await asyncio.sleep(0.01)
        assert (tmp_path / "drop" / "done" / "0001.hl7").read_bytes() == adt("1")

    asyncio.run(story())
