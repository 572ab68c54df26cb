"""A PlanDefinition or ActivityDefinition applied to a patient: what it proposes to do.

The answer is a CarePlan that contains a RequestGroup with the actions that apply, and the
Task, ServiceRequest or CommunicationRequest of each; nothing of it is stored.

Source: https://hl7.org/fhir/R4/plandefinition-operation-apply.html,
https://hl7.org/fhir/R4/activitydefinition-operation-apply.html
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from segue.fhir.fhirpath import FhirPathError, evaluate
from segue.fhir.outcomes import FhirError, fhir_error

Resource = dict[str, Any]
Find = Callable[[str, str], Mapping[str, Any] | None]
"""A resource type and a canonical URL to the definition."""

_COPIED: Final = [
    "id",
    "prefix",
    "title",
    "description",
    "textEquivalent",
    "priority",
    "documentation",
    "relatedAction",
    "type",
    "code",
    "groupingBehavior",
    "selectionBehavior",
    "requiredBehavior",
    "precheckBehavior",
    "cardinalityBehavior",
]
_DEEPEST: Final = 8
_TASK_PROGRESS: Final = ("output", "statusReason", "businessStatus", "executionPeriod", "basedOn")


@dataclass(frozen=True, slots=True)
class Setting:
    """To whom something is applied, and by whom.

    Attributes:
        subject: the Patient.
        encounter, practitioner, organization: resources, None where not said.
        now: FHIR instant.
    """

    subject: Resource
    now: str
    encounter: Resource | None = None
    practitioner: Resource | None = None
    organization: Resource | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """What conditions may ask about: %subject, %patient, %encounter and so on."""
        return {
            "subject": self.subject,
            "patient": self.subject,
            "encounter": self.encounter or [],
            "practitioner": self.practitioner or [],
            "organization": self.organization or [],
        }

    def evaluate(self, expression: Mapping[str, Any], where: str) -> list[Any]:
        """What a FHIRPath expression yields of the subject.

        Raises:
            FhirError: 422; another language, or it cannot be read.
        """
        language = str(expression.get("language"))
        if language != "text/fhirpath":
            raise cannot(
                where, f"expressions in {language} cannot be evaluated here: text/fhirpath"
            )
        try:
            return evaluate(self.subject, str(expression.get("expression")), self.variables)
        except FhirPathError as error:
            raise cannot(where, str(error)) from None


def cannot(where: str, why: str) -> FhirError:
    """The error of a definition that cannot be applied (422)."""
    return fhir_error("unprocessable", "not-supported", f"{where}: {why}", where)


def reference(resource: Mapping[str, Any] | None) -> dict[str, str] | None:
    """A Reference to a resource."""
    return (
        None if resource is None else {"reference": f"{resource['resourceType']}/{resource['id']}"}
    )


def canonical(definition: Mapping[str, Any]) -> str | None:
    """URL of a definition, with its version."""
    url, version = definition.get("url"), definition.get("version")
    return f"{url}|{version}" if url and version else url


def apply_plan(plan: Mapping[str, Any], setting: Setting, find: Find) -> Resource:
    """The CarePlan that a PlanDefinition proposes for a patient.

    Raises:
        FhirError: 422; part of it is not known here.
    """
    work = _Work(setting, find)
    actions = work.actions(plan, "PlanDefinition")
    return _care_plan(plan, setting, actions, work.made, work.goals(plan))


def propose(plan: Mapping[str, Any], setting: Setting, tasks: Sequence[Resource]) -> Resource:
    """The CarePlan of a protocol whose Tasks were made by the engine itself."""
    made, actions = [], []
    for number, one in enumerate(tasks, 1):
        task = {name: value for name, value in one.items() if name not in _TASK_PROGRESS}
        task |= {"id": f"task-{number}", "status": "draft", "intent": "proposal"}
        made.append(task)
        action: Resource = {"title": one["code"]["coding"][0].get("display", "Task")}
        if one.get("description"):
            action["description"] = one["description"]
        action["resource"] = {"reference": f"#task-{number}"}
        actions.append(action)
    return _care_plan(plan, setting, actions, made, [])


def apply_activity(activity: Mapping[str, Any], setting: Setting) -> Resource:
    """What an ActivityDefinition proposes for a patient.

    Raises:
        FhirError: 422; its kind is not known here.
    """
    kind = str(activity.get("kind", "Task"))
    build = _KINDS.get(kind)
    if build is None:
        known = ", ".join(_KINDS)
        raise cannot("ActivityDefinition.kind", f"{kind} is none of {known}")
    made = {name: value for name, value in build(activity, setting).items() if value}
    for number, dynamic in enumerate(activity.get("dynamicValue", ())):
        where = f"ActivityDefinition.dynamicValue[{number}]"
        found = setting.evaluate(dynamic["expression"], where)
        if found:
            _put(made, str(dynamic["path"]).removeprefix(f"{kind}."), found[0], where)
    return made


def _put(resource: Resource, path: str, value: Any, where: str) -> None:
    *parents, name = path.split(".")
    target = resource
    for parent in parents:
        inner = target.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise cannot(where, f"{path} leads through a list")
        target = inner
    target[name] = value


@dataclass(slots=True)
class _Work:
    """One application: the resources that it has made so far."""

    setting: Setting
    find: Find
    made: list[Resource] = field(default_factory=list)
    depth: int = 0

    def actions(self, plan: Mapping[str, Any], where: str) -> list[Resource]:
        """RequestGroup actions of the PlanDefinition's actions that apply."""
        found = (
            self.action(one, f"{where}.action[{number}]")
            for number, one in enumerate(plan.get("action", ()))
        )
        return [one for one in found if one is not None]

    def action(self, action: Mapping[str, Any], where: str) -> Resource | None:
        for number, one in enumerate(action.get("condition", ())):
            place = f"{where}.condition[{number}]"
            if one.get("kind") != "applicability":
                continue
            if self.setting.evaluate(one.get("expression") or {}, place) != [True]:
                return None
        made = {name: action[name] for name in _COPIED if name in action}
        made |= {name: value for name, value in action.items() if name.startswith("timing")}
        inner: list[Resource] = []
        name = action.get("definitionCanonical")
        if "action" in action:
            inner = self.actions(action, where)
        elif name is not None and (plan := self.find("PlanDefinition", str(name))) is not None:
            inner = self._nested(plan, where)
        else:
            made["resource"] = {"reference": f"#{self._resource(action, where)}"}
            return made
        if not inner:
            return None
        return {**made, "action": inner}

    def _nested(self, plan: Mapping[str, Any], where: str) -> list[Resource]:
        if self.depth >= _DEEPEST:
            raise cannot(where, "its plans include one another")
        self.depth += 1
        found = self.actions(plan, where)
        self.depth -= 1
        return found

    def _resource(self, action: Mapping[str, Any], where: str) -> str:
        """Make what an action asks for; its id."""
        name = action.get("definitionCanonical")
        activity: Mapping[str, Any] | None = {"description": _words(action), "code": _code(action)}
        if name is not None:
            activity = self.find("ActivityDefinition", str(name))
            if activity is None:
                raise cannot(where, f"{name} is not known here: store the definition first")
        assert activity is not None
        made = apply_activity(activity, self.setting)
        id_ = f"{made['resourceType'].lower()}-{len(self.made) + 1}"
        self.made.append({**made, "id": id_})
        return id_

    def goals(self, plan: Mapping[str, Any]) -> list[Resource]:
        """The plan's goals, as proposed Goals."""
        found = []
        for number, goal in enumerate(plan.get("goal", ()), 1):
            made = {
                "resourceType": "Goal",
                "id": f"goal-{number}",
                "lifecycleStatus": "proposed",
                "description": goal["description"],
                "subject": reference(self.setting.subject),
            }
            if "category" in goal:
                made["category"] = [goal["category"]]
            if "priority" in goal:
                made["priority"] = goal["priority"]
            targets = [
                {k: v for k, v in one.items() if k == "measure" or k.startswith("detail")}
                for one in goal.get("target", ())
            ]
            if targets:
                made["target"] = targets
            found.append(made)
        return found


