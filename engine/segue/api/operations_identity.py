"""Patient/[id]/$unmerge, $link, $distinct: what stewards decide about who is who.

R4 has no operation for this; R5's Patient/$merge joins two, and nothing parts them again.
Ours do what `segue person` does: the decision is recorded as a fact with who made it and
why, replay and rebuild keep it, and all who get anything of the persons are told.
"""

from collections.abc import Callable
from dataclasses import replace

from segue.api import read
from segue.api.operations import Invocation, Resource
from segue.fhir.outcomes import fhir_error
from segue.pipeline import steward
from segue.pipeline.charts import Charts, Directory
from segue.pipeline.hub import Hub
from segue.pipeline.matching import closing
from segue.pipeline.stages import Stages
from segue.pipeline.transact import Draft


def unmerge(asked: Invocation) -> Resource:
    """Part a Patient from the one that it was merged into.

    Parameters: `because`; `from` (a reference to a Patient, or `AUTHORITY|NUMBER`) where it
    was joined with several.

    Returns:
        Parameters: `patient` twice, the two that are active now; `written`, how many
        resources of theirs changed.

    Raises:
        FhirError: 400, 403, 404, 410; 422 where the two are not one person, or are joined
            by something else as well.
    """
    hub, because = _begin(asked)
    kept = asked.value("from")
    gone = _identity(hub, f"Patient/{asked.id}")
    try:
        done = steward.unmerge(hub, gone, _identity(hub, _name(kept)) if kept else None, because)
    except steward.NotMergedError as error:
        raise fhir_error("unprocessable", "business-rule", str(error)) from None
    patients = [{"reference": f"Patient/{one}"} for one in done.patients]
    return {
        "resourceType": "Parameters",
        "parameter": [
            *({"name": "patient", "valueReference": one} for one in patients),
            {"name": "written", "valueInteger": done.resources},
        ],
    }


def link(asked: Invocation) -> Resource:
    """Let a Patient and another one be one person. Parameters: `other`, `because`."""
    return _decide(asked, "linked", lambda hub, one, other, because: steward.link(
        hub, one, other, because, decided=True
    ))  # fmt: skip


def distinct(asked: Invocation) -> Resource:
    """Let a Patient and another one stay two. Parameters: `other`, `because`."""
    return _decide(asked, "distinct", steward.keep_apart)


def _decide(
    asked: Invocation, what: str, act: Callable[[Hub, str, str, str], bool | None]
) -> Resource:
    hub, because = _begin(asked)
    one, other = f"Patient/{asked.id}", asked.value("other")
    if not other:
        raise fhir_error("incorrect", "required", "other: name the other Patient", "other")
    name = _name(other)
    try:
        close = closing(hub, one, name, what)
        done = act(hub, one, name, because)
        close()
    except steward.CannotLinkError as error:
        raise fhir_error("unprocessable", "business-rule", str(error)) from None
    changed = done is not False
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "changed", "valueBoolean": changed}],
    }


def _begin(asked: Invocation) -> tuple[Hub, str]:
    """A hub of this thread's own, and why; who asks must be a steward."""
    if not asked.speaker.operates:
        raise fhir_error("forbidden", "forbidden", "who is who is decided by role `operator`")
    because = asked.text("because")
    if not because or not because.strip():
        raise fhir_error("incorrect", "required", "because: say why", "because")
    with asked.hub.store.read() as reader:
        read.current(reader, "Patient", asked.id)
    hub = replace(asked.hub, charts=Charts(), directory=Directory(), stages=Stages())
    return hub, f"{asked.speaker.name}: {because.strip()}"


def _name(value: object) -> str:
    """What a parameter names: a Reference, `Patient/id`, or an identity."""
    found = value.get("reference") if isinstance(value, dict) else value
    if not isinstance(found, str) or not ("|" in found or found.startswith("Patient/")):
        raise fhir_error("incorrect", "value", "name it as Patient/[id] or AUTHORITY|NUMBER")
    return found


def _identity(hub: Hub, name: str) -> str:
    """The identity that a Patient stands for."""
    if not name.startswith("Patient/"):
        return name
    with hub.store.read() as reader:
        draft = Draft(hub, reader, hub.now())
        try:
            person = steward.find(draft, name).person
        except steward.CannotLinkError as error:
            raise fhir_error("unprocessable", "business-rule", str(error)) from None
    id_ = name.removeprefix("Patient/")
    return next((key for key, one in person.patients.items() if one.id == id_), person.key)
