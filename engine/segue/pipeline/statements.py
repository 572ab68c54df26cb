"""What a client's write means: a resource of its own, an identity, or a statement.

All that one REST request (or one transaction Bundle) writes is one commit with one
Provenance. A resource is one of three kinds
(docs/architecture.md, "Three kinds of stored resource"):

- a client's own: valid ones are stored as written; they belong to the person that they
  refer to and are evidence for protocols;
- a Patient, or an Encounter with a visit number: it stands for a source identity. A
  Patient is that identity's statement of demographics, folded with what feeds say of
  the person; the resource keeps the id that its client gave it. There is one resource
  for each identity, so a second create finds the first;
- computed by the engine: a write is a statement about it, see `segue.pipeline.owned`.

Everything is computed on a draft and computed again where somebody else was first.
"""

from collections.abc import Sequence
from dataclasses import replace

from segue.fhir.outcomes import fhir_error
from segue.fhir.requests import Entry
from segue.model.identity import stable_id
from segue.pipeline.charts import Charts, Directory
from segue.pipeline.hub import Hub
from segue.pipeline.speaker import Speaker
from segue.pipeline.stages import Stages
from segue.pipeline.targets import check_type, lock_of
from segue.pipeline.transact import Draft, transact
from segue.pipeline.writing import Writing, Written, placed
from segue.store.records import RevisionConflict

__all__ = ["Speaker", "Written", "write_all"]


def write_all(
    hub: Hub, speaker: Speaker, entries: Sequence[Entry], *, base: str, bundle: bool = True
) -> list[Written | None]:
    """Do the writes of one request, all or none; one commit, one Provenance.

    Args:
        hub: the engine. It is not changed: several threads may write at once.
        speaker: who writes.
        entries: the requests, numbered from 0; reads among them are left to the caller.
        base: our base URL; references that begin with it are ours.
        bundle: whether they are entries of a Bundle: errors then name the entry.

    Returns:
        One for each entry, in their order; None for reads.

    Raises:
        FhirError: the request cannot be done; nothing was written.
    """
    # Charts are of one thread, and a client judges by what is stored now.
    own = replace(hub, charts=Charts(), directory=Directory(), stages=Stages())
    ref = stable_id("Statement", hub.new_id())
    ids = [hub.new_id() for _ in entries]
    answers: list[Written | None] = []

    def compute(draft: Draft) -> None:
        answers[:] = Writing(draft, speaker, entries, ids, ref, base, bundle=bundle).run()

    held: set[int] = set()
    for entry in entries:
        with placed(entry, bundle=bundle):
            check_type(entry, hub.gate.definitions.resources)
            if (number := lock_of(entry, base)) is not None:
                held.add(number)
    try:
        # Whoever looks whether something is there keeps others from adding it meanwhile.
        with own.store.hold(sorted(held)):
            transact(own, compute)
    except RevisionConflict:
        raise fhir_error(
            "conflict", "lock-error", "others write the same resources all the time: try again"
        ) from None
    return answers
