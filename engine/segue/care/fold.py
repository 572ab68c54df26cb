"""The fold of a visit: its facts, in any order, to the one picture of it.

`fold_visit` takes all facts. `extend_visit` adds one that is the newest both in what
occurred and in what was recorded, and gives the very same; where it cannot be sure of
that, it gives None. What a visit's facts mean follows HL7 v2 chapter 3.
"""

from collections.abc import Iterable
from dataclasses import replace

from segue.care.cancels import STARTS, Struck, ends_visit, is_cancel, strike
from segue.care.movements import (
    EFFECTS,
    Shadow,
    close,
    close_tracks,
    move,
    next_status,
    put,
    stated,
)
from segue.care.order import Key, occurred_key, recorded_key
from segue.care.renumbered import unify
from segue.care.states import VisitState
from segue.care.visit_statements import tell
from segue.care.visit_times import Course, find_times, keeps_times, overlay, start_values
from segue.model.facts import Fact, Fragment
from segue.model.identity import stable_id
from segue.model.notes import NOTES

_SETS_STATUS = frozenset({"preadmit", "admit", "register", "leave", "return", "discharge"})
_SIMPLE = frozenset(
    {"transfer", "track", "swap", "leave", "return", "update", "pending"}
    | {"attending", "consulting", "discharge", "class-change"}
)


def fold_visit(facts: Iterable[Fact], key: str | None = None) -> VisitState:
    """Fold all facts of one visit.

    Args:
        facts: in any order, also repeatedly; those that are not about a visit (A28,
            A31, A60 …) are left aside. Facts without a visit number count where the
            person's fold has found that they belong here.
        key: the number that the visit is kept under, where facts give it others too.

    Returns:
        The state; its `status` is "" where no fact makes a visit.
    """
    known = list(facts)
    if key is not None:
        others = sorted({fact.visit for fact in known if fact.visit not in (None, key)})
        if others:
            state = fold_visit([_under(fact, key) for fact in unify(known, key)])
            state.numbers = [number for number in others if number is not None]
            return state
    adopted = min((f for f in known if f.event == ADOPTED), key=recorded_key, default=None)
    state = _fold_events(_once(known), adopted is not None)
    if adopted is not None and adopted.visit is not None and adopted.stay:
        state.encounter = adopted.stay[0].id
        if not state.status:
            state.key, state.identity, state.site = adopted.visit, adopted.identity, adopted.site
    return state


def _under(fact: Fact, key: str) -> Fact:
    """A fact about a visit as if it had given the number that the visit is kept under."""
    if fact.visit is None or fact.visit == key:
        return fact
    stay = [
        Fragment("Encounter", stable_id("Encounter", key), one.scope, one.elements)
        if one.type == "Encounter" and fact.event != ADOPTED
        else one
        for one in fact.stay
    ]
    return replace(fact, visit=key, stay=stay)


def _fold_events(told: list[Fact], announced: bool) -> VisitState:
    numbered = [fact for fact in told if fact.visit is not None]
    if len(numbered) == len(told):
        return _fold(told, announced)
    state = _fold(told, announced)
    state.loose = sorted(fact.id for fact in told if fact.visit is None)
    state.window = _fold(numbered, announced).window
    return state


def extend_visit(state: VisitState, fact: Fact) -> VisitState | None:
    """Add the newest fact to a visit.

    Returns:
        A new state, equal to `fold_visit` of all facts; None where all must be folded.
        The given state is not changed.
    """
    if not fact.about_visit:
        return state
    if fact.event in NOTES:
        return _add_note(state, fact)
    effect = EFFECTS.get(fact.event, "update")
    occurred, recorded = fact.occurred, fact.recorded
    if (
        fact.event == ADOPTED
        or effect not in _SIMPLE
        or "corrects" in fact.details
        or state.status not in ("in-progress", "onleave", "finished")
        or (newest := _newness(fact)) <= state.newest
        or (recorded.us, fact.sent.us) <= state.told
        or fact.visit is None
        or state.loose
        or fact.visit != state.key
        or waiting_in(state)
        or not keeps_times(state, fact, effect)
    ):
        return None
    new = state.copy()
    new.tracks = {track: runs[:] for track, runs in state.tracks.items()}
    new.statuses = state.statuses[:]
    new.noticed = dict(state.noticed)
    new.anchored = dict(state.anchored)
    was_discharged = state.status == "finished"
    move(new, fact)
    if effect == "class-change":
        new.starts = sorted({*new.starts, *start_values(fact)})
    if new.status == "finished":
        if not was_discharged:
            new.end = fact.details.get("discharged") or occurred
        assert new.end is not None
        if not was_discharged:
            close(new, new.end)
        elif any(runs[-1][2] is None for runs in new.tracks.values()):
            close_tracks(new, new.end)
    new.elements = dict(state.elements)
    tell(new, fact, False)
    new.encounter = state.encounter or new.encounter
    new.newest = newest
    new.told = (recorded.us, fact.sent.us)
    if new.status == "finished":
        if new.window is not None and new.end is not None:
            new.window = (new.window[0], new.end.us)
        if not was_discharged and new.warnings:
            new.warnings = [w for w in new.warnings if w[0] != OPEN_DISCHARGE]
    elif effect == "update" and fact.details.get("discharged"):
        new.warnings = sorted([*new.warnings, (OPEN_DISCHARGE, fact.id)])
    return new


