"""S01: heart failure. ED, inpatient, bed moves, home, follow-up, readmission on day 9.

P1 is 71. She comes to hospital A's emergency department, is admitted, moves twice, goes
home, is called and seen by her practice, and is admitted to hospital B nine days later.
"""

from collections.abc import Callable
from datetime import datetime

from tests.stories.cast import Cast
from tests.stories.messages import adt
from tests.stories.reading import (
    anchored,
    code_of,
    components,
    coordinating,
    due_of,
    inputs,
    lace,
    score,
    summary,
    tasks_of,
    visit,
)

Tell = Callable[[str, str], None]
CLOCK = "2026-07-05T08:00:00-04:00"
HF = "I50.23^Acute on chronic systolic HF"
DM = "E11.9^Type 2 diabetes"
LOINC = "http://loinc.org"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"

DISCHARGE = [
    "bill-tcm 2026-08-09 draft",
    "contact 2026-07-14 requested",
    "med-rec 2026-07-17 requested",
    "send-dc-info 2026-07-12 requested",
    "surveillance 2026-07-13 requested",
    "surveillance 2026-07-17 requested",
    "surveillance 2026-07-24 requested",
    "surveillance 2026-07-31 requested",
    "surveillance 2026-08-09 requested",
    "tcm-records 2026-07-14 requested",
    "visit 2026-07-17 requested",
]


def patient() -> dict[str, object]:
    """P1 as the practice knows her."""
    return {
        "resourceType": "Patient",
        "_fullUrl": "urn:uuid:00000000-0000-4000-9000-000000000001",
        "identifier": [
            {"system": "urn:segue:authority:PCPB", "value": "77"},
            {
                "type": {
                    "coding": [
                        {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PI"}
                    ]
                },
                "system": "urn:segue:authority:HIE",
                "value": "900017",
            },
        ],
        "name": [{"family": "DOE", "given": ["JANE"]}],
        "gender": "female",
        "birthDate": "1955-02-14",
    }


def encounter(class_code: str, start: str, end: str, number: str) -> dict[str, object]:
    """A finished Encounter of the practice's index."""
    return {
        "resourceType": "Encounter",
        "identifier": [{"system": "urn:segue:authority:PCPB", "value": number}],
        "status": "finished",
        "class": {"system": ACT, "code": class_code},
        "subject": {"reference": "urn:uuid:00000000-0000-4000-9000-000000000001"},
        "period": {"start": start, "end": end},
    }


def prime(cast: Cast) -> None:
    """The practice fills the index with what it knows from before: nothing follows."""
    cast.mark()
    cast.post(
        "pcpb-history",
        [
            patient(),
            encounter("EMER", "2026-02-11T10:00:00-05:00", "2026-02-11T15:00:00-05:00", "E1"),
            encounter("EMER", "2026-04-20T10:00:00-04:00", "2026-04-20T15:00:00-04:00", "E2"),
            encounter("IMP", "2025-11-03T09:00:00-05:00", "2025-11-06T12:00:00-05:00", "I1"),
            {
                "resourceType": "Condition",
                "clinicalStatus": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                            "code": "active",
                        }
                    ]
                },
                "code": {"coding": [{"system": ICD, "code": "E11.9"}]},
                "subject": {"reference": "urn:uuid:00000000-0000-4000-9000-000000000001"},
            },
        ],
    )
    assert tasks_of(cast) == []
    assert set(cast.delivered().values()) == {0}


def play(cast: Cast, tell: Tell) -> None:
    """Play S01 and assert every step."""
    prime(cast)
    tell("prime", "PCPB fills the index: 2 ED visits, 1 stay, diabetes. 0 tasks, 0 deliveries.")
    emergency(cast, tell)
    admission(cast, tell)
    moves(cast, tell)
    discharge(cast, tell)
    discharge_information(cast, tell)
    follow_up(cast, tell)
    readmission(cast, tell)
    second_discharge(cast, tell)


