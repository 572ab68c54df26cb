"""What the fold keeps between messages: plain values that encode as MessagePack.

A state is a function of a set of facts. It holds all that is needed to add the next
fact where that is the newest one, and nothing that depends on the order of arrival.
"""

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

from segue.care.numbers import Renamed
from segue.care.view import DeliveryReceipt, Evidence, TaskStatement
from segue.model.instants import Moment

Run = tuple[Any, Moment | None, Moment | None]
"""A value and the stretch in which it was in force: (value, start, end)."""

Stamp = tuple[int, int, int]
"""When a source first said what it still says: (recorded µs, sent µs, rank)."""


Undone = tuple[int, Moment, str | None, int]
"""A cancelled discharge: recorded µs, end, disposition, and µs of the cancel."""


@dataclass(slots=True)
class VisitState:
    """One visit, folded.

    Attributes:
        key: `authority|visit number`; "" while nothing about a visit is known.
        encounter: id of its Encounter.
        identity: source identity of the patient; site: who spoke last of the visit.
        status: Encounter.status; "" where no fact makes a visit.
        inferred: no admission or registration is in force, other events speak of it.
        start: period.start; end: period.end while a discharge is in force.
        corrected: whether `start` is a later correction of what the start said.
        starts: µs of all starts of visit and class that were stated.
        statuses: all statuses with their periods, struck ones too; the last is open.
        tracks: `class`, `location#…`, `participant#…` to their runs in order.
        fallback: the class where no class is in force (a cancelled visit).
        elements: what else is said of the Encounter, by element path.
        others: `Type/id` to the elements of another resource of the visit.
        disposition: PV1-36 as sent while it may hold; service: PV1-10;
            admission_type: PV1-4.
        voided: recorded µs of each discharge that was cancelled.
        struck: ids of the facts that cancels struck out.
        undone: what each discharge said that was cancelled, in the order of `voided`.
        noticed: `admission`, `expected` (the discharge, A16), `discharge` to the earliest
            arrival (µs) of what says so;
            anchored: the same of the earliest recorded instant (µs).
        newest: (µs, MSH-7 µs) of the last thing that occurred; told: of the last
            thing recorded.
        window: first and last µs of the time that the visit is open by the messages
            that carry its number, None where it never is; last 0: still open.
        loose: ids of facts without a visit number that were found to belong here.
        warnings: (code, fact id), sorted.
        history: every fact comes from a source that only fills the index.
        labels: security labels of the facts, sorted.
        numbers: other numbers that messages gave to this visit, sorted.
        pending: places of a transfer that is announced (A15) and has not happened.
        listed: by source and segment what the last whole list held.
    """

    key: str = ""
    encounter: str = ""
    identity: str = ""
    site: str = ""
    status: str = ""
    inferred: bool = False
    start: Moment | None = None
    end: Moment | None = None
    corrected: bool = False
    starts: list[int] = field(default_factory=list)
    statuses: list[Run] = field(default_factory=list)
    tracks: dict[str, list[Run]] = field(default_factory=dict)
    fallback: dict[str, Any] | None = None
    elements: dict[str, Any] = field(default_factory=dict)
    others: dict[str, dict[str, Any]] = field(default_factory=dict)
    disposition: str | None = None
    admission_type: str | None = None
    service: str | None = None
    voided: list[int] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    undone: list[Undone] = field(default_factory=list)
    noticed: dict[str, int] = field(default_factory=dict)
    anchored: dict[str, int] = field(default_factory=dict)
    newest: tuple[int, int] = (0, 0)
    told: tuple[int, int] = (0, 0)
    window: tuple[int, int] | None = None
    loose: list[str] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    history: bool = True
    labels: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    pending: list[Any] = field(default_factory=list)
    listed: dict[str, list[str]] = field(default_factory=dict)

    @property
    def discharged(self) -> bool:
        """Whether a discharge is in force."""
        return self.status == "finished"

    def copy(self) -> "VisitState":
        """A copy that shares all values: `dataclasses.replace` costs four times as much."""
        return VisitState(*_fields_of_visit(self))


_fields_of_visit = attrgetter(*(one.name for one in fields(VisitState)))


