"""Plans of a person: the coordinating plan, an episode plan for each stay, team and goal.

One coordinating CarePlan for each person; each stay has an episode plan that is part of
it and holds the Tasks, so that a voided discharge touches one child. Activities are
references only. The narrative is made of the plan's own elements, not of task states.

Sources: http://hl7.org/fhir/R4/careplan.html, IHE PCC Dynamic Care Planning (what a
plan must at least hold).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from segue.care.parties import HUB_REFERENCE, Party, site_party
from segue.care.stays import Stay, StayVisit
from segue.care.tasks import Names
from segue.care.view import CareSetting, Evidence, Person
from segue.fhir.datetimes import not_after
from segue.fhir.lifecycle import TASK_OPEN
from segue.model.identity import stable_id

_SCT: Final = "http://snomed.info/sct"
_ASSESS_PLAN: Final = {
    "coding": [
        {
            "system": "http://hl7.org/fhir/us/core/CodeSystem/careplan-category",
            "code": "assess-plan",
        }
    ]
}
_LONGITUDINAL: Final = {"coding": [{"system": _SCT, "code": "38717003"}]}
_CARE_PLAN: Final = {"coding": [{"system": _SCT, "code": "734163000"}]}
_TEAM: Final = {
    "coding": [
        {
            "system": "http://loinc.org",
            "code": "LA28865-6",
            "display": "Longitudinal care-coordination focused care team",
        }
    ]
}
_ROLES: Final = {
    code: [{"coding": [{"system": "urn:segue:role", "code": code, "display": display}]}]
    for code, display in (
        ("primary-care", "Primary care team"),
        ("hospital-case-manager", "Case manager of the hospital"),
    )
}
_EPISODE: Final = {
    False: [{"coding": [{"system": "urn:segue:episode-type", "code": "acute-stay"}]}],
    True: [{"coding": [{"system": "urn:segue:episode-type", "code": "post-acute-stay"}]}],
}
_ACHIEVEMENT: Final = {
    code: {
        "coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/goal-achievement", "code": code}
        ]
    }
    for code in ("in-progress", "achieved", "not-achieved")
}
_CLINICAL: Final = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_VERIFICATION: Final = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/condition-category"

_SAFE_TRANSITION: Final = (
    "Safe transition home without an unplanned readmission within 30 days of discharge"
)


@dataclass(slots=True)
class Episode:
    """What coordination found out about one stay.

    Attributes:
        plans: canonicals of the protocols at work.
        tasks: ids of the stay's Tasks, in order.
        open: whether work is left other than drafts.
        window_end: last µs and date of the readmission window, None before discharge.
        superseded: the discharge of a later stay, as FHIR dateTime, None if there is none.
        readmitted: unplanned, within the window. back: by which visit.
        status: of the episode plan; ended: its period.end.
    """

    stay: Stay
    hospital: Party
    meta: Mapping[str, Any] | None
    conditions: list[str]
    plans: set[str]
    tasks: list[str]
    assessments: list[str]
    open: bool = False
    window_end: tuple[int, str] | None = None
    superseded: str | None = None
    readmitted: bool = False
    back: StayVisit | None = None
    status: str = "active"
    ended: str | None = None

    @property
    def id(self) -> str:
        """Id of the episode plan."""
        return episode_plan_id(self.stay)

    @property
    def discharged(self) -> bool:
        """Whether every visit of the stay has ended."""
        return all(one.last_day is not None for one in self.stay.visits)


_REQUESTED: Final = frozenset({"active", "on-hold", "draft"})
_PART: Final[dict[str, tuple[str, str, frozenset[str]]]] = {
    "CarePlan": ("supportingInfo", "status", _REQUESTED),
    "Consent": ("supportingInfo", "status", frozenset({"active"})),
    "Coverage": ("supportingInfo", "status", frozenset({"active"})),
    "Goal": (
        "goal",
        "lifecycleStatus",
        frozenset({"proposed", "planned", "accepted", "active", "on-hold"}),
    ),
    "CareTeam": ("careTeam", "status", frozenset({"", "proposed", "active", "suspended"})),
    "Task": ("activity", "status", frozenset(TASK_OPEN)),
    "ServiceRequest": ("activity", "status", _REQUESTED),
}
"""Where a source's own resource stands in the coordinating plan: element, the element
that has its status, and the statuses in which it is under way. Appointments and
Communications are not here: the Task that they serve shows them."""


def plan_id(person: Person) -> str:
    """Id of the coordinating plan."""
    return stable_id("CarePlan", person.key, "coordinating")


def episode_plan_id(stay: Stay) -> str:
    """Id of the episode plan of a stay."""
    return stable_id("CarePlan", stay.first.visit.key, "episode")


def team_id(person: Person) -> str:
    """Id of the CareTeam."""
    return stable_id("CareTeam", person.key, "coordinating")


def goal_id(stay: Stay) -> str:
    """Id of the stay's Goal."""
    return stable_id("Goal", stay.first.visit.key, "safe-transition")


