"""Mapping files as text: YAML with the line of everything, and faults that say where."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)\Z")
_GLUED = re.compile(r"\s*([\w-]+):([^\s/].*)\Z")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a mapping file."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}  {self.text}"


class MappingError(Exception):
    """Mapping files cannot be used; names every fault of all files at once."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


@dataclass(slots=True)
class Document:
    """A YAML file as plain values.

    Only `true`, `false`, `null` and whole numbers without a leading zero are read as
    such; everything else, so also `N`, `off` and `01`, stays text.

    Attributes:
        file: its name for people.
        lines: line of each value, by its path of keys.
        content: the bytes as they were read.
    """

    file: str
    data: Any = None
    content: bytes = b""
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, *path: str) -> int:
        """The line of a value, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def fault(self, path: tuple[str, ...], text: str) -> None:
        """Note that something is wrong at a place."""
        self.faults.append(Fault(self.file, self.line(*path), text))


def read(text: str, file: str) -> Document:
    r"""Read a mapping file; what YAML cannot read is a fault, not an exception.

    >>> document = read("codes:\n  N: other\n  01: home\n", "tables/x.yaml")
    >>> document.data
    {'codes': {'N': 'other', '01': 'home'}}
    >>> document.line("codes", "01")
    3
    """
    document = Document(file)
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or getattr(error, "reason", "cannot be read")
        document.faults.append(Fault(file, line, f"no YAML: {problem}.{_hint(text, line)}"))
        return document
    if node is not None:
        try:
            document.data = _plain(document, node, ())
        except RecursionError:
            document.faults.append(Fault(file, 1, "no YAML for a map: an alias holds itself"))
    return document


def read_file(path: Path, name: str) -> Document:
    """Read a mapping file from disk; `name` is what faults call it.

    What cannot be read, or is no UTF-8, is a fault of the document.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        return Document(name, faults=[Fault(name, 1, f"cannot be read: {error.strerror}")])
    try:
        document = read(content.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        text = "no UTF-8 text. Save the file as UTF-8."
        document = Document(name, faults=[Fault(name, line, text)])
    document.content = content
    return document


def _hint(text: str, number: int) -> str:
    """What is probably wrong with a line that YAML cannot read, or with the one before."""
    lines = ["", *text.splitlines(), ""]
    for line in lines[max(number - 1, 0) : number + 1]:
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return " Indent with blanks, not with a tab."
    for line in lines[max(number - 1, 0) : number + 1]:
        if found := _GLUED.match(line):
            return f" A blank follows the colon: `{found[1]}: {found[2]}`."
        if line.strip() and ":" not in line and not line.lstrip().startswith(("-", "#", "]", "}")):
            return " A colon and a blank follow each key: `key: value`."
    return " Keys of one level stand below each other; quote a text that holds : # { [ or %."


def _plain(document: Document, node: yaml.Node, path: tuple[str, ...]) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            here = (*path, name)
            if name in mapping:
                line = key.start_mark.line + 1
                document.faults.append(Fault(document.file, line, f"{name}: named twice"))
            document.lines[here] = key.start_mark.line + 1
            mapping[name] = _plain(document, value, here)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain(document, item, (*path, str(index))) for index, item in enumerate(node.value)
        ]
    return _scalar(node)


def _scalar(node: yaml.Node) -> str | int | bool | None:
    text = str(node.value)
    if getattr(node, "style", None):  # quoted, or a block
        return text
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _WHOLE.match(text) else text
