"""Appointments, documents and results by HL7 v2: they move nobody, and plans see them."""

import itertools
from pathlib import Path

import pytest

from segue.pipeline.deliver import ReceiptNote
from segue.pipeline.receipts import record_receipts
from segue.pipeline.routes import Route
from segue.settings.sections import PROTOCOLS
from tests.stories.messages import adt
from tests.stories.reading import code_of
from tests.stories.s11 import correction, messages
from tests.support.hub import Bench, TestClock, hub
from tests.support.notes import HOSPITAL, booking, message, result, summary

ROUTES = (
    Route(
        "pcpb",
        "pcpb",
        frozenset({"Encounter", "DocumentReference", "CarePlan", "Task"}),
        receipt="record",
    ),
)
STAY = messages()
BOOKED = ("PD-00", *PROTOCOLS)
"""The hospital is asked to book the visit, too."""


def task(bench: Bench, code: str) -> dict:
    (found,) = [one for one in bench.resources("Task") if code_of(one) == code]
    return found


def test_a_booking_by_the_practice_is_seen_and_a_missed_visit_stays_open(tmp_path: Path) -> None:
    clock = TestClock.at("2026-07-13T09:10:00-04:00")
    with hub(tmp_path, clock, ROUTES) as bench:
        bench.process(*STAY.values())
        assert task(bench, "visit")["status"] == "requested"
        bench.process(booking("S12", "20260713090200"), site="pcpb")
        (appointment,) = bench.resources("Appointment")
        (patient,) = [one["id"] for one in bench.resources("Patient") if one["active"]]
        assert appointment["participant"][0]["actor"]["reference"] == f"Patient/{patient}"
        visit = task(bench, "visit")
        assert visit["status"] == "in-progress"
        assert visit["businessStatus"]["coding"][0]["code"] == "5.1.1"
        assert task(bench, "med-rec")["restriction"]["period"]["end"].startswith("2026-07-16")
        clock.set("2026-07-16T12:00:00-04:00")
        bench.process(booking("S26", "20260716113000"), site="pcpb")
        assert bench.resources("Appointment")[0]["status"] == "noshow"
        visit = task(bench, "visit")
        assert visit["businessStatus"]["coding"][0]["code"] == "5.1.2"
        assert visit["status"] not in ("completed", "failed")


@pytest.mark.parametrize(
    ("events", "status", "why"),
    [
        ("S12 S15", "cancelled", "Ill"), ("S12 S16", "cancelled", "Ill"),
        ("S12 S15 S13", "booked", None), ("S15 S14", "booked", None),
        ("S12 S17", "entered-in-error", None), ("S17", "entered-in-error", None),
        ("S16 S26", "noshow", "Ill"), ("S26 S13", "booked", None),
    ],
)  # fmt: skip
def test_only_what_is_cancelled_or_missed_has_a_reason_for_that(
    events: str, status: str, why: str | None, tmp_path: Path
) -> None:
    with hub(tmp_path) as bench:
        for day, event in enumerate(events.split(), 6):
            bench.process(
                rf"MSH|^~\&|SCH|HOSPA|HUB|HIE|202607{day:02}100000||SIU^{event}|{event}{day}|P|2.3.1"
                "\rSCH||F1||||^Ill|^CHECKUP||30|min|^^30^20260716100000"
                "\rPID|1||100^^^HOSPA^MR||DOE^JANE\rRGS|1\rAIS|1|A|99213^Visit^C4\r"
            )
        assert bench.exceptions() == {}
        (found,) = bench.resources("Appointment")
        assert found["status"] == status
        assert found.get("cancelationReason", {}).get("text") == why


def scheduling(bench: Bench) -> list[str]:
    """Statuses of the Tasks that ask for an appointment, in the order of their making."""
    made = [one for one in bench.resources("Task") if code_of(one) == "schedule-visit"]
    made.sort(key=lambda one: "renewed" in str(one.get("meta")))
    return [one["status"] for one in made]


