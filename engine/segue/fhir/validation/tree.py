"""A profile in memory: the tree of its constraints, read from the compact form."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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


def grave(node: Node) -> Node | None:
    """What of a node can find an error; None where nothing can.

    Must-support, extensible and preferred bindings and mere warnings are left out.
    """
    kept = {name: found for name, child in node.children.items() if (found := grave(child))}
    found = replace(
        node,
        binding=node.binding if node.binding and node.binding[0] == "required" else None,
        rules=tuple(rule for rule in node.rules if rule.severity == "error"),
        slices={name: grave(child) or _NOTHING for name, child in node.slices.items()},
        children=kept,
        must=False,
    )
    return found if _says_anything(found) else None


def _says_anything(node: Node) -> bool:
    return bool(
        node.low
        or node.high is not None
        or node.types
        or node.exact is not None
        or node.pattern is not None
        or node.binding
        or node.rules
        or node.limits
        or node.slices
        or node.closed
        or node.children
    )


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


_NOTHING = node({})
