"""Protocols: PlanDefinitions read once, asked on their events.

What starts a protocol, what it asks for, who owns it and which clock runs is all in
`fhir_profiles/plan_definitions` and `activity_definitions`; this module compiles it.
Extensions of ours: on an action `urn:segue:clock` (`code`, and `when` where several
clocks compete: the first that applies is the due, the others are shown beside it); on
an ActivityDefinition `urn:segue:need`, `urn:segue:owner`, `urn:segue:evidence` and
`urn:segue:suspend`; on a PlanDefinition `urn:segue:test-vector`.

Source: http://hl7.org/fhir/R4/plandefinition.html
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from segue.care import clocks as clock_table
from segue.care.clocks import Clock, Clocks
from segue.care.conditions import Condition, UnsupportedError, compile_condition, holds
from segue.care.dispositions import Meaning
from segue.model.issues import Issue

EVENTS: Final = frozenset(
    {"encounter-admitted", "encounter-discharge-expected", "encounter-discharged"}
)
OWNERS: Final = frozenset({"practice", "hospital", "hub"})
RULES: Final = frozenset(
    {
        "two-way-contact",
        "appointment",
        "office-visit",
        "medication-list",
        "medication-list-before-visit",
        "discharge-summary",
        "contact-or-visit",
        "receipt-of-encounter",
        "receipt-of-document",
        "statement",
    }
)

ACTIVE: Final = "active"
DRAFT: Final = "draft"
_REMEMBERED: Final = 4096


class ProtocolError(ValueError):
    """A protocol that cannot be used; the message names file and place."""


class Situation(NamedTuple):
    """What conditions may ask about an anchor; each field is also a `%variable`.

    Attributes:
        kind: Encounter.class at the end, also readable as `Encounter.class.code`.
        admitted: the inpatient class that the visit has had, None if none.
        disposition: what PV1-36 means, None before the discharge.
        age: in whole years at the anchor, None if not known.
        same_day: discharged on the date of admission.
        pregnancy: the principal diagnosis is one of pregnancy (ICD-10 chapter O).
        practice: whether the ongoing care provider is known.
        lace_high: upper end of the LACE interval.
    """

    kind: str
    admitted: str | None
    disposition: Meaning | None
    age: int | None
    same_day: bool
    pregnancy: bool
    practice: bool
    lace_high: int


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """One requirement that a protocol can make.

    Attributes:
        id: `tcm-contact`. protocol: `PD-01`.
        plan: canonical of the PlanDefinition, with its version; definition: of the
            ActivityDefinition.
        need: what closes it; requirements with the same need share a Task.
        owner: `practice`, `hospital` or `hub`; role: who there does it.
        rule: which evidence closes it; anyone: whether other sites' counts too.
        not_day_0: whether the anchor's own day is left out.
        tolerance: days before and after the due in which evidence counts.
        suspend: waits while the person is in a facility and ends at the next discharge.
        draft: the Task is a draft until somebody asks for it.
    """

    id: str
    protocol: str
    plan: str
    definition: str
    event: str
    need: str
    conditions: tuple[Condition, ...]
    clocks: tuple[tuple[Clock, Condition | None], ...]
    owner: str
    role: dict[str, Any]
    code: dict[str, Any]
    title: str
    description: str
    rule: str
    anyone: bool
    not_day_0: bool
    tolerance: int | None
    suspend: bool
    draft: bool


class Applied(NamedTuple):
    """An action that applies, with the clock that runs and those shown beside it."""

    action: Action
    clock: Clock
    others: tuple[Clock, ...]


class Protocols:
    """All loaded protocols.

    Attributes:
        clocks: the clock table. definitions: the PlanDefinitions as loaded, those that
            are not in force as drafts; activities: the ActivityDefinitions that they name.
        issues: what loading had to work around.
    """

    def __init__(
        self,
        actions: Sequence[Action],
        clocks: Clocks,
        definitions: Sequence[dict[str, Any]],
        issues: Sequence[Issue] = (),
        activities: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.clocks = clocks
        self.definitions = tuple(definitions)
        self.activities = tuple(activities)
        self.issues = tuple(issues)
        self.actions: dict[str, Action] = {action.id: action for action in actions}
        self._by_event: dict[str, list[Action]] = {}
        for action in actions:
            self._by_event.setdefault(action.event, []).append(action)
        self._asked: dict[tuple[str, Situation], dict[str, tuple[Applied, ...]]] = {}

    @property
    def names(self) -> list[str]:
        """`PD-00` and so on, in the order of loading."""
        return [name_of(one) for one in self.definitions]

    def only(self, plan: str) -> "Protocols":
        """One protocol alone, by the canonical of its PlanDefinition."""
        chosen = [one for one in self.actions.values() if one.plan == plan]
        return Protocols(chosen, self.clocks, self.definitions, activities=self.activities)

    def in_force(self, names: Collection[str]) -> "Protocols":
        """Those of these names are active and asked; the others stay known, as drafts."""
        shown = [
            {**one, "status": ACTIVE if name_of(one) in names else DRAFT}
            for one in self.definitions
        ]
        actions = list(self.actions.values())
        made = Protocols(actions, self.clocks, shown, self.issues, self.activities)
        for event, known in made._by_event.items():
            made._by_event[event] = [one for one in known if one.protocol in names]
        return made

    def ask(self, event: str, situation: Situation) -> Mapping[str, tuple[Applied, ...]]:
        """What applies at an event: need to its requirements, in the order of the protocols."""
        key = (event, situation)
        answer = self._asked.get(key)
        if answer is None:
            answer = self._answer(event, situation)
            if len(self._asked) >= _REMEMBERED:
                self._asked.clear()
            self._asked[key] = answer
        return answer

    def _answer(self, event: str, situation: Situation) -> dict[str, tuple[Applied, ...]]:
        encounter = {"resourceType": "Encounter", "class": {"code": situation.kind}}
        variables = situation._asdict()
        needs: dict[str, tuple[Applied, ...]] = {}
        for action in self._by_event.get(event, ()):
            if not all(holds(test, encounter, variables) for test in action.conditions):
                continue
            running = [
                clock
                for clock, when in action.clocks
                if when is None or holds(when, encounter, variables)
            ]
            applied = Applied(action, running[0], tuple(running[1:]))
            needs[action.need] = (*needs.get(action.need, ()), applied)
        return needs


Fallback = Callable[[str], Condition]
"""Compiles what is outside the subset (fhirpathpy); slower, so its use is an issue."""


def load(folder: Path, sites: Sequence[Path] = (), fallback: Fallback | None = None) -> Protocols:
    """Read the clocks of a folder, and the ActivityDefinitions and PlanDefinitions of all.

    Args:
        folder: as `fhir_profiles`, with `clocks.yaml`, `plan_definitions/` and
            `activity_definitions/`.
        sites: a site's own folders, either part may be missing there; one of the same
            name (PlanDefinition) or canonical (ActivityDefinition) takes the place of
            what was read before.
        fallback: compiles expressions outside the subset; without it they are errors.

    Raises:
        ProtocolError: something is missing, unknown or contradicts itself.
    """
    clocks = clock_table.load(folder / "clocks.yaml")
    activities = {
        _canonical(path, one): one
        for path, one in _all(folder, sites, "activity_definitions", "ActivityDefinition")
    }
    issues: list[Issue] = []
    actions: list[Action] = []
    plans = _plans(folder, sites)
    for path, plan in plans.values():
        reader = _PlanReader(path.name, plan, activities, clocks, fallback, issues)
        try:
            actions.extend(reader.actions())
        except KeyError as error:
            raise ProtocolError(f"{path}: {error.args[0]} is missing") from None
    doubled = {one.id for one in actions if sum(other.id == one.id for other in actions) > 1}
    if doubled:
        raise ProtocolError(f"{folder}: action ids used twice: {', '.join(sorted(doubled))}")
    definitions = [plan for _, plan in plans.values()]
    return Protocols(actions, clocks, definitions, issues, [*activities.values()])


def names(folder: Path, sites: Sequence[Path] = ()) -> list[str]:
    """The names of the protocols that `load` would find.

    Raises:
        ProtocolError: a PlanDefinition cannot be read.
    """
    return [*_plans(folder, sites)]


def name_of(definition: Mapping[str, Any]) -> str:
    """`PD-01`: the first identifier of a PlanDefinition."""
    return str(definition["identifier"][0]["value"])


@lru_cache(maxsize=1)
def shipped() -> Protocols:
    """The protocols that come with Segue, all in force."""
    from segue.fhir.profiles import shipped as folder

    return load(folder())


def extension(element: Mapping[str, Any], url: str) -> list[dict[str, Any]]:
    """The extensions of a kind."""
    return [one for one in element.get("extension", ()) if one.get("url") == url]


def value_of(one: Mapping[str, Any]) -> Any:
    """The `value[x]` of an extension."""
    return next((value for key, value in one.items() if key.startswith("value")), None)


def _plans(folder: Path, sites: Sequence[Path]) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The PlanDefinitions by name."""
    found = {}
    for path, plan in _all(folder, sites, "plan_definitions", "PlanDefinition"):
        _canonical(path, plan)
        try:
            found[name_of(plan)] = path, plan
        except (KeyError, IndexError, TypeError):
            raise ProtocolError(f"{path}: the first identifier is its name, PD-01") from None
    return found


