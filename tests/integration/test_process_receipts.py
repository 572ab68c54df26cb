"""Receipts and time: what makes care change without a message."""

from pathlib import Path

from segue.pipeline.deliver import ReceiptNote
from segue.pipeline.receipts import record_receipts
from segue.pipeline.routes import Route
from segue.pipeline.timers import fire_due
from tests.stories.reading import code_of
from tests.stories.s11 import messages
from tests.support.hub import Bench, TestClock, hub

ROUTES = (
    Route(
        "pcpb",
        "pcpb",
        frozenset({"Encounter", "CarePlan", "Task"}),
        receipt="record",
    ),
)
S11 = messages()


def notify(bench: Bench) -> str:
    """Status of the task that tells the practice of the admission."""
    (task,) = [task for task in bench.resources("Task") if code_of(task) == "notify-admit"]
    return str(task["status"])


def filed(bench: Bench, kind: str, version: int, at: int) -> ReceiptNote:
    (resource,) = [r for r in bench.resources(kind) if not r.get("partOf")]
    with bench.hub.store.read() as reader:
        owner = reader.session.rows("SELECT pk FROM person")[0][0]
    reference = f"{kind}/{resource['id']}"
    return ReceiptNote("pcpb", reference, version, at, None, None, owner)


def test_the_practice_filing_the_admission_closes_the_task(tmp_path: Path) -> None:
    clock = TestClock.at("2026-07-05T13:42:10-04:00")
    with hub(tmp_path, clock, ROUTES) as bench:
        bench.process(S11["A04"])
        bench.process(S11["A06"])
        assert notify(bench) == "requested"
        record_receipts(bench.hub, [filed(bench, "CarePlan", 1, clock.us)])
        assert notify(bench) == "requested", "a plan is no admission"
        record_receipts(bench.hub, [filed(bench, "Encounter", 1, clock.us)])
        assert notify(bench) == "requested", "version 1 was of the emergency department"
        note = filed(bench, "Encounter", 2, clock.us)
        told = len(bench.deliveries())
        record_receipts(bench.hub, [note])
        assert notify(bench) == "completed"
        # The hub owns this task: who told it of the filing is not told back (docs/adr/0002).
        assert bench.deliveries()[told:] == []
        with bench.hub.store.read() as reader:
            before = reader.head_position()
        record_receipts(bench.hub, [note])
        with bench.hub.store.read() as reader:
            assert reader.head_position() == before, "reported twice is once"


def test_a_receipt_survives_a_fold_of_the_person(tmp_path: Path) -> None:
    clock = TestClock.at("2026-07-05T13:42:10-04:00")
    with hub(tmp_path, clock, ROUTES) as bench:
        bench.process(S11["A06"])
        record_receipts(bench.hub, [filed(bench, "Encounter", 1, clock.us)])
        bench.process(S11["A04"])  # older: the person is folded anew
        assert notify(bench) == "completed"


def test_time_alone_fires_once_and_then_rests(tmp_path: Path) -> None:
    clock = TestClock.at("2026-07-10T15:30:00-04:00")
    with hub(tmp_path, clock, ROUTES) as bench:
        bench.process(*S11.values())
        assert fire_due(bench.hub) == 0
        with bench.hub.store.read() as reader:
            due = reader.people.next_due()
        assert due is not None
        assert due > clock.us
        clock.set("2026-08-20T12:00:00-04:00")
        before = bench.versions()
        assert fire_due(bench.hub) == 1
        assert bench.versions() > before
        after = bench.versions()
        fire_due(bench.hub)
        assert bench.versions() == after


def test_a_timer_gives_what_a_message_at_that_instant_would(tmp_path: Path) -> None:
    clock = TestClock.at("2026-07-10T15:30:00-04:00")
    with hub(tmp_path / "a", clock, ROUTES) as bench, hub(tmp_path / "b", clock, ROUTES) as late:
        bench.process(*S11.values())
        clock.set("2026-08-20T12:00:00-04:00")
        fire_due(bench.hub)
        late.process(*S11.values())
        assert bench.state() == late.state()