def _add_note(state: VisitState, fact: Fact) -> VisitState | None:
    """Add what no ADT tells: it moves nobody."""
    at = (fact.recorded.us, fact.sent.us)
    if (
        at <= state.told
        or state.loose
        or only_named(state)
        or waiting_in(state)
        or not state.status
        or (fact.visit != state.key)
    ):
        return None
    new = state.copy()
    new.elements = dict(state.elements)
    tell(new, fact, False, note=True)
    new.told = at
    return new


def only_named(state: VisitState) -> bool:
    """Whether no ADT has spoken of the visit yet: a document or an appointment names it."""
    return state.inferred and not state.newest[0]


ADOPTED = "statement"
"""Event of a fact by which a client's Encounter stands for the visit: it keeps its id."""
OPEN_DISCHARGE = "discharge-time-on-open-visit"
"""Warning: PV1-45 is filled, and no discharge was sent."""
NO_TARGET = "cancel-without-target"
"""Warning: what a cancel cancels has not been heard of."""
AWAITS_START = "visit-awaited"
"""Where the site wants it: an update that waits until something has started its visit."""
OTHER_PLACE = "place-after-cancel-differs"
"""Warning: a cancelled transfer does not go back to the place before."""


def _once(facts: Iterable[Fact]) -> list[Fact]:
    """The facts about the visit, each once, in the order they were recorded."""
    known: dict[str, Fact] = {}
    for fact in facts:
        if not fact.about_visit or fact.event == ADOPTED:
            continue
        other = known.get(fact.id)
        if other is None or fact.received < other.received:
            known[fact.id] = fact
    return sorted(known.values(), key=recorded_key)


def _fold(known: list[Fact], announced: bool) -> VisitState:
    told = [fact for fact in known if fact.event not in NOTES]
    if not told:
        return _name(known) if known else VisitState()
    struck = strike(told)
    standing = _standing(told, struck)
    if not announced and (early := _early(told, standing)):
        state = _fold([fact for fact in known if fact.id not in early], announced)
        state.warnings = sorted([*state.warnings, *((AWAITS_START, one) for one in early)])
        return state
    newest, last = told[-1], known[-1]
    state = VisitState(
        identity=newest.identity,
        site=newest.site,
        voided=[one[0] for one in struck.undone],
        struck=sorted({*struck.by, *struck.corrected}),
        undone=struck.undone,
        told=(last.recorded.us, last.sent.us),
    )
    course = _move_all(state, told, standing, struck)
    if standing:
        find_times(state, told, standing, course)
    else:
        _end_in_nothing(state, struck)
    changes = [start for _, start, _ in state.statuses if start is not None]
    for status, start, end in course.overlays:
        # What stands ends what did not, even before the cancel was recorded.
        until = next((at for at in changes if start.us < at.us < end.us), end)
        state.statuses = overlay(state.statuses, status, start, until)
    void = struck.discharge_voided
    for fact in known:
        if fact.id in struck.by and EFFECTS.get(fact.event) == "pending":
            fact = _unannounced(fact)  # noqa: PLW2901 - what it says apart from that counts
        voided = is_cancel(fact.event) or (void is not None and recorded_key(fact) < void)
        tell(state, fact, voided, note=fact.event in NOTES)
    state.newest = max(map(_newness, told))
    _warn(state, told, struck)
    return state


def waiting_in(state: VisitState) -> list[str]:
    """Ids of the facts that wait until something has started the visit."""
    return [fact for code, fact in state.warnings if code == AWAITS_START]


def _early(told: list[Fact], standing: list[Fact]) -> set[str]:
    """Ids of what is to wait, because nothing has started its visit."""
    heard_of = any(fact.event in STARTS for fact in told)
    facts = standing if heard_of else told
    if any(f.event in STARTS or "awaits_start" not in f.details for f in facts):
        return set()
    return {fact.id for fact in facts}


def _name(notes: list[Fact]) -> VisitState:
    """A visit that no ADT has spoken of yet, as the messages that name it know it."""
    last = notes[-1]
    state = VisitState(inferred=True, told=(last.recorded.us, last.sent.us))
    for fact in notes:
        tell(state, fact, True)
    said = {NOTES[fact.event].visit for fact in notes}
    state.status = "unknown" if "unknown" in said else NOTES[last.event].visit
    state.statuses = [(state.status, last.recorded, None)]
    return state


def _unannounced(fact: Fact) -> Fact:
    """A cancelled announcement (A16) without the date of the discharge that it announced."""
    stay = [
        Fragment(one.type, one.id, one.scope, {
            path: value for path, value in one.elements.items() if not _is_planned_end(value)
        })
        for one in fact.stay
    ]  # fmt: skip
    return replace(fact, stay=stay)


