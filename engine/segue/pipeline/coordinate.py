"""Runs the care protocols for a person whenever what they see has changed.

Coordination is a pure function of the person's facts and of the instant; so it is run
when the care view differs from the one it last saw, or when time alone changes it.
"""

from dataclasses import replace
from hashlib import blake2b

import msgspec

from segue.care.consent import labels
from segue.care.coordinate import coordinate, relevant
from segue.care.plans import ids_of_person
from segue.model.instants import Moment, rfc3339
from segue.pipeline.charts import Chart
from segue.pipeline.compare import Resource, key_of, parse_key
from segue.pipeline.owned import with_words
from segue.pipeline.record import Recorder
from segue.pipeline.refold import regroup
from segue.pipeline.renewal import as_first, ended_of, renew

_ENCODER = msgspec.msgpack.Encoder(decimal_format="number")

UNBORN = frozenset({"anchor-voided", "superseded"})
"""Reasons for which a cancelled Task that never was stored needs not be."""


RETRY_US = 60_000_000
"""A timer never asks for the instant it fired at, or for an earlier one."""


def coordinate_person(recorder: Recorder, chart: Chart, *, stirred: bool = True) -> bool:
    """Bring a person's plans, tasks and scores up to date.

    Args:
        recorder: of the step that this belongs to.
        chart: of the person, all facts of the step folded in.
        stirred: False where protocols can see no change.

    Returns:
        Whether protocols were asked at all.
    """
    hub, draft = recorder.hub, recorder.draft
    margin = chart.margin
    due = margin.wake is not None and margin.wake <= draft.now
    if margin.seen and not stirred and not due:
        return False
    view = chart.view(hub.setting)
    told = _ENCODER.encode(relevant(view))
    seen = blake2b(told, digest_size=16, key=hub.rules_digest).digest()
    if seen == margin.seen and not due:
        hub.stages.end("care")
        return False
    regroup(recorder, chart)
    now = Moment(rfc3339(draft.now), draft.now)
    care = coordinate(as_first(view, margin.renewed), now, hub.setting, hub.protocols)
    yielded, renewed = renew(care.resources, margin.ended, margin.renewed)
    resources = [
        resource
        for resource in yielded
        if key_of(resource) in chart.heads or not _is_unborn(resource)
    ]
    if said := [one for one in chart.person.statements if one.task.startswith("CarePlan/")]:
        resources = [
            with_words(one, said) if one["resourceType"] == "CarePlan" else one for one in resources
        ]
    if chart.person.replaced:
        resources = [_succeeding(one, chart) for one in resources]
    keys = [key_of(resource) for resource in resources]
    plan = next((r for r in resources if _is_coordinating(r)), None)
    if plan is not None:
        recorder.plans[chart.pk] = key_of(plan)
        recorder.plan_labels[chart.pk] = labels(plan)
    hub.stages.end("care")
    recorder.put(chart, resources)
    before, after = set(margin.care), {key.reference for key in keys}
    wake = care.wake
    if wake is not None and wake <= draft.now:
        wake = draft.now + RETRY_US
    over = ended_of(resources)
    chart.margin = replace(
        chart.margin,
        seen=seen,
        wake=wake,
        care=tuple(sorted(after)),
        ended=tuple(sorted(over | (set(margin.ended) - after))),
        renewed=renewed,
    )
    recorder.retire(chart, {parse_key(reference) for reference in before - after}, view)
    recorder.revive(chart, keys)
    chart.touched = True
    return True


def _succeeding(resource: Resource, chart: Chart) -> Resource:
    """The coordinating plan, with those of the persons who were merged into this one."""
    if not _is_coordinating(resource):
        return resource
    plans = [ids_of_person(identity)[0] for identity in chart.person.replaced]
    held = [plan for plan in sorted(plans) if parse_key(plan) in chart.heads]
    return {**resource, "replaces": [{"reference": plan} for plan in held]} if held else resource


def _is_coordinating(resource: Resource) -> bool:
    return resource["resourceType"] == "CarePlan" and not resource.get("partOf")


def _is_unborn(resource: Resource) -> bool:
    if resource["resourceType"] != "Task" or resource.get("status") != "cancelled":
        return False
    reason = resource.get("statusReason", {}).get("coding", [{}])[0].get("code")
    return reason in UNBORN
