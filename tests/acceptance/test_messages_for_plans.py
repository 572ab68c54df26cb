"""What appointments and documents over MLLP close, and what only their receipt closes."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.stories import s11
from tests.stories.cast import Cast, cast
from tests.stories.engine import free_port
from tests.stories.messages import adt
from tests.stories.reading import code_of, tasks_of
from tests.support.notes import booking, summary

IN_ORDER = True


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """The stay of S11, before its end; the practice sends appointments over MLLP, too."""
    port = free_port()
    folder = tmp_path_factory.mktemp("notes")
    feed = f'pcpb-siu: {{kind: mllp, listen: "127.0.0.1:{port}", site: pcpb}}'
    force = "[PD-00, PD-01, PD-02, PD-03, PD-04, PD-05]"
    with cast(folder, s11.INSTANT, part2=feed, protocols=force) as players:
        players.ports["PCPB"] = port
        for name in ("A04", "A06", "A02"):
            assert players.hl7(s11.messages()[name]) == "AA"
        yield players


def status(told: Cast, code: str) -> str:
    (task,) = tasks_of(told, code=code)
    found: str = task["status"]
    return found


def arrived(told: Cast) -> dict[str, Any]:
    """The document, once it is stored; nothing settles while the practice is busy."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if found := told.find("DocumentReference"):
            return found[0]
        time.sleep(0.05)
    raise AssertionError("the document was not stored within a minute")


def test_an_expected_discharge_asks_the_hospital_to_schedule_the_visit(told: Cast) -> None:
    expected = adt("A16", "2026-07-09 16:00", "N1", place="CCU^1^1")
    assert told.hl7(expected) == "AA"
    (asked,) = tasks_of(told, code="schedule-visit")
    assert asked["status"] == "requested"
    assert told.read(asked["owner"]["reference"])["name"] == "Hospital A"
    assert told.hl7(s11.messages()["A03"]) == "AA"
    (still,) = tasks_of(told, code="schedule-visit")
    assert still["id"] == asked["id"], "the discharge asks for the same"
    assert len(tasks_of(told)) == 13, "eleven of the discharge, the notice, and this one"


def test_a_booking_over_mllp_schedules_the_visit_and_does_not_make_it_happen(told: Cast) -> None:
    assert status(told, "visit") == status(told, "schedule-visit") == "requested"
    assert told.hl7(booking("S12", "20260710151000"), "PCPB") == "AA"
    (appointment,) = told.find("Appointment")
    assert appointment["status"] == "booked"
    (task,) = tasks_of(told, code="visit")
    assert task["status"] == "in-progress"
    assert task["businessStatus"]["coding"][0]["code"] == "5.1.1"
    assert "output" not in task
    (scheduled,) = tasks_of(told, code="schedule-visit")
    assert scheduled["status"] == "completed"
    (evidence,) = scheduled["output"]
    assert evidence["valueReference"] == {"reference": f"Appointment/{appointment['id']}"}


def test_a_summary_over_mllp_closes_only_when_claimed_complete_and_filed(told: Cast) -> None:
    told.pcpb_hold()
    assert told.hl7(summary("T02", "20260710151500", "AU"), settle=False) == "AA"
    document = arrived(told)
    assert document["docStatus"] == "final"
    assert status(told, "send-dc-info") == "requested", "a summary alone only feeds it"
    (task,) = tasks_of(told, code="send-dc-info")
    reference = {"reference": f"DocumentReference/{document['id']}"}
    task["status"] = "completed"
    task["output"] = [{"type": {"text": "Discharge summary"}, "valueReference": reference}]
    told.post("hospa-cm", [task], settle=False)
    assert status(told, "send-dc-info") == "in-progress", "the practice has not filed it"
    told.pcpb_release()
    told.engine.settle(delayed=True)
    (task,) = tasks_of(told, code="send-dc-info")
    assert task["status"] == "completed"
    assert code_of(task) == "send-dc-info"
    assert len(task["output"]) == 2, "the claim and the receipt"


def test_an_appointment_that_nobody_kept_asks_for_another(told: Cast) -> None:
    (first,) = tasks_of(told, code="schedule-visit")
    told.engine.advance("2026-07-16T12:00:00-04:00")
    assert told.hl7(booking("S26", "20260716113000"), "PCPB") == "AA"
    assert told.find("Appointment")[0]["status"] == "noshow"
    (visit,) = tasks_of(told, code="visit")
    assert visit["status"] == "in-progress"
    assert visit["businessStatus"]["coding"][0]["code"] == "5.1.2"
    tasks = {task["id"]: task["status"] for task in tasks_of(told, code="schedule-visit")}
    assert tasks.pop(first["id"]) == "completed", "what has ended stays so"
    assert list(tasks.values()) == ["requested"], "another one asks again"