def test_a_booking_closes_the_scheduling_and_its_loss_asks_again(tmp_path: Path) -> None:
    clock = TestClock.at("2026-07-13T09:10:00-04:00")
    with hub(tmp_path, clock, ROUTES, protocols=BOOKED) as bench:
        bench.process(*STAY.values())
        assert scheduling(bench) == ["requested"]
        bench.process(booking("S12", "20260713090200"), site="pcpb")
        scheduled = task(bench, "schedule-visit")
        (appointment,) = bench.resources("Appointment")
        assert scheduled["status"] == "completed"
        assert [one["valueReference"]["reference"] for one in scheduled["output"]] == [
            f"Appointment/{appointment['id']}"
        ]
        assert scheduled["executionPeriod"]["start"] == "2026-07-13T13:02:00.000Z"
        # Moved or changed, it is still booked.
        for event, at in (("S13", "20260713100000"), ("S14", "20260713110000")):
            bench.process(booking(event, at, when="20260717093000"), site="pcpb")
        assert scheduling(bench) == ["completed"]
        for event, at, number in (("S15", "20260713120000", "1"), ("S26", "20260717120000", "2")):
            bench.process(booking(event, at, number=number, when="20260717093000"), site="pcpb")
        assert scheduling(bench) == ["completed", "requested"]
        assert task(bench, "visit")["status"] not in ("completed", "failed")
        bench.process(booking("S12", "20260713130000", number="3"), site="pcpb")
        assert scheduling(bench) == ["completed", "completed"]


def test_unless_core_coordination_is_in_force_nobody_is_asked_to_book(tmp_path: Path) -> None:
    expected = adt("A16", "2026-07-09 16:00", "X1", place="CCU^1^1", visit="V78421")
    with hub(tmp_path, TestClock.at("2026-07-13T09:10:00-04:00"), ROUTES) as bench:
        bench.process(*[STAY[name] for name in ("A04", "A06", "A02")])
        before = bench.resources("Task")
        bench.process(expected)
        assert bench.resources("Task") == before
        bench.process(STAY["A03"])
        assert len(bench.resources("Task")) == len(before) + 11
        assert scheduling(bench) == []


def test_an_appointment_elsewhere_or_before_the_discharge_schedules_nothing(
    tmp_path: Path,
) -> None:
    clock = TestClock.at("2026-07-13T09:10:00-04:00")
    with hub(tmp_path, clock, ROUTES, protocols=BOOKED) as bench:
        bench.process(*STAY.values())
        bench.process(booking("S12", "20260713090200"), site="hospb")
        bench.process(booking("S12", "20260709090200", number="2", when="20260710090000"),
                      site="pcpb")  # fmt: skip
        assert scheduling(bench) == ["requested"]


def test_an_expected_discharge_asks_for_the_appointment_and_its_cancel_takes_that_back(
    tmp_path: Path,
) -> None:
    told = {"mrn": "100234", "visit": "V78421", "place": "CCU^1^1"}
    expected = adt("A16", "2026-07-09 16:00", "X1", extra=["PV2|||||||||20260710"], **told)
    no_longer = adt("A25", "2026-07-09 18:00", "X2", occurred="2026-07-09 16:00", **told)
    clock = TestClock.at("2026-07-09T19:00:00-04:00")
    with hub(tmp_path, clock, ROUTES, protocols=BOOKED) as bench:
        bench.process(*[STAY[name] for name in ("A04", "A06", "A02")])
        assert scheduling(bench) == []
        bench.process(expected)
        asked = task(bench, "schedule-visit")
        assert asked["restriction"]["period"]["end"] == "2026-07-10T23:59:59-04:00"
        bench.process(STAY["A03"])
        again = task(bench, "schedule-visit")
        assert (again["id"], again["status"]) == (asked["id"], "requested")
        assert again["restriction"]["period"]["end"] == "2026-07-10T14:05:00-04:00"
    with hub(tmp_path / "cancelled", clock, ROUTES, protocols=BOOKED) as bench:
        bench.process(*[STAY[name] for name in ("A04", "A06", "A02")], expected, no_longer)
        assert scheduling(bench) in ([], ["cancelled"])
        assert "schedule-visit" not in str([
            one for one in bench.resources("Task") if one["status"] == "requested"
        ])  # fmt: skip


