"""A visit's history in words: what occurred when, when it was learnt, what it changed.

Each message is taken in the order of arrival, and what it changed is the difference
between the visit as it was folded before it and after it. So a late message shows what
it set right, and a cancel what it took back.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from segue.care.cancels import strike
from segue.care.doubts import DOUBTS
from segue.care.fold import extend_visit, fold_visit
from segue.care.movements import EFFECTS
from segue.care.order import recorded_key
from segue.care.states import VisitState
from segue.model.events import HAPPENINGS
from segue.model.facts import Fact
from segue.model.instants import Moment


@dataclass(frozen=True, slots=True)
class Told:
    """What one message told of a visit.

    Attributes:
        event: trigger event; title: its name.
        occurred, recorded: see `Fact`; learnt: arrival, microseconds UTC.
        changed: what it changed, a phrase each; empty where it said nothing new.
        undone: recorded instant of the cancel that struck it out, or of the correction
            (ZBE) that took its place; None while it counts.
        doubts: what the fold has to remark on it.
    """

    event: str
    title: str
    site: str
    control_id: str
    occurred: Moment
    recorded: Moment
    learnt: int
    changed: list[str] = field(default_factory=list)
    undone: Moment | None = None
    doubts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The history of a visit.

    Attributes:
        state: the visit as it is now.
        told: its messages in the order of arrival.
    """

    state: VisitState
    told: list[Told]


def timeline(facts: Iterable[Fact], key: str) -> Timeline:
    """Tell the history of a visit.

    Args:
        facts: all about the visit, each once.
        key: the number that it is kept under.
    """
    arrived = sorted(
        (fact for fact in facts if fact.about_visit),
        key=lambda fact: (fact.received, recorded_key(fact)),
    )
    whole = fold_visit(arrived, key)
    found = strike(sorted(arrived, key=recorded_key))
    struck = {**found.corrected, **found.by}
    doubts: dict[str, list[str]] = {}
    for code, fact_id in whole.warnings:
        doubts.setdefault(fact_id, []).append(DOUBTS[code][1])
    told: list[Told] = []
    state = VisitState()
    for n, fact in enumerate(arrived):
        extended = extend_visit(state, fact) if state.status and fact.visit == key else None
        after = fold_visit(arrived[: n + 1], key) if extended is None else extended
        row = HAPPENINGS.get(fact.event)
        cancel = struck.get(fact.id)
        told.append(
            Told(
                fact.event,
                row.title if row else fact.event,
                fact.site,
                fact.control_id,
                _happened(fact),
                fact.recorded,
                fact.received,
                changes(state, after),
                cancel.recorded if cancel is not None else None,
                doubts.get(fact.id, []),
            )
        )
        state = after
    return Timeline(whole, told)


def _happened(fact: Fact) -> Moment:
    """Of a discharge its own time, of all others when they occurred."""
    discharged: Moment | None = fact.details.get("discharged")
    if EFFECTS.get(fact.event) == "discharge" and discharged is not None:
        return discharged
    return fact.occurred


def changes(before: VisitState, after: VisitState) -> list[str]:
    """What is different in a visit, a phrase each.

    >>> changes(VisitState(), VisitState(status="in-progress"))
    ['status in-progress']
    """
    said: list[str] = []
    if before.status != after.status:
        said.append(_became("status", before.status, after.status))
    for track in sorted({*before.tracks, *after.tracks}, key=_place_of):
        old, new = _now(before, track), _now(after, track)
        if old != new:
            said.append(_became(_name_of(track), old, new))
        elif len(before.tracks.get(track, ())) != len(after.tracks.get(track, ())):
            said.append(f"{_name_of(track)} in between set right")
    for name, one, two in (("begins", before.start, after.start), ("ends", before.end, after.end)):
        if one != two:
            said.append(_became(name, _text(one), _text(two)))
    if before.disposition != after.disposition and after.discharged:
        said.append(_became("disposition", before.disposition or "", after.disposition or ""))
    if before.pending != after.pending:
        places = ", ".join(map(shown, after.pending))
        said.append(f"transfer to {places} announced" if places else "no transfer announced")
    if len(after.struck) > len(before.struck):
        said.append(f"{len(after.struck) - len(before.struck)} event(s) struck out")
    if before.numbers != after.numbers:
        said.append(f"also numbered {', '.join(after.numbers)}")
    if other := _otherwise(before, after):
        said.append(f"said: {', '.join(other)}")
    return said


def _became(name: str, old: str, new: str) -> str:
    if not old:
        return f"{name} {new}"
    return f"{name} {old} → {new}" if new else f"{name} no more (was {old})"


def _place_of(track: str) -> tuple[int, str]:
    return ("clp".find(track[0]), track)


def _name_of(track: str) -> str:
    head, _, label = track.partition("#")
    head = {"location": "place", "participant": "participant"}.get(head, head)
    return head if not label or head == "place" else f"{head} ({label})"


def _now(state: VisitState, track: str) -> str:
    """What is on a track now; after the discharge, what was last."""
    runs = state.tracks.get(track)
    if not runs or (runs[-1][2] is not None and not state.discharged):
        return ""
    value = runs[-1][0]
    return shown(value) if isinstance(value, dict) else ", ".join(map(shown, value))


def shown(item: Any) -> str:
    """A class, a place or a participant in a word."""
    if "code" in item:
        return str(item["code"])
    named = item.get("location") or item.get("individual") or {}
    return str(named.get("display") or named.get("reference") or "?")


def _text(at: Moment | None) -> str:
    return "" if at is None else at.text


def _otherwise(before: VisitState, after: VisitState) -> list[str]:
    """Names of other elements, and kinds of other resources, that are different."""
    names = {
        path.partition("#")[0]
        for path in {*before.elements, *after.elements}
        if before.elements.get(path) != after.elements.get(path)
    }
    kinds = {
        name.partition("/")[0]
        for name in {*before.others, *after.others}
        if before.others.get(name) != after.others.get(name)
    }
    return [*sorted(names), *sorted(kinds)]