def _canonical(path: Path, definition: Mapping[str, Any]) -> str:
    if "url" not in definition or "version" not in definition:
        raise ProtocolError(f"{path}: url and version are needed")
    return f"{definition['url']}|{definition['version']}"


def _all(
    folder: Path, sites: Sequence[Path], part: str, kind: str
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """What the shipped folder holds, then the sites'."""
    yield from _read(folder / part, kind)
    for site in sites:
        if any((site / part).glob("*.json")):
            yield from _read(site / part, kind)


def _read(folder: Path, kind: str) -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            resource = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ProtocolError(f"{path}: not JSON ({error})") from None
        if resource.get("resourceType") != kind:
            raise ProtocolError(f"{path}: a {kind} was expected")
        found.append((path, resource))
    if not found:
        raise ProtocolError(f"{folder}: no {kind}; is the installation complete?")
    return found


@dataclass(slots=True)
class _PlanReader:
    """Reads the actions of one PlanDefinition."""

    file: str
    plan: dict[str, Any]
    activities: Mapping[str, dict[str, Any]]
    clocks: Clocks
    fallback: Fallback | None
    issues: list[Issue]

    def actions(self) -> list[Action]:
        found: list[Action] = []
        for action in self.plan.get("action", ()):
            self._descend(action, "", (), found)
        return found

    def _descend(
        self,
        action: dict[str, Any],
        event: str,
        above: tuple[Condition, ...],
        found: list[Action],
    ) -> None:
        """A group hands its trigger and its conditions down to its actions."""
        where = f"{self.file}: action {action.get('id', '?')}"
        for trigger in action.get("trigger", ()):
            event = str(trigger.get("name"))
            if trigger.get("type") != "named-event" or event not in EVENTS:
                raise ProtocolError(f"{where}: trigger '{event}' is none of {sorted(EVENTS)}")
        conditions = above + tuple(
            self._compile(one["expression"], where)
            for one in action.get("condition", ())
            if one.get("kind") == "applicability"
        )
        for inner in action.get("action", ()):
            self._descend(inner, event, conditions, found)
        if "action" not in action:
            if not event:
                raise ProtocolError(f"{where}: nothing triggers it")
            found.append(self._action(action, event, conditions, where))

    def _action(
        self, action: dict[str, Any], event: str, conditions: tuple[Condition, ...], where: str
    ) -> Action:
        canonical = str(action.get("definitionCanonical"))
        activity = self.activities.get(canonical)
        if activity is None:
            raise ProtocolError(f"{where}: there is no ActivityDefinition {canonical}")
        where = f"{where}: {canonical}"
        evidence = extension(activity, "urn:segue:evidence")
        if not evidence:
            raise ProtocolError(f"{where}: says no evidence rule")
        rule = {str(one["url"]): value_of(one) for one in evidence[0]["extension"]}
        tolerance = rule.get("tolerance")
        return Action(
            id=str(action["id"]),
            protocol=name_of(self.plan),
            plan=f"{self.plan['url']}|{self.plan['version']}",
            definition=canonical,
            event=event,
            need=self._one(activity, "urn:segue:need", where),
            conditions=conditions,
            clocks=self._clocks(action, where),
            owner=_among(self._one(activity, "urn:segue:owner", where), OWNERS, where),
            role=activity["participant"][0]["role"],
            code=activity["code"],
            title=str(activity["title"]),
            description=str(activity["description"]),
            rule=_among(str(rule.get("rule")), RULES, where),
            anyone=bool(rule.get("anyone")),
            not_day_0=bool(rule.get("not-day-0")),
            tolerance=None if tolerance is None else int(tolerance["value"]),
            suspend=bool(extension(activity, "urn:segue:suspend")),
            draft=activity.get("intent") == "plan",
        )

    def _clocks(
        self, action: dict[str, Any], where: str
    ) -> tuple[tuple[Clock, Condition | None], ...]:
        found: list[tuple[Clock, Condition | None]] = []
        for one in extension(action, "urn:segue:clock"):
            parts = {str(part["url"]): value_of(part) for part in one["extension"]}
            try:
                clock = self.clocks[str(parts["code"])]
            except (KeyError, clock_table.ClockError) as error:
                raise ProtocolError(f"{where}: {error}") from None
            when = parts.get("when")
            found.append((clock, None if when is None else self._compile(when, where)))
        if not found or found[-1][1] is not None:
            raise ProtocolError(f"{where}: the last clock must apply without a condition")
        return tuple(found)

    def _compile(self, expression: Mapping[str, Any], where: str) -> Condition:
        text = str(expression.get("expression"))
        if expression.get("language") != "text/fhirpath":
            raise ProtocolError(f"{where}: conditions are written in text/fhirpath")
        try:
            return compile_condition(text)
        except UnsupportedError as error:
            if self.fallback is None:
                raise ProtocolError(f"{where}: {error}") from None
            self.issues.append(Issue("warning", "slow-condition", where, str(error)))
            return self.fallback(text)

    def _one(self, activity: dict[str, Any], url: str, where: str) -> str:
        found = extension(activity, url)
        if len(found) != 1:
            raise ProtocolError(f"{where}: exactly one {url} is needed")
        return str(value_of(found[0]))


def _among(value: str, allowed: frozenset[str], where: str) -> str:
    if value not in allowed:
        raise ProtocolError(f"{where}: '{value}' is none of {', '.join(sorted(allowed))}")
    return value
