"""A profile in memory: the tree of its constraints, read from the compact form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """An invariant.

    Attributes:
        severity: `error` or `warning`.
        expression: FHIRPath, true where it is obeyed.
    """

    key: str
    severity: str
    expression: str


@dataclass(frozen=True, slots=True)
class Node:
    """What a profile adds for one element; see `segue.fhir.validation.compact`."""

    low: int
    high: int | None
    types: Mapping[str, tuple[str, ...]]
    exact: Any
    pattern: Any
    binding: tuple[str, str] | None
    rules: tuple[Rule, ...]
    must: bool
    limits: Mapping[str, Any]
    by: tuple[tuple[str, str], ...]
    closed: bool
    ordered: bool
    slices: Mapping[str, "Node"]
    children: Mapping[str, "Node"]


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile or an extension's definition.

    Attributes:
        url: its canonical URL.
        type: the type that it constrains.
        base: the profile that must be obeyed besides, or "".
        context: of an extension: where it may stand, as (kind, expression).
        modifier: of an extension: whether it is a modifier.
    """

    url: str
    type: str
    base: str
    root: Node
    context: tuple[tuple[str, str], ...] = field(default=())
    modifier: bool = False


def profile(url: str, form: Mapping[str, Any]) -> Profile:
    """Read a profile's compact form."""
    return Profile(
        url,
        form["type"],
        form.get("base", ""),
        node(form),
        tuple((kind, expression) for kind, expression in form.get("context", ())),
        bool(form.get("modifier")),
    )


def node(form: Mapping[str, Any]) -> Node:
    """Read a node of a compact form."""
    types = form.get("types", {})
    return Node(
        form.get("min", 0),
        form.get("max"),
        {code: tuple(urls) for code, urls in types.items()} if isinstance(types, dict) else {},
        form.get("fixed"),
        form.get("pattern"),
        (form["bind"][0], form["bind"][1]) if "bind" in form else None,
        tuple(Rule(*rule) for rule in form.get("rules", ())),
        bool(form.get("must")),
        {name: form[name] for name in ("length", "low", "high") if name in form},
        tuple((kind, path) for kind, path in form.get("by", ())),
        bool(form.get("closed")),
        bool(form.get("ordered")),
        {name: node(child) for name, child in form.get("slices", {}).items()},
        {name: node(child) for name, child in form.get("children", {}).items()},
    )
