"""The person as protocols see them: what the fold hands to coordination.

Plain values only. Everything here is a function of the person's facts, so that
plans and tasks are one too.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from segue.model.instants import Moment


@dataclass(frozen=True, slots=True)
class ClassPeriod:
    """A stretch of a visit under one class (ActEncounterCode)."""

    code: str
    start: Moment
    end: Moment | None


@dataclass(frozen=True, slots=True)
class VoidedDischarge:
    """A discharge that was cancelled: what it said, and from when to when it held.

    A discharge that was resent or restated before its cancel is one discharge.

    Attributes:
        recorded: µs, when it was recorded; the same value stands in `Visit.voided`.
        end: the time of discharge that it stated.
        disposition: PV1-36 that it stated, None when blank.
        cancelled: µs, when the cancel was recorded.
    """

    recorded: int
    end: Moment
    disposition: str | None
    cancelled: int


@dataclass(slots=True)
class Visit:
    """One visit after the fold.

    Attributes:
        key: `authority|visit number`; for a client's Encounter, `Encounter/<id>`.
        encounter: id of the hub's Encounter.
        identity: source identity of the patient in this visit.
        site: the site whose visit it is.
        status: Encounter.status.
        classes: class periods in order; the last one may be open.
        start: period.start. end: period.end while a discharge is in force.
        disposition: PV1-36 as sent, padded to two digits; None when blank.
        discharged: whether a discharge is in force.
        diagnoses: (system, code, display) of DG1 / Encounter.diagnosis.
        conditions: references of the Conditions made of the diagnoses; where there
            are none, coordination makes one for the reason of admission.
        voided: recorded instants (µs) of discharges that were cancelled, one for each
            discharge however often it was resent.
        struck: the same discharges with what they said; may be empty.
        noticed: earliest arrival (µs) among the entries that justify each anchor,
            keys `admission`, `expected` (a discharge is announced), `discharge`.
        anchored: earliest *recorded* (µs) of the same, same keys.
        planned: status planned (A05, A14).
        client: known only from a FHIR source's Encounter.
        practitioners: references of participants, newest last.
        expected: when the discharge is expected (PV2-9), None where nobody says.
        numbers: keys that messages gave to the visit beside its own.
        leaves: leaves of absence, from and until; the last one may be open.
    """

    key: str
    encounter: str
    identity: str
    site: str
    status: str
    classes: list[ClassPeriod]
    start: Moment | None
    end: Moment | None
    discharged: bool = False
    disposition: str | None = None
    admission_type: str | None = None
    service: str | None = None
    diagnoses: list[tuple[str, str, str]] = field(default_factory=list)
    reason: str | None = None
    voided: list[int] = field(default_factory=list)
    noticed: dict[str, int] = field(default_factory=dict)
    anchored: dict[str, int] = field(default_factory=dict)
    history: bool = False
    labels: list[str] = field(default_factory=list)
    client: bool = False
    practitioners: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    struck: list[VoidedDischarge] = field(default_factory=list)
    expected: Moment | None = None
    numbers: list[str] = field(default_factory=list)
    leaves: list[tuple[Moment, Moment | None]] = field(default_factory=list)


@dataclass(slots=True)
class Evidence:
    """A client's resource that may close a task, or a fact that feeds a score.

    Attributes:
        reference: `Communication/abc`; version: of the stored resource.
        resource: its parsed body.
        source: the site that posted it; recorded: µs of the commit's instant.
    """

    reference: str
    version: int
    resource: dict[str, Any]
    source: str
    recorded: int
    history: bool = False


@dataclass(slots=True)
class TaskStatement:
    """What an owner said about one of the hub's Tasks.

    Attributes:
        task: id of the Task.
        elements: top-level elements that the write changed, new values
            (`status`, `businessStatus`, `statusReason`, `owner`, `output`, `note`,
            `executionPeriod`).
    """

    task: str
    elements: dict[str, Any]
    source: str
    recorded: int


@dataclass(slots=True)
class DeliveryReceipt:
    """A destination with `receipt: record` filed something in its record.

    Attributes:
        reference: the resource that was filed; version: of it.
        at: µs of the peer's answer.
        class_code: Encounter.class of what was filed, for an Encounter.
        type_code: code of DocumentReference.type, for a document.
    """

    destination: str
    reference: str
    version: int
    at: int
    class_code: str | None = None
    type_code: str | None = None


@dataclass(slots=True)
class Person:
    """One person, folded: input of `care.coordinate`.

    Attributes:
        key: the surviving source identity; patient: id of its Patient.
        deceased: instant or date of death, `Moment("", 0)` where only the fact is
            known, None while alive.
        deceased_recorded: µs, when death was first recorded (EVN-2), None if unknown.
        practice: destination name of the ongoing care provider, None if unknown;
            practice_id: the identifier sent for it (PD1-3).
    """

    key: str
    patient: str
    birth_date: str | None = None
    deceased: Moment | None = None
    practice: str | None = None
    practice_id: str | None = None
    visits: list[Visit] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    statements: list[TaskStatement] = field(default_factory=list)
    receipts: list[DeliveryReceipt] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    deceased_recorded: int | None = None


@dataclass(frozen=True, slots=True)
class SiteProfile:
    """What the care floor must know of a site.

    Attributes:
        zone: IANA zone; None: dates are taken as sent.
        lag: how long after a hard clock's due its evidence may still arrive.
        practices: PD1-3/PD1-4 id to destination name.
    """

    name: str
    title: str
    authority: str
    zone: ZoneInfo | None
    lag: timedelta = timedelta(hours=72)
    practices: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CareSetting:
    """The configuration that care is a function of.

    Attributes:
        sites: by name. rank: authorities, highest first.
        record_destinations: destinations configured `receipt: record`.
        destination_sites: destination name to the site it belongs to.
    """

    sites: dict[str, SiteProfile]
    rank: tuple[str, ...] = ()
    record_destinations: frozenset[str] = frozenset()
    destination_sites: dict[str, str] = field(default_factory=dict)
