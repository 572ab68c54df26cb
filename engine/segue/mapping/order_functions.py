"""Named functions for what is planned: appointments (SCH, AIS, AIP, AIL, AIG) and orders."""

from datetime import datetime, timedelta
from typing import Any

from segue.mapping.datatypes import codeable_concept, entity_identifier, period_of
from segue.mapping.directory import location, organization, practitioner
from segue.mapping.tables import Convert, Tools
from segue.mapping.values import Run

_TAKES_PART = frozenset(
    {"", "booked", "confirmed", "complete", "started", "overbook", "pending", "waitlist"}
)
"""Filler status codes (table 0278, and what senders say for them) of who takes part."""

USUAL_MINUTES = 30
"""How long an appointment takes that says nothing of it."""

_MINUTES = {"S": 1 / 60, "SEC": 1 / 60, "H": 60, "HR": 60, "HOUR": 60, "HOURS": 60, "D": 1440}
_PLACES = (("AIS", 7, 8), ("AIP", 9, 10), ("AIL", 9, 10), ("AIG", 11, 12))
"""Segment, and its fields of duration and unit."""
_ENDS = (("SCH", 11, 5), ("TQ1", 8, 1))


_LONGEST = 366 * 24 * 60
"""Minutes; what is longer is no appointment's duration."""


def _minutes(count: str, unit: str) -> int:
    try:
        minutes = round(float(count) * _MINUTES.get(unit.upper(), 1))
    except (ValueError, OverflowError):
        return 0
    return minutes if 0 < minutes <= _LONGEST else 0


def _sent(run: Run, segment: str, n: int, component: int = 1) -> str:
    fields = run.fields_of(segment)
    raw = fields[n] if n < len(fields) else ""
    if raw:
        run.used.add((segment, n, raw))
    return run.part(run.parts(run.first(raw)), component)


def appointment_minutes(tools: Tools) -> Convert:
    """SCH-9 in the unit of SCH-10 as minutes.

    >>> from segue.mapping.functions import example
    >>> example("appointment_minutes", "45")
    45
    """

    def convert(raw: str, run: Run) -> int | None:
        unit = run.part(run.parts(run.field(10)), 1)
        minutes = _minutes(run.part(run.parts(raw), 1), unit) or None
        if minutes is None:
            run.leave(9)
            run.leave(10)
        return minutes

    return convert


def appointment_end(tools: Tools) -> Convert:
    """The end of an appointment, of its start: as sent, else after its duration.

    SCH-11.5 or TQ1-8; else SCH-9, else the duration of AIS, AIP, AIL or AIG; else
    half an hour.

    >>> from segue.mapping.functions import example
    >>> example("appointment_end", "20260716103000-0400")
    '2026-07-16T11:00:00-04:00'
    """

    def convert(raw: str, run: Run) -> str | None:
        start = run.moment(raw)
        if start is None or not start.has_time:
            return None
        for segment, n, component in _ENDS:
            sent = _sent(run, segment, n, component)
            end = run.moment(sent) if sent else None
            if end is not None and end.has_time and end.us >= start.us:
                return end.text
        minutes = _minutes(_sent(run, "SCH", 9), _sent(run, "SCH", 10))
        for segment, n, unit in _PLACES:
            minutes = minutes or _minutes(_sent(run, segment, n), _sent(run, segment, unit))
        minutes = minutes if 0 < minutes < 100 * 1440 else USUAL_MINUTES
        return (datetime.fromisoformat(start.text) + timedelta(minutes=minutes)).isoformat()

    return convert


def _participation(run: Run, n: int) -> str:
    """Whether somebody takes part: AIP-12, AIL-12 or AIG-14 (table 0278)."""
    word = run.part(run.parts(run.field(n)), 1).lower()
    if word in ("cancelled", "canceled", "discontinued", "dc", "deleted"):
        return "declined"
    if word not in _TAKES_PART:
        run.leave(n)
    return "tentative" if word in ("pending", "waitlist") else "accepted"


