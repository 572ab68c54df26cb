"""Messages as HL7 v2 writes them (ER7).

Values are said by their shape: a text is a primitive, a tuple holds components (and
a tuple in it subcomponents), a list holds repetitions, `None` is absent, `NULL`
deletes. Texts are escaped; what is encoded already comes as `Raw`.

Source: HL7 v2.5.1 sections 2.5 to 2.7.
"""

import re
from collections.abc import Mapping
from typing import TypeAlias

from segue.hl7v2.charsets import codec_of
from segue.hl7v2.errors import Unwritable
from segue.hl7v2.escapes import escape
from segue.hl7v2.message import Message
from segue.hl7v2.paths import split_path
from segue.hl7v2.separators import NULL, STANDARD, Separators

__all__ = ["MessageBuilder", "Raw", "Value", "amended", "encode", "escape", "write"]


class Raw(str):
    """Text that is encoded already, taken from a message with the same separators."""

    __slots__ = ()


Value: TypeAlias = "str | int | tuple[Value, ...] | list[Value] | None"

_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")


def write(message: Message) -> bytes:
    """The message in its own separators and character set.

    Raises:
        Unwritable: it holds a character that its character set (MSH-18) has not got.
    """
    try:
        return message.text.encode(message.charset)
    except UnicodeEncodeError as problem:
        raise Unwritable(
            f"The message cannot be written in {message.charset}: set MSH-18 to "
            "UNICODE UTF-8, or leave the character out."
        ) from problem


def encode(value: Value, separators: Separators = STANDARD) -> str:
    r"""Encode one field.

    >>> encode(["77", ("78", None, None, ("HOSPA", "1.2", "ISO"), "MR")])
    '77~78^^^HOSPA&1.2&ISO^MR'
    >>> encode(("A&B", NULL)), encode(None)
    ('A\\T\\B^""', '')
    """
    if isinstance(value, list):
        return separators.repetition.join([_repetition(item, separators) for item in value])
    return _repetition(value, separators)


def _repetition(value: Value, separators: Separators) -> str:
    if not isinstance(value, tuple):
        return _leaf(value, separators)
    below = separators.subcomponent
    parts = [
        below.join([_leaf(leaf, separators) for leaf in part]).rstrip(below)
        if isinstance(part, tuple)
        else _leaf(part, separators)
        for part in value
    ]
    while parts and not parts[-1]:
        parts.pop()
    return separators.component.join(parts)


def _leaf(value: Value, separators: Separators) -> str:
    if value is None:
        return ""
    if isinstance(value, Raw) or value == NULL:
        return str(value)
    if isinstance(value, (str, int)):
        return escape(str(value), separators)
    raise Unwritable(
        "Values are nested too deep: a list holds repetitions, a tuple components, "
        "a tuple in it subcomponents."
    )


def amended(message: Message, changes: Mapping[str, Value]) -> Message:
    r"""A copy with some fields replaced, such as a new MSH-10 on a message passed on.

    Args:
        message: stays as it is.
        changes: path of a field (`MSH-10`, `OBX(2)-5`) to its value.

    Raises:
        Unwritable: the segment is not there, or the path names less than a field.

    >>> from segue.hl7v2.parse import parse
    >>> amended(parse("MSH|^~\\&|A\rPID|1||77"), {"MSH-10": "9"}).text
    'MSH|^~\\&|A|||||||9\rPID|1||77\r'
    """
    lines = [segment.line for segment in message.segments]
    mark = message.separators.field
    for where, value in changes.items():
        path = split_path(where)
        segments = message.all(path.segment)
        if len(segments) < path.occurrence:
            raise Unwritable(f"{where}: the message has no such segment to change.")
        if "." in where or path.repetition > 1 or (path.segment == "MSH" and path.field < 3):
            raise Unwritable(f"{where}: name a whole field, from MSH-3 on.")
        index = segments[path.occurrence - 1].index
        fields = lines[index].split(mark)
        place = path.field - (path.segment == "MSH")
        fields += [""] * (place + 1 - len(fields))
        fields[place] = encode(value, message.separators)
        lines[index] = mark.join(fields)
    return Message(lines, message.separators, message.charset)


