"""Movements: what an event does to a visit's status, class, place and participants.

Events are taken in the order in which they occurred. An event that only reports
(A08, A03, …) moves somebody only where it differs from what was in force then, and
that includes what was wrong then: an update that repeats a place which a cancel
later struck out is an echo, and falls with it.
"""

from typing import Any

from segue.care.states import Run, VisitState
from segue.model.events import HAPPENINGS
from segue.model.facts import Fact
from segue.model.instants import Moment

EFFECTS: dict[str, str] = {code: event.effect for code, event in HAPPENINGS.items()}
HARD = frozenset(
    {"preadmit", "admit", "register", "class-change", "transfer", "track", "swap"}
    | {"leave", "return"}
)
OPENING = frozenset({"admit", "register"})
INPATIENT = frozenset({"IMP", "ACUTE", "NONAC", "OBSENC"})
"""Classes whose start is an admission (HL7 v3 ActEncounterCode)."""

PLANNED_CLASS = "PRENC"
EXPECTED_DISCHARGE = "A16"
ASSIGNED_PLACE = "location#assigned"
"""Track of PV1-3."""
PENDING_PLACE = "location#pending"
"""Path of PV1-42, the place of a transfer that an A15 announces."""
TEMPORARY_PLACE = "location#temporary"
"""Track of PV1-11: held beside the assigned place until the next movement, if that does
not name it again."""
PRIOR_TEMPORARY_PLACE = "location#prior-temporary"
"""Path of PV1-43, the temporary place that the patient has left."""

AFTER_DISCHARGE = "event-after-discharge"
"""Warning: who is discharged is moved no more."""
NO_LEAVE = "return-without-leave"
"""Warning: a leave of absence ends (A22) that has not begun."""
ADMITTED_ALREADY = "announcement-after-admission"
"""Warning: a visit that is under way is announced (A05, A14); its class and place stay."""

STILL_PATIENT = "30"
"""PV1-36 of a discharge message that ends nothing (table 0112)."""

PLAIN, MOVEMENT, DISCHARGE, COMPUTED = range(4)

Shadow = tuple[Any, int]
"""A struck value and the µs at which its cancel was recorded."""

_NO_TRACKS = frozenset({PENDING_PLACE, PRIOR_TEMPORARY_PLACE})
_COMPUTED = frozenset({"status", "period", "statusHistory", "classHistory", "subject"})
_DISCHARGE_FIELDS = ("hospitalization.dischargeDisposition", "hospitalization.destination")
_kinds: dict[str, int] = {}


def kind_of(path: str) -> int:
    """How the fold treats an element of an Encounter."""
    kind = _kinds.get(path)
    if kind is None:
        head = path.partition("#")[0]
        top = head.partition(".")[0]
        if head in ("class", "location", "participant"):
            kind = MOVEMENT
        elif top in _COMPUTED:
            kind = COMPUTED
        elif head.startswith(_DISCHARGE_FIELDS):
            kind = DISCHARGE
        else:
            kind = PLAIN
        if len(_kinds) < 10_000:
            _kinds[path] = kind
    return kind


def stated(fact: Fact) -> list[tuple[str, Any]]:
    """The tracks that a fact speaks of, and the value it gives to each."""
    values: list[tuple[str, Any]] = []
    if not fact.stay or fact.stay[0].type != "Encounter":
        return values
    for path, value in fact.stay[0].elements.items():
        if kind_of(path) != MOVEMENT or path in _NO_TRACKS:
            continue
        if path == "class":
            if value and fact.details.get("class") != "N":
                values.append((path, value))
        elif value is None:
            values.append((path, None))
        else:
            items = [_bare(item) for item in value] if path[0] == "l" else value
            # A bed that is only announced is no place that anybody is in.
            if not items or items[0].get("status") not in ("planned", "reserved"):
                values.append((path, items))
    return values


