"""Paths such as `PV1-19.1`, compiled once to functions.

`SEG(n)-field(n).component.subcomponent`, all counted from 1: the segment's
occurrence, the field, its repetition, the component, the subcomponent.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from segue.hl7v2.errors import BadPath
from segue.hl7v2.escapes import unescape
from segue.hl7v2.separators import NULL, Separators


class SegmentSource(Protocol):
    """What a path needs of a segment."""

    @property
    def split(self) -> Sequence[str] | None:
        """Raw fields, by number, once they were asked for."""

    @property
    def fields(self) -> Sequence[str]:
        """Raw fields, by number."""

    @property
    def separators(self) -> Separators:
        """Those of the message."""


class Source(Protocol):
    """A message, or a segment (whose `named` is None)."""

    @property
    def named(self) -> Mapping[str, Sequence[SegmentSource]] | None:
        """Segments by name."""

    @property
    def charset(self) -> str:
        """Python codec of the message."""


Reader = Callable[[Source], str | None]

_PATH = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\(([1-9]\d{0,4})\))?"
    r"-([1-9]\d{0,4})(?:\(([1-9]\d{0,4})\))?(?:\.([1-9]\d{0,3})(?:\.([1-9]\d{0,3}))?)?"
)
COMPILED: dict[str, Reader] = {}
"""Readers by path: paths come from mapping files, so they are few and recur."""
_MOST = 4096


class Path(NamedTuple):
    """The parts of a path; what it does not say is 1."""

    segment: str
    occurrence: int
    field: int
    repetition: int
    component: int
    subcomponent: int

    @property
    def location(self) -> str:
        """As ERR-2 says it: segment, sequence, field, repetition, component.

        >>> split_path("PID-3").location, split_path("PID-3(2).4").location
        ('PID^1^3', 'PID^1^3^2^4')
        """
        deeper = [self.repetition, self.component, self.subcomponent]
        while deeper and deeper[-1] == 1:
            deeper.pop()
        return "^".join(map(str, (self.segment, self.occurrence, self.field, *deeper)))


def split_path(path: str) -> Path:
    """Take a path apart.

    Raises:
        BadPath: it is misspelt; the text says what a path looks like.

    >>> split_path("PID-3(2).4.1")
    Path(segment='PID', occurrence=1, field=3, repetition=2, component=4, subcomponent=1)
    """
    found = _PATH.fullmatch(path)
    if not found:
        raise BadPath(
            f"{path!r} is no HL7 v2 path. Write SEG-field.component.subcomponent, "
            "such as PV1-19.1, or PID-3(2).4.1 for a second repetition."
        )
    name, *numbers = found.groups()
    return Path(name, *(int(number or 1) for number in numbers))


def compile_path(path: str) -> Reader:
    r"""Make a function that reads one value from a message, or from a segment.

    Given a segment, the path's segment name and occurrence are not looked at.
    The result is unescaped; None is absent, `""` (two quotation marks) is null.

    Raises:
        BadPath: the path is misspelt.

    >>> from segue.hl7v2.message import Message
    >>> attending = compile_path("PV1-7.2")
    >>> attending(Message(["MSH|^~\\&", "PV1|1|I|||||99^HIBBERT"]))
    'HIBBERT'
    """
    reader = COMPILED.get(path)
    if reader is None:
        reader = _reader(split_path(path))
        if len(COMPILED) < _MOST:
            COMPILED[path] = reader
    return reader


def _reader(path: Path) -> Reader:
    if path.segment in ("MSH", "BHS", "FHS") and path.field <= 2:
        return _separator_reader(path.segment, path.field)
    name, occurrence, n, repetition, component, subcomponent = path
    segment_at, repetition_at = occurrence - 1, repetition - 1
    component_at, subcomponent_at = component - 1, subcomponent - 1
    deep = repetition_at or component_at or subcomponent_at

    def read(source: Source) -> str | None:
        named = source.named
        if named is None:
            segment = cast("SegmentSource", source)
        else:
            segments = named.get(name)
            if segments is None or len(segments) <= segment_at:
                return None
            segment = segments[segment_at]
        fields = segment.split or segment.fields
        if len(fields) <= n:
            return None
        raw = fields[n]
        # Letters and digits hold no separator and need no further look.
        if not raw or raw.isalnum():
            return None if deep else raw or None
        separators = segment.separators
        _, between_components, between_repetitions, mark, below, _ = separators
        if between_repetitions in raw:
            repetitions = raw.split(between_repetitions, repetition)
            if len(repetitions) <= repetition_at:
                return None
            raw = repetitions[repetition_at]
        elif repetition_at:
            return None
        if raw == NULL:
            return raw
        if between_components in raw:
            components = raw.split(between_components, component)
            if len(components) <= component_at:
                return None
            raw = components[component_at]
        elif component_at:
            return None
        if below in raw:
            subcomponents = raw.split(below, subcomponent)
            if len(subcomponents) <= subcomponent_at:
                return None
            raw = subcomponents[subcomponent_at]
        elif subcomponent_at and raw != NULL:
            return None
        if mark in raw:
            return unescape(raw.rstrip(), separators, source.charset) or None
        return raw.rstrip() or None

    return read


def _separator_reader(name: str, n: int) -> Reader:
    """MSH-1 and MSH-2 are the separators themselves and cannot be split by them."""

    def read(source: Source) -> str | None:
        named = source.named
        if named is None:
            fields = cast("SegmentSource", source).fields
        else:
            fields = named[name][0].fields if name in named else ()
        return fields[n] or None if len(fields) > n else None

    return read
