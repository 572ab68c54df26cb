"""S01 and S05 over the real interfaces, on both databases; each step asserts."""

from pathlib import Path

import pytest

from tests.stories import s01, s05
from tests.stories.cast import Cast, cast
from tests.stories.messages import adt
from tests.stories.reading import code_of, summary, tasks_of, visit


def silent(_step: str, _text: str) -> None:
    """Tests do not talk."""


def test_s01_heart_failure_from_the_emergency_department_to_a_readmission(
    tmp_path: Path, database: str | None
) -> None:
    with cast(tmp_path, s01.CLOCK, database=database) as players:
        s01.play(players, silent)


def test_s05_a_cancelled_discharge_takes_its_work_back_and_the_real_one_starts_it_anew(
    tmp_path: Path, database: str | None
) -> None:
    with cast(tmp_path, s05.CLOCK, database=database) as players:
        s05.play(players, silent)


def open_set(players: Cast) -> list[tuple[object, ...]]:
    """Need, due and owner of the open Tasks."""
    return [
        (code_of(t), t["restriction"]["period"]["end"], t["owner"].get("display"), t["status"])
        for t in s05.follow_up_tasks(players)
        if t["status"] not in ("cancelled", "completed")
    ]


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, ...]]:
    """The open Tasks of S05 without the first discharge and its cancel."""
    with cast(tmp_path_factory.mktemp("plain"), s05.CLOCK) as players:
        s05.admit(players)
        real_discharge(players)
        return open_set(players)


def real_discharge(players: Cast) -> None:
    players.engine.advance("2026-07-06T11:21:00-04:00")
    message = adt(
        "A03", "2026-07-06 11:20", "1002", visit=s05.VISIT, place="4W^1^1",
        diagnoses=[s01.HF], disposition="01", discharged="2026-07-06 11:20",
    )  # fmt: skip
    assert players.hl7(message) == "AA"


def test_s05_the_open_set_is_that_of_a_run_without_the_cancelled_discharge(
    tmp_path: Path, plain_run: list[tuple[object, ...]]
) -> None:
    with cast(tmp_path, s05.CLOCK) as players:
        s05.play(players, silent)
        assert open_set(players) == plain_run


def test_s05_a_contact_completed_before_the_cancel_stays_completed(tmp_path: Path) -> None:
    with cast(tmp_path, s05.CLOCK) as players:
        s05.admit(players)
        players.engine.advance("2026-07-02T14:01:00-04:00")
        players.hl7(s05.discharge_message())
        players.engine.advance("2026-07-02T15:10:00-04:00")
        (contact,) = tasks_of(players, code="contact")
        subject = contact["for"]
        contact["status"] = "completed"
        contact["output"] = [
            {
                "type": {"text": "Two-way contact"},
                "valueReference": {"reference": "urn:uuid:00000000-0000-4000-9000-000000000031"},
            }
        ]
        players.post(
            "pcpb",
            [
                {
                    "resourceType": "Communication",
                    "_fullUrl": "urn:uuid:00000000-0000-4000-9000-000000000031",
                    "status": "completed",
                    "subject": subject,
                    "recipient": [subject],
                    "sent": "2026-07-02T15:05:00-04:00",
                    "received": "2026-07-02T15:05:00-04:00",
                },
                contact,
            ],
        )
        assert [t["status"] for t in tasks_of(players, code="contact")] == ["completed"]
        players.engine.advance("2026-07-02T17:38:30-04:00")
        players.hl7(s05.cancel_message())
        assert [t["status"] for t in tasks_of(players, code="contact")] == ["completed"]
        real_discharge(players)
        found = set(summary(tasks_of(players, code="contact")))
        assert found == {"contact 2026-07-07 completed", "contact 2026-07-08 requested"}


def test_s05_a_cancel_that_comes_before_its_discharge_means_no_task_is_ever_created(
    tmp_path: Path,
) -> None:
    with cast(tmp_path, s05.CLOCK) as players:
        s05.admit(players)
        players.engine.advance("2026-07-02T17:38:30-04:00")
        assert players.hl7(s05.cancel_message()) == "AA"
        assert players.hl7(s05.discharge_message()) == "AA"
        assert visit(players, s05.VISIT)["status"] == "in-progress"
        assert s05.follow_up_tasks(players) == []


@pytest.mark.parametrize("variant", ["resent discharge", "restated discharge time"])
def test_s05_the_cancel_takes_back_a_discharge_that_was_said_twice(
    tmp_path: Path, variant: str
) -> None:
    with cast(tmp_path, s05.CLOCK) as players:
        s05.admit(players)
        players.engine.advance("2026-07-02T15:01:00-04:00")
        players.hl7(s05.discharge_message())
        if variant == "resent discharge":
            again = adt(
                "A03", "2026-07-02 14:30", "1000", visit=s05.VISIT, place="4W^1^1",
                diagnoses=[s01.HF], disposition="01", discharged="2026-07-02 14:00",
                occurred="2026-07-02 14:00",
            )  # fmt: skip
        else:
            again = adt(
                "A08", "2026-07-02 15:00", "1000", visit=s05.VISIT, place="4W^1^1",
                diagnoses=[s01.HF], disposition="01", discharged="2026-07-02 14:00",
            )  # fmt: skip
        players.hl7(again)
        players.engine.advance("2026-07-02T17:38:30-04:00")
        players.hl7(s05.cancel_message())
        stay = visit(players, s05.VISIT)
        assert stay["status"] == "in-progress"
        assert "end" not in stay["period"]
        assert {t["status"] for t in s05.follow_up_tasks(players)} == {"cancelled"}
        real_discharge(players)
        live = [t for t in s05.follow_up_tasks(players) if t["status"] != "cancelled"]
        assert summary(live) == s05.SECOND