def floor_condition_id(stay: Stay) -> str:
    """Id of the Condition that stands for the reason of admission."""
    return stable_id("Condition", stay.first.visit.key, "reason-for-admission")


def ids_of_person(identity: str) -> list[str]:
    """References of what coordination makes for the person of an identity."""
    return [
        f"CarePlan/{stable_id('CarePlan', identity, 'coordinating')}",
        f"CareTeam/{stable_id('CareTeam', identity, 'coordinating')}",
    ]


def ids_of_visit(visit: str) -> list[str]:
    """References of what coordination makes for a visit, Tasks apart."""
    return [
        f"CarePlan/{stable_id('CarePlan', visit, 'episode')}",
        f"EpisodeOfCare/{stable_id('EpisodeOfCare', visit)}",
        f"Goal/{stable_id('Goal', visit, 'safe-transition')}",
        f"Condition/{stable_id('Condition', visit, 'reason-for-admission')}",
        f"Observation/{stable_id('Observation', visit, 'LACE')}",
        f"RiskAssessment/{stable_id('RiskAssessment', visit, 'LACE')}",
    ]


def conditions_of(stay: Stay) -> list[str]:
    """References of the stay's conditions; the reason for admission if none is known."""
    found = [reference for one in stay.visits for reference in one.visit.conditions]
    return found or [f"Condition/{floor_condition_id(stay)}"]


def floor_condition(stay: Stay, names: Names) -> dict[str, Any] | None:
    """The reason for admission, unconfirmed; None where the source named a condition."""
    if any(one.visit.conditions for one in stay.visits):
        return None
    visit = stay.first.visit
    own = floor_condition_id(stay)
    code: dict[str, Any] = {"text": visit.reason or "Reason for admission, unconfirmed"}
    if visit.diagnoses:
        system, value, display = visit.diagnoses[0]
        coding = {"system": system, "code": value}
        if display:
            coding["display"] = display
            code["text"] = visit.reason or display
        code["coding"] = [coding]
    return _with_meta(
        {
            "resourceType": "Condition",
            "id": own,
            "identifier": [{"system": "urn:segue", "value": own}],
            "clinicalStatus": {"coding": [{"system": _CLINICAL, "code": "active"}]},
            "verificationStatus": {"coding": [{"system": _VERIFICATION, "code": "unconfirmed"}]},
            "category": [{"coding": [{"system": _CATEGORY, "code": "encounter-diagnosis"}]}],
            "code": code,
            "subject": names.patient,
            "encounter": names.encounter,
        },
        names.meta,
    )


def episode_of_care(episode: Episode, names: Names) -> dict[str, Any]:
    """The stay as EpisodeOfCare; the Encounters point to it."""
    stay = episode.stay
    period = _period(_began(stay.first), _left(stay) if episode.discharged else None)
    status = "finished" if episode.discharged else "active"
    return _with_meta(
        {
            "resourceType": "EpisodeOfCare",
            "id": stay.id,
            "identifier": [{"system": "urn:segue", "value": stay.id}],
            "status": status,
            "type": _EPISODE[stay.first.post_acute],
            "patient": names.patient,
            "managingOrganization": episode.hospital.reference,
            "period": period,
        },
        names.meta,
    )


