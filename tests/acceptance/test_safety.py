"""Safety cases: what must never happen to a patient, one test each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stories import s01
from tests.stories.cast import TOKENS, Cast, cast
from tests.stories.messages import adt
from tests.stories.reading import anchored, code_of, summary, tasks_of, visit

CLOCK = "2026-07-10T15:30:00-04:00"
_number = iter(range(1, 1000))


@pytest.fixture(scope="module")
def players(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    with cast(tmp_path_factory.mktemp("safety"), CLOCK) as started:
        yield started


class Case:
    """A person and a visit of its own."""

    def __init__(self, players: Cast) -> None:
        self.players = players
        self.number = next(_number)
        self.visit = f"S{self.number:04d}"

    def send(self, event: str, at: str, **fields: Any) -> str:
        control_id = f"{self.number}-{next(_number)}"
        message = adt(
            event, at, control_id, mrn=f"3{self.number:05d}", visit=self.visit,
            shared=False, **fields,
        )  # fmt: skip
        return self.players.hl7(message)

    def encounter(self) -> dict[str, Any]:
        return visit(self.players, self.visit)

    def tasks(self) -> list[dict[str, Any]]:
        return anchored(tasks_of(self.players), self.encounter())


@pytest.fixture
def case(players: Cast) -> Case:
    return Case(players)


def stay(case: Case, disposition: str, **fields: Any) -> None:
    case.send("A01", "2026-07-05 10:00", place="4W^1^1", diagnoses=[s01.HF])
    case.send(
        "A03", "2026-07-10 14:00", place="4W^1^1", diagnoses=[s01.HF],
        disposition=disposition, discharged="2026-07-10 14:00", **fields,
    )  # fmt: skip


def open_tasks(case: Case) -> list[dict[str, Any]]:
    terminal = ("completed", "cancelled", "failed", "rejected", "entered-in-error")
    return [t for t in case.tasks() if t["status"] not in terminal]


def test_a_death_in_hospital_leaves_no_open_task(case: Case) -> None:
    stay(case, "20")
    assert open_tasks(case) == []
    assert {code_of(t) for t in case.tasks()} <= {"notify-admit"}


@pytest.mark.parametrize(
    "pid",
    [
        "DOE^DEE||19550214|F" + "|" * 22 + "Y",
        "DOE^DEE||19550214|F" + "|" * 21 + "20260710120000-0400",
    ],
)
def test_a_death_that_any_event_reports_closes_all_and_another_source_cannot_undo_it(
    case: Case, pid: str
) -> None:
    stay(case, "01")
    assert open_tasks(case)
    case.send("A31", "2026-07-10 15:00", patient_class="N", pid=pid)
    assert open_tasks(case) == []
    reasons = {
        t["statusReason"]["coding"][0]["code"] for t in case.tasks() if t["status"] == "cancelled"
    }
    assert reasons == {"deceased"}


def test_anothers_n_does_not_bring_the_dead_back(players: Cast) -> None:
    number = next(_number)

    def message(event: str, at: str, hospital: str, mrn: str, flag: str, **fields: Any) -> str:
        text = adt(
            event, at, f"D{next(_number)}", hospital=hospital, mrn=mrn, visit=f"D{number}",
            pid="DOE^DAN||19500101|M" + "|" * 22 + flag, **fields,
        )  # fmt: skip
        return text.replace("900017^", f"7{number:05d}^")

    players.hl7(message("A01", "2026-07-05 10:00", "HOSPA", f"6{number:05d}", "", place="4W^1^1"))
    players.hl7(
        message(
            "A03", "2026-07-10 14:00", "HOSPA", f"6{number:05d}", "Y", disposition="20",
            discharged="2026-07-10 14:00",
        )
    )  # fmt: skip
    players.hl7(
        message("A31", "2026-07-10 15:00", "HOSPB", f"5{number:05d}", "N", patient_class="N"),
        "HOSPB",
    )
    found = players.find("Patient", identifier=f"7{number:05d}")
    (alive,) = [p for p in found if p.get("active", True)]
    assert alive.get("deceasedBoolean") is True or "deceasedDateTime" in alive


def test_a_blank_disposition_starts_the_work_and_asks_for_the_disposition(case: Case) -> None:
    stay(case, "")
    codes = {code_of(t) for t in open_tasks(case)}
    assert {"fix-disposition", "contact", "visit", "surveillance"} <= codes


def test_a_transfer_to_a_nursing_facility_starts_none_of_the_home_protocols(case: Case) -> None:
    stay(case, "03")
    home = {"contact", "visit", "med-rec", "tcm-records", "send-dc-info", "bill-tcm"}
    assert not home & {code_of(t) for t in case.tasks()}


@pytest.mark.parametrize("patient_class", ["E", "O"])
def test_an_emergency_or_clinic_visit_starts_none(case: Case, patient_class: str) -> None:
    case.send("A04", "2026-07-10 10:00", patient_class=patient_class, place="ED^1^1")
    case.send(
        "A03", "2026-07-10 14:00", patient_class=patient_class, disposition="01",
        discharged="2026-07-10 14:00",
    )  # fmt: skip
    assert case.tasks() == []


def test_a_person_update_makes_no_encounter(case: Case) -> None:
    case.send("A31", "2026-07-10 10:00", patient_class="N")
    assert case.players.find("Encounter", identifier=case.visit) == []


def test_a_cancelled_admission_stays_cancelled_whatever_moved_meanwhile(case: Case) -> None:
    case.send("A01", "2026-07-09 10:00", place="4W^1^1", admitted="2026-07-09 10:00")
    case.send("A02", "2026-07-09 12:00", place="CCU^1^1")
    case.send("A11", "2026-07-09 13:00", occurred="2026-07-09 10:00")
    assert case.encounter()["status"] == "cancelled"


def test_cancelling_the_admission_leaves_the_emergency_visit(case: Case) -> None:
    case.send("A04", "2026-07-09 08:00", patient_class="E", place="ED^1^1")
    case.send("A01", "2026-07-09 10:00", place="4W^1^1", admitted="2026-07-09 10:00")
    case.send("A11", "2026-07-09 13:00", patient_class="E", occurred="2026-07-09 10:00")
    encounter = case.encounter()
    assert (encounter["status"], encounter["class"]["code"]) == ("in-progress", "EMER")


def test_a_cancel_without_a_time_is_a_cancel_and_no_inferred_stay(case: Case) -> None:
    case.send("A01", "2026-07-09 10:00", place="4W^1^1")
    case.send("A02", "2026-07-09 12:00", place="CCU^1^1")
    case.send("A11", "2026-07-09 13:00")
    encounter = case.encounter()
    assert encounter["status"] == "cancelled"
    assert not any(t["code"] == "inferred" for t in encounter.get("meta", {}).get("tag", []))


def test_a_completed_task_without_output_is_refused(case: Case) -> None:
    stay(case, "01")
    (contact,) = [t for t in case.tasks() if code_of(t) == "contact"]
    contact["status"] = "completed"
    answer = case.players.engine.call(
        "PUT", f"/fhir/Task/{contact['id']}", contact, token=TOKENS["pcpb"]
    )
    assert answer.status == 422
    assert answer.body["resourceType"] == "OperationOutcome"
    (still,) = [t for t in case.tasks() if code_of(t) == "contact"]
    assert summary([still])[0].endswith("requested")


def test_by_default_an_offset_less_feed_takes_the_offset_of_msh_7(tmp_path: Path) -> None:
    from tests.stories.engine import Engine, free_port, send

    port = free_port()
    config = (
        "version: 1\nhttp: {listen: '127.0.0.1:{http}'}\n"
        "sites: {one: {authority: HOSPA}}\n"
        f"feeds: {{adt: {{kind: mllp, listen: '127.0.0.1:{port}', site: one}}}}\n"
    )
    engine = Engine(tmp_path, config)
    engine.start()
    try:
        message = adt("A01", "2026-07-09 10:00", "1", place="4W^1^1", shared=False)
        evn = message.replace("EVN|A01|20260709100000-0400", "EVN|A01|20260709100000")
        assert "MSA|AA" in send(port, evn)
        engine.settle()
        (encounter,) = engine.search("Encounter")
        assert encounter["period"]["start"] == "2026-07-09T10:00:00-04:00"
    finally:
        engine.stop()


def test_a_protected_stay_is_delivered_to_nobody_byte_for_byte(tmp_path: Path) -> None:
    from tests.stories.engine import free_port, send

    port = free_port()
    part2 = f'hospa-sud: {{kind: mllp, listen: "127.0.0.1:{port}", site: hospa, part2: all}}'
    with cast(tmp_path, CLOCK, part2=part2) as players:
        secret = adt(
            "A01", "2026-07-09 10:00", "P1", visit="SUD1", place="DETOX^1^1", shared=False,
            diagnoses=["F11.20^Opioid dependence"],
        )  # fmt: skip
        assert "MSA|AA" in send(port, secret)
        discharge = adt(
            "A03", "2026-07-10 14:00", "P2", visit="SUD1", place="DETOX^1^1", shared=False,
            diagnoses=["F11.20^Opioid dependence"], disposition="01",
            discharged="2026-07-10 14:00",
        )  # fmt: skip
        assert "MSA|AA" in send(port, discharge)
        players.engine.settle()
        stay_ = visit(players, "SUD1")
        assert "42CFRPart2" in {s["code"] for s in stay_["meta"]["security"]}
        assert set(players.delivered().values()) == {0}
        received = str(players.pcpb.writes) + str(players.payx.writes)
        received += str([m.body for m in players.hospa.received + players.hospb.received])
        for word in ("SUD1", "DETOX", "F11.20", stay_["id"], "100234"):
            assert word not in received
