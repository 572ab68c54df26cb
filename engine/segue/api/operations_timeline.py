"""Encounter/[id]/$timeline: how a visit came to be known, in words or as a picture.

What `Encounter/[id]/_history` cannot show: what occurred when, when each message told of
it, what it changed, and what was undone.
"""

from base64 import b64encode
from typing import Any

from segue.api import read
from segue.api.operations import Invocation, Resource
from segue.care.timeline import Told
from segue.care.timeline_picture import svg
from segue.fhir.outcomes import fhir_error
from segue.model.instants import rfc3339
from segue.pipeline.histories import history_of_encounter


def timeline(asked: Invocation) -> Resource:
    """The messages about a visit in the order of arrival.

    Parameters: `as`, `words` (the default) or `picture`.

    Returns:
        Parameters with a part `told` for each message; or a Binary that holds an SVG.

    Raises:
        FhirError: 400, 404, 410.
    """
    form = asked.text("as") or "words"
    if form not in ("words", "picture"):
        raise fhir_error("incorrect", "value", "as: words or picture", "as")
    with asked.hub.store.read() as reader:
        read.current(reader, "Encounter", asked.id)
    found = history_of_encounter(asked.hub, asked.id)
    if found is None:
        raise fhir_error("not-found", "not-found", "no message has told of this visit")
    if form == "picture":
        data = b64encode(svg(found).encode()).decode()
        return {"resourceType": "Binary", "contentType": "image/svg+xml", "data": data}
    state = found.state
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "visit", "valueString": state.key},
            {"name": "status", "valueCode": state.status},
            *({"name": "told", "part": _told(one)} for one in found.told),
        ],
    }


def _told(one: Told) -> list[dict[str, Any]]:
    part: list[dict[str, Any]] = [
        {"name": "event", "valueCode": one.event},
        {"name": "title", "valueString": one.title},
        {"name": "site", "valueString": one.site},
        {"name": "control-id", "valueString": one.control_id},
        {"name": "occurred", "valueDateTime": one.occurred.text},
        {"name": "recorded", "valueDateTime": one.recorded.text},
        {"name": "learnt", "valueInstant": rfc3339(one.learnt)},
    ]
    part += [{"name": "changed", "valueString": text} for text in one.changed]
    part += [{"name": "doubt", "valueString": text} for text in one.doubts]
    if one.undone is not None:
        part.append({"name": "undone", "valueDateTime": one.undone.text})
        part.append({"name": "undone-by", "valueString": one.undone_by})
    if one.late:
        part.append({"name": "late", "valueBoolean": True})
    return [value for value in part if "" not in value.values()]
