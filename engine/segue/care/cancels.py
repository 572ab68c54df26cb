"""Cancels: which event each one strikes out.

A cancel is no movement. EVN-6 of a cancel names the time of the event that it
cancels (HL7 v2 chapter 3, EVN-6); it removes that event instead of being sorted in.
A movement that has an identity (ZBE-1, IHE PAM ITI-31) is cancelled by that, whenever it
happened; an update of it takes the place of all that was said of it before.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from segue.care.order import Key, recorded_key
from segue.care.states import Undone
from segue.model.events import HAPPENINGS, ONCE
from segue.model.facts import Fact
from segue.model.instants import Moment

STARTS = frozenset({"A01", "A04", "A05", "A14"})
"""Events without which there is no visit."""

_CANCELS = {code: event.cancels for code, event in HAPPENINGS.items() if event.cancels}
_DELETE = "A23"
_DISCHARGE = "A03"
_UPDATE = "A08"
_ENDS_VISIT = frozenset({_DELETE}) | {
    code for code, kinds in _CANCELS.items() if not STARTS.isdisjoint(kinds)
}


@dataclass(slots=True)
class Struck:
    """What the cancels among a visit's facts do.

    Attributes:
        by: id of a struck fact to the cancel that struck it.
        corrected: id of a movement to the update of it that holds instead.
        waiting: cancels whose target is not there.
        undone: the discharge that each cancel struck, sorted (see `VisitState.undone`).
        discharge_voided: recorded key of the newest cancel of a discharge.
        visit_ended: the newest cancel of a start, whether it found one or not.
    """

    by: dict[str, Fact] = field(default_factory=dict)
    corrected: dict[str, Fact] = field(default_factory=dict)
    waiting: list[Fact] = field(default_factory=list)
    undone: list[Undone] = field(default_factory=list)
    discharge_voided: Key | None = None
    visit_ended: Fact | None = None


def is_cancel(event: str) -> bool:
    """Whether an event strikes out others instead of being one in the order."""
    return event in _CANCELS or event == _DELETE


def ends_visit(event: str) -> bool:
    """Whether an event cancels the start of a visit."""
    return event in _ENDS_VISIT


def strike(facts: Iterable[Fact]) -> Struck:
    """Find what each cancel strikes out.

    Args:
        facts: all facts of one visit, each once, in the order they were recorded.
    """
    struck = Struck()
    earlier: list[Fact] = []
    for fact in facts:
        if not is_cancel(fact.event):
            earlier.append(fact)
            continue
        fallen = _fallen(fact, earlier, struck)
        if fallen is None:
            struck.waiting.append(fact)
        elif fallen:
            for target in fallen:
                struck.by[target.id] = fact
            if any(f.event == _DISCHARGE for f in fallen):
                struck.undone.append(_undone(fallen, earlier, fact))
                struck.discharge_voided = recorded_key(fact)
        if ends_visit(fact.event) and fallen != []:
            struck.visit_ended = fact
    struck.undone.sort(key=lambda one: (one[0], one[3]))
    _correct(earlier, struck)
    return struck


def _correct(events: list[Fact], struck: Struck) -> None:
    """Find what updates of movements take the place of: of what stands, and of what fell."""
    known: dict[tuple[str, str], list[Fact]] = {}
    for fact in events:
        movement = fact.details.get("movement")
        if movement is None:
            continue
        cancel = struck.by.get(fact.id)
        before = known.setdefault((movement, cancel.id if cancel else ""), [])
        if fact.details.get("corrects"):
            struck.corrected.update((one.id, fact) for one in before)
        before.append(fact)


def _undone(fallen: list[Fact], earlier: list[Fact], cancel: Fact) -> Undone:
    """What a discharge said when it was cancelled, sent again or corrected though it was."""
    gone = {fact.id for fact in fallen if fact.event == _DISCHARGE}
    first: Fact | None = None
    end, disposition = cancel.occurred, None
    for fact in earlier:
        stated: Moment | None = fact.details.get("discharged")
        if fact.id in gone:
            first = first or fact
            end = stated or fact.occurred
        elif first is None or fact.event != _UPDATE:
            continue
        else:
            end = stated or end
        if "disposition" in fact.details:
            disposition = fact.details["disposition"] or None
    assert first is not None
    return first.recorded.us, end, disposition, cancel.recorded.us


def _fallen(cancel: Fact, earlier: list[Fact], struck: Struck) -> list[Fact] | None:
    """What one cancel strikes out; [] for a cancel said again, None for no target."""
    if cancel.event == _DELETE:
        return [fact for fact in earlier if fact.id not in struck.by] or None
    kinds = _CANCELS[cancel.event]
    movement = cancel.details.get("movement")
    own = [fact for fact in earlier if movement and fact.details.get("movement") == movement]
    if own:
        standing = [fact for fact in own if fact.id not in struck.by]
        if standing and standing[-1].event in ONCE:
            again = [f for f in earlier if f.event == standing[-1].event and f not in own]
            standing += [fact for fact in again if fact.id not in struck.by]
        return standing
    known = [fact for fact in earlier if fact.event in kinds]
    if movement:  # what has an identity of its own is another movement
        known = [fact for fact in known if not fact.details.get("movement")]
    standing = [fact for fact in known if fact.id not in struck.by]
    named = cancel.targets
    target = None
    if named is not None:
        target = next((f for f in reversed(standing) if f.occurred.us == named.us), None)
        if target is None and any(f.occurred.us == named.us for f in known):
            return []
    if target is None:
        if not standing:
            return None
        target = standing[-1]
    if target.event not in ONCE:
        return [target]
    return [fact for fact in standing if fact.event == target.event]