def _bare(place: dict[str, Any]) -> dict[str, Any]:
    """A place without what follows from the order of events."""
    if "period" in place or place.get("status") in ("active", "completed"):
        return {
            key: value
            for key, value in place.items()
            if key != "period" and (key != "status" or value in ("planned", "reserved"))
        }
    return place


def move(state: VisitState, fact: Fact, shadows: dict[str, Shadow] | None = None) -> None:
    """Apply one event that stands, as the last one that occurred so far."""
    effect = EFFECTS.get(fact.event, "update")
    before = state.status
    after = next_status(before, effect, fact)
    frozen = before == "finished" and after == "finished"
    refused = _refused(before, effect) if effect in HARD else None
    if refused is not None:
        state.warnings = sorted([*state.warnings, (refused, fact.id)])
    if effect == "pending":
        if fact.stay and not frozen:
            state.pending = fact.stay[0].elements.get(PENDING_PLACE) or state.pending
        if fact.event == EXPECTED_DISCHARGE and not frozen:
            _notice(state, "expected", fact, anew=True)
    elif state.pending and (effect == "transfer" or after == "finished"):
        state.pending = []
    if not frozen and fact.stay:
        _leave_temporary(state, fact, moves=effect in HARD)
    at = when(state, fact, effect)
    opens = before in ("", "planned") and after != "planned"
    for track, value in stated(fact):
        if refused == ADMITTED_ALREADY and track[0] != "p":
            continue
        if shadows and (shadow := shadows.get(track)) is not None:
            if effect not in HARD and fact.occurred.us < shadow[1] and value == shadow[0]:
                continue
            del shadows[track]
        if after == "planned" and track == ASSIGNED_PLACE:
            state.pending = value or []  # nobody is there yet
            continue
        if frozen and (track[0] != "p" or state.tracks.get(track)):
            if track == "class":
                _notice_class(state, fact, value, anew=False)
            continue
        start: Moment | None = at if opens or track == "class" else fact.occurred
        if frozen or (effect == "discharge" and track[0] == "l"):
            start = None
        anew = put(state, track, value, start, fact.occurred)
        if anew and track == ASSIGNED_PLACE and effect != "pending":
            state.pending = []
        if track == "class":
            _notice_class(state, fact, value, anew)
    if after != before:
        if after == "finished":
            at = fact.details.get("discharged") or fact.occurred
            _notice(state, "discharge", fact, anew=True)
        elif before == "finished":
            state.noticed.pop("discharge", None)
            state.anchored.pop("discharge", None)
        if state.statuses:
            status, start, _ = state.statuses[-1]
            state.statuses[-1] = (status, start, at)
        state.statuses.append((after, at, None))
        state.status = after
    elif effect == "discharge" and after == "finished":
        _notice(state, "discharge", fact)


def _leave_temporary(state: VisitState, fact: Fact, *, moves: bool) -> None:
    """End the temporary place: by a movement that does not name it, or by PV1-43."""
    said = fact.stay[0].elements
    runs = state.tracks.get(TEMPORARY_PLACE)
    left = [_bare(item) for item in said.get(PRIOR_TEMPORARY_PLACE) or ()]
    if runs and runs[-1][2] is None and TEMPORARY_PLACE not in said:
        value, start, _ = runs[-1]
        if moves or value == left:
            runs[-1] = (value, start, fact.occurred)
    if left and not (runs and any(run[0] == left for run in runs)):
        # Nobody told of it at the time: it ends here, and its start is not known.
        runs = state.tracks.setdefault(TEMPORARY_PLACE, [])
        runs.insert(len(runs) - (bool(runs) and runs[-1][2] is None), (left, None, fact.occurred))


def _refused(status: str, effect: str) -> str | None:
    """Why an event cannot do what it stands for; all else that it says counts."""
    if effect == "preadmit":
        return ADMITTED_ALREADY if status not in ("", "planned") else None
    if status == "finished" and effect in ("transfer", "track", "swap", "leave", "return"):
        return AFTER_DISCHARGE
    return NO_LEAVE if effect == "return" and status not in ("onleave", "") else None


