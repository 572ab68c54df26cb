"""`$validate`: what is wrong with a resource, and what would be wrong about a write.

Source: https://hl7.org/fhir/R4/resource-operation-validate.html
"""

from typing import Any

from segue.api.operations import Invocation, Resource
from segue.api.read import current
from segue.fhir.canonical import loads
from segue.fhir.outcomes import fhir_error, outcome
from segue.fhir.validation.compact import bare
from segue.model.issues import Issue

MODES = ("create", "update", "delete", "profile")


def validate(asked: Invocation) -> Resource:
    """Answer with an OperationOutcome, whatever is found.

    Of an instance without a resource in the request, what is stored is judged.

    Raises:
        FhirError: 400, the question cannot be understood; 404 or 410, there is nothing to
            judge.
    """
    mode = asked.text("mode")
    if mode is not None and mode not in MODES:
        raise fhir_error("incorrect", "value", f"mode is one of {', '.join(MODES)}", "mode")
    profiles = [bare(url) for url in asked.values("profile") if isinstance(url, str)]
    if mode == "profile" and not profiles:
        raise fhir_error("incorrect", "required", "mode profile needs a profile", "profile")
    if mode in ("update", "delete") and asked.level != "instance":
        text = f"mode {mode} is asked of a resource: {asked.type or '[type]'}/[id]/$validate"
        raise fhir_error("incorrect", "invalid", text, "mode")
    resource = _resource(asked)
    stored: Any = None
    if asked.level == "instance" and (resource is None or mode == "delete"):
        with asked.hub.store.read() as reader:
            stored = loads(current(reader, asked.type, asked.id).body or "")
    if mode == "delete":
        text = "this resource is there and may be deleted"
        return outcome([Issue("information", "informational", asked.type, text)])
    if resource is None:
        resource = stored
    if resource is None:
        text = "send a resource, or Parameters with a parameter named resource"
        raise fhir_error("incorrect", "required", text, "resource")
    validator = asked.hub.validator
    found = _about_the_place(asked, resource, mode)
    found += validator.issues(resource, profiles)
    if isinstance(resource, dict):
        for url in profiles:
            found += validator.advice(resource, url)
    return outcome(found)


def _resource(asked: Invocation) -> Any:
    """The resource that was sent."""
    body = asked.body
    if body is not None and body.get("resourceType") == "Parameters":
        given = asked.values("resource")
        if asked.type == "Parameters" and not given:
            return body
        if len(given) > 1:
            raise fhir_error("incorrect", "structure", "resource may be sent once", "resource")
        return given[0] if given else None
    return body


def _about_the_place(asked: Invocation, resource: Any, mode: str | None) -> list[Issue]:
    """What does not fit between the resource and the URL."""
    if not isinstance(resource, dict):
        return []
    type_, id_ = resource.get("resourceType"), resource.get("id")
    if asked.type and type_ != asked.type:
        text = f"the URL asks about {asked.type}, the resource is of another type"
        return [Issue("error", "invalid", "Resource", text)]
    if mode == "update" and id_ is None:
        text = f"an update needs an id in the resource: {asked.id}"
        return [Issue("error", "required", f"{type_}.id", text)]
    if mode == "update" and id_ != asked.id:
        return [Issue("error", "value", f"{type_}.id", "the id is not the one in the URL")]
    if mode == "create" and id_ is not None:
        text = "a create gives the resource an id of its own; this one is not used"
        return [Issue("information", "informational", f"{type_}.id", text)]
    return []
