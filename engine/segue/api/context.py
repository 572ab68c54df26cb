"""What every interaction needs to know of a request, whatever it asks for."""

from collections.abc import Callable
from dataclasses import dataclass

from segue.api.exchange import Preferences
from segue.api.operations import Operations
from segue.fhir.outcomes import fhir_error
from segue.pipeline.hub import Hub
from segue.pipeline.speaker import Speaker


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks which engine, and how the answer is to be given.

    Attributes:
        root: our base URL.
        operations: what is offered as `$name`.
        types: resource types that are stored.
        statement: gives the CapabilityStatement, as JSON.
    """

    hub: Hub
    speaker: Speaker
    root: str
    prefer: Preferences
    operations: Operations
    types: frozenset[str]
    statement: Callable[[], str]

    def check(self, type_: str) -> None:
        """Let a type pass that is stored.

        Raises:
            FhirError: 404.
        """
        if type_ not in self.types:
            text = f"there is no resource type {type_[:64]!r}"
            raise fhir_error("not-found", "not-supported", text)
