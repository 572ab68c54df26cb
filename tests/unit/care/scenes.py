"""The cast of the stories as folded persons, built step by step."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from segue.care import protocols
from segue.care.coordinate import coordinate
from segue.care.invariants import check
from segue.care.requirements import requirements_of
from segue.care.view import (
    CareSetting,
    ClassPeriod,
    DeliveryReceipt,
    Evidence,
    Person,
    SiteProfile,
    TaskStatement,
    Visit,
)
from segue.model.instants import Moment, microseconds
from segue.settings.sections import PROTOCOLS as IN_FORCE

PROFILES = Path(__file__).parents[3] / "fhir_profiles"
ALL = protocols.load(PROFILES)
PROTOCOLS = ALL.in_force(IN_FORCE)
NEW_YORK = ZoneInfo("America/New_York")
ICD = "http://hl7.org/fhir/sid/icd-10-cm"

SETTING = CareSetting(
    sites={
        "hospa": SiteProfile("hospa", "Hospital A", "HOSPA", NEW_YORK, practices={"PCPB": "pcpb"}),
        "hospb": SiteProfile("hospb", "Hospital B", "HOSPB", NEW_YORK, practices={"PCPB": "pcpb"}),
        "pcpb": SiteProfile("pcpb", "Practice B", "PCPB", NEW_YORK),
        "payx": SiteProfile("payx", "Payer X", "PAYX", NEW_YORK),
    },
    rank=("HOSPA", "HOSPB"),
    record_destinations=frozenset({"pcpb"}),
    destination_sites={"pcpb": "pcpb", "payx": "payx"},
)


def at(text, year=2026):
    """`07-05 13:40` in New York as a Moment."""
    day, _, time = text.partition(" ")
    naive = datetime.fromisoformat(f"{year}-{day}T{time or '00:00'}")
    local = naive.replace(tzinfo=NEW_YORK)
    return Moment(local.isoformat(), microseconds(local))


def us(text):
    return at(text).us


def utc(text):
    return (
        datetime.fromtimestamp(us(text) / 1e6, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def primed(deceased=None):
    """P1 as PCPB's history left them: two ED visits, one admission, diabetes."""
    person = Person(
        key="HOSPA|100234",
        patient="patient-1",
        birth_date="1955-02-14",
        deceased=deceased,
        practice="pcpb",
        practice_id="PCPB",
    )
    for n, (code, start, end, year) in enumerate(
        [
            ("EMER", "02-11 10:00", "02-11 14:00", 2026),
            ("EMER", "04-20 10:00", "04-20 14:00", 2026),
            ("IMP", "11-03 10:00", "11-06 14:00", 2025),
        ]
    ):
        begun, ended = at(start, year), at(end, year)
        person.visits.append(
            Visit(
                f"Encounter/h{n}",
                f"h{n}",
                person.key,
                "pcpb",
                "finished",
                [ClassPeriod(code, begun, ended)],
                begun,
                ended,
                discharged=True,
                history=True,
                client=True,
            )
        )
    condition = {
        "resourceType": "Condition",
        "id": "c1",
        "code": {"coding": [{"system": ICD, "code": "E11.9"}]},
    }
    person.evidence.append(
        Evidence("Condition/c1", 1, condition, "pcpb", us("01-02 10:00"), history=True)
    )
    return person


def admit(
    person, key, start, code="IMP", site="hospa", kind="E", diagnoses=("I50.23",), noticed=None
):
    begun = at(start)
    visit = Visit(
        key,
        "enc-" + key.rpartition("|")[2],
        person.key,
        site,
        "in-progress",
        [ClassPeriod(code, begun, None)],
        begun,
        None,
        admission_type=kind,
        diagnoses=[(ICD, one, "") for one in diagnoses],
        noticed={"admission": noticed or begun.us},
        anchored={"admission": begun.us},
    )
    person.visits.append(visit)
    return visit


def change_class(visit, code, when):
    begun = at(when)
    visit.classes[-1] = replace(visit.classes[-1], end=begun)
    visit.classes.append(ClassPeriod(code, begun, None))
    visit.noticed["admission"] = visit.anchored["admission"] = begun.us