def _present(run: Run, n: int) -> dict[str, str]:
    """When somebody is needed, of AIP-6 to -10 (AIL alike, AIG from -8): Period elements.

    An offset counts from the appointment's start.
    """
    raw = run.first(run.field(n))
    start = run.moment(raw) if raw else None
    begin = start.text if start is not None and start.has_time else ""
    if begin:
        run.leave(n + 1)  # an offset says nothing beside a time
        run.leave(n + 2)
    if not begin:
        run.leave(n)
        offset = run.part(run.parts(run.field(n + 1)), 1)
        raw = _sent(run, "SCH", 11, 4) or _sent(run, "TQ1", 7)
        whole = run.moment(raw) if offset and raw else None
        if whole is None or not whole.has_time:
            for k in range(n + 1, n + 5):
                run.leave(k)
            return {}
        late = _minutes(offset.lstrip("-+"), run.part(run.parts(run.field(n + 2)), 1))
        late = -late if offset.startswith("-") else late
        begin = (datetime.fromisoformat(whole.text) + timedelta(minutes=late)).isoformat()
    parts = (run.part(run.parts(run.field(k)), 1) for k in (n + 3, n + 4))
    minutes = _minutes(*parts)
    if not minutes:
        run.leave(n + 3)
        run.leave(n + 4)
        return {"start": begin}
    end = datetime.fromisoformat(begin) + timedelta(minutes=minutes)
    return {"start": begin, "end": end.isoformat()}


def _with_period(made: dict[str, Any], run: Run, n: int) -> dict[str, Any]:
    period = _present(run, n)
    return {**made, "period": period} if period else made


