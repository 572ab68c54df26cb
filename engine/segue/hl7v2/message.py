"""A message that is split only where somebody looks.

A value has three states: absent (`None`), null (`NULL`, sent as two quotation marks:
delete what you hold) and a text.

Source: HL7 v2.5.1 sections 2.5 (message construction) and 2.6 (null value).
"""

from functools import lru_cache
from typing import ClassVar

from segue.hl7v2.escapes import unescape
from segue.hl7v2.events import Trigger, identify
from segue.hl7v2.paths import COMPILED, compile_path
from segue.hl7v2.separators import NULL, STANDARD, Separators
from segue.model.issues import Issue

__all__ = ["NULL", "Message", "Segment"]

_HEADERS = frozenset(("MSH", "BHS", "FHS"))


class Segment:
    """One segment.

    Attributes:
        name: `PV1`.
        index: place in the message, from 0.
        line: the whole segment as it stands.
        separators: those of its message.
        split: what `fields` holds once somebody asked for it.
    """

    __slots__ = ("index", "line", "name", "separators", "split")

    named: ClassVar[None] = None  # so that a path can be asked of a segment, too
    charset: ClassVar[str] = "utf-8"

    def __init__(self, line: str, index: int, separators: Separators) -> None:
        self.name = line[:3]
        self.index = index
        self.line = line
        self.separators = separators
        self.split: list[str] | None = None

    @property
    def fields(self) -> list[str]:
        """Raw field texts, `fields[n]` is field n; of MSH, 1 is the field separator."""
        split = self.split
        if split is None:
            split = self.line.split(self.separators.field)
            if self.name in _HEADERS:
                split.insert(1, self.separators.field)
            self.split = split
        return split

    def raw(self, n: int) -> str:
        """Field n as it stands, "" where the segment is shorter."""
        fields = self.fields
        return fields[n] if n < len(fields) else ""

    def repetitions(self, n: int) -> list[str]:
        """The raw repetitions of field n; none where it is empty."""
        raw = self.raw(n)
        if not raw:
            return []
        if n <= 2 and self.name in _HEADERS:
            return [raw]
        return raw.split(self.separators.repetition)

    def __repr__(self) -> str:
        return f"<Segment {self.index} {self.name}>"


class Message:
    """An HL7 v2 message; do not change what you read from it.

    Attributes:
        separators: as declared, or as assumed with a warning.
        segments: in order.
        named: segments by name, in order.
        issues: what had to be repaired.
        charset: the Python codec that it was decoded with.
        trigger: type, event and structure (MSH-9, EVN-1).
    """

    __slots__ = ("charset", "issues", "named", "segments", "separators", "trigger")

    def __init__(
        self,
        lines: list[str],
        separators: Separators = STANDARD,
        charset: str = "utf-8",
        issues: list[Issue] | None = None,
    ) -> None:
        self.separators = separators
        self.charset = charset
        self.issues = [] if issues is None else issues
        self.segments: list[Segment] = []
        self.named: dict[str, list[Segment]] = {}
        segments, named = self.segments, self.named
        for index, line in enumerate(lines):
            segment = Segment(line, index, separators)
            segments.append(segment)
            name = segment.name
            if name in named:
                named[name].append(segment)
            else:
                named[name] = [segment]
        header = segments[0].fields if segments else []
        stated = named["EVN"][0].fields if "EVN" in named else []
        self.trigger: Trigger = identify(
            header[9] if len(header) > 9 else "",
            stated[1] if len(stated) > 1 else "",
            header[12] if len(header) > 12 else "",
            separators,
        )

    def get(self, path: str) -> str | None:
        r"""Read one value, unescaped: None absent, `NULL` null.

        A path that stops early means the first component below it, so `PV1-2` is the
        code of a CWE; one that goes deeper than the message finds the value at `.1`.
        Below a null everything is null. Blanks at the end do not count.

        Raises:
            BadPath: the path is misspelt.

        >>> m = Message(["MSH|^~\\&|ADT1", "PID|1||77^^^HOSPA&1.2&ISO~88", 'PV1|1|""'])
        >>> m.get("PID-3.4.2"), m.get("PID-3(2)"), m.get("PV1-2.1"), m.get("PV1-44")
        ('1.2', '88', '""', None)
        """
        return (COMPILED.get(path) or compile_path(path))(self)

    def first(self, name: str) -> Segment | None:
        """The first segment of that name."""
        found = self.named.get(name)
        return found[0] if found else None

    def all(self, name: str) -> list[Segment]:
        """All segments of that name, in order."""
        return self.named.get(name, [])

    @property
    def type(self) -> str:
        """MSH-9.1, `ADT`."""
        return self.trigger.type

    @property
    def event(self) -> str:
        """MSH-9.2, else EVN-1; "" where neither says."""
        return self.trigger.event

    @property
    def structure(self) -> str:
        """The message structure, `ADT_A01`: by the table for ADT events, else MSH-9.3."""
        return self.trigger.structure

    @property
    def control_id(self) -> str:
        """MSH-10, "" where empty."""
        return self.get("MSH-10") or ""

    @property
    def version(self) -> str:
        """MSH-12.1, "" where empty."""
        return self.get("MSH-12") or ""

    @property
    def text(self) -> str:
        """The normalised message, each segment ended by a carriage return."""
        return "".join([segment.line + "\r" for segment in self.segments])

    def components(self, raw: str) -> list[str]:
        """Split a raw repetition into its raw components."""
        return raw.split(self.separators.component)

    def subcomponents(self, raw: str) -> list[str]:
        """Split a raw component into its raw subcomponents."""
        return raw.split(self.separators.subcomponent)

    def values(self, raw: str) -> list[str | None]:
        r"""The values of a repetition's components: first subcomponents, unescaped.

        >>> Message(["MSH|^~\\&"]).values('DOE^""^^A\\T\\B')
        ['DOE', '""', None, 'A&B']
        """
        separators = self.separators
        below, mark, charset = separators.subcomponent, separators.escape, self.charset
        out: list[str | None] = []
        for part in raw.split(separators.component):
            leaf = (part.split(below, 1)[0] if below in part else part).rstrip()
            if mark in leaf:
                leaf = unescape(leaf, separators, charset)
            out.append(leaf or None)
        return out

    def unescape(self, text: str) -> str:
        """Text of a raw leaf."""
        if self.separators.escape not in text:
            return text
        return unescape(text, self.separators, self.charset)

    def has_content(self, raw: str) -> bool:
        """Whether there is any value in it: `^^`, blanks and nulls are none.

        >>> [Message(["MSH|"]).has_content(raw) for raw in ('^^A', '^^', '""^""', ' ~ ')]
        [True, False, False, False]
        """
        return bool(raw) and bool(raw.replace(NULL, "").strip(_empty_characters(self.separators)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return self.separators == other.separators and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"<Message {self.trigger.structure or '?'} of {len(self.segments)} segments>"


@lru_cache(maxsize=64)
def _empty_characters(separators: Separators) -> str:
    return f"{separators.component}{separators.repetition}{separators.subcomponent} \t\r\n"
