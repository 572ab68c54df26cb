"""A visit's history in words: what occurred when, when it was learnt, what it changed.

Each message is taken in the order of arrival, and what it changed is the difference
between the visit as it was folded before it and after it. So a late message shows what
it set right, and a cancel what it took back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
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
        late: whether something that occurred later was known already.
        undone: recorded instant of the cancel that struck it out, or of the correction
            (ZBE) that took its place; None while it counts.
        undone_by: event and control id of that one.
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
    late: bool = False
    undone: Moment | None = None
    undone_by: str = ""
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
    names = {fact.id: _named(fact) for fact in arrived}
    state, newest = VisitState(), 0
    for n, fact in enumerate(arrived):
        extended = extend_visit(state, fact) if state.status and fact.visit == key else None
        after = fold_visit(arrived[: n + 1], key) if extended is None else extended
        row = HAPPENINGS.get(fact.event)
        cancel = struck.get(fact.id)
        happened = _happened(fact)
        told.append(
            Told(
                fact.event,
                row.title if row else fact.event,
                fact.site,
                fact.control_id,
                happened,
                fact.recorded,
                fact.received,
                changes(state, after, names),
                happened.us < newest,
                cancel.recorded if cancel is not None else None,
                _named(cancel) if cancel is not None else "",
                doubts.get(fact.id, []),
            )
        )
        state, newest = after, max(newest, happened.us)
    return Timeline(whole, told)


def _happened(fact: Fact) -> Moment:
    """Of a discharge its own time, of all others when they occurred."""
    discharged: Moment | None = fact.details.get("discharged")
    if EFFECTS.get(fact.event) == "discharge" and discharged is not None:
        return discharged
    return fact.occurred


def _named(fact: Fact) -> str:
    return f"{fact.event} {fact.control_id}".rstrip()


def changes(
    before: VisitState, after: VisitState, names: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """What is different in a visit, a phrase each.

    Args:
        names: event and control id of the facts that may have been struck out, by id.

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
    gone, back = set(after.struck) - set(before.struck), set(before.struck) - set(after.struck)
    for words, facts in (("struck out", gone), ("counts again", back)):
        if facts:
            said.append(f"{words}: {', '.join(sorted(names.get(one, one) for one in facts))}")
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
