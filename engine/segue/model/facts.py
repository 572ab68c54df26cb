"""Facts: what one source said, about whom, and for which time.

A fact is never changed. All that Segue stores of kind `fold` is a function of the
set of facts, whatever their order of arrival.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from segue.model.instants import Moment

Scope = Literal["person", "visit", "directory"]


@dataclass(slots=True)
class Fragment:
    """What a message says about one resource.

    Attributes:
        type: FHIR resource type.
        id: logical id; of a Patient, that of the *source* identity;
            of an Encounter without a visit number, "".
        scope: whose the resource is. `directory` fragments are whole resources
            that belong to nobody.
        elements: element path to value. A path is the rule's `to`, dotted for
            nested elements (`period.start`, `hospitalization.dischargeDisposition`).
            A value that is added to a list has the key `path#label` and is a list
            of items; equal labels replace each other, different labels add up, and
            labels are shown in sorted order. `None` stands for an HL7 null: delete.
            References to the patient and to the encounter (`subject`, `patient`,
            `beneficiary`, `encounter`, …) are left out: the fold adds them.
    """

    type: str
    id: str
    scope: Scope
    elements: dict[str, Any]


@dataclass(slots=True)
class Fact:
    """One event of one source about one patient (and one visit).

    Attributes:
        id: stable over replays: hash of (sender, control id, content hash, ordinal).
        site: the site that speaks.
        authority: its assigning authority, also its rank key.
        control_id: MSH-10.
        digest: SHA-256 of the payload, hexadecimal.
        event: ADT trigger event, `A01`; of other inputs a word, `statement`.
        occurred: when it happened; orders movements.
        recorded: when it was written down; orders statements.
        sent: MSH-7.
        received: arrival, microseconds UTC; never part of the canonical form.
        targets: EVN-6 of a cancel: when the event that it cancels happened.
        identity: the source identity, `HOSPA|100234`.
        links: all identities that name the same person, `identity` among them.
        prior: MRG-1 of a merge or change: the identity that goes.
        visit: `HOSPA|V78421`; None where no number was sent.
        about_visit: whether the event speaks of a visit at all (A31 does not).
        person: Patient and person-scoped fragments; the Patient's comes first.
        stay: visit-scoped fragments; the Encounter's comes first.
        details: what the fold needs as sent, not as FHIR: keys `class` (PV1-2),
            `admission_type` (PV1-4), `service` (PV1-10), `disposition` (PV1-36),
            `admitted` and `discharged` (Moments of PV1-44, PV1-45), `practice`
            (PD1-3 or PD1-4 id), `deceased` (`Y`, `N`, or "" for null),
            `place` (PV1-3 as sent, without bed status), `movement` (ZBE-1),
            `corrects` (ZBE-4 says that it takes the place of what was said of the
            movement), `historic` (ZBE-5: the visit is not like this any more),
            `listed` (see `segue.care.listed`), `awaits_start` (its site wants it to wait
            until an event has started the visit).
        history: from a feed or bundle that only fills the index.
        labels: security label codes (`42CFRPart2`, `R` …) of the source.
        mapping: digest of the mapping set that made it.
        rules: ordinals of the rules that fired.
    """

    id: str
    site: str
    authority: str
    control_id: str
    digest: str
    event: str
    occurred: Moment
    recorded: Moment
    sent: Moment
    received: int
    identity: str
    links: list[str]
    targets: Moment | None = None
    prior: str | None = None
    visit: str | None = None
    about_visit: bool = False
    person: list[Fragment] = field(default_factory=list)
    stay: list[Fragment] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    history: bool = False
    labels: list[str] = field(default_factory=list)
    mapping: str = ""
    rules: list[int] = field(default_factory=list)
