"""A care plan as an HL7 v2 message: MDM^T02 with TXA-2 `CP`.

Receivers that take plans this way match them by TXA-12.1, the plan's id, and replace the
whole plan; there is no update in part and no deletion. So each rendering shows all of it:
the plan's own words, the open Tasks with owner and due, and those that were cancelled
lately, named as cancelled. A plan is of no single visit, hence `PV1|1|N`.

Source: HL7 v2.5.1 ch. 9.5.2 (MDM^T02 needs EVN, PV1, TXA-1, -2, -12, -17), Patients Know
Best "Care plan" interface (TXA-2 CP, TXA-4, TXA-12.1, TXA-17 AU; OBX-2 ED with
`TEXT`, `HTML`, `A`).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from segue.hl7v2.times import dtm
from segue.hl7v2.write import MessageBuilder, Value, write

Resource = Mapping[str, Any]

_ENDED = frozenset({"completed", "cancelled", "rejected", "failed", "entered-in-error"})
_SEX = {"female": "F", "male": "M", "other": "O", "unknown": "U"}
_OWN_AUTHORITY = "urn:segue:authority:"


def care_plan_message(
    plan: Resource,
    patient: Resource | None,
    tasks: Iterable[Resource],
    *,
    control_id: str,
    at: int,
    receiver: str = "",
    cancelled_since: int = 0,
) -> bytes:
    """Write a plan and its Tasks as one MDM^T02.

    Args:
        plan: the CarePlan.
        patient: its subject; None writes a PID of the subject's reference alone.
        tasks: the Tasks under it, whatever their state.
        control_id: MSH-10; the same at every attempt.
        at: MSH-7, EVN-2 and TXA-4, microseconds UTC.
        receiver: MSH-5.
        cancelled_since: Tasks that were cancelled before this instant (µs) are left out.

    Raises:
        Unwritable: a text holds what no HL7 v2 message can carry.
    """
    stamp = dtm(at)
    plan_id = str(plan["id"])
    title = str(plan.get("title") or "Care plan")
    builder = MessageBuilder().header(
        type="MDM",
        event="T02",
        structure="MDM_T02",
        control_id=control_id,
        time=stamp,
        sending_application="SEGUE",
        receiving_application=receiver or None,
    )
    builder.segment("EVN", {1: "T02", 2: stamp})
    builder.segment("PID", _pid(plan, patient))
    builder.segment("PV1", {1: 1, 2: "N"})
    builder.segment(
        "TXA", {1: 1, 2: "CP", 3: "TX", 4: stamp, 12: (plan_id, "SEGUE"), 17: "AU", 19: "AV"}
    )
    html = document(plan, tasks, cancelled_since)
    code = ("18776-5", title, "LN")
    data = (None, "TEXT", "HTML", "A", html)
    builder.segment("OBX", {1: 1, 2: "ED", 3: code, 5: data, 11: "F"})
    return write(builder.build())


def document(plan: Resource, tasks: Iterable[Resource], cancelled_since: int = 0) -> str:
    """The plan as one line of HTML.

    >>> document({"title": "Plan <A>", "status": "active"}, [
    ...     {"status": "requested", "description": "Call", "owner": {"display": "PCPB"},
    ...      "restriction": {"period": {"end": "2026-07-07"}}}])
    '<h1>Plan &lt;A&gt;</h1><p>active</p><h2>Open</h2><ul><li>Call: requested, due 2026-07-07, \
PCPB</li></ul>'
    """
    parts = [f"<h1>{escape(str(plan.get('title') or 'Care plan'))}</h1>"]
    period = plan.get("period", {})
    said = [str(plan.get("status", ""))]
    said += [f"{word} {period[key]}" for word, key in (("from", "start"), ("to", "end"))
             if key in period]  # fmt: skip
    if plan.get("description"):
        parts.append(f"<p>{escape(str(plan['description']))}</p>")
    parts.append(f"<p>{escape(' '.join(said))}</p>")
    ordered = sorted(tasks, key=lambda task: (_due(task), str(task.get("id", ""))))
    live = [task for task in ordered if task.get("status") not in _ENDED | {"draft"}]
    gone = [
        task
        for task in ordered
        if task.get("status") == "cancelled" and _us(task.get("lastModified")) >= cancelled_since
    ]
    for heading, group in (("Open", live), ("Cancelled", gone)):
        if group:
            items = "".join(f"<li>{escape(_line(task))}</li>" for task in group)
            parts.append(f"<h2>{heading}</h2><ul>{items}</ul>")
    return "".join(parts)


def _line(task: Resource) -> str:
    name = task.get("description") or _words(task.get("code")) or "Task"
    facts = [str(task.get("status", ""))]
    if task.get("status") == "cancelled":
        facts += [_words(task.get("statusReason"))]
    else:
        facts += [f"due {_due(task)}" if _due(task) else "", _owner(task)]
    return f"{name}: {', '.join(fact for fact in facts if fact)}"


def _due(task: Resource) -> str:
    return str(task.get("restriction", {}).get("period", {}).get("end", ""))


def _owner(task: Resource) -> str:
    owner = task.get("owner", {})
    return str(owner.get("display") or owner.get("identifier", {}).get("value") or "")


def _words(concept: Any) -> str:
    if not isinstance(concept, Mapping):
        return ""
    if concept.get("text"):
        return str(concept["text"])
    for coding in concept.get("coding", ()):
        return str(coding.get("display") or coding.get("code") or "")
    return ""


def _us(instant: Any) -> int:
    try:
        found = datetime.fromisoformat(str(instant))
    except ValueError:
        return 0
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return int(found.timestamp() * 1e6)


def _pid(plan: Resource, patient: Resource | None) -> dict[int, Value]:
    if patient is None:
        reference = str(plan.get("subject", {}).get("reference", ""))
        return {1: 1, 3: [(reference.partition("/")[2], None, None, "SEGUE", "PI")], 5: ("",)}
    names = patient.get("name", ())
    fields: dict[int, Value] = {
        1: 1,
        3: [_cx(item) for item in patient.get("identifier", ()) if item.get("value")],
        5: [_xpn(name) for name in names[:1]],
        7: str(patient.get("birthDate", "")).replace("-", "") or None,
        8: _SEX.get(str(patient.get("gender", ""))),
    }
    return {number: value for number, value in fields.items() if value not in (None, [])}


def _cx(identifier: Resource) -> Value:
    system = str(identifier.get("system", ""))
    authority: Value
    if system.startswith(_OWN_AUTHORITY):
        authority = system.removeprefix(_OWN_AUTHORITY)
    elif identifier.get("assigner", {}).get("display"):
        authority = str(identifier["assigner"]["display"])
    elif system.startswith("urn:oid:"):
        authority = (None, system.removeprefix("urn:oid:"), "ISO")
    elif system == "urn:segue":
        authority = "SEGUE"
    else:
        authority = (None, system, "URI") if system else None
    codings: Sequence[Resource] = identifier.get("type", {}).get("coding", ())
    kind = str(codings[0].get("code")) if codings else "PI" if system == "urn:segue" else None
    return (str(identifier["value"]), None, None, authority, kind)


def _xpn(name: Resource) -> Value:
    given = [str(part) for part in name.get("given", ())]
    return (str(name.get("family", "")), given[0] if given else None, " ".join(given[1:]) or None)