def _words(action: Mapping[str, Any]) -> str:
    return str(action.get("description") or action.get("title") or action.get("textEquivalent", ""))


def _code(action: Mapping[str, Any]) -> Any:
    return next(iter(action.get("code", ())), None)


def _care_plan(
    plan: Mapping[str, Any],
    setting: Setting,
    actions: list[Resource],
    made: list[Resource],
    goals: list[Resource],
) -> Resource:
    common = {
        "status": "draft",
        "intent": "proposal",
        "subject": reference(setting.subject),
        "encounter": reference(setting.encounter),
        "instantiatesCanonical": [name] if (name := canonical(plan)) else None,
    }
    author = reference(setting.practitioner) or reference(setting.organization)
    group: Resource = {
        "resourceType": "RequestGroup",
        "id": "requests",
        **{name: value for name, value in common.items() if value},
        "authoredOn": setting.now,
    }
    if author is not None and setting.practitioner is not None:
        group["author"] = author
    care_plan: Resource = {"resourceType": "CarePlan"}
    if actions:
        group["action"] = actions
        care_plan["contained"] = [group, *made, *goals]
    elif goals:
        care_plan["contained"] = goals
    care_plan |= {name: value for name, value in common.items() if value}
    care_plan["created"] = setting.now
    for name in ("title", "description"):
        if plan.get(name):
            care_plan[name] = plan[name]
    if author is not None:
        care_plan["author"] = author
    if goals:
        care_plan["goal"] = [{"reference": f"#{one['id']}"} for one in goals]
    if actions:
        care_plan["activity"] = [{"reference": {"reference": "#requests"}}]
    return care_plan


