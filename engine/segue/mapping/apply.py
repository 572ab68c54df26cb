"""A message through a mapping set: facts, issues, and what no rule read.

Each patient group (PID) of a message becomes one fact.
"""

import hashlib
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from segue.hl7v2.ack import ANSWERS
from segue.hl7v2.groups import REPEATS, groups
from segue.hl7v2.message import Message, Segment
from segue.hl7v2.separators import STANDARD
from segue.hl7v2.times import offset_of
from segue.mapping.context import PART2, Context, Mapped
from segue.mapping.directory import practitioner
from segue.mapping.identity import patient_identity, prior_identities, visit_identity
from segue.mapping.load import MappingSet, standard_widths
from segue.mapping.said import left_out, unread
from segue.mapping.tables import Tools
from segue.mapping.texts import join_texts, one_comment
from segue.mapping.times import EventTimes
from segue.mapping.values import Memo, NoMemo, Run
from segue.mapping.walk import places, walk
from segue.mapping.widths import Width
from segue.model.events import EVENTS, MOVEMENT_CANCEL, MOVEMENT_UPDATE, STARTING, Event
from segue.model.facts import Fact, Fragment
from segue.model.issues import Issue
from segue.model.notes import MESSAGES, NOTES

NO_VISIT = "N"
"""PV1-2 of a PV1 that is there only because the structure wants one."""

LINKS = frozenset({"link", "unlink"})
PAIRS = LINKS | {"swap"}
NO_PATIENT = frozenset({"bed-status"})
CANCELS = frozenset({"cancel", "delete-visit"})
REPLACES = frozenset({"merge", "change"})
MOVE_IDENTIFIER, ALTERNATE_VISIT = "A43", "A51"
EVERY_FIELD = frozenset(range(64))
MERGES: dict[str, int] = {
    "merge": 1,
    "change": 1,
    "account-merge": 3,
    "visit-merge": 5,
    "move": 1,
    "visit-change": 5,
}
"""Effects that need MRG, and the field of it that names what goes."""
_GONE = {
    "account-merge": "prior_account",
    "visit-merge": "prior_visit",
    "visit-change": "prior_visit",
}
ACCOUNT_CHANGE = "A49"
"""Changes an account: MRG-1 may well be the patient's own identifier."""

CANCEL_OF = {target: e for e in EVENTS.values() for target in e.cancels}
"""Code of an event to the event that cancels it."""

HEADERS = ("MSH", "SFT", "UAC", "EVN", "DSC")
"""Segments that are the message's, not a patient's, in their order."""

STATED = (
    ("application", "MSH", 3),
    ("facility", "MSH", 4),
    ("control_id", "MSH", 10),
    ("reason", "EVN", 4),
)
"""What a message says of its own making, and where."""

_MILLISECONDS = (1 << 48) - 1
_operator = practitioner(Tools())


