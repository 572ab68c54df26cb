"""When a visit begins and ends, and what its runs and its history make of that.

`period.start` is the earliest admission or registration in force (PV1-44, EVN-6,
EVN-2), unless a later A08 corrects it; `period.end` is PV1-45 of the discharge, else
EVN-6, else EVN-2, and only there while a discharge is in force.
"""

from dataclasses import dataclass, field

from segue.care.movements import EFFECTS, OPENING, STILL_PATIENT, close
from segue.care.order import recorded_key
from segue.care.states import Run, VisitState
from segue.model.facts import Fact
from segue.model.instants import Moment

_RESTATES_START = frozenset({"admit", "register", "class-change"})


@dataclass(slots=True)
class Course:
    """How the visit went: what opened it, and the statuses that were struck out.

    Attributes:
        begun: place of each run that the opening event began, by track.
    """

    opening: Fact | None = None
    begun: dict[str, int] = field(default_factory=dict)
    overlays: list[tuple[str, Moment, Moment]] = field(default_factory=list)


def find_times(state: VisitState, told: list[Fact], standing: list[Fact], course: Course) -> None:
    """Settle period.start and period.end, and fit the runs to them."""
    state.starts = sorted(
        {
            us
            for fact in told
            if EFFECTS.get(fact.event) in _RESTATES_START
            for us in start_values(fact)
        }
    )
    in_force = {fact.id for fact in standing}
    first: tuple[int, Fact, Moment] | None = None
    for fact in standing:
        if EFFECTS.get(fact.event) in OPENING:
            at = fact.details.get("admitted") or fact.occurred
            if first is None or at.us < first[0]:
                first = (at.us, fact, at)
    if first is not None:
        _, fact, state.start = first
        others = set(state.starts) - {first[0]}
        stated_at = recorded_key(fact)
        for later in told:
            admitted = later.details.get("admitted")
            if (
                later.event == "A08"
                and admitted is not None
                and later.id in in_force
                and admitted.us not in others
                and recorded_key(later) > stated_at
            ):
                state.start = admitted
        state.corrected = state.start != first[2]
    else:
        state.inferred = state.status != "planned"
        for fact in told:
            if fact.id in in_force and fact.details.get("admitted"):
                state.start = fact.details["admitted"]
        if state.start is None:
            changes = (f.occurred for f in standing if EFFECTS.get(f.event) == "class-change")
            state.start = next(changes, None)
    if course.opening is not None and state.start is not None:
        _begin(state, course.opening, course.begun, state.start)
    if state.status == "finished":
        state.end = _end_of(told, in_force)
        close(state, state.end)
    if state.status in ("in-progress", "onleave", "finished"):
        begun = state.start or standing[0].occurred
        state.window = (begun.us, state.end.us if state.end else 0)


def _begin(state: VisitState, opening: Fact, begun: dict[str, int], start: Moment) -> None:
    """Let what began with the visit begin at its start."""
    effect = EFFECTS.get(opening.event, "update")
    first = next(n for n, run in enumerate(state.statuses) if run[0] != "planned")
    _set_start(state.statuses, first, start)
    for track, n in begun.items():
        # A change of class has its own time; where somebody was before it is not said.
        if effect in OPENING or (track == "class" and effect != "class-change"):
            _set_start(state.tracks[track], n, start)


def _set_start(runs: list[Run], n: int, start: Moment) -> None:
    value, since, until = runs[n]
    if since is None or (until is not None and start.us > until.us):
        return
    runs[n] = (value, start, until)
    if n:
        earlier, begun, end = runs[n - 1]
        if end is not None and (begun is None or begun.us <= start.us):
            runs[n - 1] = (earlier, begun, start)


def _end_of(told: list[Fact], in_force: set[str]) -> Moment:
    """PV1-45, else EVN-6, else EVN-2 of the discharge, or the latest correction of it."""
    end: Moment | None = None
    for fact in told:
        if fact.id not in in_force:
            continue
        discharged: Moment | None = fact.details.get("discharged")
        if fact.event == "A03" and fact.details.get("disposition") != STILL_PATIENT:
            end = discharged or fact.occurred
        elif fact.event == "A08" and end is not None and discharged is not None:
            end = discharged
    assert end is not None, "a finished visit has a discharge"
    return end


def start_values(fact: Fact) -> set[int]:
    """All µs that an event gives as the start of a visit or class."""
    admitted = fact.details.get("admitted")
    return {fact.occurred.us} if admitted is None else {fact.occurred.us, admitted.us}


def overlay(runs: list[Run], status: str, start: Moment, end: Moment) -> list[Run]:
    """Show a struck status from when it occurred to when its cancel was recorded."""
    before: list[Run] = []
    after: list[Run] = []
    for value, since, until in runs:
        if since is None or since.us < start.us:
            cut = start if until is None or until.us > start.us else until
            before.append((value, since, cut))
        if until is None or until.us > end.us:
            after.append((value, end if since is None or since.us < end.us else since, until))
    merged: list[Run] = []
    for run in (*before, (status, start, end), *after):
        if merged and merged[-1][0] == run[0] and _touch(merged[-1], run):
            merged[-1] = (run[0], merged[-1][1], run[2])
        else:
            merged.append(run)
    return merged


def _touch(run: Run, following: Run) -> bool:
    return run[2] is not None and following[1] is not None and run[2].us >= following[1].us


def keeps_times(state: VisitState, fact: Fact, effect: str) -> bool:
    """Whether all that is settled of the visit's times stays what it is."""
    occurred = fact.occurred
    admitted: Moment | None = fact.details.get("admitted")
    discharged: Moment | None = fact.details.get("discharged")
    if state.start is not None and occurred.us < state.start.us:
        return False
    if effect == "class-change" and (
        state.inferred
        or state.corrected
        or state.status == "finished"
        or (admitted is not None and occurred.us == fact.recorded.us)
    ):
        return False
    if admitted is not None and (effect == "update" or state.inferred):
        start = state.start
        if start is None or (admitted.us == start.us and admitted != start):
            return False
        if admitted.us != start.us and (
            state.inferred or state.corrected or admitted.us not in state.starts
        ):
            return False
    if state.status == "finished":
        if effect == "discharge":
            return (discharged or occurred) == state.end
        return effect != "update" or discharged is None or discharged == state.end
    end = discharged or occurred if effect == "discharge" else occurred
    if state.struck and end.us < state.newest[0]:
        return False
    since = state.statuses[-1][1]
    return (since is None or since.us < end.us) and (
        state.start is None or state.start.us <= end.us
    )