@dataclass(slots=True)
class VisitSummary:
    """What a person's state keeps of each visit.

    Attributes:
        window: see `VisitState.window`.
        died: end of a visit whose discharge in force says that the patient died.
        struck: ids of the facts that cancels struck out.
        loose: ids of facts without a visit number that the visit was folded with.
    """

    encounter: str
    site: str
    status: str
    window: tuple[int, int] | None = None
    died: Moment | None = None
    struck: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Told:
    """What one source said of a person.

    A site's statements under a security label count as a source of their own.

    Attributes:
        site: the site that speaks; labels: security labels of these statements.
        newest: (recorded µs, MSH-7 µs) of the last statement.
        resources: `Patient`, or `Type/id` of another resource, to groups of elements
            that were first said, as they still are, in the same statement.
        cleared: stamp of the last denial of death.
        listed: by identity and segment what the last whole list held.
    """

    site: str
    labels: list[str] = field(default_factory=list)
    newest: tuple[int, int] = (0, 0)
    resources: dict[str, list[tuple[Stamp, dict[str, Any]]]] = field(default_factory=dict)
    cleared: Stamp | None = None
    listed: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Death:
    """One statement that the patient died.

    Attributes:
        site: who said so; fact: in which fact: it falls where that is struck out.
        at: instant or date of death, None where only the fact is known.
        cancel: said by a cancel, which repeats what it cancels and adds nothing.
    """

    site: str
    fact: str
    stamp: Stamp
    at: Moment | None = None
    cancel: bool = False


@dataclass(slots=True)
class SourcePatient:
    """A source identity: a patient as one authority knows it.

    Attributes:
        id: of the Patient resource of this identity.
        first: earliest recorded µs at which it was heard of.
        identifier: FHIR Identifier, None while it is only known by name.
        stated: the id was given by a client's own Patient.
    """

    id: str
    first: int
    identifier: dict[str, Any] | None = None
    stated: bool = False


@dataclass(slots=True)
class Edge:
    """An event that joins two identities, or parts them.

    Attributes:
        kind: `merge`, `change`, `link`, `move`, `unlink`, `unmerge`, or `visit`, which
            moves a visit and joins nobody.
        gone: of a merge, change or move, the identity that goes; else one of the two.
    """

    stamp: Stamp
    kind: str
    gone: str
    kept: str
    fact: str


@dataclass(slots=True)
class PersonState:
    """One person, folded, without the visits' own states.

    Attributes:
        key: the surviving source identity; patient: id of its Patient.
        replaced: other source identities with a Patient of their own, to the
            identity that took their place.
        identities: every identity that names this person, sorted.
        patients: the source identities.
        links: pairs of identities that one message gave to the same person, sorted.
        edges: all that joins or parts identities, in the order it was recorded.
        sources: what each source said, by site (and security labels).
        deaths: statements of death, in the order they were recorded.
        deleted: source identities whose record its authority deleted (A29), sorted.
        newest: (recorded µs, MSH-7 µs) of the last statement of any source.
        visits: summary of each visit by its key.
        loose: id of each fact about a visit without number, to (site, occurred µs).
        renamed: changes of visit numbers, see `segue.care.numbers`.
        evidence, statements, receipts: what protocols see beside the fold.
    """

    key: str = ""
    patient: str = ""
    replaced: dict[str, str] = field(default_factory=dict)
    identities: list[str] = field(default_factory=list)
    patients: dict[str, SourcePatient] = field(default_factory=dict)
    links: list[tuple[str, str]] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    sources: dict[str, Told] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    newest: tuple[int, int] = (0, 0)
    visits: dict[str, VisitSummary] = field(default_factory=dict)
    loose: dict[str, tuple[str, int]] = field(default_factory=dict)
    renamed: list[Renamed] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    statements: list[TaskStatement] = field(default_factory=list)
    receipts: list[DeliveryReceipt] = field(default_factory=list)

    def copy(self) -> "PersonState":
        """A copy that shares all values."""
        return PersonState(*_fields_of_person(self))


_fields_of_person = attrgetter(*(one.name for one in fields(PersonState)))
