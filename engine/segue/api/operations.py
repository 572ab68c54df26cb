"""FHIR operations (`$name`): what one is, how it is asked, and the list that is offered.

Routes, the CapabilityStatement and the entries of batches all come from the one list in
`segue.api.catalog`. To offer an operation, write its handler in
`segue/api/operations_<name>.py` and add a line there.

Source: https://hl7.org/fhir/R4/operations.html
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from segue.api.exchange import Preferences
from segue.fhir.outcomes import fhir_error
from segue.pipeline.hub import Hub
from segue.pipeline.speaker import Speaker

Resource = dict[str, Any]
Level = Literal["system", "type", "instance"]


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of an operation.

    Attributes:
        level: where it was asked. type: "" at system level. id: "" but for an instance.
        body: the resource that was sent, None where there was none.
        query: decoded parameters of the URL, in their order.
        root: our base URL.
    """

    hub: Hub
    speaker: Speaker
    level: Level
    type: str
    id: str
    body: Resource | None
    query: Sequence[tuple[str, str]]
    root: str
    prefer: Preferences = field(default_factory=Preferences)

    def values(self, name: str) -> list[Any]:
        """All values of an input parameter.

        From the URL they are texts. From a body of type Parameters they are the `value[x]`
        (numbers as Decimal or int), the resource, or the list of parts. Any other
        resource as body is the parameter `resource`.
        """
        found: list[Any] = [value for key, value in self.query if key == name]
        body = self.body
        if body is not None and body.get("resourceType") != "Parameters":
            return [*found, body] if name == "resource" else found
        return found + [_value(one) for one in _parameters(body) if one.get("name") == name]

    def value(self, name: str, default: Any = None) -> Any:
        """The value of a parameter that may be sent once.

        Raises:
            FhirError: 400; it was sent several times.
        """
        found = self.values(name)
        if len(found) > 1:
            raise fhir_error("incorrect", "structure", f"{name} may be sent once", name)
        return found[0] if found else default

    def text(self, name: str) -> str | None:
        """The value of a parameter that is one text.

        Raises:
            FhirError: 400; it is something else.
        """
        found = self.value(name)
        if found is not None and not isinstance(found, str):
            raise fhir_error("incorrect", "value", f"{name} is not a text", name)
        return found


def _parameters(body: Resource | None) -> Iterator[Mapping[str, Any]]:
    found = (body or {}).get("parameter", [])
    if not isinstance(found, list):
        raise fhir_error("incorrect", "structure", "parameter is a list", "Parameters.parameter")
    for one in found:
        if not isinstance(one, dict):
            raise fhir_error(
                "incorrect", "structure", "a parameter is an object", "Parameters.parameter"
            )
        yield one


def _value(parameter: Mapping[str, Any]) -> Any:
    for name in ("resource", "part"):
        if name in parameter:
            return parameter[name]
    return next((value for name, value in parameter.items() if name.startswith("value")), None)


@dataclass(frozen=True, slots=True)
class Result:
    """An answer that is more than a resource with status 200.

    Attributes:
        body: resource, or its text as it is to be sent; None for no body.
    """

    body: Resource | str | None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Invocation], Result | Resource | str]
"""Does an operation; runs on a thread. Gives a resource, or its text.

Raises FhirError for everything that the caller did wrong."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the engine.

    Attributes:
        name: without `$`.
        definition: canonical URL of its OperationDefinition.
        levels: where it is asked.
        handler: what does it.
        types: types that it is asked of, at type and instance level; empty: every type.
        writes: whether it changes what is stored: then it needs POST, and the right to write.
        documentation: one sentence for the CapabilityStatement and the front page.
    """

    name: str
    definition: str
    levels: frozenset[Level]
    handler: Handler
    types: frozenset[str] = frozenset()
    writes: bool = False
    documentation: str = ""

    def offered(self, level: Level, type_: str = "") -> bool:
        """Whether it may be asked at this level, of this type.

        >>> one = Operation("x", "urn:x", frozenset({"type"}), lambda _: {}, frozenset({"Task"}))
        >>> one.offered("type", "Task"), one.offered("type", "Patient"), one.offered("system")
        (True, False, False)
        """
        return level in self.levels and (level == "system" or not self.types or type_ in self.types)


class Operations:
    """The operations that are offered, by name. A name may stand for several definitions."""

    def __init__(self, offered: Iterable[Operation] = ()) -> None:
        self.all = tuple(offered)

    def find(self, name: str, level: Level, type_: str = "") -> Operation:
        """The operation that a URL names.

        Raises:
            FhirError: 404; there is none of that name here.
        """
        for one in self.all:
            if one.name == name and one.offered(level, type_):
                return one
        places = sorted(
            {self.place(one, other) for one in self.all if one.name == name for other in one.levels}
        )
        text = f"${name} is not offered here" + (f": ask {' or '.join(places)}" if places else "")
        raise fhir_error("not-found", "not-supported", text)

    def place(self, operation: Operation, level: Level) -> str:
        """Where an operation is asked, for people: `Patient/[id]/$everything`."""
        type_ = "|".join(sorted(operation.types)) or "[type]"
        before = {"system": "", "type": f"{type_}/", "instance": f"{type_}/[id]/"}[level]
        return f"{before}${operation.name}"

    def run(self, asked: Invocation, name: str, *, post: bool) -> Result:
        """Do an operation.

        Args:
            post: whether it was asked by POST.

        Raises:
            FhirError: 404, 405 for a GET of what writes, 403 for who may only read.
        """
        found = self.find(name, asked.level, asked.type)
        if found.writes and not post:
            raise fhir_error("not-allowed", "not-supported", f"${name} changes things: use POST")
        if found.writes and not asked.speaker.may_write:
            raise fhir_error("forbidden", "forbidden", "this client may read, and not write")
        answer = found.handler(asked)
        return answer if isinstance(answer, Result) else Result(answer)