def _task(activity: Mapping[str, Any], setting: Setting) -> Resource:
    roles = [one["role"] for one in activity.get("participant", ()) if one.get("role")]
    period = activity.get("timingPeriod")
    return {
        "resourceType": "Task",
        "instantiatesCanonical": canonical(activity),
        "status": "draft",
        "intent": "proposal",
        "priority": activity.get("priority"),
        "code": activity.get("code"),
        "description": activity.get("description") or activity.get("title"),
        "for": reference(setting.subject),
        "encounter": reference(setting.encounter),
        "authoredOn": setting.now,
        "requester": reference(setting.practitioner) or reference(setting.organization),
        "performerType": roles,
        "restriction": {"period": period} if period else None,
    }


def _service_request(activity: Mapping[str, Any], setting: Setting) -> Resource:
    roles = [one["role"] for one in activity.get("participant", ()) if one.get("role")]
    made = {
        "resourceType": "ServiceRequest",
        "instantiatesCanonical": [name] if (name := canonical(activity)) else None,
        "status": "draft",
        "intent": "proposal",
        "priority": activity.get("priority"),
        "doNotPerform": activity.get("doNotPerform"),
        "code": activity.get("code"),
        "bodySite": activity.get("bodySite"),
        "quantityQuantity": activity.get("quantity"),
        "subject": reference(setting.subject),
        "encounter": reference(setting.encounter),
        "authoredOn": setting.now,
        "requester": reference(setting.practitioner) or reference(setting.organization),
        "performerType": roles[0] if roles else None,
    }
    for kind in ("Timing", "DateTime", "Period"):
        made[f"occurrence{kind}"] = activity.get(f"timing{kind}")
    return made


def _communication_request(activity: Mapping[str, Any], setting: Setting) -> Resource:
    text = activity.get("description") or activity.get("title")
    return {
        "resourceType": "CommunicationRequest",
        "status": "draft",
        "priority": activity.get("priority"),
        "subject": reference(setting.subject),
        "encounter": reference(setting.encounter),
        "payload": [{"contentString": text}] if text else None,
        "authoredOn": setting.now,
        "requester": reference(setting.practitioner) or reference(setting.organization),
    }


_KINDS: Final[dict[str, Callable[[Mapping[str, Any], Setting], Resource]]] = {
    "Task": _task,
    "ServiceRequest": _service_request,
    "CommunicationRequest": _communication_request,
}