def appointment_actor(tools: Tools, *, role: str = "") -> Convert:
    """XCN: a participant of an Appointment; AIP-4 says as what.

    Args:
        role: what somebody is who only knows of it: `placer contact`.

    >>> from segue.mapping.functions import example
    >>> example("appointment_actor", "77^SEE^SAM")["status"]
    'accepted'
    """
    person, concept = practitioner(tools), codeable_concept(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        actor = person(raw, run)
        if actor is None:
            return None
        if role:
            kind = [{"text": role}]
            return {
                "type": kind, "actor": actor, "required": "information-only", "status": "accepted"
            }  # fmt: skip
        made: dict[str, Any] = {"actor": actor, "status": _participation(run, 12)}
        kind_sent = run.first(run.field(4))
        if kind_sent and (found := concept(kind_sent, run)):
            made["type"] = [found]
        return _with_period(made, run, 6)

    return convert


def appointment_place(tools: Tools) -> Convert:
    """AIL-3: the Location as a participant of an Appointment.

    >>> from segue.mapping.functions import example
    >>> example("appointment_place", "CLINIC^3")["actor"]["display"]
    'CLINIC 3'
    """
    place = location(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        actor = place(raw, run)
        if actor is None:
            return None
        return _with_period({"actor": actor, "status": _participation(run, 12)}, run, 6)

    return convert


def appointment_resource(tools: Tools) -> Convert:
    """AIG-3: a room or a machine, by name, as a participant of an Appointment.

    >>> from segue.mapping.functions import example
    >>> example("appointment_resource", "MRI1^Scanner one")["actor"]
    {'identifier': {'value': 'MRI1'}, 'display': 'Scanner one'}
    """
    concept = codeable_concept(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        texts = run.texts(raw, 2)
        actor: dict[str, Any] = {}
        if texts[0]:
            actor["identifier"] = {"value": texts[0]}
        if texts[1]:
            actor["display"] = texts[1]
        if not actor:
            return None
        made: dict[str, Any] = {"actor": actor, "status": _participation(run, 14)}
        kind = run.first(run.field(4))
        if kind and (found := concept(kind, run)):
            made["type"] = [found]
        return _with_period(made, run, 8)

    return convert


def order_performer(tools: Tools) -> Convert:
    """NDL of OBR-32, -34, -35: its first component names a person (CNN).

    >>> from segue.mapping.functions import example
    >>> example("order_performer", "77&READ&RAY^20260705")["display"]
    'RAY READ'
    """
    person = practitioner(tools)

    def convert(raw: str, run: Run) -> Any:
        if run.subcomponent in raw:
            raw = raw.split(run.component, maxsplit=1)[0].replace(run.subcomponent, run.component)
        return person(raw, run)

    return convert


def order_detail(tools: Tools, *, code: int, system: str | None = None) -> Convert:
    """CWE: a detail of an order, only beside its code (R4 invariant prr-1).

    Args:
        code: number of the field that says what is ordered.
        system: of codes that are sent without one.

    >>> from segue.mapping.functions import example
    >>> example("order_detail", "SO^Second opinion", code=3) is None
    True
    """
    concept = codeable_concept(tools, system=system)

    def convert(raw: str, run: Run) -> Any:
        return concept(raw, run) if run.field(code).strip(run.blank) else None

    return convert


def observed(tools: Tools) -> Convert:
    """OBR-7 as effective[x]: a Period where OBR-8 says when it ended.

    >>> from segue.mapping.functions import example
    >>> example("observed", "20260705")
    ('DateTime', '2026-07-05')
    """

    def convert(raw: str, run: Run) -> tuple[str, Any] | None:
        start = run.moment(raw)
        if start is None:
            return None
        if run.field(8) and (period := period_of(run, raw, run.field(8))):
            return "Period", period
        return "DateTime", start.text

    return convert


def specimen_number(tools: Tools) -> Convert:
    """SPM-2 (EIP): the filler's number of a specimen, else the placer's, as an Identifier.

    >>> from segue.mapping.functions import example
    >>> example("specimen_number", "P1&OE^F1&LAB")["value"]
    'F1'
    """
    read = entity_identifier(tools)

    def convert(raw: str, run: Run) -> Any:
        parts = run.parts(raw)
        chosen = parts[1] if len(parts) > 1 and parts[1].strip(run.blank) else parts[0]
        return read(chosen.replace(run.subcomponent, run.component), run)

    return convert


def specimen_reference(tools: Tools) -> Convert:
    """OBX-33 or SPM-3 (EIP): a Specimen by its number.

    >>> from segue.mapping.functions import example
    >>> example("specimen_reference", "P1&OE^F1&LAB")["identifier"]["value"]
    'F1'
    """
    read = specimen_number(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        made = read(raw, run)
        return {"type": "Specimen", "identifier": made} if made else None

    return convert


def container_type(tools: Tools) -> Convert:
    """SPM-27: what a Specimen is in.

    >>> from segue.mapping.functions import example
    >>> example("container_type", "TUBE^Tube")["type"]["coding"][0]["code"]
    'TUBE'
    """
    concept = codeable_concept(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        made = concept(raw, run)
        return {"type": made} if made else None

    return convert


def goal_target(tools: Tools) -> Convert:
    """GOL-8: when a Goal is to be reached, as its target.

    >>> from segue.mapping.functions import example
    >>> example("goal_target", "20260901")
    {'dueDate': '2026-09-01'}
    """

    def convert(raw: str, run: Run) -> dict[str, str] | None:
        due = run.moment(raw[:8])
        return {"dueDate": due.text} if due else None

    return convert


def provider(tools: Tools) -> Convert:
    """PRD: a reference to who refers or is referred to.

    The person of PRD-2 with the number of PRD-7, else the organization of PRD-10.

    >>> from segue.mapping.functions import example
    >>> example("provider", "REFER^RITA")["display"]
    'RITA REFER'
    """
    person, firm = practitioner(tools), organization(tools)

    def convert(raw: str, run: Run) -> Any:
        name = run.first(run.field(2)) if run.fields else raw
        number = run.parts(run.first(run.field(7)))
        if name.strip(run.blank):
            run.leave(10)
            parts = [number[0], *run.parts(name)[:4]]
            parts += [""] * (8 - len(parts))
            parts.append(number[2] if len(number) > 2 else "")
            return person(run.component.join(parts), run)
        works = run.first(run.field(10))
        return firm(works, run) if works else None

    return convert
