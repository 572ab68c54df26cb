"""Patients of two authorities: linked by a rule, asked about, kept apart, parted again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.care.matching.grade import load
from segue.fhir.profiles import shipped
from segue.pipeline import matching
from segue.pipeline.matching import Matcher, Mode, closing, reviews
from segue.pipeline.steward import CannotLinkError, keep_apart, link, unmerge
from segue.store.records import RevisionConflict
from tests.support.api import Api, running

WHO = "OKAFOR^NGOZI||19610417|F|||12 N MAIN ST^^DAYTON^OH^45390||^PRN^PH^^1^216^5550134"


def admitted(mrn: str, *, hospital: str = "HOSPA", pid: str = WHO, number: str = "1") -> str:
    """An admission; the control id follows from number and record number."""
    at = "20260705134000-0400"
    return (
        f"MSH|^~\\&|ADT|{hospital}|HUB|HIE|{at}||ADT^A01^ADT_A01|{hospital}-{mrn}-{number}|P|2.5.1\r"
        f"EVN|A01|{at}\r"
        f"PID|1||{mrn}^^^{hospital}^MR||{pid}\r"
        f"PV1|1|I|4W^412^1|E|||||||||||||||V{mrn}^^^{hospital}^VN|||||||||||||||||||||||||{at}\r"
    )


@pytest.fixture
def api(where: Path | str, tmp_path: Path) -> Iterator[Api]:
    with running(where, tmp_path, clock="2026-07-05T14:00:00-04:00") as started:
        yield started


def look(api: Api, mode: Mode = "link") -> Matcher:
    matcher = Matcher(api.bench.hub, "test", load(shipped() / "matching"), mode)
    while matcher.step() or matcher.waiting:
        pass
    matcher.release()
    return matcher


def active(api: Api) -> list[dict[str, Any]]:
    return [one for one in api.find("Patient") if one.get("active") is not False]


def both(api: Api) -> None:
    api.hl7(admitted("100"))
    api.hl7(admitted("B7", hospital="HOSPB"), site="hospb")


def test_what_a_rule_is_certain_of_becomes_one_person(api: Api) -> None:
    both(api)
    assert len(active(api)) == 2
    assert look(api).linked == 1
    (patient,) = active(api)
    values = {one["value"] for one in patient["identifier"]}
    assert {"100", "B7"} <= values
    subjects = {one["subject"]["reference"] for one in api.find("Encounter")}
    assert subjects == {f"Patient/{patient['id']}"}
    assert look(api).linked == 0, "what was looked at is not looked at again"


def test_a_link_is_a_fact_that_can_be_taken_back_and_is_not_made_again(api: Api) -> None:
    both(api)
    look(api)
    api.at("2026-07-05T15:00:00-04:00")
    unmerge(api.bench.hub, "HOSPB|B7", "HOSPA|100", "two sisters")
    assert len(active(api)) == 2
    api.hl7(admitted("B7", hospital="HOSPB", number="2"), site="hospb")
    assert look(api).linked == 0
    assert len(active(api)) == 2


def test_what_is_likely_becomes_one_question_and_no_link(api: Api) -> None:
    api.hl7(admitted("100"))
    nearly = WHO.replace("NGOZI", "NGOZY").replace("5550134", "5559999")
    api.hl7(admitted("B7", hospital="HOSPB", pid=nearly), site="hospb")
    assert look(api).asked == 1
    assert len(active(api)) == 2
    with api.bench.hub.store.read() as reader:
        (task,) = reviews(reader)
    told = {one["type"]["text"]: one for one in task["input"]}
    assert "given close" in told["agreement"]["valueString"]
    assert "OKAFOR" not in str(task).upper(), "the evidence is in the Patients"
    (found,) = api.find("Task", "code=match-review")
    assert found["status"] == "requested"
    api.hl7(admitted("B7", hospital="HOSPB", pid=nearly, number="2"), site="hospb")
    assert look(api).asked == 0


def test_a_steward_links_and_the_question_is_closed(api: Api) -> None:
    hub = api.bench.hub
    both(api)
    assert look(api, "review").asked == 1
    assert len(active(api)) == 2, "in this mode nothing is linked"
    close = closing(hub, "HOSPA|100", "HOSPB|B7", "linked")
    assert link(hub, "HOSPA|100", "HOSPB|B7", "seen the passport", decided=True)
    close()
    assert len(active(api)) == 1
    with hub.store.read() as reader:
        assert reviews(reader) == []
    (task,) = api.find("Task", "code=match-review")
    assert (task["status"], task["output"][0]["valueString"]) == ("completed", "linked")


def test_two_who_are_kept_apart_are_not_linked_by_a_rule_but_by_a_person(api: Api) -> None:
    hub = api.bench.hub
    both(api)
    keep_apart(hub, "HOSPA|100", "HOSPB|B7", "twins")
    assert look(api).linked == 0
    with pytest.raises(CannotLinkError, match="kept them apart"):
        link(hub, "HOSPA|100", "HOSPB|B7", "a rule")
    api.at("2026-07-05T15:00:00-04:00")
    assert link(hub, "HOSPA|100", "HOSPB|B7", "it was an error", decided=True)
    assert len(active(api)) == 1


def test_nobody_can_be_linked_whom_nobody_knows(api: Api) -> None:
    both(api)
    with pytest.raises(CannotLinkError, match="nobody is known"):
        link(api.bench.hub, "HOSPA|100", "HOSPB|B8", "a guess")
    with pytest.raises(CannotLinkError, match="one person"):
        keep_apart(api.bench.hub, "HOSPA|100", "HOSPA|100", "a slip")


def test_a_newborn_is_left_alone(api: Api) -> None:
    baby = "SMITH^BABYGIRL||20260616|F|||12 N MAIN ST^^DAYTON^OH^45390||^PRN^PH^^1^216^5550134"
    api.hl7(admitted("100", pid=baby))
    api.hl7(admitted("B7", hospital="HOSPB", pid=baby), site="hospb")
    assert look(api).linked == 0
    assert len(active(api)) == 2


def test_two_numbers_of_one_hospital_are_its_own_affair(api: Api) -> None:
    api.hl7(admitted("100"))
    api.hl7(admitted("101"))
    matcher = look(api)
    assert (matcher.linked, matcher.asked) == (0, 0)


def test_links_are_in_the_records(api: Api, tmp_path: Path) -> None:
    both(api)
    look(api)
    assert api.bench.rebuilt(tmp_path / "anew").different == []


def ask(api: Api, body: Any) -> Any:
    return api.call("POST", "/fhir/Patient/$match", body)


def test_match_grades_what_is_stored(api: Api) -> None:
    both(api)
    patient = {
        "resourceType": "Patient",
        "name": [{"family": "Okafor", "given": ["Ngozi"]}],
        "gender": "female",
        "birthDate": "1961-04-17",
        "telecom": [{"system": "phone", "value": "216-555-0134"}],
    }
    sent = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": patient}]}
    answer = ask(api, sent)
    assert answer.status_code == 200, answer.text
    entries = answer.json()["entry"]
    grades = [entry["search"]["extension"][0]["valueCode"] for entry in entries]
    assert grades == ["certain", "certain"]
    assert all(0.9 < entry["search"]["score"] <= 1 for entry in entries)
    only = {"name": "onlyCertainMatches", "valueBoolean": True}
    two = ask(api, {**sent, "parameter": [*sent["parameter"], only]})
    assert two.json()["total"] == 0, "two certain ones are no certainty"
    look(api)
    one = ask(api, {**sent, "parameter": [*sent["parameter"], only]})
    assert one.json()["total"] == 1
    count = {"name": "count", "valueInteger": 0}
    assert ask(api, {**sent, "parameter": [*sent["parameter"], count]}).json()["total"] == 0


@pytest.mark.parametrize("sent", [{"resourceType": "Task"}, {"resourceType": "Parameters"}])
def test_match_without_a_patient_is_refused(api: Api, sent: dict[str, Any]) -> None:
    answer = ask(api, sent)
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_a_patient_whose_link_fails_is_looked_at_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    both(api)
    matcher = Matcher(api.bench.hub, "test", load(shipped() / "matching"), "link")
    with monkeypatch.context() as patched:
        patched.setattr(matching, "link", _conflict)
        with pytest.raises(RevisionConflict):
            _look_at_all(matcher)
    _look_at_all(matcher)
    matcher.release()
    assert matcher.linked == 1


def _look_at_all(matcher: Matcher) -> None:
    while matcher.step() or matcher.waiting:
        pass


def _conflict(*_: object) -> bool:
    raise RevisionConflict
