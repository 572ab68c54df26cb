"""A care plan as MDM^T02, as receivers of plans want it."""

import pytest

from segue.hl7v2.parse import hl7_message, parse
from segue.pipeline.render import care_plan_message, document

AT = 1_783_252_800_000_000  # 2026-07-05T12:00Z

PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [
        {
            "system": "urn:segue:authority:HOSPA",
            "value": "100234",
            "type": {"coding": [{"code": "MR"}]},
        },
        {"system": "urn:oid:1.2.3", "value": "77"},
        {"system": "urn:segue", "value": "p1"},
    ],
    "name": [{"family": "Test & Co", "given": ["Ann", "B", "C"]}],
    "birthDate": "1950-01-02",
    "gender": "female",
}
PLAN = {
    "resourceType": "CarePlan",
    "id": "plan1",
    "title": "Coordinating care plan",
    "status": "active",
    "description": "Discharged on 2026-07-05; follow-up is under way.",
    "subject": {"reference": "Patient/p1"},
    "period": {"start": "2026-07-02T08:12:00-04:00"},
}


def task(id_: str, status: str = "requested", **more):
    return {
        "resourceType": "Task",
        "id": id_,
        "status": status,
        "description": f"Do {id_}",
        "owner": {"display": "Practice B"},
        "restriction": {"period": {"end": "2026-07-07T23:59:59-04:00"}},
        "lastModified": "2026-07-05T11:00:00Z",
    } | more


def rendered(*tasks, **options):
    raw = care_plan_message(PLAN, PATIENT, tasks, control_id="SEGUE-77", at=AT, **options)
    return parse(raw)


def test_the_message_has_what_a_receiver_of_plans_asks_for():
    message = rendered(task("a"), receiver="lab")
    assert [segment.name for segment in message.segments] == [
        "MSH", "EVN", "PID", "PV1", "TXA", "OBX",
    ]  # fmt: skip
    expected = {
        "MSH-3": "SEGUE",
        "MSH-5": "lab",
        "MSH-9.1": "MDM",
        "MSH-9.2": "T02",
        "MSH-9.3": "MDM_T02",
        "MSH-10": "SEGUE-77",
        "MSH-12": "2.5.1",
        "EVN-1": "T02",
        "PID-3.1": "100234",
        "PID-3.4": "HOSPA",
        "PID-3.5": "MR",
        "PID-3(2).4.2": "1.2.3",
        "PID-3(2).4.3": "ISO",
        "PID-5.1": "Test & Co",
        "PID-5.2": "Ann",
        "PID-5.3": "B C",
        "PID-7": "19500102",
        "PID-8": "F",
        "PV1-2": "N",
        "TXA-1": "1",
        "TXA-2": "CP",
        "TXA-12.1": "plan1",
        "TXA-17": "AU",
        "OBX-2": "ED",
        "OBX-3.2": "Coordinating care plan",
        "OBX-5.2": "TEXT",
        "OBX-5.3": "HTML",
        "OBX-5.4": "A",
        "OBX-11": "F",
    }
    assert {path: message.get(path) for path in expected} == expected
    assert message.get("TXA-4") == message.get("MSH-7") == "20260705120000.000+0000"
    assert message.issues == []


def test_another_hl7_library_reads_the_same():
    found = hl7_message(rendered(task("a", description="a|b^c&d~e\\f")))
    assert str(found.segment("TXA")[2]) == "CP"
    assert "a\\F\\b\\S\\c\\T\\amp;d\\R\\e\\E\\f" in str(found.segment("OBX")[5])


def test_a_text_with_every_separator_arrives_as_it_was():
    text = "a|b^c~d\\e & <f>\nsecond line"
    html = rendered(task("a", description=text)).get("OBX-5.5")
    assert "a|b^c~d\\e &amp; &lt;f&gt;" in html


def test_open_tasks_come_with_owner_and_due_the_earliest_first():
    late = task("late", restriction={"period": {"end": "2026-08-01"}})
    html = document(PLAN, [late, task("soon")])
    assert html.index("Do soon") < html.index("Do late")
    assert "Do late: requested, due 2026-08-01, Practice B" in html


@pytest.mark.parametrize("status", ["completed", "rejected", "failed", "draft"])
def test_tasks_that_are_done_or_only_drafted_are_left_out(status):
    assert "Do a" not in document(PLAN, [task("a", status)])


def test_a_cancelled_task_is_named_as_cancelled_for_a_while():
    gone = task("a", "cancelled", statusReason={"coding": [{"code": "readmitted"}]})
    assert "<h2>Cancelled</h2><ul><li>Do a: cancelled, readmitted</li></ul>" in document(
        PLAN, [gone], AT - 7_200_000_000
    )
    assert "Do a" not in document(PLAN, [gone], AT)


def test_the_same_plan_is_the_same_message():
    one = [care_plan_message(PLAN, PATIENT, [task("a"), task("b")], control_id="1", at=AT)]
    two = [care_plan_message(PLAN, PATIENT, [task("b"), task("a")], control_id="1", at=AT)]
    assert one == two


def test_a_plan_without_its_patient_still_names_the_subject():
    raw = care_plan_message(PLAN, None, [], control_id="1", at=AT)
    assert parse(raw).get("PID-3.1") == "p1"