def episode_plan(episode: Episode, person: Person, names: Names) -> dict[str, Any]:
    """The plan of one stay: which protocols run, and the Tasks they made."""
    stay = episode.stay
    own = episode.id
    hospital = str(episode.hospital.reference.get("display", ""))
    period = _period(stay.first.admitted.text, episode.ended)
    title = "Post-acute episode" if stay.first.post_acute else "Hospital episode and transition"
    plan: dict[str, Any] = {
        "resourceType": "CarePlan",
        "id": own,
        "identifier": [{"system": "urn:segue", "value": own}],
        "partOf": [{"reference": f"CarePlan/{plan_id(person)}"}],
        "status": episode.status,
        "intent": "plan",
        "category": [_ASSESS_PLAN, _CARE_PLAN],
        "title": title,
        "description": f"{title}: {hospital}",
        "subject": names.patient,
        "encounter": names.encounter,
        "period": period,
        "author": HUB_REFERENCE,
        "contributor": [episode.hospital.reference],
        "addresses": [{"reference": reference} for reference in episode.conditions],
        "goal": [{"reference": f"Goal/{goal_id(stay)}"}],
    }
    if episode.plans:
        plan["instantiatesCanonical"] = sorted(episode.plans)
    if episode.assessments:
        plan["supportingInfo"] = [{"reference": one} for one in episode.assessments]
    if episode.tasks:
        plan["activity"] = [{"reference": {"reference": f"Task/{one}"}} for one in episode.tasks]
    plan["text"] = _narrative(plan, [_SAFE_TRANSITION])
    return _with_meta(plan, names.meta)


def coordinating_plan(
    person: Person,
    episodes: Sequence[Episode],
    practice: Party | None,
    known: Iterable[str],
    names: Names,
    setting: CareSetting,
) -> dict[str, Any]:
    """The one plan of the person, above all episodes.

    Args:
        person: whose plan it is.
        episodes: all stays, in order of admission.
        practice: the ongoing care provider.
        known: references of conditions that clients recorded.
        names: references to use; labels that hold for all of it.
        setting: says who the sources are.
    """
    own = plan_id(person)
    ended = person.deceased is not None
    period = {"start": _began(episodes[0].stay.first)}
    if ended and person.deceased is not None and person.deceased.text:
        period["end"] = person.deceased.text
    contributors = {one.hospital.site: one.hospital.reference for one in episodes}
    if practice is not None and any(one.tasks for one in episodes):
        contributors.setdefault(practice.site, practice.reference)
    theirs = parts(person)
    for one in (one for found in theirs.values() for one in found):
        if one.source in setting.sites:
            contributors.setdefault(one.source, site_party(one.source, setting).reference)
    addressed = dict.fromkeys([ref for one in episodes for ref in one.conditions] + list(known))
    plan: dict[str, Any] = {
        "resourceType": "CarePlan",
        "id": own,
        "identifier": [{"system": "urn:segue", "value": own}],
        "status": "revoked" if ended else "active",
        "intent": "plan",
        "category": [_ASSESS_PLAN, _LONGITUDINAL],
        "title": "Coordinating care plan",
        "description": _phase(episodes[-1], ended=ended),
        "subject": names.patient,
        "period": period,
        "author": HUB_REFERENCE,
        "contributor": [contributors[site] for site in sorted(contributors)],
        "careTeam": [
            {"reference": f"CareTeam/{team_id(person)}"},
            *_pointers(theirs.get("careTeam", ())),
        ],
        "addresses": [{"reference": reference} for reference in addressed],
        "supportingInfo": [
            *({"reference": f"EpisodeOfCare/{one.stay.id}"} for one in episodes),
            *_pointers(theirs.get("supportingInfo", ())),
        ],
        "goal": [
            *({"reference": f"Goal/{goal_id(one.stay)}"} for one in episodes),
            *_pointers(theirs.get("goal", ())),
        ],
    }
    if work := theirs.get("activity"):
        plan["activity"] = [{"reference": one} for one in _pointers(work)]
    plan["text"] = _narrative(plan, [_SAFE_TRANSITION])
    return _with_meta(plan, names.meta)


def parts(person: Person) -> dict[str, list[Evidence]]:
    """What sources do for the person, by the element of the plan that points to it.

    It stays its sources': the coordinating plan points to what is under way and adds
    nothing.
    """
    found: dict[str, list[Evidence]] = {}
    for one in sorted(person.evidence, key=lambda one: one.reference):
        place = _PART.get(str(one.resource.get("resourceType")))
        if place is not None and str(one.resource.get(place[1], "")) in place[2]:
            found.setdefault(place[0], []).append(one)
    return found


