"""What a shipped protocol asks of a person now, as if it were the only one."""

from typing import Any

from segue.care.coordinate import coordinate
from segue.model.identity import ResourceKey
from segue.model.instants import Moment, rfc3339
from segue.pipeline.hub import Hub
from segue.pipeline.identities import owners_of
from segue.pipeline.transact import Draft
from segue.store.reader import Reader


def tasks_of(hub: Hub, reader: Reader, patient: str, plan: str) -> list[dict[str, Any]]:
    """The Tasks of one protocol for a person, as they should be now; nothing is stored.

    Args:
        patient: logical id of the Patient.
        plan: canonical of the PlanDefinition.
    """
    owners = owners_of(reader, ResourceKey("Patient", patient))
    if not owners:
        return []
    now = hub.now()
    draft = Draft(hub, reader, now)
    draft.load(pks=owners[:1])
    view = draft.chart(owners[0]).view(hub.setting)
    care = coordinate(view, Moment(rfc3339(now), now), hub.setting, hub.protocols.only(plan))
    return [one for one in care.resources if one["resourceType"] == "Task"]
