"""Embedded test vectors of the protocols: what happened, and the Tasks it must make.

A vector is an extension of a PlanDefinition: lines of `given`, an instant `now`, lines
of `expect`. Given lines are words in this order (times are RFC 3339):

    born DATE                              practice none
    admitted VISIT CLASS TIME [TYPE]       registered VISIT CLASS TIME
    class VISIT CLASS TIME                 diagnosis VISIT ICD-10-CM
    discharged VISIT TIME [DISPOSITION]    discharge-cancelled VISIT TIME
    admission-cancelled VISIT TIME         died TIME
    discharge-expected VISIT TIME [DAY]
    contact TIME      attempt TIME         visit TIME       booked TIME      missed TIME
    medications TIME  summary TIME         filed Encounter VISIT CLASS TIME

An expected line is `need due-date status`. The Tasks that hold a requirement of the
protocol must be exactly the expected ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from segue.care.coordinate import coordinate
from segue.care.dates import moment_of
from segue.care.protocols import Protocols, extension, name_of, value_of
from segue.care.requirements import requirements_of
from segue.care.tasks import NEED_SYSTEM
from segue.care.view import (
    CareSetting,
    ClassPeriod,
    DeliveryReceipt,
    Evidence,
    Person,
    SiteProfile,
    Visit,
)
from segue.model.instants import Moment, microseconds
from segue.model.issues import Issue

ICD_10_CM: Final = "http://hl7.org/fhir/sid/icd-10-cm"

_NEW_YORK: Final = ZoneInfo("America/New_York")
SETTING: Final = CareSetting(
    sites={
        "hospital": SiteProfile("hospital", "Hospital", "HOSP", _NEW_YORK),
        "practice": SiteProfile("practice", "Practice", "PRAC", _NEW_YORK),
    },
    rank=("HOSP",),
    record_destinations=frozenset({"practice"}),
    destination_sites={"practice": "practice"},
)
"""The small world in which vectors play."""


@dataclass(slots=True)
class Vector:
    """One embedded test vector."""

    protocol: str
    name: str
    given: list[str]
    now: str
    expect: list[str]


def vectors(definition: Mapping[str, Any]) -> list[Vector]:
    """The test vectors of a PlanDefinition."""
    protocol = name_of(definition)
    found = []
    for one in extension(definition, "urn:segue:test-vector"):
        vector = Vector(protocol, "", [], "", [])
        for part in one["extension"]:
            value = str(value_of(part))
            match part["url"]:
                case "name":
                    vector.name = value
                case "given":
                    vector.given.append(value)
                case "expect":
                    vector.expect.append(value)
                case _:
                    vector.now = value
        found.append(vector)
    return found


def check(protocols: Protocols) -> list[Issue]:
    """Run the vectors of all protocols; an issue for each that does not hold."""
    issues = []
    for definition in protocols.definitions:
        for vector in vectors(definition):
            got = outcome(vector, protocols)
            wanted = sorted(vector.expect)
            if got != wanted:
                text = f"{vector.name}: expected {wanted or 'no tasks'}, got {got or 'no tasks'}"
                issues.append(Issue("error", "vector", vector.protocol, text))
    return issues


def outcome(vector: Vector, protocols: Protocols) -> list[str]:
    """The Tasks of the vector's protocol, as `need due-date status`, sorted.

    Raises:
        ValueError: a given line cannot be read.
    """
    scene = Scene()
    for line in vector.given:
        scene.play(line)
    care = coordinate(scene.person, moment(vector.now), SETTING, protocols)
    found = []
    for task in care.resources:
        if task["resourceType"] != "Task":
            continue
        if any(one["protocol"] == vector.protocol for one in requirements_of(task)):
            key = next(i["value"] for i in task["identifier"] if i["system"] == NEED_SYSTEM)
            due = task["restriction"]["period"]["end"][:10]
            found.append(f"{key.split('|')[-2]} {due} {task['status']}")
    return sorted(found)


def moment(text: str) -> Moment:
    """A Moment of an RFC 3339 text."""
    return Moment(text, microseconds(datetime.fromisoformat(text)))


@dataclass(slots=True)
class Scene:
    """Builds a person out of given lines."""

    person: Person = field(
        default_factory=lambda: Person("HOSP|1", "p1", "1955-02-14", practice="practice")
    )

    def play(self, line: str) -> None:
        """Let a line happen.

        Raises:
            ValueError: the line cannot be read.
        """
        verb, *words = line.split()
        handler = _VERBS.get(verb)
        if handler is None:
            raise ValueError(f"unknown verb in test vector: {line}")
        try:
            handler(self, *words)
        except (TypeError, StopIteration) as error:
            raise ValueError(f"cannot read test vector line: {line}") from error

    def visit(self, name: str) -> Visit:
        """The visit of a name."""
        return next(one for one in self.person.visits if one.key == f"HOSP|{name}")

    def born(self, day: str) -> None:
        """Set the birth date."""
        self.person.birth_date = day

    def practice(self, name: str) -> None:
        """Set the ongoing care provider, `none` for nobody."""
        self.person.practice = None if name == "none" else name

    def admitted(self, name: str, class_: str, at: str, admission: str | None = None) -> None:
        """Start a visit."""
        start = moment(at)
        self.person.visits.append(
            Visit(
                key=f"HOSP|{name}",
                encounter=f"e-{name}",
                identity="HOSP|1",
                site="hospital",
                status="in-progress",
                classes=[ClassPeriod(class_, start, None)],
                start=start,
                end=None,
                admission_type=admission,
                noticed={"admission": start.us},
                anchored={"admission": start.us},
            )
        )

    def class_(self, name: str, code: str, at: str) -> None:
        """Change the class of a visit."""
        visit, start = self.visit(name), moment(at)
        visit.classes[-1] = replace(visit.classes[-1], end=start)
        visit.classes.append(ClassPeriod(code, start, None))

    def diagnosis(self, name: str, code: str) -> None:
        """Add a diagnosis."""
        self.visit(name).diagnoses.append((ICD_10_CM, code, ""))

    def discharged(self, name: str, at: str, disposition: str | None = None) -> None:
        """End a visit."""
        visit, end = self.visit(name), moment(at)
        visit.status, visit.discharged, visit.end = "finished", True, end
        visit.disposition = disposition
        visit.classes[-1] = replace(visit.classes[-1], end=end)
        visit.noticed["discharge"] = visit.anchored["discharge"] = end.us

    def discharge_expected(self, name: str, at: str, day: str | None = None) -> None:
        """Announce the end of a visit, on a day or without one."""
        visit = self.visit(name)
        visit.noticed["expected"] = visit.anchored["expected"] = moment(at).us
        visit.expected = moment_of(day) if day is not None else None

    def discharge_cancelled(self, name: str, _at: str) -> None:
        """Take back the end of a visit."""
        visit = self.visit(name)
        visit.status, visit.discharged, visit.end = "in-progress", False, None
        visit.disposition = None
        visit.classes[-1] = replace(visit.classes[-1], end=None)
        visit.noticed.pop("discharge")
        visit.voided.append(visit.anchored.pop("discharge"))

    def admission_cancelled(self, name: str, _at: str) -> None:
        """Take back a visit."""
        self.visit(name).status = "cancelled"

    def died(self, at: str) -> None:
        """Let the person die."""
        self.person.deceased = moment(at)
        self.person.deceased_recorded = self.person.deceased.us

    def filed(self, _kind: str, name: str, class_: str, at: str) -> None:
        """The practice's record accepts the encounter."""
        reference = f"Encounter/e-{name}"
        when = moment(at).us
        self.person.receipts.append(DeliveryReceipt("practice", reference, 1, when, class_))

    def evidence(self, kind: str, at: str, **resource: Any) -> None:
        """Something that a client recorded when it happened."""
        reference = f"{kind}/{len(self.person.evidence) + 1}"
        source = "hospital" if kind == "DocumentReference" else "practice"
        body = {"resourceType": kind, **resource}
        self.person.evidence.append(Evidence(reference, 1, body, source, moment(at).us))

    def contact(self, at: str) -> None:
        """A two-way contact by the practice."""
        party = {"reference": "Patient/p1"}
        self.evidence(
            "Communication", at, status="completed", sent=at, received=at, recipient=[party]
        )

    def attempt(self, at: str) -> None:
        """A voicemail."""
        self.evidence(
            "Communication", at, status="not-done", sent=at, statusReason={"text": "voicemail"}
        )

    def seen(self, at: str) -> None:
        """A finished office visit."""
        period = {"start": at, "end": at}
        self.evidence(
            "Encounter", at, status="finished", period=period, **{"class": {"code": "AMB"}}
        )

    def booked(self, at: str) -> None:
        """An appointment at the practice."""
        self.evidence("Appointment", at, status="booked", start=at, end=at)

    def missed(self, at: str) -> None:
        """An appointment at the practice to which nobody came."""
        self.evidence("Appointment", at, status="noshow", start=at, end=at)

    def medications(self, at: str) -> None:
        """A reconciled medication list."""
        code = {"coding": [{"system": "http://loinc.org", "code": "10160-0"}]}
        self.evidence("List", at, status="current", mode="working", code=code, date=at)

    def summary(self, at: str) -> None:
        """A discharge summary."""
        code = {"coding": [{"system": "http://loinc.org", "code": "18842-5"}]}
        self.evidence("DocumentReference", at, status="current", type=code, date=at)


_VERBS: Final[dict[str, Callable[..., None]]] = {
    "born": Scene.born,
    "practice": Scene.practice,
    "admitted": Scene.admitted,
    "registered": Scene.admitted,
    "class": Scene.class_,
    "diagnosis": Scene.diagnosis,
    "discharged": Scene.discharged,
    "discharge-cancelled": Scene.discharge_cancelled,
    "admission-cancelled": Scene.admission_cancelled,
    "died": Scene.died,
    "filed": Scene.filed,
    "contact": Scene.contact,
    "attempt": Scene.attempt,
    "visit": Scene.seen,
    "booked": Scene.booked,
    "missed": Scene.missed,
    "discharge-expected": Scene.discharge_expected,
    "medications": Scene.medications,
    "summary": Scene.summary,
}