def _pointers(found: Iterable[Evidence]) -> list[dict[str, Any]]:
    return [{"reference": one.reference} for one in found]


def _phase(episode: Episode, *, ended: bool) -> str:
    """Where the person is, in one sentence; moves within the hospital do not change it."""
    if ended:
        return "Coordination has ended: the patient has died."
    last = episode.stay.visits[-1]
    place = episode.hospital.reference.get("display", "")
    if last.last_day is None:
        return f"In hospital since {last.day.isoformat()}: {place}."
    return f"Discharged on {last.last_day.isoformat()} from {place}; follow-up is under way."


def care_team(
    person: Person, episodes: Sequence[Episode], practice: Party | None, names: Names
) -> dict[str, Any]:
    """Who takes part: the practice throughout, a hospital while the person is there."""
    own = team_id(person)
    participants: list[dict[str, Any]] = []
    if practice is not None:
        participants.append({"role": _ROLES["primary-care"], "member": practice.reference})
    for one in episodes:
        left = _left(one.stay) if one.discharged else None
        period = _period(_began(one.stay.first), left)
        participants.append(
            {
                "role": _ROLES["hospital-case-manager"],
                "member": one.hospital.reference,
                "period": period,
            }
        )
    return _with_meta(
        {
            "resourceType": "CareTeam",
            "id": own,
            "identifier": [{"system": "urn:segue", "value": own}],
            "status": "inactive" if person.deceased is not None else "active",
            "category": [_TEAM],
            "name": "Care coordination team",
            "subject": names.patient,
            "period": {"start": _began(episodes[0].stay.first)},
            "participant": participants,
            "managingOrganization": [HUB_REFERENCE],
        },
        names.meta,
    )


def goal(episode: Episode, names: Names, *, now: int, dead: bool) -> dict[str, Any]:
    """A safe transition: decided when the readmission window is over."""
    own = goal_id(episode.stay)
    lifecycle, achieved = "active", "in-progress"
    if dead:
        lifecycle, achieved = "cancelled", ""
    elif episode.readmitted:
        lifecycle, achieved = "completed", "not-achieved"
    elif episode.window_end is not None and now > episode.window_end[0]:
        lifecycle, achieved = "completed", "achieved"
    made: dict[str, Any] = {
        "resourceType": "Goal",
        "id": own,
        "identifier": [{"system": "urn:segue", "value": own}],
        "lifecycleStatus": lifecycle,
        "description": {"text": _SAFE_TRANSITION},
        "subject": names.patient,
        "addresses": [{"reference": reference} for reference in episode.conditions],
    }
    if achieved:
        made["achievementStatus"] = _ACHIEVEMENT[achieved]
    if episode.window_end is not None:
        made["target"] = [{"dueDate": episode.window_end[1]}]
    return _with_meta(made, names.meta)


def _began(one: StayVisit) -> str:
    return (one.visit.start or one.admitted).text


def _left(stay: Stay) -> str:
    ends = [one.visit.end for one in stay.visits if one.visit.end is not None]
    return max(ends, key=lambda end: end.us).text


def _period(start: str, end: str | None) -> dict[str, str]:
    """As of the Encounter: a start after the end (a wrong PV1-44) is left out."""
    if end is None:
        return {"start": start}
    return {"start": start, "end": end} if not_after(start, end) else {"end": end}


def _with_meta(resource: dict[str, Any], meta: Mapping[str, Any] | None) -> dict[str, Any]:
    if meta is not None:
        resource["meta"] = meta
    return resource


def _narrative(plan: Mapping[str, Any], goals: Sequence[str]) -> dict[str, str]:
    period = plan["period"]
    until = f" to {escape(period['end'])}" if "end" in period else ""
    by = ", ".join(escape(str(one.get("display", ""))) for one in plan["contributor"])
    listed = "".join(f"<li>{escape(one)}</li>" for one in goals)
    return {
        "status": "generated",
        "div": (
            '<div xmlns="http://www.w3.org/1999/xhtml">'
            f"<h2>{escape(plan['title'])}</h2><p>{escape(plan['description'])}</p>"
            f"<p>Status: {plan['status']}, from {escape(period['start'])}{until}. "
            f"Contributors: {by}. Problems: {len(plan['addresses'])}.</p>"
            f"<p>Goals</p><ul>{listed}</ul></div>"
        ),
    }
