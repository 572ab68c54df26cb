"""What a mapping is told from outside, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from segue.model.facts import Fact, Fragment
from segue.model.instants import Moment
from segue.model.issues import Issue

UnknownVisit = Literal["create", "park", "reject"]
"""`create`: the visit is inferred; `park`: it waits for the visit's start; `reject`: nothing
of it is applied."""

PART2 = "42CFRPart2"
"""Security label (v3-ActCode) of substance use disorder records."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteRules:
    """The site that speaks, as configured.

    Attributes:
        authority: assigner of identifiers that name none.
        system: identifier system of that authority.
        zone: IANA zone of times without an offset.
        links_by: identifier types that identify a person across authorities.
        practices: PD1-3 or PD1-4 id to destination of the ongoing care provider.
        systems: identifier systems of all configured authorities.
        a37_unmerges: whether an unlink (A37) also undoes merges of the same two.
        unknown_visit: what becomes of an update of a visit that nothing has started.
    """

    name: str
    authority: str
    system: str = ""
    zone: ZoneInfo | None = None
    links_by: tuple[str, ...] = ("MR", "PI")
    practices: Mapping[str, str] = field(default_factory=dict)
    systems: Mapping[str, str] = field(default_factory=dict)
    a37_unmerges: bool = False
    unknown_visit: UnknownVisit = "create"


@dataclass(frozen=True, slots=True)
class Context:
    """Where and when a message came in.

    Attributes:
        received: arrival, microseconds UTC.
        history: the feed only fills the index.
        part2: `all`, `none`, or the points of care (PV1-3.1) under 42 CFR Part 2.
        digest: SHA-256 of the payload, hexadecimal; "" computes it from the text.
        sender: `MSH-3|MSH-4`; "" takes it from the message, else the feed.
    """

    site: SiteRules
    feed: str
    received: int
    history: bool = False
    part2: Literal["all", "none"] | frozenset[str] = "none"
    digest: str = ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a rule did, for `segue map explain`.

    Attributes:
        field: `PV1-2`; number: which segment of that name, from 1.
        raw: the field as sent.
        rule: `core/PV1_Encounter.class`; file, line: where it is written.
        verb: `through HL70004_ActCode`.
        resource: `Encounter/<id>`; element: the element that it filled.
        value: what it put there; None: deleted.
    """

    field: str
    number: int
    raw: str
    rule: str
    file: str
    line: int
    verb: str
    resource: str
    element: str
    value: Any


class Wanted(NamedTuple):
    """A code that a table lacks and a person must add.

    Attributes:
        field: where it was sent, `PV1-36`; rule: that met it.
    """

    table: str
    code: str
    field: str
    rule: str


@dataclass(slots=True)
class Mapped:
    """What a message says.

    Attributes:
        directory: Practitioner, PractitionerRole, Organization, Location; whole.
        verbatim: name and value of populated fields that no rule read, `PV1-37`;
            `ZPD[2]-3` in the second segment of the name; whole fields, too, of whose
            repetitions FHIR has room for one only. For Provenance; patient data:
            never in lists or logs.
        wanted: codes that a person must add.
        mapping: digest of the mapping set.
        recorded: when it was said, of what speaks of no patient (A20).
        making: gives `provenance`.
        trace: only when asked for.
    """

    facts: list[Fact] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    directory: list[Fragment] = field(default_factory=list)
    verbatim: dict[str, str] = field(default_factory=dict)
    wanted: list[Wanted] = field(default_factory=list)
    mapping: str = ""
    recorded: Moment | None = None
    making: Callable[[], dict[str, Any]] = field(default=dict, compare=False, repr=False)
    trace: list[Step] | None = None

    @property
    def unmapped(self) -> list[str]:
        """Names of populated fields that no rule read, without numbers, in order."""
        names = (name.rpartition("-") for name in self.verbatim)
        return list(dict.fromkeys(f"{place.partition('[')[0]}-{n}" for place, _, n in names))

    @property
    def provenance(self) -> dict[str, Any]:
        """What is said of the making.

        `control_id`, `application`, `facility`, `event`, `structure`, `recorded`,
        `occurred`, `reason`, `operator` (a Reference), `mapping`.
        """
        return self.making()