def discharge(visit, when, disposition="01", arrived=None, recorded=None):
    end = at(when)
    visit.status, visit.discharged, visit.end, visit.disposition = (
        "finished",
        True,
        end,
        disposition,
    )
    visit.classes[-1] = replace(visit.classes[-1], end=end)
    visit.anchored["discharge"] = us(recorded) if recorded else end.us
    visit.noticed["discharge"] = us(arrived) if arrived else end.us


def cancel_discharge(visit):
    visit.voided.append(visit.anchored.pop("discharge"))
    visit.noticed.pop("discharge")
    visit.status, visit.discharged, visit.end, visit.disposition = "in-progress", False, None, None
    visit.classes[-1] = replace(visit.classes[-1], end=None)


def evidence(person, reference, source, when, /, **body):
    kind = reference.partition("/")[0]
    if "class_" in body:
        body["class"] = {"code": body.pop("class_")}
    known = [one.version for one in person.evidence if one.reference == reference]
    person.evidence.append(
        Evidence(
            reference, max(known, default=0) + 1, {"resourceType": kind, **body}, source, us(when)
        )
    )


def call(person, reference, when, source="pcpb", **more):
    body = {
        "status": "completed",
        "sent": at(when).text,
        "received": at(when).text,
        "recipient": [{"reference": "Patient/patient-1"}],
        **more,
    }
    evidence(person, reference, source, when, **body)


def voicemail(person, reference, when):
    body = {"status": "not-done", "statusReason": {"text": "voicemail"}, "sent": at(when).text}
    evidence(person, reference, "pcpb", when, **body)


def state(person, task, when, source, **elements):
    person.statements.append(TaskStatement(task["id"], elements, source, us(when)))


def output(reference):
    return [{"type": {"text": "evidence"}, "valueReference": {"reference": reference}}]


def receipt(person, reference, when, destination="pcpb", **what):
    person.receipts.append(DeliveryReceipt(destination, reference, 1, us(when), **what))


class View:
    """What coordination yields, with the questions that tests ask."""

    def __init__(self, person, now, setting=SETTING, protocols=PROTOCOLS):
        self.care = coordinate(person, at(now), setting, protocols)
        self.resources = self.care.resources
        broken = check(self.resources)
        assert broken == [], broken

    def of(self, kind):
        return [one for one in self.resources if one["resourceType"] == kind]

    @property
    def tasks(self):
        return self.of("Task")

    def task(self, need, visit="HOSPA|V78421", generation=1):
        return next(t for t in self.tasks if key(t) == f"{visit}|{need}|{generation}")

    def summary(self, visit=None):
        """Need to (due, status[, reason])."""
        found = {}
        for task in self.tasks:
            of_visit, need, _ = key(task).rsplit("|", 2)
            if visit is None or of_visit == visit:
                entry = (due(task), task["status"])
                found[need] = (*entry, reason(task)) if reason(task) else entry
        return found

    def open(self):
        ended = {"completed", "cancelled", "failed", "rejected"}
        return [t for t in self.tasks if t["status"] not in ended]


def key(task):
    return next(i["value"] for i in task["identifier"] if i["system"] == "urn:segue:need")


def need_of(task):
    return key(task).split("|")[-2]


def due(task):
    end = task["restriction"]["period"]["end"]
    assert end[10:19] == "T23:59:59" or need_of(task) in {"fix-disposition", "schedule-visit"}, end
    return end[5:10]


def reason(task):
    return task.get("statusReason", {}).get("coding", [{}])[0].get("code")


def business(task):
    return task.get("businessStatus", {}).get("coding", [{}])[0].get("code")


def inputs(task, code):
    found = [i for i in task["input"] if i["type"]["coding"][0]["code"] == code]
    return [next(v for k, v in i.items() if k.startswith("value")) for i in found]


def requirement(task, action):
    return next(r for r in requirements_of(task) if r["action"] == action)


def outputs(task):
    return [
        (
            o["type"].get("coding", [{"code": "text"}])[0]["code"],
            o.get("valueReference", {}).get("reference") or o.get("valueInstant"),
        )
        for o in task.get("output", ())
    ]
