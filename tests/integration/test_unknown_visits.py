"""Updates of visits that nothing has started: inferred, kept waiting or refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from segue.pipeline.replay import replay
from segue.pipeline.routes import Route
from tests.stories.messages import adt
from tests.support.hub import Bench, TestClock, hub

ROUTES = (Route("pcpb", "pcpb", frozenset({"Patient", "Encounter", "Task"})),)
INSTANT = "2026-07-10T15:30:00-04:00"


def said(event: str, day: str, control_id: str, **changes: str) -> str:
    given = {"mrn": "500001", "visit": "W1", "place": "4W^1^1", "shared": False} | changes
    return adt(event, day, control_id, **given)  # type: ignore[arg-type]


ADMIT = said("A01", "2026-07-05 08:12", "U1")
MOVE = said("A02", "2026-07-05 12:40", "U2", place="CCU^3^1")
DISCHARGE = said("A03", "2026-07-10 14:05", "U3", place="CCU^3^1",
                 discharged="2026-07-10 14:05", disposition="01")  # fmt: skip
UNDO = said("A13", "2026-07-10 14:30", "U4", place="CCU^3^1", occurred="2026-07-10 14:05")


@contextmanager
def bench_with(where: Path | str, policy: str) -> Iterator[Bench]:
    with hub(where, TestClock.at(INSTANT), ROUTES) as bench:
        sites = dict(bench.hub.sites)
        sites["hospa"] = replace(sites["hospa"], unknown_visit=policy)  # type: ignore[arg-type]
        bench.hub.sites = sites
        yield bench


def test_a_visit_is_inferred_where_the_site_says_nothing(tmp_path: Path) -> None:
    with bench_with(tmp_path, "create") as bench:
        assert bench.process(MOVE).states == {}
        (encounter,) = bench.resources("Encounter")
        assert encounter["meta"]["tag"][0]["code"] == "inferred"


def test_what_is_parked_counts_by_itself_once_the_visit_has_started(where: Path | str) -> None:
    with bench_with(where, "park") as bench:
        bench.work(DISCHARGE, MOVE)
        assert not bench.resources("Encounter", "Task", "EpisodeOfCare")
        assert [one["id"] for one in bench.resources("Patient")], "the person is known"
        assert {state for state, _ in bench.exceptions().values()} == {"parked"}
        bench.work(ADMIT)
        assert {state for state, _ in bench.exceptions().values()} <= {"processed"}
        assert "visit-awaited" not in str(bench.exceptions())
        (encounter,) = bench.resources("Encounter")
        assert (encounter["status"], len(encounter["location"])) == ("finished", 2)
        assert "tag" not in encounter.get("meta", {})
        state = bench.state()
    if isinstance(where, Path):
        with bench_with(where / "in-order", "create") as bench:
            bench.process(ADMIT, MOVE, DISCHARGE)
            assert bench.state() == state


def test_what_is_parked_in_the_batch_of_the_start_waits_no_more(tmp_path: Path) -> None:
    with bench_with(tmp_path, "park") as bench:
        assert bench.process(UNDO, MOVE, DISCHARGE, ADMIT).states == {}
        (encounter,) = bench.resources("Encounter")
        assert encounter["status"] == "in-progress"


def test_what_is_parked_says_why_in_the_inbox(tmp_path: Path) -> None:
    from segue.store.inbox import Inbox
    from segue.store.listings import EntryFilter

    with bench_with(tmp_path, "park") as bench:
        bench.work(MOVE)
        inbox = Inbox(bench.hub.journal, bench.hub.store.database)
        (found,) = inbox.messages(EntryFilter(state="parked")).items
        assert (found.state, found.reason) == ("parked", "visit-awaited")
        shown = inbox.show(found.entry.id)
        assert shown is not None
        assert "A01" in shown.issues[-1].text


def test_only_what_started_a_visit_ends_the_waiting(tmp_path: Path) -> None:
    update = said("A08", "2026-07-05 09:00", "U5")
    person = said("A31", "2026-07-05 10:00", "U6", visit="")
    with bench_with(tmp_path, "park") as bench:
        assert bench.process(MOVE).states == {1: "parked"}
        assert bench.process(update).states == {2: "parked"}
        assert bench.process(person).states == {}
        assert {n for n, (state, _) in bench.exceptions().items() if state == "parked"} == {1, 2}
        other = said("A01", "2026-07-05 11:00", "U7", visit="W2")
        bench.process(other)
        assert {n for n, (state, _) in bench.exceptions().items() if state == "parked"} == {1, 2}


def test_a_rejected_update_changes_nothing_and_is_kept_for_a_replay(where: Path | str) -> None:
    with bench_with(where, "reject") as bench:
        bench.work(MOVE)
        assert bench.exceptions()[1][0] == "failed"
        assert "visit-unknown" in bench.exceptions()[1][1]
        assert not bench.resources()
        bench.work(ADMIT, said("A08", "2026-07-05 08:30", "U8"))
        assert list(bench.exceptions()) == [1]
        (encounter,) = bench.resources("Encounter")
        assert len(encounter["location"]) == 1
        assert replay(bench.hub, [1]).failed == 0
        (encounter,) = bench.resources("Encounter")
        assert len(encounter["location"]) == 2


def test_a_message_about_a_person_is_never_rejected_for_its_visit(tmp_path: Path) -> None:
    with bench_with(tmp_path, "reject") as bench:
        outcome = bench.process(
            said("A28", "2026-07-05 08:00", "U9", visit=""),
            said("A31", "2026-07-05 09:00", "U10", visit="W9"),
            ADMIT,
            MOVE,
        )
        assert outcome.states == {}


@pytest.mark.parametrize("policy", ["park", "reject"])
def test_the_visit_of_a_renumbering_is_known_by_its_old_number(tmp_path: Path, policy: str) -> None:
    renumbered = ADMIT.replace("ADT^A01", "ADT^A50").replace("|U1|", "|U11|")
    renumbered = renumbered.replace("EVN|A01", "EVN|A50").replace("|W1^", "|W7^")
    renumbered = renumbered.rstrip("\r") + "\rMRG|500001^^^HOSPA^MR||||W1^^^HOSPA^VN\r"
    later = said("A02", "2026-07-05 15:00", "U12", visit="W7", place="5E^1^1")
    with bench_with(tmp_path, policy) as bench:
        assert bench.process(ADMIT, renumbered, later).states == {}
        (encounter,) = bench.resources("Encounter")
        assert len(encounter["location"]) == 2
