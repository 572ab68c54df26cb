"""Durable before answered, and every message answered in its turn."""

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from segue.hl7v2.ack import read_ack
from segue.hl7v2.peek import peek
from segue.model.messages import InboxEntry, RawMessage
from segue.pipeline.acceptance import FeedPolicy
from segue.pipeline.allowance import BYTES_AN_HOUR, LEAST
from segue.pipeline.metrics import NoMetrics
from segue.pipeline.receive import LANES, IntakeSite, Receiver, lane
from segue.store.listings import EntryFilter, ListedEntry, Page
from segue.store.records import Appended, NewEntry

HOSPA = IntakeSite("hospa", "HOSPA", ("HOSPA",))
HOSPB = IntakeSite("hospb", "HOSPB", ("HOSPB", "HB"), control_id_reuse="quarantine")


def adt(control_id: str = "1", facility: str = "HOSPA", mrn: str = "100^^^HOSPA^MR", **more: str):
    conditions = f"|||{more.get('accept', '')}|{more.get('application', '')}" if more else ""
    return (
        f"MSH|^~\\&|ADT|{facility}|SEGUE|HUB|20260705134200||ADT^A01^ADT_A01|{control_id}|P|2.5.1"
        f"{conditions}\rEVN|A01|20260705134200\rPID|1||{mrn}\r"
    ).encode()


def known_by(entry: NewEntry) -> tuple[str, str, bool]:
    sent = entry.envelope
    return sent.sender, sent.control_id, sent.cut


@dataclass
class MemoryJournal:
    """Keeps entries in a list; `fail` makes commits raise, `gate` holds them up."""

    stored: list[NewEntry] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)
    fail: Any = None
    gate: threading.Event | None = None

    def append(self, entries):
        if self.gate is not None:
            assert self.gate.wait(5)
        for entry in entries:
            if self.fail is not None and self.fail(entry):
                raise OSError("disk full")
        verdicts = []
        for entry in entries:
            same = [
                (number, old)
                for number, old in enumerate(self.stored, 1)
                if known_by(old) == known_by(entry)
            ]
            twins = [p for p in same if p[1].envelope.digest == entry.envelope.digest]
            if twins:
                verdicts.append(Appended(twins[0][0], twins[0][1].ack, duplicate=True))
                continue
            self.stored.append(entry)
            verdicts.append(Appended(len(self.stored), entry.ack, reused=bool(same)))
        self.commits.append(len(entries))
        return verdicts

    def entries(self, asked: EntryFilter, *, limit: int = 50):
        items = [
            ListedEntry(InboxEntry(n, e.raw, e.envelope, e.ack, e.ack_code), len(e.raw.body))
            for n, e in enumerate(self.stored, 1)
            if e.envelope.control_id == asked.control_id
        ]
        return Page(items[:limit], None, len(items))


