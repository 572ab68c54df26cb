"""FHIRPath, the one door to fhirpathpy: compiled once, kept, off the hot path."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

Compiled = Callable[..., list[Any]]


class FhirPathError(ValueError):
    """An expression that cannot be read or evaluated; the message names it."""


@lru_cache(maxsize=1_024)
def compile_path(expression: str) -> Compiled:
    """A function of (resource, variables) that evaluates the expression.

    Raises:
        FhirPathError: the expression cannot be parsed.
    """
    import fhirpathpy
    from fhirpathpy.models import models

    _check_syntax(expression)
    try:
        compiled: Compiled = fhirpathpy.compile(expression, models["r4"])
    except Exception as error:
        message = f"FHIRPath {expression!r}: {error}"
        raise FhirPathError(message) from error
    return compiled


def _check_syntax(expression: str) -> None:
    # fhirpathpy.compile repairs what it cannot read: `name where (` becomes `name`.
    from fhirpathpy import parser as grammar

    faults: list[str] = []

    class Listener(grammar.ErrorListener):  # type: ignore[misc]
        def syntaxError(self, *found: Any) -> None:  # noqa: N802
            faults.append(f"column {found[3] + 1}")

    lexer = grammar.FHIRPathLexer(grammar.InputStream(expression))
    tokens = grammar.CommonTokenStream(lexer)
    reader = grammar.FHIRPathParser(tokens)
    for part in (lexer, reader):
        part.removeErrorListeners()
        part.addErrorListener(Listener())
    reader.expression()
    rest = tokens.LT(1)
    if not faults and rest.type != -1:
        faults.append(f"column {rest.column + 1}")
    if faults:
        message = f"FHIRPath {expression!r}: cannot be read at {faults[0]}"
        raise FhirPathError(message)


def evaluate(
    resource: dict[str, Any], expression: str, variables: Mapping[str, Any] | None = None
) -> list[Any]:
    """The collection that an expression yields.

    Args:
        resource: the focus.
        expression: FHIRPath; a leading type name is taken as the resource itself.
        variables: values of `%name`, without the sign.

    Raises:
        FhirPathError: it cannot be parsed or evaluated.

    >>> evaluate({"resourceType": "Patient", "active": True}, "Patient.active")
    [True]
    """
    compiled = compile_path(expression)
    try:
        return compiled(resource, dict(variables or {}))
    except Exception as error:
        message = f"FHIRPath {expression!r}: {type(error).__name__}"
        raise FhirPathError(message) from error


def nodes(resource: dict[str, Any], expression: str) -> list[Any]:
    """The very objects of a resource that an expression selects, not copies.

    Raises:
        FhirPathError: it cannot be parsed or evaluated.

    >>> patient = {"resourceType": "Patient", "name": [{"use": "usual"}]}
    >>> nodes(patient, "Patient.name.first()")[0] is patient["name"][0]
    True
    """
    import fhirpathpy
    from fhirpathpy.models import models

    _check_syntax(expression)
    try:
        found = fhirpathpy.evaluate(resource, expression, {}, models["r4"], {"returnRawData": True})
    except Exception as error:
        message = f"FHIRPath: {type(error).__name__}"
        raise FhirPathError(message) from error
    return [getattr(node, "data", node) for node in found]


def holds_at(node: Any, path: str, expression: str, resource: dict[str, Any]) -> bool:
    """Whether an invariant holds for a part of a resource; an empty result breaks it.

    Args:
        node: the focus.
        path: its path from the resource type, without indexes, `Patient.contact`.
        expression: FHIRPath relative to the focus.
        resource: `%resource`.

    Raises:
        FhirPathError: it cannot be parsed or evaluated.

    >>> contact = {"name": {"family": "Roe"}}
    >>> holds_at(contact, "Patient.contact", "name.exists() or telecom.exists()", {})
    True
    """
    from fhirpathpy.engine.nodes import ResourceNode

    compiled = compile_path(expression)
    try:
        found = compiled(
            ResourceNode.create_node(node, path),
            {"resource": resource, "rootResource": resource, "context": node},
        )
    except Exception as error:
        message = f"FHIRPath {expression!r}: {type(error).__name__}"
        raise FhirPathError(message) from error
    return len(found) == 1 and found[0] is not False