def emergency(cast: Cast, tell: Tell) -> None:
    """1. A04 in the emergency department."""
    cast.engine.advance("2026-07-05T08:12:20-04:00")
    cast.mark()
    message = adt("A04", "2026-07-05 08:12", "HA000101", patient_class="E", place="ED^1^1")
    assert cast.hl7(message) == "AA"
    stay = visit(cast, "V78421")
    assert (stay["status"], stay["class"]["code"]) == ("in-progress", "EMER")
    assert len(stay["location"]) == 1
    assert tasks_of(cast) == []
    assert cast.find("CarePlan") == []
    assert cast.delivered()["PCPB"] == 1
    tell("A04", "Encounter V78421 in-progress, EMER. 0 tasks. PCPB has heard.")


def admission(cast: Cast, tell: Tell) -> None:
    """2. A06: she becomes an inpatient; the practice's receipt is the evidence."""
    before = visit(cast, "V78421")
    cast.engine.advance("2026-07-05T13:42:50-04:00")
    message = adt(
        "A06", "2026-07-05 13:42", "HA000102", place="4W^412^1", diagnoses=[HF],
        occurred="2026-07-05 13:40", admitted="2026-07-05 13:40",
    )  # fmt: skip
    assert cast.hl7(message) == "AA"
    stay = visit(cast, "V78421")
    assert stay["id"] == before["id"]
    assert stay["class"]["code"] == "IMP"
    past = [(h["class"]["code"], h["period"]) for h in stay["classHistory"]]
    assert past[0] == (
        "EMER",
        {"start": "2026-07-05T08:12:00-04:00", "end": "2026-07-05T13:40:00-04:00"},
    )
    assert stay["period"]["start"] == "2026-07-05T08:12:00-04:00"
    (episode,) = cast.find("EpisodeOfCare")
    assert episode["status"] == "active"
    (plan,) = coordinating(cast)
    parts = [p for p in cast.find("CarePlan") if p.get("partOf")]
    assert [p["status"] for p in parts] == ["active"]
    assert parts[0]["partOf"][0]["reference"] == f"CarePlan/{plan['id']}"
    (notify,) = tasks_of(cast)
    assert summary([notify]) == ["notify-admit 2026-07-07 completed"]
    assert notify["restriction"]["period"]["end"].startswith("2026-07-07T23:59:59")
    filed = [output["valueInstant"] for output in notify["output"]]
    assert [datetime.fromisoformat(at) for at in filed] == [
        datetime.fromisoformat("2026-07-05T13:42:50-04:00")
    ]
    risk = lace(cast, stay)
    assert risk["status"] == "preliminary"
    assert score(cast, risk) == (8, 15)
    assert "qualitativeRisk" not in risk["prediction"][0]
    assert "open: L (length of stay)" in risk["note"][0]["text"]
    tell("A06", "Inpatient. Stay, plan and episode plan active. LACE [8,15], undetermined.")
    tell("", f"{summary([notify])[0]}: PCPB filed the notice at 13:42:50.")


def moves(cast: Cast, tell: Tell) -> None:
    """3 and 4. Two bed moves and an expected discharge: nobody outside hears of them."""
    cast.mark()
    cast.engine.advance("2026-07-06T09:06:00-04:00")
    cast.hl7(adt("A02", "2026-07-06 09:05", "HA000103", place="CCU^1^1", prior_place="4W^412^1"))
    cast.engine.advance("2026-07-08T10:01:00-04:00")
    cast.hl7(adt("A02", "2026-07-08 10:00", "HA000104", place="4W^412^1", prior_place="CCU^1^1"))
    stay = visit(cast, "V78421")
    places = [
        (
            cast.read(item["location"]["reference"])["name"][:3].strip(),
            item.get("period", {}).get("end", "")[5:16],
            item["status"],
        )
        for item in stay["location"]
    ]
    assert [(end, status) for _, end, status in places] == [
        ("07-05T13:40", "completed"),
        ("07-06T09:05", "completed"),
        ("07-08T10:00", "completed"),
        ("", "active"),
    ], places
    assert len(tasks_of(cast)) == 1
    assert cast.delivered()["PCPB"] == 0
    assert cast.delivered()["PAYX"] == 0
    tell("A02 A02", "4W to CCU and back: four places with their times. 0 notices outside.")
    cast.engine.advance("2026-07-09T16:00:30-04:00")
    version = stay["meta"]["versionId"]
    assert cast.hl7(adt("A16", "2026-07-09 16:00", "HA000105", place="4W^412^1")) == "AA"
    stay = visit(cast, "V78421")
    assert stay["meta"]["versionId"] == version
    assert len(tasks_of(cast)) == 1
    tell("A16", "Kept, no state change, 0 tasks.")


