"""What became of a message, as an acknowledgement says it.

Source: HL7 v2.5.1 sections 2.9.2 and 2.9.3, table 0357.
"""

from collections.abc import Callable, Sequence

from segue.hl7v2.ack import AckCode, AckError, ack
from segue.hl7v2.errors import BadPath, Hl7Error
from segue.hl7v2.parse import parse
from segue.hl7v2.paths import split_path
from segue.hl7v2.peek import peek
from segue.mapping.apply import apply
from segue.mapping.context import Context
from segue.mapping.tables import WANTED
from segue.model.issues import Issue
from segue.model.messages import Envelope, InboxEntry, RawMessage
from segue.pipeline.hub import Hub
from segue.pipeline.refold import WAITING

Judge = Callable[[RawMessage, Envelope], list[AckError]]
"""Says what mapping finds wrong with a message, before it is stored."""

CONDITIONS = {
    "unreadable": "100",
    "no-patient-identifier": "101",
    "no-prior-identifier": "101",
    "incomplete": "101",
    "bad-time": "102",
    "unknown-code": "103",
    "wanted-code": "103",
    "event-missing": "201",
    "event-unknown": "201",
    "unsupported-event": "201",
    "visit-unknown": "204",
    "merge-with-itself": "205",
    "control-id-reused": "205",
    "quarantined": "205",
}
"""Code of an issue to HL7 table 0357; what is not named is 207, an internal error."""

WAITS = WAITING | {WANTED}
"""Errors that settle by themselves later: the sender need not care."""

MOST = 10
"""Errors that one answer names."""


def errors_of(issues: Sequence[Issue]) -> list[AckError]:
    """Issues as errors of an acknowledgement: the serious ones first, one for each place."""
    found: dict[tuple[str, str], AckError] = {}
    for issue in sorted(issues, key=lambda one: one.severity != "error"):
        if issue.severity == "information":
            continue
        serious = issue.severity == "error" and issue.code not in WAITS
        code = CONDITIONS.get(issue.code, "207" if serious else "0")
        place = location(issue.where)
        error = AckError(code, place, issue.text, "E" if serious else "W")
        found.setdefault((code, place), error)
    return list(found.values())[:MOST]


def location(where: str) -> str:
    """A place in a message as ERR-2 names it, "" where it is none.

    >>> location("MRG-1"), location("PID-3(2)"), location("MSH"), location("line 2")
    ('MRG^1^1', 'PID^1^3^2', 'MSH^1', '')
    """
    try:
        return split_path(where).location
    except BadPath:
        return f"{where}^1" if len(where) == 3 and where.isupper() else ""


def code_of(errors: Sequence[AckError]) -> AckCode:
    """AE where any error is serious, else AA."""
    return "AE" if any(error.severity == "E" for error in errors) else "AA"


def mapping_judge(hub: Hub) -> Judge:
    """What feeds with `ack: mapped` ask: everything short of the fold, without storing."""

    def judge(raw: RawMessage, envelope: Envelope) -> list[AckError]:
        try:
            message = parse(raw.body, hub.feed(raw.feed).charset_fallback)
            context = Context(hub.site(envelope.site), raw.feed, raw.received)
            mapped = apply(hub.mapping_for(envelope.site), message, context)
        except Hl7Error as error:
            return [AckError("100", "MSH^1", str(error))]
        except Exception:  # noqa: BLE001 - the message is stored and will say more
            return [AckError("207", "", "The message is kept; the engine could not map it.")]
        return errors_of([*message.issues, *mapped.issues])

    return judge


def reply(entry: InboxEntry, issues: Sequence[Issue], *, control_id: str, now: str) -> bytes:
    """The application acknowledgement of enhanced mode: a message of its own.

    It asks for an accept acknowledgement, so that its delivery is known.

    Args:
        entry: what is answered.
        issues: what was found wrong with it.
        control_id: MSH-10 of the answer.
        now: MSH-7.
    """
    errors = errors_of(issues)
    return ack(
        peek(entry.raw.body),
        code_of(errors),
        control_id=control_id,
        now=now,
        errors=errors,
        accept="AL",
    )
