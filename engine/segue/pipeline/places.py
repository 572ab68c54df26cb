"""The state of a bed beside what is said of the place: each is kept by its own time.

Any message that names a place says again where it is. Only an A20 (NPU-2) or PV1-40 says
in what state the bed is: Location.operationalStatus, and there when that was said. Both
stand in one resource, in whatever order they come.
"""

from collections.abc import Mapping
from typing import Any, Final

from segue.fhir.canonical import loads
from segue.model.identity import ResourceKey
from segue.model.instants import rfc3339_us
from segue.pipeline.charts import Register
from segue.pipeline.transact import Draft

STATUS: Final = "operationalStatus"
STATED: Final = "urn:segue:stated"
"""Extension of a bed's state: when it was said, an instant of UTC."""


def put_together(draft: Draft, key: ResourceKey, offered: Register) -> Register | None:
    """A Location as it should be, now that somebody speaks of it.

    Args:
        draft: what is about to be committed, over what is stored.
        key: of the Location.
        offered: what is said of it now.

    Returns:
        What to offer the store; None where that knows it.
    """
    elements, recorded = offered
    status = elements.get(STATUS)
    if status is not None:
        instant = rfc3339_us(recorded[0])
        status = {**status, "extension": [{"url": STATED, "valueInstant": instant}]}
    held = _held(draft, key)
    if held is not None:
        known, when = held
        other = known.get(STATUS)
        if status is None or (other is not None and _stated(other) >= _stated(status)):
            status = other
        if when > recorded or (when == recorded and not draft.again):
            # What stands is newer but for the bed: heard at all, one microsecond later.
            elements, recorded = known, (when[0] + 1, recorded[1])
            if status == other:
                return None
    place = {name: value for name, value in elements.items() if name != STATUS}
    return ({**place, STATUS: status} if status else place), recorded


def _stated(status: Mapping[str, Any]) -> str:
    told = [one["valueInstant"] for one in status.get("extension", ()) if one["url"] == STATED]
    return max(told, default="")


def _held(draft: Draft, key: ResourceKey) -> Register | None:
    """The Location and its order, as this draft or else the store has it."""
    for step in reversed(draft.steps):
        for write in step.writes:
            if write.key == key and write.body is not None:
                return _elements(write.body), write.recorded or (0, "")
    stored = draft.reader.register(key)
    return None if stored is None else (_elements(stored[0]), stored[1])


def _elements(body: str) -> dict[str, Any]:
    resource = loads(body)
    return {name: value for name, value in resource.items() if name not in ("resourceType", "id")}