def _is_planned_end(value: object) -> bool:
    """Whether it is PV2-9, the expected discharge, as R5 names it."""
    return isinstance(value, list) and any(
        isinstance(item, dict) and str(item.get("url", "")).endswith("plannedEndDate")
        for item in value
    )


def _standing(told: list[Fact], struck: Struck) -> list[Fact]:
    """The events in force, in the order they occurred.

    Once a start is cancelled and none is left, only what was recorded later counts.
    Where no start is known, a cancel too tells that there is a visit: who is not
    discharged after all, is there.
    """
    gone = {**struck.by, **struck.corrected}
    events = [f for f in told if f.id not in gone and not is_cancel(f.event)]
    if struck.corrected:
        events = _noticed_before(events, told, struck)
    if not any(fact.event in STARTS for fact in events):
        events += [f for f in told if is_cancel(f.event) and not ends_visit(f.event)]
        if struck.visit_ended is not None:
            after = recorded_key(struck.visit_ended)
            events = [fact for fact in events if recorded_key(fact) > after]
    events.sort(key=occurred_key)
    return events


def _noticed_before(events: list[Fact], told: list[Fact], struck: Struck) -> list[Fact]:
    """Corrections, as noticed when the first word of their movements came."""
    first: dict[str, int] = {}
    for fact in told:
        update = struck.corrected.get(fact.id)
        if update is not None:
            first[update.id] = min(fact.received, first.get(update.id, update.received))
    return [replace(f, received=first[f.id]) if f.id in first else f for f in events]


def _move_all(state: VisitState, told: list[Fact], standing: list[Fact], struck: Struck) -> Course:
    """Take all events in order, and let struck ones be in force until their cancels."""
    course = Course()
    steps: list[tuple[Key, int, Fact]] = [(occurred_key(f), 1, f) for f in standing]
    gone = {**struck.corrected, **struck.by}
    if gone or struck.waiting:
        steps += [(occurred_key(f), 0, f) for f in told if f.id in gone]
        if standing:
            steps += [(recorded_key(f), 2, f) for f in told if is_cancel(f.event)]
        steps.sort(key=lambda step: step[:2])
    shadows: dict[str, Shadow] = {}
    for _, kind, fact in steps:
        if kind == 1:
            kept = dict(shadows) if "corrects" in fact.details else {}
            _move_one(state, fact, shadows, course)
            shadows.update(kept)  # what repeats the wrong place does so after the right one, too
        elif kind == 0:
            cancel = gone[fact.id]
            for track, value in stated(fact):
                shadows[track] = (value, cancel.recorded.us)
            effect = EFFECTS[fact.event]
            if effect in _SETS_STATUS and fact.id not in struck.corrected:
                was = "" if fact.event in STARTS else state.status
                status = next_status(was, effect, fact)
                if status != state.status and fact.occurred.us < cancel.recorded.us:
                    course.overlays.append((status, fact.occurred, cancel.recorded))
        else:
            _place_after_cancel(state, fact)
    return course


def _move_one(state: VisitState, fact: Fact, shadows: dict[str, Shadow], course: Course) -> None:
    if course.opening is not None:
        move(state, fact, None if is_cancel(fact.event) else shadows)
        return
    counts = {track: len(runs) for track, runs in state.tracks.items()}
    move(state, fact, None if is_cancel(fact.event) else shadows)
    if state.status != "planned":
        course.opening = fact
        course.begun = {
            track: len(runs) - 1
            for track, runs in state.tracks.items()
            if len(runs) > counts.get(track, 0)
        }


def _place_after_cancel(state: VisitState, cancel: Fact) -> None:
    """PV1-3 of a cancel: where the patient is then, if that is another place."""
    if state.status in ("", "planned", "finished"):
        return
    for track, value in stated(cancel):
        if track[0] != "l":
            continue
        moved = put(state, track, value, cancel.recorded, cancel.recorded)
        if moved and cancel.event == "A12":
            state.warnings.append((OTHER_PLACE, cancel.id))


def _end_in_nothing(state: VisitState, struck: Struck) -> None:
    """No event is left: the visit was cancelled, or deleted as an error (A23)."""
    ended = struck.visit_ended
    assert ended is not None, "only a cancel of its start leaves a visit without events"
    state.status = "entered-in-error" if ended.event == "A23" else "cancelled"
    state.statuses = [(state.status, ended.recorded, None)]


def _newness(fact: Fact) -> tuple[int, int]:
    """From when on (µs) nothing that occurs is earlier than this event; then when it was sent."""
    # What was struck or corrected may be repeated until that was recorded.
    undoes = is_cancel(fact.event) or "corrects" in fact.details
    at = max(fact.occurred.us, fact.recorded.us) if undoes else fact.occurred.us
    return at, fact.sent.us


def _warn(state: VisitState, told: list[Fact], struck: Struck) -> None:
    state.warnings += [(NO_TARGET, fact.id) for fact in struck.waiting]
    if state.status not in ("finished", "cancelled", "entered-in-error"):
        state.warnings += [
            (OPEN_DISCHARGE, fact.id)
            for fact in told
            if EFFECTS.get(fact.event, "update") == "update" and fact.details.get("discharged")
        ]
    state.warnings.sort()
