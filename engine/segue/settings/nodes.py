"""Values out of YAML nodes, so that each fault knows its line.

Every reader takes a node and the path of keys that led to it. A fault is kept, not
raised, and a stand-in returned: one run tells all that is wrong.
"""

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from segue.model.hints import did_you_mean, nearest
from segue.model.zones import time_zone
from segue.settings.sections import Address

NAME = re.compile(r"[a-z][a-z0-9-]*\Z")
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)\Z")
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Read = Callable[[Any, str], Any]


class ConfigError(Exception):
    """The configuration cannot be used; each problem is one line for a person."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping of known keys: the values of those that are given, and where they stand."""

    reader: "Nodes"
    here: str
    node: Any
    keys: Mapping[str, Any]
    values: dict[str, Any]

    def wrong(self, key: str, what: str) -> None:
        """Note a fault of a key, or of its absence; a key below others is `a.b`."""
        path = f"{self.here}.{key}" if self.here else key
        self.reader.problem(_deepest(self.node, key.split(".")), path, what)


class Nodes:
    """Reads the nodes of one file.

    Attributes:
        base: the folder that relative paths start from.
        problems: every fault found, `file:line  path: what`.
        said: path of each key that was read to `file:line`.
    """

    def __init__(self, file: str, base: Path, environment: Mapping[str, str]) -> None:
        self.file = file
        self.base = base
        self.environment = environment
        self.problems: list[str] = []
        self.said: dict[str, str] = {}

    def problem(self, node: Any, path: str, what: str) -> None:
        """Note a fault; of a node that is not there, on line 1."""
        line = node.start_mark.line + 1 if node is not None else 1
        self.problems.append(f"{self.file}:{line}  {path}: {what}")

    def section(self, node: Any, here: str, known: Mapping[str, Read]) -> Section:
        """A mapping whose keys are known, each with its reader."""
        keys = self._mapping(
            node,
            here,
            lambda key: "" if key in known else f"unknown key.{did_you_mean(key, known)}",
        )
        values = {
            key: known[key](value, f"{here}.{key}" if here else key) for key, value in keys.items()
        }
        return Section(self, here, node, keys, values)

    def named(self, node: Any, here: str) -> dict[str, Any]:
        """A mapping from names to nodes."""
        return self._mapping(
            node,
            here,
            lambda key: "" if NAME.match(key) else "a name is lower case: letters, digits, hyphens",
        )

    def _mapping(self, node: Any, path: str, fault: Callable[[str], str]) -> dict[str, Any]:
        if empty(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, path or "(file)", "expected keys and values")
            return {}
        found: dict[str, Any] = {}
        for key_node, value in node.value:
            key = str(key_node.value)
            here = f"{path}.{key}" if path else key
            if key in found:
                self.problem(key_node, here, "given twice")
            elif what := fault(key):
                self.problem(key_node, here, what)
            else:
                found[key] = value
                self.said[here] = f"{self.file}:{value.start_mark.line + 1}"
        return found

    def text(self, node: Any, path: str) -> str:
        """One value as text; `${NAME}` stands for a variable of the environment."""
        if not isinstance(node, yaml.ScalarNode):
            self.problem(node, path, "expected one value")
            return ""

        def variable(match: re.Match[str]) -> str:
            name = match.group(1)
            if name not in self.environment:
                self.problem(node, path, f"the environment has no {name}")
                return ""
            return self.environment[name]

        return re.sub(r"\$\{(\w+)\}", variable, str(node.value))

    def optional(self, node: Any, path: str) -> str | None:
        """One value, or null."""
        return None if _null(node) else self.text(node, path)

    def whole(self, low: int, high: int) -> Read:
        """A reader of whole numbers of a range."""

        def read(node: Any, path: str) -> int:
            value = self.text(node, path)
            if not value.isdecimal() or not low <= int(value) <= high:
                self.problem(node, path, f"expected a whole number from {low} to {high}")
                return low
            return int(value)

        return read

    def factor(self, node: Any, path: str) -> float:
        """A number from 1 up."""
        value = self.text(node, path)
        if re.fullmatch(r"\d+(\.\d+)?", value) and float(value) >= 1:
            return float(value)
        self.problem(node, path, "a number from 1 up")
        return 1.0

    def boolean(self, node: Any, path: str) -> bool:
        """True or false."""
        value = self.text(node, path)
        if value not in ("true", "false"):
            self.problem(node, path, "expected true or false")
        return value == "true"

    def choice(self, *choices: str) -> Read:
        """A reader of one of some words."""

        def read(node: Any, path: str) -> str:
            value = self.text(node, path)
            if value in choices:
                return value
            expected = ", ".join(choices)
            self.problem(node, path, f"expected one of {expected}.{nearest(value, choices)}")
            return choices[0]

        return read

    def strings(self, node: Any, path: str) -> tuple[str, ...]:
        """A list of values."""
        if isinstance(node, yaml.SequenceNode):
            return tuple(self.text(item, path) for item in node.value)
        self.problem(node, path, "expected a list, [a, b]")
        return ()

    def pairs(self, node: Any, path: str) -> dict[str, str]:
        """Keys of any kind with one value each."""
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, path, "expected keys and values")
            return {}
        return {str(key.value): self.text(value, path) for key, value in node.value}

    def duration(self, node: Any, path: str) -> timedelta:
        """A length of time with its unit: 500ms, 10s, 15m, 72h, 90d."""
        match = _DURATION.match(self.text(node, path))
        if match is None:
            self.problem(node, path, "expected a duration such as 500ms, 10s, 15m, 72h or 90d")
            return timedelta(seconds=1)
        return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})

    def keep(self, node: Any, path: str) -> timedelta | None:
        """A duration, or `forever`."""
        if isinstance(node, yaml.ScalarNode) and node.value == "forever":
            return None
        return self.duration(node, path)

    def zone(self, node: Any, path: str) -> ZoneInfo | None:
        """An IANA time zone, or null."""
        name = self.optional(node, path)
        if name is None:
            return None
        try:
            return time_zone(name)
        except ValueError as error:
            self.problem(node, path, str(error))
            return None

    def address(self, node: Any, path: str) -> Address:
        """A host and port."""
        host, _, port = self.text(node, path).rpartition(":")
        if not host or not is_port(port):
            self.problem(node, path, "expected host:port, such as 127.0.0.1:2575")
            return Address("127.0.0.1", 0)
        return Address(host.removeprefix("[").removesuffix("]"), int(port))

    def place(self, node: Any, path: str) -> Path:
        """A path, relative to the file's folder."""
        return self.base / self.text(node, path)

    def places(self, node: Any, path: str) -> tuple[Path, ...]:
        """A list of paths, relative to the file's folder."""
        return tuple(self.base / item for item in self.strings(node, path))

    def networks(self, node: Any, path: str) -> tuple[str, ...]:
        """A list of addresses or networks of IP."""
        names = self.strings(node, path)
        for name in names:
            try:
                ip_network(name, strict=False)
            except ValueError:
                self.problem(node, path, f"{name!r} is no network, such as 10.0.0.0/8")
        return names

    def url(self, node: Any, path: str) -> str:
        """An address of HTTP."""
        value = self.text(node, path)
        if not re.match(r"https?://[^/\s]", value):
            self.problem(node, path, "expected an address, such as https://fhir.example.org/r4")
        return value

    def codecs(self, node: Any, path: str) -> tuple[str, ...]:
        """A list of character sets."""
        names = self.strings(node, path)
        for name in names:
            try:
                codecs.lookup(name)
            except LookupError:
                self.problem(node, path, f"{name!r} is no character set, such as cp1252")
        return names


def empty(node: Any) -> bool:
    """Whether nothing is given: no node, no value, or null."""
    return node is None or _null(node)


def _deepest(node: Any, keys: list[str]) -> Any:
    """The node that a path of keys leads to, as far as there is one."""
    for key in keys:
        below = node.value if isinstance(node, yaml.MappingNode) else ()
        found = next((value for name, value in below if name.value == key), None)
        if found is None:
            break
        node = found
    return node


def _null(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and bool(node.tag.endswith(":null"))


def is_port(text: str) -> bool:
    """Whether it is a port number; 0 lets the system choose."""
    return text.isdecimal() and int(text) < 65536
