"""One Provenance for each journal entry, or statement, that changed something.

It names the versions that were written, the site that spoke, the message (MSH-10 and
journal entry), and the mapping set that read it. Fields that no rule reads are kept
here word for word, so that nothing that was sent is lost.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

import msgspec

from segue.fhir.canonical import loads
from segue.fhir.search.hashes import parameter_salt, value_hash
from segue.fhir.search.parameters import installed
from segue.fhir.search.values import terms
from segue.model.changes import Cause, SearchTerms, Write
from segue.model.instants import rfc3339

ENTRY = "urn:segue:journal-entry"
"""System of a journal entry's id in Provenance.entity."""

CONTROL_ID = "urn:segue:message-control-id"
"""System of MSH-10."""

SITE = "urn:segue:site"
"""System of a site's name."""

HUB_SITE = "hub"
"""Who acts when nobody outside did: a timer, a receipt."""

UNMAPPED = "urn:segue:unmapped-field"
"""Extension: a populated field that no mapping rule reads, as `PID-25=2`."""

HISTORY = "history"
"""Activity of what only fills the index."""

REPLAY = "replay"
"""Activity of what was processed again: under another mapping, or after a defect was mended."""

_AGENT = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
            "code": "author",
        }
    ]
}
_ASSEMBLER = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
            "code": "assembler",
        }
    ]
}
_encode = msgspec.json.Encoder(order="sorted").encode
_WHO = f',"who":{{"identifier":{{"system":"{SITE}","value":'
_AGENT_TEXT = _encode(_AGENT).decode() + _WHO
_ASSEMBLER_TEXT = _encode(_ASSEMBLER).decode() + _WHO
_ACTIVITY = {
    "entry": "message",
    "statement": "statement",
    "receipt": "receipt",
    "timer": "timer",
    "steward": "steward",
}


def provenance_text(
    id_: str,
    cause: Cause,
    targets: Sequence[str],
    writes: Sequence[Write],
    now: int,
    *,
    control_id: str | None = None,
    occurred: str | None = None,
    mapping: str | None = None,
    unmapped: Mapping[str, str] | None = None,
    history: bool = False,
    again: Sequence[str] | None = None,
) -> str:
    """The canonical JSON of `provenance`, which takes the same arguments but `targets`.

    Its shape is always the same and every message makes one; so the text is put together
    at once, names sorted, and only what comes from outside is quoted.
    """
    agent = f"{_AGENT_TEXT if cause.source else _ASSEMBLER_TEXT}{_quote(cause.source or HUB_SITE)}"
    activity = _activity(cause, again, history=history)
    parts = [f'{{"activity":{{"text":"{activity}"}},"agent":[{{"type":{agent}}}}}}}],']
    if cause.kind == "entry":
        entities = _entity_text(ENTRY, cause.ref)
        if control_id:
            entities += "," + _entity_text(CONTROL_ID, control_id)
        for other in again or ():
            entities += "," + _entity_text(ENTRY, other)
        parts.append(f'"entity":[{entities}],')
    elif cause.ref:
        source = _quote(cause.ref)
        parts.append(
            f'"entity":[{{"role":"source","what":{{"identifier":{{"value":{source}}}}}}}],'
        )
    kept = _kept(unmapped)
    if kept:
        extensions = [{"url": UNMAPPED, "valueString": field} for field in kept]
        parts.append(f'"extension":{_encode(extensions).decode()},')
    parts.append(f'"id":"{id_}",')
    if occurred:
        parts.append(f'"occurredDateTime":"{occurred}",')
    if mapping:
        parts.append(f'"policy":[{_quote(f"urn:segue:mapping:{mapping}")}],')
    versions = '"},{"reference":"'.join(
        [f"{target}/_history/{w.version}" for target, w in zip(targets, writes, strict=True)]
    )
    parts.append(
        f'"recorded":"{_recorded(now)}","resourceType":"Provenance",'
        f'"target":[{{"reference":"{versions}"}}]}}'
    )
    return "".join(parts)


# All of a batch is recorded at one instant.
_recorded = lru_cache(maxsize=4)(rfc3339)


