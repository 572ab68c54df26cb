"""Which segments belong together: patients, their visits, their insurances.

A tolerant reading by position, not by a grammar: real messages put segments where
they like, but an NK1 or a ROL after PV1 or IN1 never means the one after PID.

Source: HL7 v2.5.1 chapter 3, message structures ADT_A01 to ADT_A61.
"""

from typing import Final, Literal, NamedTuple

from segue.hl7v2.message import Message, Segment

Section = Literal["patient", "visit", "procedure", "insurance"]
"""Whose participants and notes the following segments hold."""

_OPENS: dict[str, Section] = {
    "PID": "patient",
    "PD1": "patient",
    "MRG": "patient",
    "PV1": "visit",
    "PV2": "visit",
    "PR1": "procedure",
    "IN1": "insurance",
    "IN2": "insurance",
    "IN3": "insurance",
}
# After a procedure or an insurance these speak of the visit again.
_VISIT_AGAIN = frozenset(("DB1", "AL1", "IAM", "DG1", "DRG", "GT1", "ACC", "UB1", "UB2", "PDA"))
_HEADER = frozenset(("MSH", "SFT", "UAC", "EVN", "BHS", "FHS", "DSC"))

REPEATS: Final = {"ADT_A45": "MRG"}
"""Structures that repeat a group within one patient, and the segment that opens it."""

SHARES: Final = {"SIU": frozenset(("RGS", "AIS", "AIG", "AIL", "AIP"))}
"""Message types in which several patients share what stands before the first and, from one
of these segments on, what stands after the last: one appointment."""


class Placed(NamedTuple):
    """A segment and the section it stands in."""

    section: Section
    segment: Segment


class PatientGroup:
    """The segments of one patient: from PID to the next PID.

    Attributes:
        pid: None only for a message without PID.
        segments: in order, the PID among them.
    """

    __slots__ = ("_placed", "pid", "segments")

    def __init__(self, pid: Segment | None, segments: list[Segment]) -> None:
        self.pid = pid
        self.segments = segments
        self._placed: list[Placed] | None = None

    @property
    def placed(self) -> list[Placed]:
        """The segments with the sections they stand in."""
        if self._placed is None:
            self._placed = []
            section: Section = "patient"
            for segment in self.segments:
                name = segment.name
                if name in _OPENS:
                    section = _OPENS[name]
                elif name in _VISIT_AGAIN and section in ("procedure", "insurance"):
                    section = "visit"
                self._placed.append(Placed(section, segment))
        return self._placed

    def first(self, name: str) -> Segment | None:
        """The first segment of that name in this group."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        return None

    def all(self, name: str, section: Section | None = None) -> list[Segment]:
        """The segments of that name, of one section if given."""
        if section is None:
            return [segment for segment in self.segments if segment.name == name]
        return [s.segment for s in self.placed if s.segment.name == name and s.section == section]

    def section_of(self, segment: Segment) -> Section:
        """The section that a segment of this group stands in."""
        first = self.segments[0].index
        if self.segments[-1].index - first + 1 == len(self.segments):
            return self.placed[segment.index - first].section
        return next(s.section for s in self.placed if s.segment is segment)

    def followers(self, anchor: Segment, *names: str) -> list[Segment]:
        """What belongs to `anchor`: the IN2 and IN3 of an IN1, the NTE of an OBX.

        Segments of those names after it, up to the next one that is named as it.
        """
        out: list[Segment] = []
        for segment in self.segments:
            if segment.index <= anchor.index:
                continue
            if segment.name == anchor.name:
                break
            if segment.name in names:
                out.append(segment)
        return out


def groups(message: Message) -> list[PatientGroup]:
    r"""Take a message apart by patient: two in A17 and A24, any number in A40.

    In a structure of `REPEATS` (A45) each repetition is a group of its own, with what
    the patient says before the first. Header segments belong to nobody. What stands
    before the first PID (an NTE, an NPU of A20) goes to its group, in a type of `SHARES`
    to all; without any PID there is one group whose `pid` is None, or none where there
    is nothing but headers.

    >>> m = Message(["MSH|^~\\&", "PID|1||A", "MRG|B", "PID|2||C", "MRG|D"])
    >>> [(group.pid.raw(3), group.first("MRG").raw(1)) for group in groups(m)]
    [('A', 'B'), ('C', 'D')]
    """
    body = [segment for segment in message.segments if segment.name not in _HEADER]
    if not body:
        return []
    found = _by_patient(message, body)
    opening = REPEATS.get(message.structure)
    return found if opening is None else [part for one in found for part in _parts(one, opening)]


def _parts(group: PatientGroup, opening: str) -> list[PatientGroup]:
    places = [n for n, segment in enumerate(group.segments) if segment.name == opening]
    if len(places) <= 1:
        return [group]
    head, segments = group.segments[: places[0]], group.segments
    ends = [*places[1:], len(segments)]
    return [
        PatientGroup(group.pid, head + segments[begin:end])
        for begin, end in zip(places, ends, strict=True)
    ]


def _by_patient(message: Message, body: list[Segment]) -> list[PatientGroup]:
    patients = message.all("PID")
    if len(patients) <= 1:
        return [PatientGroup(patients[0] if patients else None, body)]
    out: list[PatientGroup] = []
    before: list[Segment] = []
    after: list[Segment] = []
    shared = SHARES.get(message.type)
    if shared:
        last = body.index(patients[-1])
        ends = (n for n, s in enumerate(body) if n > last and s.name in shared)
        end = next(ends, len(body))
        body, after = body[:end], body[end:]
    for segment in body:
        if segment.name == "PID":
            out.append(PatientGroup(segment, [*before, segment]))
            if not shared:
                before = []
        elif out:
            out[-1].segments.append(segment)
        else:
            before.append(segment)
    for group in out:
        group.segments += after
    return out