class Answers:
    """A sink that waits for a number of answers."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, bytes | None]] = []
        self.batches: list[int] = []
        self._more = threading.Condition()

    def answered(self, answers) -> None:
        with self._more:
            self.got += answers
            self.batches.append(len(answers))
            self._more.notify_all()

    def wait(self, count: int) -> list[tuple[Any, bytes | None]]:
        with self._more:
            assert self._more.wait_for(lambda: len(self.got) >= count, 5), self.got
        return self.got


@pytest.fixture
def journal():
    return MemoryJournal()


@pytest.fixture
def answers():
    return Answers()


@pytest.fixture
def receiver(journal):
    made = Receiver(journal, {"adt": "hospa", "adt-b": "hospb"}, [HOSPA, HOSPB])
    yield made
    if journal.gate is not None:
        journal.gate.set()
    made.close()


def send(receiver, answers, *bodies: bytes, feed: str = "adt"):
    before = len(answers.got)
    for number, body in enumerate(bodies):
        receiver.submit(RawMessage(body, feed, 1_783_000_000_000_000 + number), answers, number)
    got = answers.wait(before + len(bodies))
    return [read_ack(ack) if ack else None for _, ack in got[before:]]


def test_a_message_is_accepted_once_it_is_stored(receiver, journal, answers):
    (ack,) = send(receiver, answers, adt("77"))
    assert (ack.code, ack.control_id) == ("AA", "77")
    entry = journal.stored[0]
    assert entry.raw.body == adt("77")
    assert (entry.envelope.sender, entry.envelope.event) == ("ADT|HOSPA", "A01")
    assert entry.ack == answers.got[0][1]


def test_no_answer_leaves_while_the_commit_runs(receiver, journal, answers):
    journal.gate = threading.Event()
    receiver.submit(RawMessage(adt(), "adt", 1), answers, "a")
    assert not journal.gate.wait(0.2)
    assert answers.got == []
    assert receiver.waiting == 1
    journal.gate.set()
    assert answers.wait(1)[0][1]
    assert receiver.waiting == 0


def test_a_failed_commit_answers_nothing(receiver, journal, answers):
    journal.fail = lambda entry: True
    assert send(receiver, answers, adt("1"), adt("2")) == [None, None]
    journal.fail = None
    assert send(receiver, answers, adt("1"))[0].code == "AA"


def test_one_message_that_cannot_be_stored_harms_no_other(receiver, journal, answers):
    journal.gate = threading.Event()
    journal.fail = lambda entry: entry.envelope.control_id == "bad"
    for number, name in enumerate(("first", "1", "bad", "2")):
        receiver.submit(RawMessage(adt(name), "adt", 1), answers, number)
    journal.gate.set()
    got = dict(answers.wait(4))
    assert got[2] is None
    assert [read_ack(got[n]).code for n in (0, 1, 3)] == ["AA", "AA", "AA"]


def test_what_comes_in_during_a_commit_shares_the_next_one(receiver, journal, answers):
    journal.gate = threading.Event()
    for number in range(50):
        receiver.submit(RawMessage(adt(str(number)), "adt", 1), answers, number)
    journal.gate.set()
    answers.wait(50)
    assert len(journal.commits) <= 3
    assert [ticket for ticket, _ in answers.got] == list(range(50))


def test_a_repeat_gets_the_answer_of_the_first(receiver, journal, answers):
    send(receiver, answers, adt("1"))
    send(receiver, answers, adt("1"))
    assert len(journal.stored) == 1
    assert answers.got[0][1] == answers.got[1][1]


def test_a_used_control_id_with_other_bytes_is_taken(receiver, journal, answers):
    acks = send(receiver, answers, adt("1"), adt("1", mrn="200^^^HOSPA^MR"))
    assert [ack.code for ack in acks] == ["AA", "AA"]
    assert [entry.envelope.quarantined for entry in journal.stored] == [None, None]


def test_a_used_control_id_is_held_back_where_the_site_wants_it(receiver, journal, answers):
    first, second = adt("1", "HOSPB"), adt("1", "HOSPB", mrn="200^^^HOSPB^MR")
    acks = send(receiver, answers, first, second, first)
    assert [ack.code for ack in acks] == ["AA", "AA", "AA"]
    acks = send(receiver, answers, adt("1", "HOSPB", mrn="300^^^HOSPB^MR"))
    assert acks[0].code == "AA"
    held = [entry.envelope.quarantined for entry in journal.stored]
    assert held == [None, "control-id-reused", "control-id-reused"]


def test_what_has_no_header_is_rejected_and_not_stored(receiver, journal, answers):
    (ack,) = send(receiver, answers, b"this is no message")
    assert ack.code == "AR"
    assert ack.error_codes == ("100",)
    assert journal.stored == []


def test_a_rejection_waits_for_its_turn(receiver, journal, answers):
    journal.gate = threading.Event()
    receiver.submit(RawMessage(adt("1"), "adt", 1), answers, 0)
    receiver.reject(RawMessage(adt("2"), "adt", 1), "oversize", "too long", answers, 1)
    receiver.submit(RawMessage(adt("3"), "adt", 1), answers, 2)
    journal.gate.set()
    got = answers.wait(3)
    assert [ticket for ticket, _ in got] == [0, 1, 2]
    assert [read_ack(ack).code for _, ack in got] == ["AA", "AR", "AA"]
    assert read_ack(got[1][1]).control_id == "2"
    found = [(entry.envelope.control_id, entry.envelope.quarantined) for entry in journal.stored]
    assert found == [("1", None), ("2", "oversize"), ("3", None)]


def test_what_did_not_come_whole_is_held_and_takes_nothing_from_the_whole(
    receiver, journal, answers
):
    whole = adt("7")
    for body in (whole[:-9], whole, whole[:-9]):
        receiver.quarantine(RawMessage(body, "adt-b", 1), "truncated")
    acks = send(receiver, answers, whole, feed="adt-b")
    assert [ack.code for ack in acks] == ["AA"]
    assert len(answers.got) == 1
    held = [entry.envelope for entry in journal.stored]
    assert [one.quarantined for one in held] == ["truncated", "truncated", None]
    assert {one.control_id for one in held} == {"7"}
    assert len({one.digest for one in held}) == 3


def test_what_ends_within_its_header_claims_no_control_id_and_what_has_none_is_not_kept(
    receiver, journal, answers
):
    header = adt("70001").partition(b"\r")[0]
    for body in (header[:-12], b"no message", b""):
        receiver.quarantine(RawMessage(body, "adt", 1), "truncated")
    send(receiver, answers, adt("8"))
    half, _ = (entry.envelope for entry in journal.stored)
    assert (half.control_id, half.event) == (half.digest, "")


def test_halves_are_kept_as_far_as_the_allowance_of_their_feed_goes(journal, answers):
    counted: list[tuple[str, str, bool]] = []

    class Counted(NoMetrics):
        def cut(self, feed: str, cut: str, *, kept: bool) -> None:
            counted.append((feed, cut, kept))

    receiver = Receiver(journal, {"adt": "hospa", "lab": "hospa"}, [HOSPA], metrics=Counted())
    large = adt("1") + b"x" * BYTES_AN_HOUR
    receiver.reject(RawMessage(large, "adt", 1), "oversize", "too long", answers, 0)
    for n in range(1100):
        receiver.quarantine(RawMessage(adt(str(n))[:-5], "adt", 1), "truncated")
    receiver.quarantine(RawMessage(adt("1")[:-5], "lab", 1), "truncated")
    receiver.close()
    assert read_ack(answers.got[0][1]).code == "AR"
    assert counted[0] == ("adt", "oversize", False)
    assert sum(kept for _, _, kept in counted[1:-1]) == BYTES_AN_HOUR // LEAST
    assert counted[-1] == ("lab", "truncated", True)


def test_a_processing_id_that_is_not_taken_is_rejected(journal, answers):
    policy = FeedPolicy(processing_ids=frozenset({"T"}))
    receiver = Receiver(journal, {"adt": "hospa"}, [HOSPA], policies={"adt": policy})
    (ack,) = send(receiver, answers, adt())
    receiver.close()
    assert (ack.code, ack.error_codes) == ("AR", ("202",))


@pytest.mark.parametrize(
    ("accept", "application", "code"),
    [
        ("", "", "AA"),
        ("NE", "AL", "AA"),
        ("AL", "", "CA"),
        ("AL", "NE", "CA"),
        ("SU", "NE", "CA"),
        ("ER", "NE", None),
        ("NE", "NE", None),
        ("", "AL", "AA"),
    ],
)
def test_the_sender_says_in_msh_15_and_16_how_it_is_answered(
    receiver, journal, answers, accept, application, code
):
    body = adt("1", accept=accept, application=application)
    (ack,) = send(receiver, answers, body)
    assert (ack.code if ack else None) == code
    assert answers.got[0][1] is not None
    assert len(journal.stored) == 1


def test_the_facility_names_the_site_and_else_the_feed_does(receiver, journal, answers):
    send(receiver, answers, adt("1", "HB"), adt("2", "ELSEWHERE"))
    assert [entry.envelope.site for entry in journal.stored] == ["hospb", "hospa"]


def test_without_sender_and_control_id_feed_and_content_stand_in(receiver, journal, answers):
    body = b"MSH|^~\\&|||SEGUE||20260705||ADT^A01||P|2.5.1\rPID|1||7\r"
    send(receiver, answers, body)
    sent = journal.stored[0].envelope
    assert sent.sender == "adt"
    assert sent.control_id == sent.digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("100^^^HOSPA^MR", "999^^^SSA^SS~100^^^HOSPA^MR"),
        ("100^^^HOSPA^MR", "100^^^^MR"),
        ("100^^^HOSPA^MR", "5^^^OTHER^MR~100^^^HOSPA^MR"),
    ],
)
def test_the_lane_does_not_depend_on_other_identifiers_or_their_order(one, other):
    lanes = {lane(peek(adt(mrn=mrn)), "adt", HOSPA) for mrn in (one, other)}
    assert len(lanes) == 1


def test_lanes_are_used_evenly():
    counts = [0] * LANES
    for number in range(LANES * 100):
        counts[lane(peek(adt(mrn=f"{number}^^^HOSPA^MR")), "adt", HOSPA)] += 1
    assert min(counts) > 50
    assert max(counts) < 160


def test_without_a_patient_the_feed_chooses_the_lane():
    body = b"MSH|^~\\&|A|HOSPA|||2026||ADT^A20|1|P|2.5\r"
    assert lane(peek(body), "adt", HOSPA) == lane(peek(body + b"EVN|A20\r"), "adt", HOSPA)


def test_closing_answers_what_was_submitted(journal, answers):
    receiver = Receiver(journal, {"adt": "hospa"}, [HOSPA])
    for number in range(20):
        receiver.submit(RawMessage(adt(str(number)), "adt", 1), answers, number)
    receiver.close()
    assert len(answers.got) == 20


def test_a_sink_that_is_gone_does_not_stop_the_others(receiver, answers):
    class Gone:
        def answered(self, answers):
            raise RuntimeError("the loop is closed")

    receiver.submit(RawMessage(adt("1"), "adt", 1), Gone(), None)
    assert send(receiver, answers, adt("2"))[0].code == "AA"