def provenance_id(first: Write, now: int) -> str:
    """Id of the Provenance of a step: its time, and the first version that it wrote.

    A version is written once, so no other step has that id. What is written together is
    found together: without its time, an id would stand on a page of the index of its own.
    """
    version = f"{first.key.type}/{first.key.id}/{first.version}"
    return f"{now // 1000:012x}{blake2b(version.encode(), digest_size=10).hexdigest()}"


def provenance_terms(targets: Sequence[str], body: str) -> SearchTerms:
    """The index rows of such a Provenance: `terms` of it.

    Args:
        targets: `Type/id` of each target.
        body: of the Provenance, where a site's own parameters need more of it.
    """
    if any(one.type == "Provenance" for one in installed()):
        return terms(loads(body))
    tokens = {value_hash(target) ^ _TARGET for target in targets}
    tokens |= {value_hash(target) ^ _PATIENT for target in targets if target[:8] == "Patient/"}
    return SearchTerms(tuple(sorted(tokens)))


_TARGET, _PATIENT = (parameter_salt("Provenance", code) for code in ("target", "patient"))


def _entity_text(system: str, value: str) -> str:
    value = _quote(value)
    return f'{{"role":"source","what":{{"identifier":{{"system":"{system}","value":{value}}}}}}}'


def _quote(text: str) -> str:
    return _encode(text).decode()


def provenance(
    id_: str,
    cause: Cause,
    writes: Sequence[Write],
    now: int,
    *,
    control_id: str | None = None,
    occurred: str | None = None,
    mapping: str | None = None,
    unmapped: Mapping[str, str] | None = None,
    history: bool = False,
    again: Sequence[str] | None = None,
) -> dict[str, object]:
    """Build the Provenance of one step.

    Args:
        id_: its logical id.
        cause: what the step is owed to.
        writes: what it writes; not empty.
        now: microseconds UTC of `recorded`.
        control_id: MSH-10 of the message.
        occurred: when the event happened, a FHIR dateTime.
        mapping: digest of the mapping set.
        unmapped: field path to its text as sent.
        history: it only fills the index: no tasks, no deliveries.
        again: journal entries that were processed anew with this one, and that say of
            these people something else than before; None: it was not processed anew.

    Source: https://hl7.org/fhir/R4/provenance.html.
    """
    who = cause.source or HUB_SITE
    agent: dict[str, object] = {
        "type": _AGENT if cause.source else _ASSEMBLER,
        "who": {"identifier": {"system": SITE, "value": who}},
    }
    resource: dict[str, object] = {
        "resourceType": "Provenance",
        "id": id_,
        "target": [
            {"reference": f"{write.key.type}/{write.key.id}/_history/{write.version}"}
            for write in writes
        ],
        "recorded": rfc3339(now),
        "activity": {"text": _activity(cause, again, history=history)},
        "agent": [agent],
    }
    if occurred:
        resource["occurredDateTime"] = occurred
    if cause.kind == "entry":
        sources: list[dict[str, object]] = [
            {
                "role": "source",
                "what": {"identifier": {"system": ENTRY, "value": cause.ref}},
            }
        ]
        if control_id:
            sources.append(
                {
                    "role": "source",
                    "what": {"identifier": {"system": CONTROL_ID, "value": control_id}},
                }
            )
        sources += [
            {"role": "source", "what": {"identifier": {"system": ENTRY, "value": other}}}
            for other in again or ()
        ]
        resource["entity"] = sources
    elif cause.ref:
        resource["entity"] = [
            {"role": "source", "what": {"identifier": {"value": cause.ref}}},
        ]
    if mapping:
        resource["policy"] = [f"urn:segue:mapping:{mapping}"]
    if kept := _kept(unmapped):
        resource["extension"] = [{"url": UNMAPPED, "valueString": field} for field in kept]
    return resource


def _activity(cause: Cause, again: Sequence[str] | None, *, history: bool) -> str:
    if history:
        return HISTORY
    return _ACTIVITY[cause.kind] if again is None else REPLAY


def _kept(unmapped: Mapping[str, str] | None) -> list[str]:
    if not unmapped:
        return []
    return [f"{path}={text}" for path, text in sorted(unmapped.items()) if text.strip()]