def discharge(cast: Cast, tell: Tell) -> None:
    """5. A03, 26 minutes late: eleven tasks, one plan version, one delivery each."""
    cast.engine.advance("2026-07-10T14:31:00-04:00")
    plan_version = coordinating(cast)[0]["meta"]["versionId"]
    known = {t["id"] for t in tasks_of(cast)}
    cast.mark()
    message = adt(
        "A03", "2026-07-10 14:05", "HA000106", place="4W^412^1", diagnoses=[HF, DM],
        disposition="01", admitted="2026-07-05 13:40", discharged="2026-07-10 14:05",
    )  # fmt: skip
    assert cast.hl7(message) == "AA"
    stay = visit(cast, "V78421")
    assert stay["status"] == "finished"
    disposition = stay["hospitalization"]["dischargeDisposition"]["coding"][0]["code"]
    assert disposition == "home"
    risk = lace(cast, stay)
    assert (risk["status"], score(cast, risk)) == ("final", (12, 12))
    assert components(cast, risk)[0] == 4, "five days"
    new = [t for t in tasks_of(cast) if t["id"] not in known]
    assert summary(new) == DISCHARGE
    assert len(new) == 11
    (seen,) = [t for t in new if code_of(t) == "visit"]
    requirements = {r["action"]: r for r in inputs(seen, "requirement")}
    assert requirements["tcm-visit"]["clock"] == "C-2"
    assert requirements["tcm-visit"]["due"][:10] == "2026-07-17"
    assert requirements["engage"]["opens"][:10] == "2026-07-11"
    assert requirements["engage"]["due"][:10] == "2026-08-09"
    (reconciled,) = [t for t in new if code_of(t) == "med-rec"]
    assert {r["due"][:10] for r in inputs(reconciled, "requirement")} == {
        "2026-07-17",
        "2026-08-09",
    }
    lost = [value for task in new for value in inputs(task, "window-lost")]
    assert lost
    assert {(value["value"], value["code"]) for value in lost} == {(26, "min")}
    assert int(coordinating(cast)[0]["meta"]["versionId"]) == int(plan_version) + 1
    delivered = cast.delivered()
    assert (delivered["PCPB"], delivered["PAYX"], delivered["HOSPA"]) == (1, 1, 1)
    tell("A03", "Finished, home, LACE 12 high. 26 minutes lost on the way. 11 tasks:")
    for line in summary(new):
        tell("", f"  {line}")


def discharge_information(cast: Cast, tell: Tell) -> None:
    """6. The summary goes out; only PCPB's receipt of the document closes the task."""
    (task,) = tasks_of(cast, code="send-dc-info")
    assert task["status"] == "requested", "the receipt of the plan must close nothing"
    cast.engine.advance("2026-07-10T16:00:40-04:00")
    task["status"] = "completed"
    task["output"] = [
        {
            "type": {"text": "Discharge summary"},
            "valueReference": {"reference": "urn:uuid:00000000-0000-4000-9000-000000000018"},
        }
    ]
    subject = task["for"]
    cast.pcpb_hold()
    cast.post(
        "hospa-cm",
        [
            {
                "resourceType": "DocumentReference",
                "_fullUrl": "urn:uuid:00000000-0000-4000-9000-000000000018",
                "status": "current",
                "type": {"coding": [{"system": LOINC, "code": "18842-5"}]},
                "subject": subject,
                "date": "2026-07-10T16:00:00-04:00",
                "content": [{"attachment": {"contentType": "text/plain", "data": "SG9tZQ=="}}],
                "context": {"encounter": [task["encounter"]]},
            },
            task,
        ],
        settle=False,
    )
    (waiting,) = tasks_of(cast, code="send-dc-info")
    assert waiting["status"] == "in-progress"
    cast.pcpb_release()
    cast.engine.settle(delayed=True)
    (done,) = tasks_of(cast, code="send-dc-info")
    assert done["status"] == "completed"
    assert len(done["output"]) == 2
    (records,) = tasks_of(cast, code="tcm-records")
    assert records["status"] == "completed"
    tell("summary", "send-dc-info waits for PCPB, whose 2xx on the document completes it.")