def apply(
    mapping: MappingSet, message: Message, context: Context, *, trace: bool = False
) -> Mapped:
    """Map one message.

    Values in the result may be shared with other results: read them, never change them.

    Args:
        mapping: the mapping set of the site.
        message: the parsed message.
        context: where it came from.
        trace: also list what each rule did (`Mapped.trace`); slower.

    Returns:
        One fact per patient group. None where the message names no patient or its
        event is none that Segue knows; the issues then say so.
    """
    mapped = Mapped(mapping=mapping.digest, trace=[] if trace else None)
    run = _run(mapping, message, context)
    standard = message.separators == STANDARD
    known = mapping.caches[id(context.site)][3] if standard else None
    directory: dict[str, Fragment] = {}
    run.directory = directory
    header, stated = message.first("MSH"), message.first("EVN")
    movement = message.first("ZBE")
    if message.type != "ADT":
        event = _note(message)
    elif movement is None:
        event = EVENTS.get(message.event)
    else:
        event = _moved(message.event, movement, run)
    # Who entered the event is in the directory, whoever asks for the provenance.
    operator = _operator(run.first(stated.raw(5)), run) if stated and stated.raw(5) else None
    run.found.clear()
    mapped.making = partial(_provenance, mapping.digest, message, run, operator)
    if event is None and message.type in ANSWERS:
        text = "an answer to a message; who waits for it reads it"
        mapped.issues.append(Issue("information", "acknowledgement", "MSH-9", text))
        return mapped
    if event is None:
        text = "this event has no map; the message is kept as sent"
        mapped.issues.append(Issue("warning", "unsupported-event", "MSH-9", text))
        return mapped
    plan = mapping.plan(message.type, message.structure)
    times = EventTimes(run, header, stated, movement, context.received)
    mapped.making = partial(mapped.making, times)
    digest = context.digest or hashlib.sha256(message.text.encode()).hexdigest()
    control_id = (header.raw(10) if header else "").strip()
    sender = context.sender or _sender(header, context)
    unmapped: dict[str, str] = {}
    headers: dict[str, Segment] = {}
    for name in HEADERS:
        for segment in message.named.get(name, ()):
            headers.setdefault(name, segment)
            fields = segment.fields
            left = unread(fields, plan.kept(name, len(fields)))
            if name != "MSH" and run.repetition in segment.line:
                left += left_out(fields, EVERY_FIELD, run)
            for n, raw in left:
                unmapped[f"{name}-{n}"] = raw
            if run.component in segment.line:
                _exceeding(name, fields, unmapped, run)
    if event.effect in NO_PATIENT:
        segments = [segment for segment in message.segments if segment.name not in HEADERS]
        places(plan, run, segments, unmapped, trace=mapped.trace)
        if not any(one.type == "Location" for one in directory.values()):
            text = "no bed is named; the message is kept as sent"
            run.report("warning", "no-bed", "NPU-1", text)
        mapped.recorded = times.recorded
    for ordinal, (pid, body) in enumerate(_patients(message) if mapped.recorded is None else ()):
        told = event.code in NOTES
        segments = _texts(message.type, body) if told else body
        fact = _fact(mapping, event, pid, segments, run, times, headers)
        if fact is None:
            continue
        walk(plan, run, fact, segments, unmapped, known=known, trace=mapped.trace)
        others = _prior(mapping, event, run.segments.get("MRG"), run, fact)
        fact.id = _fact_id(fact.recorded.us, f"{sender}\x1f{control_id}\x1f{digest}\x1f{ordinal}")
        fact.control_id, fact.digest, fact.received = control_id, digest, context.received
        fact.history, fact.mapping = context.history, mapping.digest
        fact.details, fact.rules = run.details, run.fired
        _label(fact, run, context)
        mapped.facts.append(fact)
        mapped.facts += [_gone_too(fact, other) for other in others]
    if event.effect in PAIRS and len(mapped.facts) < 2 and mapped.recorded is None:
        text = "this event is about two patients, and fewer can be read here"
        run.report("warning", "one-patient-only", "PID", text)
    if event.effect in LINKS and len(mapped.facts) > 1:
        one, two = mapped.facts[:2]
        one.prior, two.prior = two.identity, one.identity
        if event.effect == "unlink" and context.site.a37_unmerges:
            one.details["unmerges"] = two.details["unmerges"] = True
    mapped.directory = list(directory.values())
    mapped.issues, mapped.wanted = run.issues, run.wanted
    mapped.verbatim = unmapped
    return mapped


def _exceeding(name: str, fields: list[str], unmapped: dict[str, str], run: Run) -> None:
    """Keep what the fields of a header hold beyond their datatypes."""
    component = run.component
    for n, (raw, width) in enumerate(zip(fields, _rooms(name), strict=False)):
        if component in raw and width and raw.count(component) >= width.components:
            run.exceed(raw, n, width)
    if run.surplus:
        for at, text in run.surplus:
            if f"{name}-{at.partition('.')[0]}" not in unmapped:
                unmapped[f"{name}-{at}"] = text
        run.surplus.clear()


@lru_cache(maxsize=len(HEADERS))
def _rooms(name: str) -> list[Width | None]:
    """What the fields of a header have room for; of the delimiters nothing is said."""
    widths = standard_widths().segment(name)
    if name == "MSH":
        widths[:3] = [None] * 3
    return widths


def _fact_id(recorded: int, told: str) -> str:
    """An id that begins with the time, so that an index of facts grows at its end.

    Args:
        recorded: µs.
        told: which message it is, and which of its facts.
    """
    digits = hashlib.blake2b(told.encode(), digest_size=10).hexdigest()
    return f"{recorded // 1000 & _MILLISECONDS:012x}{digits}"


def _texts(kind: str, body: list[Segment]) -> list[Segment]:
    return join_texts(one_comment(body) if kind == "SIU" else body, every=kind == "MDM")


def _note(message: Message) -> Event | None:
    """A message beside ADT that Segue knows: it says something and moves nobody."""
    if (message.type, message.event) not in MESSAGES:
        return None
    return Event(message.event, "", message.structure, "update", 4)


def source_identity(mapping: MappingSet, message: Message, context: Context) -> str | None:
    """Key of the first patient's source identity, `HOSPA|100234`, without mapping the rest."""
    run = _run(mapping, message, context)
    rules = mapping.identity
    return patient_identity(rules, message.first("PID"), rules.fields, run)[0]


