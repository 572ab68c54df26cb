"""Fetches what deliveries carry, at the time of sending.

A `fhir` delivery carries the version that it names; an `adt` one the bytes as they came;
a `careplan` one the plan with the Tasks as they are now, rendered for HL7 v2; an `alert`
one the message that tells what a version of an Encounter changed; an `ack` one what became
of a message.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from segue.care.parties import HUB_REFERENCE
from segue.fhir.canonical import dumps, loads
from segue.hl7v2.times import dtm
from segue.model.deliveries import OF_ENTRIES, QueuedDelivery
from segue.model.identity import ResourceKey
from segue.pipeline.answers import reply
from segue.pipeline.notices import event_of, named_by, notice
from segue.pipeline.render import care_plan_message
from segue.store.journal import Journal
from segue.store.reader import Reader
from segue.store.store import Store

NOTICE = "urn:segue:notice"
"""System of the tag that a delivered resource carries; the stored one does not."""

_Version = tuple[str, str, int]
"""Type, id and version of a resource."""

CANCELLED_FOR_US = 30 * 86_400_000_000
"""How long a rendering goes on to name a cancelled Task."""


class _Bearer(msgspec.Struct):
    """What bears identifiers, or one where its type has but one; the rest is skipped."""

    identifier: list[dict[str, Any]] | dict[str, Any] = []


_bearer = msgspec.json.Decoder(_Bearer).decode


class Contents:
    """The bodies of deliveries, out of store and journal; used on one thread."""

    def __init__(self, store: Store, journal: Journal) -> None:
        """Take an open store and journal."""
        self._store = store
        self._journal = journal

    def bodies(self, deliveries: Sequence[QueuedDelivery]) -> list[str | bytes]:
        """Per delivery: resource text, "" for a deletion, or the bytes of a message.

        Raises:
            LookupError: the version or message is not there (any more).
        """
        bodies: list[str | bytes] = [""] * len(deliveries)
        texts: dict[_Version, str] = {}
        wanted = {_version(one) for one in deliveries if one.delivery.form not in OF_ENTRIES}
        wanted |= {_before(one) for one in deliveries if one.delivery.form == "alert"}
        forwarded = {int(one.delivery.what) for one in deliveries if one.delivery.form == "adt"}
        messages = self._journal.bodies(sorted(forwarded))
        if wanted:
            with self._store.read() as reader:
                texts = reader.texts(wanted)
                for place, one in enumerate(deliveries):
                    if one.delivery.form == "careplan":
                        bodies[place] = _rendering(reader, one, texts[_version(one)])
                    elif one.delivery.form == "alert":
                        before = texts.get(_before(one), "")
                        bodies[place] = _notice(reader, one, before, texts[_version(one)])
        for place, one in enumerate(deliveries):
            form = one.delivery.form
            if form == "fhir":
                bodies[place] = noticed(texts[_version(one)], one.delivery.notice)
            elif form == "adt":
                bodies[place] = messages[int(one.delivery.what)]
            elif form == "ack":
                bodies[place] = self._reply(one)
        return bodies

    def _reply(self, queued: QueuedDelivery) -> bytes:
        entry = self._journal.get_many([int(queued.delivery.what)])[0]
        with self._store.read() as reader:
            issues = reader.issues_of([entry.id]).get(entry.id, [])
        return reply(entry, issues, control_id=message_id(queued), now=dtm(queued.created))

    def identifiers(self, references: Collection[str]) -> dict[str, list[dict[str, Any]]]:
        """Identifiers of current resources by reference; without those that do not exist."""
        with self._store.read() as reader:
            found = reader.current_texts([_key(reference) for reference in references])
        return {f"{type_}/{id_}": _identifiers(text) for (type_, id_), text in found.items()}


def _identifiers(text: str) -> list[dict[str, Any]]:
    found = _bearer(text).identifier
    return found if isinstance(found, list) else [found]


def noticed(body: str, notice: str) -> str:
    """A resource with a tag that tells its recipient why it comes.

    >>> noticed('{"id":"a","resourceType":"Patient"}', "identity-merged")
    '{"id":"a","resourceType":"Patient","meta":{"tag":[{"system":"urn:segue:notice",\
"code":"identity-merged"}]}}'
    """
    if not notice or not body:
        return body
    resource = loads(body)
    meta = dict(resource.get("meta", {}))
    meta["tag"] = [*meta.get("tag", ()), {"system": NOTICE, "code": notice}]
    return dumps({**resource, "meta": meta})


def message_id(queued: QueuedDelivery) -> str:
    """MSH-10 of a rendered message: the same at every attempt, at most 20 characters.

    >>> from segue.model.deliveries import Delivery
    >>> message_id(QueuedDelivery(77, Delivery("lab", 1, "careplan", "CarePlan/a", 1, "42"),
    ...                           3, 0, 0))
    'SEGUE-77'
    """
    return f"SEGUE-{queued.id}"


def codes_of(body: str | bytes) -> tuple[str | None, str | None]:
    """Encounter.class and DocumentReference.type of what was filed in a record.

    >>> codes_of('{"resourceType":"Encounter","class":{"code":"IMP"}}')
    ('IMP', None)
    """
    if not isinstance(body, str) or not body:
        return None, None
    resource = loads(body)
    if resource.get("resourceType") == "Bundle":
        resource = resource["entry"][1]["resource"]
    if resource.get("resourceType") == "Encounter":
        return resource.get("class", {}).get("code"), None
    if resource.get("resourceType") == "DocumentReference":
        codings = resource.get("type", {}).get("coding") or [{}]
        return None, codings[0].get("code")
    return None, None


def _key(reference: str) -> ResourceKey:
    type_, _, id_ = reference.partition("/")
    return ResourceKey(type_, id_)


def _version(queued: QueuedDelivery) -> _Version:
    type_, _, id_ = queued.delivery.what.partition("/")
    return type_, id_, queued.delivery.version


def _before(queued: QueuedDelivery) -> _Version:
    type_, id_, version = _version(queued)
    return type_, id_, version - 1


def _notice(reader: Reader, queued: QueuedDelivery, before: str, body: str) -> str:
    """The message about a version of an Encounter, "" where it tells of no event."""
    encounter = loads(body)
    event = event_of(loads(before) if before else None, encounter)
    if event is None:
        return ""
    heads = reader.heads_of([queued.delivery.lane])[queued.delivery.lane]
    keys = [_key(reference) for reference in named_by(encounter)]
    keys += [key for key, head in heads.items() if key.type == "Coverage" and not head.deleted]
    keys.append(_key(str(HUB_REFERENCE["reference"])))
    found = reader.bodies(keys)
    along = [loads(one.body) for key in dict.fromkeys(keys) if (one := found.get(key)) and one.body]
    return dumps(notice(event, encounter, along, number=message_id(queued), at=queued.created))


def _rendering(reader: Reader, queued: QueuedDelivery, body: str) -> bytes:
    plan = loads(body)
    heads = reader.heads_of([queued.delivery.lane])[queued.delivery.lane]
    subject = plan.get("subject", {}).get("reference", "")
    keys = [key for key, head in heads.items() if key.type == "Task" and not head.deleted]
    keys.append(_key(subject))
    current = {key: loads(v.body) for key, v in reader.bodies(keys).items() if v.body}
    patient = current.pop(_key(subject), None)
    # The Tasks of somebody who was merged go on under the plan of the one who stayed.
    own = [one for one in current.values() if one.get("for", {}).get("reference") == subject]
    return care_plan_message(
        plan,
        patient,
        own,
        control_id=message_id(queued),
        at=queued.created,
        receiver=queued.delivery.destination,
        cancelled_since=queued.created - CANCELLED_FOR_US,
    )