def test_a_summary_is_evidence_only_once_it_is_claimed_complete_and_filed(tmp_path: Path) -> None:
    clock = TestClock.at("2026-07-10T16:10:00-04:00")
    with hub(tmp_path, clock, ROUTES) as bench:
        bench.process(*STAY.values())
        bench.process(summary("T02", "20260710160000", "AU"))
        (document,) = bench.resources("DocumentReference")
        (encounter,) = bench.resources("Encounter")
        there = document["context"]["encounter"]
        assert there == [{"reference": f"Encounter/{encounter['id']}"}]
        assert document["docStatus"] == "final"
        sent = [what for _, _, what, _, _ in bench.deliveries()]
        assert f"DocumentReference/{document['id']}" in sent
        before = task(bench, "send-dc-info")["status"]
        with bench.hub.store.read() as reader:
            owner = reader.session.rows("SELECT pk FROM person")[0][0]
        reference = f"DocumentReference/{document['id']}"
        note = ReceiptNote("pcpb", reference, 1, clock.us, None, "18842-5", owner)
        record_receipts(bench.hub, [note])
        assert task(bench, "send-dc-info")["status"] == before != "completed"
        assert task(bench, "tcm-records")["status"] == "completed", "the practice has records now"


def test_results_hang_on_their_stay_and_move_nobody(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at("2026-07-10T16:10:00-04:00")) as bench:
        bench.process(*STAY.values())
        (before,) = bench.resources("Encounter")
        bench.process(result("20260706080000", "5.9"), result("20260707080000", "4.2"))
        (after,) = bench.resources("Encounter")
        assert after == before
        reports = bench.resources("DiagnosticReport")
        values = [
            one["valueQuantity"]["value"]
            for one in bench.resources("Observation")
            if code_of(one) == "2823-3"
        ]
        assert len(reports) == 2
        assert sorted(map(float, values)) == [4.2, 5.9]
        own = {"reference": f"Encounter/{after['id']}"}
        assert all(report["encounter"] == own for report in reports)


def test_a_visit_that_only_a_result_names_is_no_stay(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at("2026-07-10T16:10:00-04:00")) as bench:
        bench.process(result("20260706080000", "5.9"))
        (named,) = bench.resources("Encounter")
        assert (named["status"], named["class"]["code"]) == ("unknown", "IMP")
        assert bench.resources("EpisodeOfCare", "Task", "CarePlan") == []


def test_any_order_of_messages_gives_the_same(tmp_path: Path) -> None:
    told = [
        STAY["A06"],
        STAY["A03"],
        result("20260706080000", "5.9"),
        summary("T02", "20260710160000", "AU"),
    ]
    states = set()
    for n, order in enumerate(list(itertools.permutations(told))[::4]):
        with hub(tmp_path / str(n), TestClock.at("2026-07-10T16:10:00-04:00"), ROUTES) as bench:
            for one in order:
                bench.process(one)
            states.add(bench.state())
    assert len(states) == 1


def test_a_referral_is_kept_with_its_task(tmp_path: Path) -> None:
    referral = "RF1|P^Pending|A|||" + "|P7^HOSPA|20260710"
    with hub(tmp_path, TestClock.at("2026-07-10T16:10:00-04:00"), ROUTES) as bench:
        bench.process(message("REF^I12^REF_I12", "20260710080000", "F1", referral, HOSPITAL))
        (asked,) = bench.resources("Task")
        (order,) = bench.resources("ServiceRequest")
        assert asked["focus"]["reference"] == f"ServiceRequest/{order['id']}"
        bench.process(
            message(
                "REF^I13^REF_I12",
                "20260711080000",
                "F2",
                referral.replace("P^Pending", "A"),
                HOSPITAL,
            )
        )
        assert bench.resources("Task")[0]["status"] == "accepted"


def test_a_protocol_that_is_taken_out_of_force_takes_its_open_tasks_back(tmp_path: Path) -> None:
    clock = TestClock.at("2026-07-13T09:10:00-04:00")
    with hub(tmp_path, clock, ROUTES, protocols=BOOKED) as bench:
        bench.process(*[STAY[name] for name in ("A04", "A06", "A02", "A03")])
        assert scheduling(bench) == ["requested"]
        others = len(bench.resources("Task"))
    with hub(tmp_path, clock, ROUTES) as bench:
        bench.process(correction())
        assert scheduling(bench) == ["cancelled"]
        assert len(bench.resources("Task")) == others
    with hub(tmp_path, clock, ROUTES, protocols=BOOKED) as bench:
        bench.process(booking("S12", "20260713090200"), site="pcpb")
        assert scheduling(bench) == ["completed"]
    with hub(tmp_path, clock, ROUTES) as bench:
        bench.process(booking("S14", "20260713110000", when="20260717093000"), site="pcpb")
        assert scheduling(bench) == ["completed"]