def follow_up(cast: Cast, tell: Tell) -> None:
    """7, 8 and 9. Booked is not seen; one call closes two tasks; the visit closes three."""
    (seen,) = tasks_of(cast, code="visit")
    subject = seen["for"]
    cast.engine.advance("2026-07-13T09:02:00-04:00")
    cast.post(
        "pcpb",
        [
            {
                "resourceType": "Appointment",
                "status": "booked",
                "start": "2026-07-16T10:30:00-04:00",
                "end": "2026-07-16T11:00:00-04:00",
                "participant": [{"actor": subject, "status": "accepted"}],
            }
        ],
    )
    (seen,) = tasks_of(cast, code="visit")
    assert seen["status"] == "in-progress"
    assert seen["businessStatus"]["coding"][0]["code"] == "5.1.1"
    (reconciled,) = tasks_of(cast, code="med-rec")
    assert due_of(reconciled) == "2026-07-16"
    tell("booked", "The visit is in progress (5.1.1), not completed; med-rec is due by 07-16.")

    cast.engine.advance("2026-07-13T15:20:00-04:00")
    (contact,) = tasks_of(cast, code="contact")
    contact["status"] = "completed"
    contact["output"] = [
        {
            "type": {"text": "Two-way contact"},
            "valueReference": {"reference": "urn:uuid:00000000-0000-4000-9000-000000000019"},
        }
    ]
    cast.post(
        "pcpb",
        [
            {
                "resourceType": "Communication",
                "_fullUrl": "urn:uuid:00000000-0000-4000-9000-000000000019",
                "status": "completed",
                "subject": subject,
                "recipient": [subject],
                "sent": "2026-07-13T15:10:00-04:00",
                "received": "2026-07-13T15:10:00-04:00",
            },
            contact,
        ],
    )
    states = {(code_of(t), due_of(t)): t["status"] for t in tasks_of(cast)}
    assert states["contact", "2026-07-14"] == "completed"
    assert states["surveillance", "2026-07-13"] == "completed"
    assert states["surveillance", "2026-07-17"] == "requested"
    tell("call", "One two-way call completes contact and surveillance of day 3.")

    cast.engine.advance("2026-07-16T11:30:00-04:00")
    before = len(tasks_of(cast))
    (reconciled,) = tasks_of(cast, code="med-rec")
    reconciled["status"] = "completed"
    reconciled["output"] = [
        {
            "type": {"text": "Reconciled list"},
            "valueReference": {"reference": "urn:uuid:00000000-0000-4000-9000-000000000020"},
        }
    ]
    cast.post(
        "pcpb",
        [
            {
                "resourceType": "Encounter",
                "identifier": [{"system": "urn:segue:authority:PCPB", "value": "C1"}],
                "status": "finished",
                "class": {"system": ACT, "code": "AMB"},
                "subject": subject,
                "period": {
                    "start": "2026-07-16T10:32:00-04:00",
                    "end": "2026-07-16T11:05:00-04:00",
                },
            },
            {
                "resourceType": "List",
                "_fullUrl": "urn:uuid:00000000-0000-4000-9000-000000000020",
                "status": "current",
                "mode": "snapshot",
                "code": {"coding": [{"system": LOINC, "code": "10160-0"}]},
                "subject": subject,
                "date": "2026-07-16T11:00:00-04:00",
            },
            reconciled,
        ],
    )
    after = tasks_of(cast)
    states = {(code_of(t), due_of(t)): t["status"] for t in after}
    assert len(after) == before
    assert states["visit", "2026-07-17"] == "completed"
    (seen,) = [t for t in after if code_of(t) == "visit"]
    assert seen["businessStatus"]["coding"][0]["code"] == "7.0"
    assert states["med-rec", "2026-07-16"] == "completed"
    assert states["surveillance", "2026-07-17"] == "completed"
    tell("visit", "Seen: visit (7.0), med-rec and surveillance of day 7 completed. 0 new tasks.")


