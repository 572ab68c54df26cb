"""A payer: a FHIR server that holds what its members' care teams send it.

As a process: `python -m tests.peers.payer --port 9102`.
"""

from dataclasses import dataclass

from tests.peers import fhir
from tests.peers.fhir import FhirPeer, Resource


@dataclass
class Payer(FhirPeer):
    """A FHIR peer that can be asked what it knows of its members."""

    def tasks(self) -> list[Resource]:
        """The Tasks as they are now."""
        return [v[-1] for r, v in self.versions.items() if r.startswith("Task/")]

    def encounters(self) -> list[Resource]:
        """The Encounters as they are now."""
        return [v[-1] for r, v in self.versions.items() if r.startswith("Encounter/")]


if __name__ == "__main__":
    fhir.main()