def _run(mapping: MappingSet, message: Message, context: Context) -> Run:
    separators = message.separators
    header = message.first("MSH")
    held = mapping.caches.get(id(context.site))
    if held is None:
        held = mapping.remember(context.site)
    run = Run(
        context.site,
        component=separators.component,
        repetition=separators.repetition,
        subcomponent=separators.subcomponent,
        escape=separators.escape,
        unescape=message.unescape,
        offset=offset_of(header.raw(7)) if header else None,
        authorities=mapping.identity.authorities,
        never=mapping.identity.never,
        cache=held[1],
    )
    run.memos = held[2] if run.default_delimiters else _no_memos(len(mapping.rules))
    return run


@lru_cache(maxsize=8)
def _no_memos(count: int) -> list[Memo]:
    return [NoMemo()] * count


def _patients(message: Message) -> list[tuple[Segment | None, list[Segment]]]:
    """Each patient's PID and segments; headers belong to nobody."""
    pids = message.all("PID")
    if len(pids) > 1 or message.structure in REPEATS:
        found = [(group.pid, group.segments) for group in groups(message)]
        if found:
            return found
    body = [segment for segment in message.segments if segment.name not in HEADERS]
    return [(pids[0] if pids else None, body)]


def _moved(code: str, movement: Segment, run: Run) -> Event | None:
    """What a message with ZBE does: ZBE-4 says how, ZBE-6 to what (IHE PAM, ITI-31).

    An update of a movement is the movement again; the later statement of it holds.
    """
    event = EVENTS.get(code)
    action = run.text(movement.raw(4)).upper()
    original = EVENTS.get(run.text(movement.raw(6)).upper()) or event
    if original is None or (event is not None and event.effect in CANCELS):
        return event
    if action == "CANCEL":
        other = MOVEMENT_CANCEL if original.code in MOVEMENT_CANCEL.cancels else event
        return CANCEL_OF.get(original.code, other)
    return original if code == MOVEMENT_UPDATE or action == "UPDATE" else event


def _movement(movement: Segment, run: Run) -> dict[str, Any]:
    """Which movement it is (ZBE-1), whether it corrects one, and whether it is past."""
    parts = run.parts(run.first(movement.raw(1)))
    value = run.part(parts, 1)
    said: dict[str, Any] = {}
    if value:
        named = next((part for part in parts[1:3] if part), "")
        said["movement"] = f"{run.authority_of(named)[0] or run.authority}|{value}"
        if run.text(movement.raw(4)).upper() == "UPDATE":
            said["corrects"] = True
    if run.text(movement.raw(5)).upper() == "Y":
        said["historic"] = True
    return said


def _sender(header: Segment | None, context: Context) -> str:
    sent = f"{header.raw(3)}|{header.raw(4)}" if header else "|"
    return context.feed if sent == "|" else sent


def _fact(
    mapping: MappingSet,
    event: Event,
    pid: Segment | None,
    segments: list[Segment],
    run: Run,
    times: EventTimes,
    headers: dict[str, Segment],
) -> Fact | None:
    """The fact of a patient group, with its keys and times and nothing mapped yet."""
    first: dict[str, Segment] = dict(headers)
    for segment in segments:
        first.setdefault(segment.name, segment)
    run.segments, run.details, run.labels, run.fired = first, {}, [], []
    rules = mapping.identity
    identity, links = patient_identity(rules, pid, rules.fields, run)
    if identity is None:
        where = "PID" if pid is None else "PID-3"
        text = "no patient identifier; the message cannot be filed"
        run.report("error", "no-patient-identifier", where, text)
        return None
    stay = first.get("PV1")
    about_visit = event.about_visit and _speaks_of_visit(event, stay, run)
    visit = visit_identity(rules, run) if about_visit else None
    if event.code in NOTES:
        about_visit = visit is not None  # without its number it is the patient's alone
    elif about_visit and visit is None:
        text = "no visit number; the visit is sought among the patient's open ones"
        run.report("warning", "no-visit-number", "PV1-19", text)
    if about_visit and (movement := first.get("ZBE")) is not None:
        run.details |= _movement(movement, run)
    waits = run.site.unknown_visit == "park" and event.code not in NOTES
    if about_visit and waits and event.effect not in STARTING:
        run.details["awaits_start"] = True
    run.identity, run.visit = identity, visit or ""
    is_cancel = event.effect in CANCELS
    return Fact(
        id="",
        site=run.site.name,
        authority=run.authority,
        control_id="",
        digest="",
        event=event.code,
        occurred=times.recorded if is_cancel else times.occurred(event.code, stay),
        recorded=times.recorded,
        sent=times.sent,
        received=0,
        identity=identity,
        links=links,
        targets=times.happened if is_cancel else None,
        visit=visit,
        about_visit=about_visit,
    )


def _speaks_of_visit(event: Event, visit: Segment | None, run: Run) -> bool:
    if visit is None:
        return event.effect != "update"
    return run.part(run.parts(visit.raw(2)), 1) != NO_VISIT


