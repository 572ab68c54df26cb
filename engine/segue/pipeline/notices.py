"""A visit's change as a message Bundle of Da Vinci Unsolicited Notifications.

What happened is read off two versions of an Encounter. The Bundle holds all that the
receiver needs to act on it: the Encounter as it was, and the patient, people, places,
conditions and coverages as they are; what is under special protection stays out.

Source: http://hl7.org/fhir/us/davinci-alerts
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from segue.care.consent import withheld
from segue.care.parties import HUB_REFERENCE
from segue.fhir.references import walk_references
from segue.model.identity import stable_id
from segue.model.instants import rfc3339
from segue.pipeline.alerts import EVENT_SYSTEM, OWN_SYSTEM

Resource = Mapping[str, Any]

_LIVE: Final = frozenset({"arrived", "triaged", "in-progress", "onleave"})
_VOID: Final = frozenset({"cancelled", "entered-in-error"})
_NOT_ADMITTED: Final = frozenset({"AMB", "HH", "VR", "FLD", "PRENC"})
"""Classes of visits that nobody is admitted to."""

_TITLES: Final = {
    "notification-admit": "Admit Notification",
    "notification-transfer": "Transfer Notification",
    "notification-discharge": "Discharge Notification",
    "admit-cancelled": "Admission cancelled",
    "discharge-cancelled": "Discharge cancelled",
}


def event_of(before: Resource | None, now: Resource) -> str | None:
    """The code of what happened between two versions of an Encounter; None for no event.

    >>> event_of(None, {"status": "in-progress", "class": {"code": "IMP"}})
    'notification-admit'
    >>> event_of({"status": "finished"}, {"status": "in-progress", "class": {"code": "IMP"}})
    'discharge-cancelled'
    >>> event_of(None, {"status": "planned", "class": {"code": "IMP"}}) is None
    True
    """
    if (now.get("class") or {}).get("code") in _NOT_ADMITTED:
        return None
    was, is_ = str((before or {}).get("status", "")), str(now.get("status", ""))
    if is_ == "finished":
        same = before is not None and _leaving(before) == _leaving(now)
        return None if was == "finished" and same else "notification-discharge"
    if is_ in _VOID:
        return "admit-cancelled" if was in _LIVE or was == "finished" else None
    if is_ not in _LIVE:
        return None
    if was == "finished":
        return "discharge-cancelled"
    if before is None or was not in _LIVE:
        return "notification-admit"
    return "notification-transfer" if _where(before) != _where(now) else None


def _leaving(encounter: Resource) -> tuple[Any, Any]:
    return (
        (encounter.get("period") or {}).get("end"),
        (encounter.get("hospitalization") or {}).get("dischargeDisposition"),
    )


def _where(encounter: Resource) -> tuple[Any, Any]:
    places = [
        (one.get("location") or {}).get("reference")
        for one in encounter.get("location", ())
        if one.get("status", "active") == "active" and "extension" not in one
    ]
    return (encounter.get("class") or {}).get("code"), places[-1:]


def named_by(encounter: Resource) -> list[str]:
    """`Type/id` of what goes along with an Encounter."""
    wanted = ("subject", "participant", "location", "serviceProvider", "diagnosis")
    parts = {name: encounter[name] for name in wanted if name in encounter}
    return list(dict.fromkeys(one["reference"] for _, one in walk_references(parts)))


def notice(
    event: str,
    encounter: Resource,
    along: Iterable[Resource],
    *,
    number: str,
    at: int,
) -> dict[str, Any]:
    """The message Bundle of an event.

    Args:
        event: see `event_of`.
        encounter: as it was then.
        along: what it refers to, coverages, and the hub's Organization.
        number: of the delivery: the same at every attempt.
        at: when the change was stored, µs.
    """
    kept = [encounter, *(one for one in along if not withheld(one))]
    urls = {f"{one['resourceType']}/{one['id']}": _url(one) for one in kept}
    header_id = _uuid("MessageHeader", number)
    system = EVENT_SYSTEM if event.startswith("notification-") else OWN_SYSTEM
    hub = _local(HUB_REFERENCE, urls)
    header = {
        "resourceType": "MessageHeader",
        "id": header_id,
        "eventCoding": {"system": system, "code": event, "display": _TITLES[event]},
        "sender": hub,
        "responsible": _local(encounter.get("serviceProvider") or HUB_REFERENCE, urls),
        "source": {"name": "Segue", "endpoint": "urn:segue"},
        "focus": [{"reference": _url(encounter)}],
    }
    entries: list[dict[str, Any]] = [{"fullUrl": f"urn:uuid:{header_id}", "resource": header}]
    entries += [{"fullUrl": _url(one), "resource": _local(one, urls)} for one in kept]
    return {
        "resourceType": "Bundle",
        "id": _uuid("Bundle", number),
        "type": "message",
        "timestamp": rfc3339(at),
        "entry": entries,
    }


def _local(value: Any, urls: Mapping[str, str]) -> Any:
    """A copy whose references lead into the Bundle; others become logical ones."""
    if isinstance(value, Mapping):
        reference = value.get("reference")
        if not isinstance(reference, str) or reference.startswith(("#", "http", "urn:")):
            return {name: _local(one, urls) for name, one in value.items()}
        rest = {name: one for name, one in value.items() if name != "reference"}
        if reference in urls:
            return {**rest, "reference": urls[reference]}
        type_, _, id_ = reference.partition("/")
        own = {"system": "urn:segue", "value": id_}
        return {"type": type_, **rest, "identifier": rest.get("identifier", own)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_local(one, urls) for one in value]
    return value


def _url(resource: Resource) -> str:
    return "urn:uuid:" + _uuid(str(resource["resourceType"]), str(resource["id"]))


def _uuid(*parts: str) -> str:
    """A UUID of the shape of version 4, always the same for the same parts."""
    id_ = stable_id(*parts)
    return f"{id_[:8]}-{id_[8:12]}-4{id_[13:16]}-a{id_[17:20]}-{id_[20:]}"