class MessageBuilder:
    r"""Builds a message segment by segment.

    >>> builder = MessageBuilder()
    >>> _ = builder.header(type="MDM", event="T02", structure="MDM_T02", control_id="1",
    ...                    time="20260705", sending_application="SEGUE")
    >>> _ = builder.segment("PID", {3: ("77", None, None, "HOSPA", "MR")})
    >>> print(builder.build().text.replace("\r", "\n"))
    MSH|^~\&|SEGUE||||20260705||MDM^T02^MDM_T02|1|P|2.5.1||||||UNICODE UTF-8
    PID|||77^^^HOSPA^MR
    <BLANKLINE>
    """

    def __init__(
        self, separators: Separators = STANDARD, character_set: str = "UNICODE UTF-8"
    ) -> None:
        """Begin a message.

        Args:
            separators: to write with.
            character_set: MSH-18.

        Raises:
            Unwritable: the character set is not known here.
        """
        codec = codec_of(character_set, separators.repetition) if character_set else "ascii"
        if codec is None:
            raise Unwritable(f"{character_set!r} is no character set of HL7 table 0211.")
        self._separators = separators
        self._character_set = character_set
        self._charset = codec
        self._lines: list[str] = []

    def header(
        self,
        *,
        type: str,  # noqa: A002  - MSH-9.1 is called so
        event: str,
        structure: str,
        control_id: str,
        time: str,
        sending_application: Value = None,
        sending_facility: Value = None,
        receiving_application: Value = None,
        receiving_facility: Value = None,
        processing_id: str = "P",
        version: str = "2.5.1",
        accept: str | None = None,
        application: str | None = None,
    ) -> "MessageBuilder":
        """Write the MSH segment: the first one.

        Args:
            type: MSH-9.1.
            event: MSH-9.2.
            structure: MSH-9.3.
            control_id: MSH-10.
            time: MSH-7, as `times.dtm` writes it.
            sending_application: MSH-3.
            sending_facility: MSH-4.
            receiving_application: MSH-5.
            receiving_facility: MSH-6.
            processing_id: MSH-11.
            version: MSH-12.
            accept: MSH-15.
            application: MSH-16.
        """
        fields: dict[int, Value] = {
            3: sending_application,
            4: sending_facility,
            5: receiving_application,
            6: receiving_facility,
            7: time,
            9: (type, event, structure),
            10: control_id,
            11: processing_id,
            12: version,
            15: accept,
            16: application,
            18: Raw(self._character_set),
        }
        self._lines.append(self._line("MSH", fields))
        return self

    def segment(self, name: str, fields: Mapping[int, Value]) -> "MessageBuilder":
        """Add a segment.

        Args:
            name: three characters.
            fields: by number, from 1.

        Raises:
            Unwritable: that is no segment name or no field number, or MSH is missing.
        """
        if not _NAME.fullmatch(name) or name == "MSH":
            raise Unwritable(f"{name!r} is no segment to add; MSH is written by header().")
        if not self._lines:
            raise Unwritable(f"{name} comes before MSH: call header() first.")
        self._lines.append(self._line(name, fields))
        return self

    def build(self) -> Message:
        """The message so far.

        Raises:
            Unwritable: there is no header yet.
        """
        if not self._lines:
            raise Unwritable("A message begins with MSH: call header() first.")
        return Message(list(self._lines), self._separators, self._charset)

    def _line(self, name: str, fields: Mapping[int, Value]) -> str:
        separators = self._separators
        written = [""] * (max(fields, default=0) + 1)
        for n, value in fields.items():
            if n < 1:
                raise Unwritable(f"{name}-{n}: fields are counted from 1.")
            written[n] = encode(value, separators)
        while len(written) > 1 and not written[-1]:
            written.pop()
        written[0] = name
        if name == "MSH":
            written[1:3] = [separators.encoding_characters]
        elif len(written) == 1:
            written.append("")
        return separators.field.join(written)