def readmission(cast: Cast, tell: Tell) -> None:
    """10. Hospital B admits her: the same person, a new stay, one delivery each."""
    (before,) = [p for p in cast.find("Patient") if p.get("active", True)]
    version = coordinating(cast)[0]["meta"]["versionId"]
    cast.engine.advance("2026-07-19T21:50:30-04:00")
    cast.mark()
    message = adt(
        "A01", "2026-07-19 21:50", "HB000201", hospital="HOSPB", mrn="5501", visit="B5501",
        place="MED^2^1", diagnoses=[HF],
    )  # fmt: skip
    assert cast.hl7(message, "HOSPB") == "AA"
    (after,) = [p for p in cast.find("Patient") if p.get("active", True)]
    assert after["id"] == before["id"]
    stay = visit(cast, "B5501")
    assert len(cast.find("EpisodeOfCare")) == 2
    assert len([p for p in cast.find("CarePlan") if p.get("partOf")]) == 2
    held = [t for t in tasks_of(cast, code="surveillance") if t["status"] == "on-hold"]
    assert [due_of(t) for t in held] == ["2026-07-24", "2026-07-31", "2026-08-09"]
    assert {t["statusReason"]["coding"][0]["code"] for t in held} == {"admitted"}
    (notify,) = anchored(tasks_of(cast, code="notify-admit"), stay)
    assert summary([notify]) == ["notify-admit 2026-07-21 completed"]
    assert int(coordinating(cast)[0]["meta"]["versionId"]) == int(version) + 1
    (flag,) = cast.find("Flag")
    assert (flag["status"], code_of(flag)) == ("active", "readmission-30d")
    assert flag["encounter"]["reference"] == f"Encounter/{stay['id']}"
    delivered = cast.delivered()
    assert (delivered["PCPB"], delivered["PAYX"]) == (1, 1)
    tell("A01 at B", "Day 9, another hospital, the same person. Three follow-ups on hold.")


def second_discharge(cast: Cast, tell: Tell) -> None:
    """11. Home again: eleven tasks of the new stay; what was held is cancelled."""
    cast.engine.advance("2026-07-23T13:01:00-04:00")
    message = adt(
        "A03", "2026-07-23 13:00", "HB000202", hospital="HOSPB", mrn="5501", visit="B5501",
        place="MED^2^1", diagnoses=[HF], disposition="01", discharged="2026-07-23 13:00",
    )  # fmt: skip
    assert cast.hl7(message, "HOSPB") == "AA"
    stay = visit(cast, "B5501")
    risk = lace(cast, stay)
    assert score(cast, risk) == (13, 13)
    assert components(cast, risk) == [4, 3, 3, 3], "the visit of 07-05 began in the ED"
    everything = tasks_of(cast)
    new = [t for t in anchored(everything, stay) if code_of(t) != "notify-admit"]
    assert summary(new) == [
        "bill-tcm 2026-08-22 draft",
        "contact 2026-07-27 requested",
        "med-rec 2026-07-30 requested",
        "send-dc-info 2026-07-25 requested",
        "surveillance 2026-07-26 requested",
        "surveillance 2026-07-30 requested",
        "surveillance 2026-08-06 requested",
        "surveillance 2026-08-13 requested",
        "surveillance 2026-08-22 requested",
        "tcm-records 2026-07-27 requested",
        "visit 2026-07-30 requested",
    ]
    assert {t["identifier"][1]["value"].rpartition("|")[2] for t in new} == {"1"}, "generation"
    cancelled = [t for t in everything if t["status"] == "cancelled"]
    assert [due_of(t) for t in cancelled] == ["2026-07-24", "2026-07-31", "2026-08-09"]
    assert {t["statusReason"]["coding"][0]["code"] for t in cancelled} == {"readmitted"}
    counts: dict[str, int] = {}
    for task in everything:
        counts[task["status"]] = counts.get(task["status"], 0) + 1
    assert counts == {"completed": 9, "cancelled": 3, "requested": 10, "draft": 2}
    keys = [t["identifier"][1]["value"] for t in everything]
    assert len(keys) == len(set(keys)) == 24
    tell("A03 at B", "24 tasks in all: 9 completed, 3 cancelled, 10 open, 2 drafts; no duplicate.")
