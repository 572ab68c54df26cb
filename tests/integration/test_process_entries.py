"""Entries through processing: failures stay alone, crashes lose and repeat nothing."""

from collections.abc import Collection
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import segue.pipeline.process as processing
from segue.model.messages import Envelope, InboxEntry
from segue.pipeline.hub import FeedRules, Hub
from segue.pipeline.process import Outcome, process
from segue.pipeline.replay import replay
from segue.pipeline.routes import Route
from segue.pipeline.workers import Worker
from segue.store.people import People
from segue.store.records import Commit, Committed, CursorMove, RevisionConflict
from tests.stories.messages import adt
from tests.stories.s11 import INSTANT, messages
from tests.support.hub import Bench, TestClock, hub

ROUTES = (
    Route("pcpb", "pcpb", frozenset({"Patient", "Encounter", "CarePlan", "Task"})),
    Route("lab", "lab", frozenset({"adt", "careplan"})),
    Route("hospa-mdm", "hospa", frozenset({"adt"})),
)
S11 = messages()


def admit(n: int, event: str = "A01", **changes: str) -> str:
    """An admission of patient number n, who has nobody's shared identifier."""
    return adt(
        event, f"2026-07-05 08:{n:02d}", f"E{event}{n}", mrn=f"5{n:05d}", visit=f"W{n}",
        place="4W^1^1", shared=False, **changes,
    )  # fmt: skip


def test_what_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        outcome = bench.process(admit(1), "no message at all", admit(2))
        assert outcome.states == {2: "failed"}
        assert len(bench.resources("Encounter")) == 2
        assert "unreadable" in bench.exceptions()[2][1]


