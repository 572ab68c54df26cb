"""The last work on what a draft has made, done for all of it together, kind by kind.

Checking, indexing and signing a version, and packing a fact, need much code and many
tables, other ones for each type of resource. Taken up message by message they would be
fetched from memory each time anew; for a whole batch at once, each type after the other,
they cost less than half.
"""

from collections.abc import Callable
from operator import itemgetter

from segue.fhir.search.values import terms
from segue.fhir.validate import Gate
from segue.model.changes import Head, Write
from segue.model.facts import Fact
from segue.model.identity import ResourceKey
from segue.pipeline.compare import Resource, check
from segue.pipeline.facts import bare, fill
from segue.store.records import FactRow

Mark = tuple[int, int, int, int]


class Unfinished:
    """Versions and facts of a draft that are not yet as they are stored.

    Args:
        patient: whether checks may wait; else what is not valid is refused at once.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.patient = patient
        self._unchecked: list[tuple[str, Resource, ResourceKey]] = []
        self._unindexed: list[tuple[str, Resource, Write, Head | None]] = []
        self._unsigned: list[Callable[[], None]] = []
        self._unpacked: list[tuple[FactRow, Fact]] = []

    def check(self, gate: Gate, resource: Resource, key: ResourceKey) -> None:
        """Let a valid resource pass, now or together with the others.

        Raises:
            InvalidError: with every issue found, where checks may not wait.
        """
        if self.patient:
            self._unchecked.append((key.type, resource, key))
        else:
            check(gate, resource, key)

    def index(self, made: Write, head: Head | None, resource: Resource) -> None:
        """Give a version its search terms, later.

        Args:
            made: the version. head: the same as a head, if somebody holds one.
            resource: its content.
        """
        self._unindexed.append((made.key.type, resource, made, head))

    def sign(self, sign: Callable[[], None]) -> None:
        """Have a step signed, once all of it is checked."""
        self._unsigned.append(sign)

    def pack(self, fact: Fact, entry: int) -> FactRow:
        """The row of a message's fact; what was said is put in later."""
        row = bare(fact, entry)
        self._unpacked.append((row, fact))
        return row

    def mark(self) -> Mark:
        """Where things stand."""
        return (
            len(self._unchecked),
            len(self._unindexed),
            len(self._unsigned),
            len(self._unpacked),
        )

    def undo(self, mark: Mark) -> None:
        """Forget what came since."""
        checked, indexed, signed, packed = mark
        del self._unchecked[checked:]
        del self._unindexed[indexed:]
        del self._unsigned[signed:]
        del self._unpacked[packed:]

    def are_valid(self, gate: Gate) -> bool:
        """Whether all resources that wait to be checked are valid."""
        self._unchecked.sort(key=itemgetter(0))
        valid = all(gate.is_valid(resource) for _, resource, _ in self._unchecked)
        self._unchecked.clear()
        return valid

    def finish(self) -> None:
        """Pack facts, sign steps and index what they wrote; of each resource the last version."""
        for row, fact in self._unpacked:
            fill(row, fact)
        self._unpacked.clear()
        for sign in self._unsigned:
            sign()
        last = {made.pk: made for _, _, made, _ in self._unindexed}
        self._unindexed.sort(key=itemgetter(0))
        for _, resource, made, head in self._unindexed:
            if last[made.pk] is made:
                made.terms = terms(resource)
                if head is not None:
                    head.terms = made.terms
        self._unsigned.clear()
        self._unindexed.clear()