def next_status(status: str, effect: str, fact: Fact) -> str:
    """Encounter.status after an event; it never falls back on its own."""
    if effect == "preadmit":
        return status or "planned"
    if effect == "discharge":
        if fact.details.get("disposition") == STILL_PATIENT:
            return status or "in-progress"
        return "finished"
    if effect == "register":
        return status or "planned" if fact.details.get("class") == "P" else "in-progress"
    if effect in ("admit", "class-change"):
        return "onleave" if status == "onleave" and effect != "admit" else "in-progress"
    if status == "finished":
        return status
    if effect == "leave":
        return "onleave"
    if effect == "return":
        return "in-progress"
    if effect in HARD:
        return status if status == "onleave" else "in-progress"
    if status:
        return status
    match fact.details.get("class"):
        case "P":
            return "planned"
        case "U":
            return "unknown"
        case _:
            return "in-progress"


def when(state: VisitState, fact: Fact, effect: str) -> Moment:
    """The instant from which an event's class holds.

    A start holds from PV1-44; a later start or a change of class from PV1-44 only if
    that is after the start of the running class, for many systems leave the arrival in
    the emergency department there.
    """
    occurred = fact.occurred
    admitted: Moment | None = fact.details.get("admitted")
    if admitted is None or effect not in ("admit", "register", "class-change"):
        return occurred
    running = state.tracks.get("class")
    start = running[-1][1] if running else None
    if effect == "class-change":
        told_apart = occurred.us != fact.recorded.us
        if told_apart or start is None or not start.us < admitted.us <= occurred.us:
            return occurred
        return admitted
    if start is None or state.status in ("", "planned") or admitted.us > start.us:
        return admitted
    return occurred


def put(state: VisitState, track: str, value: Any, start: Moment | None, at: Moment) -> bool:
    """Set what is in force on a track from `start`; what was, ends then (or `at`).

    Returns:
        Whether a new run began.
    """
    runs = state.tracks.get(track)
    if runs:
        last, since, until = runs[-1]
        if until is None:
            if last == value:
                return False
            runs[-1] = (last, since, start or at)
    if not value:
        return False
    if runs is None:
        state.tracks[track] = [(value, start, None)]
    else:
        runs.append((value, start, None))
    return True


def _notice_class(state: VisitState, fact: Fact, value: dict[str, Any], anew: bool) -> None:
    """Keep who first said that the patient was admitted."""
    code = value.get("code")
    codes = [run[0].get("code") for run in state.tracks.get("class", ())]
    anchor = next((c for c in codes if c in INPATIENT), None)
    if anchor is None:
        anchor = next((c for c in codes if c != PLANNED_CLASS), None)
    if code is not None and code == anchor:
        _notice(state, "admission", fact, anew=anew and codes.index(code) == len(codes) - 1)


def _notice(state: VisitState, anchor: str, fact: Fact, anew: bool = False) -> None:
    noticed, recorded = state.noticed, fact.recorded.us
    if anew or anchor not in noticed:
        noticed[anchor] = fact.received
        state.anchored[anchor] = recorded
        return
    noticed[anchor] = min(noticed[anchor], fact.received)
    state.anchored[anchor] = min(state.anchored[anchor], recorded)


def close(state: VisitState, end: Moment) -> None:
    """End everything that is in force at the discharge; nothing goes on after it."""
    close_tracks(state, end)
    done = [_clamp(run, end) for run in state.statuses[:-1]]
    state.statuses = [*done, (state.status, end, None)]


def close_tracks(state: VisitState, end: Moment) -> None:
    """End classes, places and participants at the discharge."""
    for track, runs in state.tracks.items():
        state.tracks[track] = [_clamp(run, end) for run in runs]


def _clamp(run: Run, end: Moment) -> Run:
    value, start, until = run
    if start is not None and start.us > end.us:
        start = end
    if until is None or until.us > end.us:
        until = end
    return (value, start, until)
