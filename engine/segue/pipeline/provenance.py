"""One Provenance for each journal entry, or statement, that changed something.

It names the versions that were written, the site that spoke, the message (MSH-10 and
journal entry), and the mapping set that read it. Fields that no rule reads are kept
here word for word, so that nothing that was sent is lost.
"""

from collections.abc import Mapping, Sequence

from segue.model.changes import Cause, Write
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
_ACTIVITY = {
    "entry": "message",
    "statement": "statement",
    "receipt": "receipt",
    "timer": "timer",
    "steward": "steward",
}


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
        "activity": {"text": _ACTIVITY[cause.kind]},
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
        resource["entity"] = sources
    elif cause.ref:
        resource["entity"] = [
            {"role": "source", "what": {"identifier": {"value": cause.ref}}},
        ]
    if mapping:
        resource["policy"] = [f"urn:segue:mapping:{mapping}"]
    if unmapped:
        resource["extension"] = [
            {"url": UNMAPPED, "valueString": f"{path}={text}"}
            for path, text in sorted(unmapped.items())
            if text.strip()
        ]
    return resource
