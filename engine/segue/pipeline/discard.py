"""Giving up messages that are held back or could not be applied; their bytes stay."""

from collections.abc import Mapping, Sequence
from typing import Final

from segue.model.changes import Cause
from segue.model.issues import Issue
from segue.model.messages import EntryState
from segue.pipeline.hub import Hub
from segue.pipeline.transact import Draft, transact
from segue.store.records import Step

MAY_GO: Final[tuple[EntryState, ...]] = ("quarantined", "failed")
"""States of entries of which nothing was applied."""


def discard(hub: Hub, numbers: Sequence[int], because: str) -> int:
    """Give journal entries up, so that nobody is asked to look at them any more.

    Args:
        hub: the engine.
        numbers: entry ids; those that are in none of the states `MAY_GO` stay.
        because: why; `segue inbox show` tells it.

    Returns:
        How many were given up.
    """
    wanted = set(numbers)
    count = 0

    def compute(draft: Draft) -> None:
        nonlocal count
        going: set[int] = set()
        for state in MAY_GO:
            going |= wanted & draft.reader.entries_in(state)
        told = Issue("information", "discarded", "", because)
        said = draft.reader.issues_of(going)
        _note(draft, {number: [*issues, told] for number, issues in said.items()})
        count = len(draft.steps)

    transact(hub, compute)
    return count


def restate(hub: Hub, issues: Mapping[int, Sequence[Issue]]) -> None:
    """Note in another store which entries were given up, with their issues and why."""
    transact(hub, lambda draft: _note(draft, issues))


def _note(draft: Draft, issues: Mapping[int, Sequence[Issue]]) -> None:
    for entry in draft.hub.journal.get_many(sorted(issues)):
        cause = Cause("entry", str(entry.id), entry.envelope.site)
        draft.steps.append(Step(cause, state="discarded", issues=list(issues[entry.id])))