def test_an_invalid_resource_is_never_stored(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        gate = bench.hub.gate

        class Strict:
            def is_valid(self, resource: dict) -> bool:
                return "W2" not in str(resource) and gate.is_valid(resource)

            def issues(self, resource: dict) -> list:
                return [processing.Issue("error", "invalid", "Encounter", "not valid")]

        bench.hub.gate = Strict()  # type: ignore[assignment]
        outcome = bench.process(admit(1), admit(2), admit(3))
        assert outcome.states == {2: "failed"}
        assert len(bench.resources("Encounter")) == 2
        bench.hub.gate = gate
        assert bench.process(admit(2)).states == {}
        assert len(bench.resources("Encounter")) == 3


def test_a_defect_in_one_entry_holds_up_nobody_and_tells_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = processing.add_fact

    def broken(draft: object, fact: object) -> object:
        if fact.visit == "HOSPA|W2":  # type: ignore[attr-defined]
            raise KeyError("DOE^JANE")
        return honest(draft, fact)  # type: ignore[arg-type]

    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        monkeypatch.setattr(processing, "add_fact", broken)
        outcome = bench.process(admit(1), admit(2), admit(3))
        assert outcome.states == {2: "failed"}
        _, issues = bench.exceptions()[2]
        assert "KeyError" in issues
        assert "DOE" not in issues
        assert len(bench.resources("Encounter")) == 2


def test_a_batch_that_cannot_be_committed_is_tried_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        honest = bench.hub.store.commit

        def commit(given: object) -> object:
            if any("W2" in (fact.visit or "") for step in given.steps for fact in step.facts):  # type: ignore[attr-defined]
                raise ValueError("the database does not like it")
            return honest(given)  # type: ignore[arg-type]

        monkeypatch.setattr(bench.hub.store, "commit", commit)
        outcome = bench.process(admit(1), admit(2), admit(3))
        assert outcome.states == {2: "failed"}
        assert len(bench.resources("Encounter")) == 2


def test_an_outage_of_the_store_is_no_entrys_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        honest = bench.hub.store.commit

        def full(_: object) -> object:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(bench.hub.store, "commit", full)
        entries = [bench.entry(admit(1)), bench.entry(admit(2))]
        with pytest.raises(OSError, match="No space"):
            process(bench.hub, entries)
        monkeypatch.setattr(bench.hub.store, "commit", honest)
        assert process(bench.hub, entries).states == {}
        assert len(bench.resources("Encounter")) == 2


def test_whoever_loses_a_race_computes_anew(tmp_path: Path) -> None:
    clock = TestClock.at(INSTANT)
    with hub(tmp_path, clock, ROUTES) as one, hub(tmp_path, clock, ROUTES) as other:
        other.ids = count(100)
        one.process(S11["A04"])
        other.process(S11["A06"])  # both have the person in memory now
        one.process(S11["A03"])  # on top of what the other has written
        other.process(S11["A02"], S11["A08"])
        raced = other.state()
    with hub(tmp_path / "quiet", clock, ROUTES) as quiet:
        quiet.process(*S11.values())
        assert quiet.state() == raced


def test_two_who_meet_the_same_new_person_make_one(tmp_path: Path) -> None:
    clock = TestClock.at(INSTANT)
    with hub(tmp_path, clock, ROUTES) as one, hub(tmp_path, clock, ROUTES) as other:
        other.ids = count(100)
        honest = one.hub.store.commit
        first = True

        def late(given: object) -> object:
            nonlocal first
            if first:
                first = False
                other.process(S11["A04"])
            return honest(given)  # type: ignore[arg-type]

        one.hub.store.commit = late  # type: ignore[method-assign]
        assert one.process(S11["A06"]).states == {}
        assert len(one.resources("Patient")) == 1
        assert len(one.resources("Encounter")) == 1


def test_a_quarantined_entry_waits_for_a_decision(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        entry = bench.entry(admit(1))
        old = entry.envelope
        held = Envelope(
            old.sender, old.control_id, old.event, old.digest, old.site, 0, "control id was used"
        )
        entry = InboxEntry(entry.id, entry.raw, held, b"", "AA")
        assert process(bench.hub, [entry]).states == {entry.id: "quarantined"}
        assert bench.resources() == []


def test_a_history_feed_makes_no_tasks_and_no_deliveries(tmp_path: Path) -> None:
    feeds = (FeedRules("old", history=True),)
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES, feeds) as bench:
        bench.process(*S11.values(), feed="old")
        assert len(bench.resources("Encounter")) == 1
        assert bench.resources("Task") == []
        assert bench.deliveries() == []


def test_a_part_2_stay_leaves_to_nobody(tmp_path: Path) -> None:
    feeds = (FeedRules("sud", part2="all"),)
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES, feeds) as bench:
        bench.process(*S11.values(), feed="sud")
        assert len(bench.resources("Encounter")) == 1
        assert bench.deliveries() == []


