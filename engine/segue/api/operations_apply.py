"""PlanDefinition/$apply and ActivityDefinition/$apply: what would be done; nothing is stored.

Sources: https://hl7.org/fhir/R4/plandefinition-operation-apply.html,
https://hl7.org/fhir/R4/activitydefinition-operation-apply.html
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segue.api import definitions, read
from segue.api.exchange import body_of
from segue.api.operations import Invocation
from segue.care.application import (
    Setting,
    apply_activity,
    apply_plan,
    canonical,
    propose,
    reference,
)
from segue.fhir.canonical import loads
from segue.fhir.outcomes import fhir_error
from segue.fhir.references import parse_reference
from segue.model.instants import rfc3339
from segue.pipeline.charts import Charts
from segue.pipeline.proposals import tasks_of
from segue.store.reader import Reader

Resource = dict[str, Any]


def apply_plan_definition(asked: Invocation) -> Resource:
    """The CarePlan with RequestGroup and requests that a PlanDefinition proposes.

    A protocol of the engine is applied as the engine applies it: by the stays of the
    person, with owners and dues. Any other one by its conditions in FHIRPath.

    Raises:
        FhirError: 400, 404; 422 where part of the definition is not known here.
    """
    hub = asked.hub
    with hub.store.read() as reader:
        plan = _definition(asked, reader, "PlanDefinition", "planDefinition")
        setting = _setting(asked, reader)
        own = {canonical(one) for one in hub.protocols.definitions}
        if (name := canonical(plan)) in own and name is not None:
            apart = replace(hub, charts=Charts())
            tasks = tasks_of(apart, reader, str(setting.subject["id"]), name)
            if setting.encounter is not None:
                here = reference(setting.encounter)
                tasks = [one for one in tasks if one.get("encounter") == here]
            return propose(plan, setting, tasks)
        return apply_plan(
            plan, setting, lambda type_, url: definitions.by_url(reader, hub, type_, url)
        )


def apply_activity_definition(asked: Invocation) -> Resource:
    """The request that an ActivityDefinition proposes.

    Raises:
        FhirError: 400, 404, 422.
    """
    with asked.hub.store.read() as reader:
        activity = _definition(asked, reader, "ActivityDefinition", "activityDefinition")
        return apply_activity(activity, _setting(asked, reader))


def _definition(asked: Invocation, reader: Reader, type_: str, name: str) -> Mapping[str, Any]:
    """The definition that is asked: by id, as a parameter, or by `url`."""
    if asked.level == "instance":
        return definitions.named(reader, asked.hub, type_, asked.id)
    sent, url = asked.value(name), asked.text("url")
    if isinstance(sent, Mapping) and sent.get("resourceType") == type_:
        issues = asked.hub.gate.issues(dict(sent))
        if issues:
            raise fhir_error("unprocessable", "invalid", f"{name}: {issues[0].text}", name)
        return sent
    if url is None:
        text = f"name the {type_}: by id, `{name}` or `url`"
        raise fhir_error("incorrect", "required", text, name)
    found = definitions.by_url(reader, asked.hub, type_, url)
    if found is None:
        raise fhir_error("not-found", "not-found", f"there is no {type_} {url} here", "url")
    return found


def _setting(asked: Invocation, reader: Reader) -> Setting:
    subject = _resource(asked, reader, "subject", "Patient")
    if subject is None:
        raise fhir_error("incorrect", "required", "subject: whom to apply it to", "subject")
    return Setting(
        subject,
        rfc3339(asked.hub.now()),
        _resource(asked, reader, "encounter", "Encounter"),
        _resource(asked, reader, "practitioner", "Practitioner"),
        _resource(asked, reader, "organization", "Organization"),
    )


def _resource(asked: Invocation, reader: Reader, name: str, type_: str) -> Resource | None:
    """The stored resource that a parameter refers to, by `Type/id`, id or Reference."""
    said = asked.value(name)
    if said is None:
        return None
    text = said.get("reference") if isinstance(said, Mapping) else said
    text = str(text).removeprefix(f"{asked.root}/")
    key = parse_reference(text if "/" in text else f"{type_}/{text}", "")
    if key is None or key.type != type_:
        raise fhir_error("incorrect", "value", f"{name}: a reference to a {type_}", name)
    found: Resource = loads(body_of(read.current(reader, type_, key.id)))
    return found