def _prior(
    mapping: MappingSet, event: Event, merge: Segment | None, run: Run, fact: Fact
) -> list[str]:
    """What MRG says: the identity, visit and account that go.

    Returns:
        The other identities of the person that goes.
    """
    if merge is None:
        if event.effect in MERGES:
            text = "there is no MRG segment that names what goes; nothing is done"
            run.report("error", "no-prior-identifier", f"MRG-{MERGES[event.effect]}", text)
        return []
    named = prior_identities(mapping.identity, merge, ("MRG-1", "MRG-4"), run)
    # What PID-3 lists, too, is the survivor's; but what the rules choose is meant.
    goes = [one for one in named if one not in fact.links]
    if named and named[0] != fact.identity and named[0] not in goes:
        goes.insert(0, named[0])
    prior = next(iter(goes or named), None)
    if event.effect in REPLACES:
        if prior is None:
            text = "no prior patient identifier; nothing can be merged"
            run.report("error", "no-prior-identifier", "MRG-1", text)
        elif prior == fact.identity and event.code != ACCOUNT_CHANGE:
            text = "the prior identifier is the patient's own; nothing is merged"
            run.report("error", "merge-with-itself", "MRG-1", text)
        elif prior != fact.identity:
            fact.prior = prior
    elif prior is not None and prior != fact.identity:
        run.details["prior_identity"] = prior
    elif event.code == MOVE_IDENTIFIER and prior is not None:
        # The same number in PID-3 and MRG-1: MRG-4 names the person that it leaves.
        whose, _ = patient_identity(mapping.identity, merge, ("MRG-4",), run)
        if whose is not None and whose != prior:
            run.details |= {"prior_identity": whose, "moved": prior}
    details = run.details
    visit = run.segments.get("PV1")
    number = 5
    if event.code == ALTERNATE_VISIT and fact.visit is not None:
        number = 6
        if visit is not None and _number(visit, 19, run) is not None:
            details["visit_stays"] = True
    for name, n in (("prior_account", 3), ("prior_visit", number)):
        if (key := _number(merge, n, run)) is not None:
            details[name] = key
    gone = _GONE.get(event.effect)
    if gone == "prior_visit" and fact.visit is not None and details.get(gone) == fact.visit:
        text = "the prior number is the visit's own; nothing is merged"
        run.report("error", "merge-with-itself", "MRG-5", text)
    elif gone and gone not in details and event.code != ALTERNATE_VISIT:
        text = f"MRG does not say what goes; nothing is done ({event.title.lower()})"
        run.report("error", "no-prior-identifier", f"MRG-{MERGES[event.effect]}", text)
    return goes[1:] if event.effect in REPLACES or event.code == MOVE_IDENTIFIER else []


def _gone_too(fact: Fact, prior: str) -> Fact:
    """The same merge of another identity of the person that goes, and nothing else."""
    moved = fact.details.get("prior_identity") is not None
    return replace(
        fact,
        id=_fact_id(fact.recorded.us, f"{fact.id}\x1f{prior}"),
        prior=None if moved else prior,
        visit=None,
        about_visit=False,
        person=[Fragment("Patient", fact.person[0].id, "person", {})],
        stay=[],
        details={"prior_identity": prior} if moved else {},
        rules=[],
    )


def _number(segment: Segment, n: int, run: Run) -> str | None:
    """Key of a number (CX), `HOSPA|V1`; None where the field has none."""
    parts = run.first(segment.raw(n)).split(run.component)
    value = run.part(parts, 1)
    if not value:
        return None
    authority = run.authority_of(parts[3])[0] if len(parts) > 3 else ""
    return f"{authority or run.authority}|{value}"


def _label(fact: Fact, run: Run, context: Context) -> None:
    labels = set(run.labels)
    if context.part2 == "all":
        labels.add(PART2)
    elif context.part2 != "none" and fact.about_visit:
        visit = run.segments.get("PV1")
        unit = run.part(run.parts(visit.raw(3)), 1) if visit else ""
        if not unit or unit in context.part2:
            labels.add(PART2)
    fact.labels = sorted(labels)


def _provenance(
    mapping: str,
    message: Message,
    run: Run,
    operator: dict[str, Any] | None,
    times: EventTimes | None = None,
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "event": message.event,
        "structure": message.structure,
        "mapping": mapping,
    }
    for name, place, n in STATED:
        segment = message.first(place)
        value = run.part(run.parts(segment.raw(n)), 1) if segment else ""
        if value:
            said[name] = value
    if operator:
        said["operator"] = operator
    if times is not None:
        said["recorded"] = times.recorded.text
        if times.happened is not None:
            said["occurred"] = times.happened.text
    return said