def test_a_message_is_forwarded_to_others_and_a_bed_move_is_no_news(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        bench.process(S11["A06"])
        told = len(bench.deliveries())
        bench.process(S11["A02"])
        assert [d[:3] for d in bench.deliveries()[told:]] == [("lab", "adt", "2")]


def test_a_merge_makes_one_person_of_two_and_keeps_both_ids(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        bench.process(admit(1), admit(2))
        before = {patient["id"] for patient in bench.resources("Patient")}
        merge = adt("A40", "2026-07-06 10:00", "M1", mrn="500001", visit="", shared=False)
        merge += "MRG|500002^^^HOSPA^MR\r"
        assert bench.process(merge).states == {}
        patients = {patient["id"]: patient for patient in bench.resources("Patient")}
        assert set(patients) == before
        gone = [p for p in patients.values() if not p["active"]]
        stays = [p for p in patients.values() if p["active"]]
        assert [link["type"] for link in gone[0]["link"]] == ["replaced-by"]
        subject = {"reference": f"Patient/{stays[0]['id']}"}
        assert [e["subject"] for e in bench.resources("Encounter")] == [subject, subject]
        assert bench.process(admit(2, "A03", disposition="01")).states == {}
        statuses = sorted(e["status"] for e in bench.resources("Encounter"))
        assert statuses == ["finished", "in-progress"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_merge_gives_the_same_wherever_it_comes(tmp_path: Path, order: tuple[int, ...]) -> None:
    merge = adt("A40", "2026-07-06 10:00", "M1", mrn="500001", visit="", shared=False)
    given = [admit(1), admit(2), merge + "MRG|500002^^^HOSPA^MR\r"]
    clock = TestClock.at(INSTANT)
    with hub(tmp_path / "a", clock, ROUTES) as bench, hub(tmp_path / "b", clock, ROUTES) as other:
        bench.process(*(given[n] for n in order))
        for message in given:
            other.process(message)
        assert bench.state() == other.state()


def works(bench: Bench) -> Worker:
    return Worker(bench.hub, "w1")


def test_a_worker_reads_its_lanes_and_moves_their_cursors(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        for n, message in enumerate([*S11.values(), admit(1), "junk"]):
            bench.append(message, lane=n % 3)
        worker = works(bench)
        assert worker.step() == 7
        assert worker.step() == 0
        assert bench.hub.store.inbox(bench.hub.journal).backlog() == (0, None)
        assert worker.figures()["segue_failed_messages_total"] == 1


def test_a_worker_that_dies_between_batches_loses_and_repeats_nothing(tmp_path: Path) -> None:
    clock = TestClock.at(INSTANT)
    with hub(tmp_path, clock, ROUTES) as bench:
        for message in S11.values():
            bench.append(message)
        first = works(bench)
        first._batch = 2
        assert first.step() == 2
        # It reads on, computes, and dies before the commit.
        bench.hub.store.commit = _die  # type: ignore[method-assign]
        with pytest.raises(SystemExit):
            first.step()
    with hub(tmp_path, clock, ROUTES) as bench:
        bench.hub.store.clear_leases()
        again = works(bench)
        while again.step():
            pass
        state, versions, told = bench.state(), bench.versions(), bench.deliveries()
    with hub(tmp_path / "quiet", clock, ROUTES) as quiet:
        for message in S11.values():
            quiet.append(message)
        calm = works(quiet)
        while calm.step():
            pass
        assert quiet.state() == state
        assert quiet.deliveries() == told
        assert quiet.versions() == versions


def _die(_: object) -> object:
    raise SystemExit(9)


def test_a_worker_that_lost_its_lane_writes_nothing(tmp_path: Path) -> None:
    clock = TestClock.at(INSTANT)
    with hub(tmp_path, clock, ROUTES) as bench, hub(tmp_path, clock, ROUTES) as other:
        bench.append(S11["A04"])
        slow = works(bench)
        slow._lease()
        bench.hub.store.clear_leases()
        quick = Worker(other.hub, "w2")
        assert quick.step() == 1
        versions = other.versions()
        with pytest.raises(RevisionConflict):
            slow.step()
        assert other.versions() == versions


def test_who_was_changed_elsewhere_is_read_again_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def counting(*args: Any, **more: Any) -> None:
        computed.append(args)
        fold(*args, **more)

    fold = processing.fold_readings
    clock = TestClock.at(INSTANT)
    with hub(tmp_path, clock, ROUTES) as bench, hub(tmp_path, clock, ROUTES) as other:
        bench.process(admit(1), admit(2))
        other.process(admit(1, "A02"))
        monkeypatch.setattr(processing, "fold_readings", counting)
        bench.process(admit(1, "A08"), admit(2, "A02"))
        assert len(computed) == 1
        assert len(bench.resources("Encounter")) == 2


def test_what_is_new_to_two_processes_at_once_lets_the_others_of_a_batch_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    account = "DOE^JANE||19550214|F" + "|" * 10 + "ACC1^^^HOSPA^AN"
    clock = TestClock.at(INSTANT)
    with hub(tmp_path, clock, ROUTES) as bench, hub(tmp_path, clock, ROUTES) as other:
        bench.process(admit(3))
        commit, visits = bench.hub.store.commit, People.visits_of

        def second(what: Commit) -> Committed:
            monkeypatch.setattr(bench.hub.store, "commit", commit)
            other.process(admit(1, pid=account))
            return commit(what)

        def reading(self: People, pks: Collection[int]) -> Any:
            read.extend(pks)
            return visits(self, pks)

        monkeypatch.setattr(bench.hub.store, "commit", second)
        monkeypatch.setattr(People, "visits_of", reading)
        newly = adt("A08", "2026-07-06 08:00", "N3", mrn="500003", visit="W3", shared=False,
                    diagnoses=["E11.9^Type 2 diabetes mellitus"])  # fmt: skip
        bench.process(admit(2, pid=account), newly)
        (one,) = bench.resources("Account")
        assert len(one["subject"]) == 2
        assert bench.hub.charts.find("HOSPA|500003") not in read


def test_a_worker_whose_batches_outlast_its_leases_takes_smaller_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, stop = [0], Event()

    def slow(hub: Hub, entries: list[InboxEntry], moves: list[CursorMove]) -> Outcome:
        if len(entries) > 4:
            raise RevisionConflict(moves={"0"})
        done[0] += len(entries)
        if done[0] == 30:
            stop.set()
        return process(hub, entries, moves)

    monkeypatch.setattr("segue.pipeline.workers.process", slow)
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        for n in range(30):
            bench.append(admit(n))
        works(bench).run(stop)
        assert bench.hub.store.inbox(bench.hub.journal).backlog() == (0, None)


def test_a_replay_under_the_same_mapping_changes_and_sends_nothing(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        numbers = [bench.append(message) for message in [*S11.values(), admit(1)]]
        worker = works(bench)
        while worker.step():
            pass
        state, versions, told = bench.state(), bench.versions(), bench.deliveries()
        dry = replay(bench.hub, numbers, dry_run=True)
        assert (dry.entries, dry.changed, dry.failed, dry.differences) == (6, 0, 0, [])
        wet = replay(bench.hub, numbers)
        nothing = {"changed": 0, "failed": 0, "failures": [], "diffs": []}
        assert wet.as_json() == {"entries": 6, **nothing}
        assert (bench.state(), bench.versions(), bench.deliveries()) == (state, versions, told)


def test_a_dry_replay_shows_what_another_mapping_would_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        numbers = [bench.append(S11["A06"]), bench.append(S11["A02"])]
        works(bench).step()
        honest = processing.apply

        def other(*given: object) -> object:
            mapped = honest(*given)  # type: ignore[arg-type]
            for fact in mapped.facts:
                patient = fact.person[0]
                says = {**patient.elements, "gender": "other"}
                fact.person = [replace(patient, elements=says), *fact.person[1:]]
            return mapped

        monkeypatch.setattr(processing, "apply", other)
        versions = bench.versions()
        dry = replay(bench.hub, numbers, dry_run=True)
        (patient,) = bench.resources("Patient")
        patch = {"op": "replace", "path": "/gender", "from": "female", "value": "other"}
        assert [(d.resource, d.patch) for d in dry.differences] == [
            (f"Patient/{patient['id']}", [patch])
        ]
        assert bench.versions() == versions
        assert replay(bench.hub, numbers).changed >= 1
        assert bench.resources("Patient")[0]["gender"] == "other"


def test_a_failed_entry_is_applied_by_a_replay_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        numbers = [bench.append(message) for message in S11.values()]
        honest = processing.apply

        def broken(mapping: object, message: object, context: object) -> object:
            if message.event == "A06":  # type: ignore[attr-defined]
                raise ZeroDivisionError
            return honest(mapping, message, context)  # type: ignore[arg-type]

        monkeypatch.setattr(processing, "apply", broken)
        worker = works(bench)
        while worker.step():
            pass
        assert set(bench.exceptions()) == {numbers[1]}
        monkeypatch.setattr(processing, "apply", honest)
        assert replay(bench.hub, [numbers[1]]).failed == 0
        assert bench.exceptions() == {}
        state = bench.state()
    with hub(tmp_path / "quiet", TestClock.at(INSTANT), ROUTES) as quiet:
        quiet.process(*S11.values())
        assert quiet.state() == state


def test_an_entry_that_waited_for_its_visit_is_processed_once_that_is_known(
    tmp_path: Path,
) -> None:
    move = adt(
        "A02", "2026-07-05 09:00", "M1", mrn="500001", visit="", place="5E^2^2", shared=False
    )
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        assert bench.process(move).states == {1: "parked"}
        assert "visit-unidentified" in bench.exceptions()[1][1]
        assert bench.process(admit(1)).states == {}
        state, issues = bench.exceptions()[1]
        assert state == "processed"
        assert "no-visit-number" in issues
        assert "visit-unidentified" not in issues
        (encounter,) = bench.resources("Encounter")
        assert len(encounter["location"]) == 2
        apart = bench.state()
    with hub(tmp_path / "batch", TestClock.at(INSTANT), ROUTES) as bench:
        assert bench.process(move, admit(1)).states == {}
        assert bench.exceptions() == {1: (state, issues)}
        assert bench.state() == apart


def test_what_the_fold_remarks_is_an_issue_of_the_entry_that_caused_it_and_of_no_other(
    tmp_path: Path,
) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        bench.process(admit(1))
        undo = admit(1, "A12").replace("08:01", "10:00")
        assert bench.process(undo).states == {}
        bench.process(admit(1, "A08"))
        assert list(bench.exceptions()) == [2]
        state, issues = bench.exceptions()[2]
        assert state == "processed"
        assert "cancel-without-target" in issues
        replay(bench.hub, [2])
        assert "cancel-without-target" in bench.exceptions()[2][1]


def test_a_cancel_wants_its_target_no_more_once_that_has_come(tmp_path: Path) -> None:
    undo = admit(1, "A12").replace("08:01", "10:00")
    move = admit(1, "A02").replace("4W^1^1", "5E^2^2")
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        bench.process(admit(1))
        bench.process(undo)
        assert "cancel-without-target" in bench.exceptions()[2][1]
        bench.process(move)
        assert bench.exceptions() == {}
        apart = bench.state()
    with hub(tmp_path / "batch", TestClock.at(INSTANT), ROUTES) as bench:
        bench.process(admit(1), undo, move)
        assert bench.exceptions() == {}
        assert bench.state() == apart


def test_an_earlier_visit_that_is_heard_of_later_regroups_the_stay(tmp_path: Path) -> None:
    def visit(number: int, day: int, event: str = "A01", **more: str) -> str:
        return adt(
            event, f"2026-06-{day:02d} 10:00", f"{event}{number}", mrn="500001",
            visit=f"W{number}", place="4W^1^1", shared=False, **more,
        )  # fmt: skip

    first = [visit(1, 1), visit(1, 3, "A03", disposition="02", discharged="2026-06-03 10:00")]
    second = [visit(2, 3)]
    states = set()
    for n, told in enumerate(([*first, *second], [*second, *first], [*second, *first[::-1]])):
        with hub(tmp_path / str(n), TestClock.at(INSTANT), ROUTES) as bench:
            for message in told:
                bench.process(message)
                if n == 2:
                    bench.hub.charts.clear()
            episodes = {one["id"] for one in bench.resources("EpisodeOfCare")}
            named = [one["episodeOfCare"][0]["reference"] for one in bench.resources("Encounter")]
            assert len(named) == 2
            assert len(set(named)) == 1
            assert named[0].partition("/")[2] in episodes
            states.add(bench.state())
    assert len(states) == 1
