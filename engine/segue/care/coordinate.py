"""Coordination: all care resources of a person, as they should be now.

A pure function of the person's visits, evidence, statements, receipts and the present
instant. Running it again changes nothing, and the order in which things were learned
does not matter. Visits that only fill the index feed counts and never make care.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, tzinfo
from typing import Any, Final

from segue.care import assessments, consent, flags, overlaps, plans
from segue.care.clocks import derivation, place
from segue.care.dispositions import IN_FACILITY, Meaning, meaning
from segue.care.evidence import collect
from segue.care.parties import due_zone, practice_party, site_party
from segue.care.plans import Episode
from segue.care.protocols import Protocols, Situation
from segue.care.requirements import FOREVER, Anchor, Book, generation_of
from segue.care.stays import INPATIENT, Stay, StayVisit, episodes, stays
from segue.care.tasks import Names, build
from segue.care.view import (
    CareSetting,
    Person,
    TaskStatement,
    Visit,
    VoidedDischarge,
)
from segue.fhir.lifecycle import TASK_ENDED
from segue.model.instants import Moment, rfc3339

ADMITTED: Final = "encounter-admitted"
EXPECTED: Final = "encounter-discharge-expected"
DISCHARGED: Final = "encounter-discharged"
READMISSION_WINDOW: Final = "C-13"


@dataclass(frozen=True, slots=True)
class Care:
    """What coordination yields.

    Attributes:
        resources: EpisodeOfCare, CarePlan, CareTeam, Goal, Condition, Observation,
            RiskAssessment, Flag, DetectedIssue and Task, without meta but for security
            labels. Parts of them are shared: do not change them in place.
        wake: µs at which the result changes by time alone, None if it does not.
    """

    resources: list[dict[str, Any]]
    wake: int | None


def coordinate(person: Person, now: Moment, setting: CareSetting, protocols: Protocols) -> Care:
    """The person's care as it should be now.

    What everybody may see is made without the visits and the evidence under a label of
    special protection; what belongs to these is made from all and carries the labels.

    Args:
        person: as folded.
        now: the present instant.
        setting: sites, practices and destinations.
        protocols: as loaded.
    """
    if consent.protected(person.labels):
        return _Coordination(person, now, setting, protocols, person.labels).run()
    shown = _shown(person)
    if shown is person:
        return _Coordination(person, now, setting, protocols, ()).run()
    labels = {code for visit in person.visits for code in visit.labels}
    open_care = _Coordination(shown, now, setting, protocols, ()).run()
    whole = _Coordination(person, now, setting, protocols, sorted(labels)).run()
    taken = {(one["resourceType"], one["id"]) for one in open_care.resources}
    kept_back = [
        one
        for one in whole.resources
        if consent.withheld(one) and (one["resourceType"], one["id"]) not in taken
    ]
    wakes = [wake for wake in (open_care.wake, whole.wake) if wake is not None]
    return Care(open_care.resources + kept_back, min(wakes, default=None))


def episodes_of(person: Person, setting: CareSetting) -> Mapping[str, str]:
    """Which of the EpisodesOfCare that `coordinate` makes each visit belongs to.

    Returns:
        Visit key to id; visits that are part of no stay are left out.
    """
    found = episodes(person.visits, setting)
    if found and not consent.protected(person.labels) and (shown := _shown(person)) is not person:
        return {**found, **episodes(shown.visits, setting)}
    return found


def _shown(person: Person) -> Person:
    """The person without what is under special protection; the same one if nothing is."""
    hidden = {one.reference for one in person.evidence if consent.withheld(one.resource)}
    if not hidden and not any(consent.protected(visit.labels) for visit in person.visits):
        return person
    return replace(
        person,
        visits=[
            one
            for one in person.visits
            if not consent.protected(one.labels) and f"Encounter/{one.encounter}" not in hidden
        ],
        evidence=[one for one in person.evidence if one.reference not in hidden],
    )


class _Coordination:
    """One run: the person's stays, each with its anchors, each with its Tasks."""

    def __init__(
        self,
        person: Person,
        now: Moment,
        setting: CareSetting,
        protocols: Protocols,
        labels: Iterable[str],
    ) -> None:
        self.person = person
        self.now = now.us
        self.setting = setting
        self.protocols = protocols
        self.labels = list(labels)
        self.patient = {"reference": f"Patient/{person.patient}"}
        self.practice = practice_party(person, setting)
        self.stays = stays(person.visits, setting)
        self.all = [one for stay in self.stays for one in stay.visits]
        self.resources: list[dict[str, Any]] = []

    def run(self) -> Care:
        noticed, next_change = self._notice()
        if not self.stays:
            return Care(noticed, next_change)
        person = self.person
        self.book = Book(
            self.now,
            collect(person, self._day_zone()),
            _by_task(person.statements),
            person.receipts,
            self.setting.record_destinations,
        )
        tasks: list[dict[str, Any]] = []
        episodes: list[Episode] = []
        for stay in self.stays:
            episode = self._episode(stay, tasks)
            if episode is not None:
                episodes.append(episode)
        if episodes:
            names = self._names(self.stays[0], self.all[0], self.labels)
            known = self.book.evidence.conditions
            self.resources.append(
                plans.coordinating_plan(person, episodes, self.practice, known, names, self.setting)
            )
            self.resources.append(plans.care_team(person, episodes, self.practice, names))
        self.resources.extend(tasks)
        self.resources.extend(noticed)
        wake = self.book.wake if next_change is None else min(self.book.wake, next_change)
        return Care(self.resources, None if wake == FOREVER else wake)

    def _notice(self) -> tuple[list[dict[str, Any]], int | None]:
        """What strikes one about all visits together, and when that next changes by itself."""
        security = consent.security(self.labels)
        names = Names(self.patient, {}, {}, {"security": security} if security else None)
        found, change = overlaps.overlaps(self.all, self.now, names)
        if self.person.deceased is not None:
            return found, change
        often, ends = flags.utilizer(self.person.key, self.person.visits, self.now, names)
        changes = [at for at in (change, ends) if at is not None]
        return [*found, *often], min(changes, default=None)

    def _day_zone(self) -> tzinfo:
        if self.practice is not None and self.practice.zone is not None:
            return self.practice.zone
        return self.all[0].here or UTC

    def _names(self, stay: Stay, one: StayVisit, labels: Iterable[str]) -> Names:
        security = consent.security(labels)
        return Names(
            self.patient,
            {"reference": f"Encounter/{one.visit.encounter}"},
            {"reference": f"CarePlan/{plans.episode_plan_id(stay)}"},
            {"security": security} if security else None,
        )

    def _episode(self, stay: Stay, tasks: list[dict[str, Any]]) -> Episode | None:
        """All of one stay; its Tasks go to the end, its other resources out."""
        person, evidence = self.person, self.book.evidence
        hospital = site_party(stay.visits[-1].visit.site, self.setting)
        names = self._names(stay, stay.first, _labels(stay, person))
        episode = Episode(stay, hospital, names.meta, plans.conditions_of(stay), set(), [], [])
        for one in stay.visits:
            own = self._names(stay, one, [*one.visit.labels, *person.labels])
            last_day = one.last_day
            score = assessments.score(person, stay, one, evidence, last_day)
            made = assessments.resources(one, score, own)
            episode.assessments.append(f"RiskAssessment/{made[1]['id']}")
            self.resources.extend(made)
            for anchor, situation in self._anchors(stay, one, score.high):
                self._tasks(anchor, situation, own, episode, tasks)
        self.resources.append(plans.episode_of_care(episode, names))
        if person.deceased is not None and not episode.tasks and self._after_death(stay.first):
            # Somebody admitted the dead: the stay is shown, no plan is made for it.
            return None
        self._outlook(episode)
        dead = person.deceased is not None
        if (back := episode.back) is not None and not dead and not stay.first.post_acute:
            self.resources.append(flags.readmission(episode, back, names))
        condition = plans.floor_condition(stay, names)
        if condition is not None:
            self.resources.append(condition)
        self.resources.append(plans.goal(episode, names, now=self.now, dead=dead))
        self.resources.append(plans.episode_plan(episode, person, names))
        return episode

    def _anchors(
        self, stay: Stay, one: StayVisit, lace_high: int
    ) -> Iterable[tuple[Anchor, Situation]]:
        """The admission, the discharge expected or in force, and those that were cancelled."""
        visit = one.visit
        site = self.setting.sites.get(visit.site)
        zone = site.zone if site is not None else None
        hospital = site_party(visit.site, self.setting)

        def anchor(event: str, at: Moment, generation: int, noticed: int | None) -> Anchor:
            return Anchor(
                visit,
                event,
                at,
                generation,
                zone,
                due_zone(self.practice, one.here),
                hospital,
                self.practice,
                0 if site is None else int(site.lag.total_seconds()) * 1_000_000,
                noticed,
            )

        if one.inpatient is not None:
            recorded = visit.anchored.get("admission", one.inpatient.us)
            made = anchor(
                ADMITTED,
                one.inpatient,
                1 + sum(voided < recorded for voided in visit.voided),
                visit.noticed.get("admission"),
            )
            if self._lives(made, recorded):
                yield made, self._situation(one, one.day, None, 0)
        announced = visit.anchored.get("expected")
        if (
            announced is not None
            and not visit.discharged
            and announced > max(visit.voided, default=0)
        ):
            at = visit.expected or Moment(rfc3339(announced), announced)
            made = anchor(EXPECTED, at, 1 + len(visit.voided), visit.noticed.get("expected"))
            if self._lives(made, announced):
                yield made, self._situation(one, one.day, None, 0)
        if visit.discharged and visit.end is not None and one.last_day is not None:
            recorded = visit.anchored.get("discharge", visit.end.us)
            noticed = visit.noticed.get("discharge")
            made = anchor(DISCHARGED, visit.end, generation_of(visit), noticed)
            if self._lives(made, recorded):
                self._afterwards(made, one)
                means = meaning(visit.disposition)
                made.unknown_disposition = means == "unknown"
                made.against_advice = means == "ama"
                yield made, self._situation(one, one.last_day, means, lace_high)
        for struck in visit.struck:
            earlier = 1 + sum(voided < struck.recorded for voided in visit.voided)
            made = anchor(DISCHARGED, struck.end, earlier, None)
            yield self._struck(stay, one, struck, made)

    def _struck(
        self, stay: Stay, one: StayVisit, struck: VoidedDischarge, made: Anchor
    ) -> tuple[Anchor, Situation]:
        """A cancelled discharge: only what people did while it held is kept."""
        made.until, made.ended, made.traces_only = struck.cancelled, "anchor-voided", True
        day = place(struck.end, made.zone)[0]
        score = assessments.score(self.person, stay, one, self.book.evidence, day)
        return made, self._situation(one, day, meaning(struck.disposition), score.high)

    def _situation(
        self, one: StayVisit, day: date, disposition: Meaning | None, lace_high: int
    ) -> Situation:
        visit = one.visit
        principal = visit.diagnoses[0] if visit.diagnoses else ("", "", "")
        admitted = next((p.code for p in reversed(visit.classes) if p.code in INPATIENT), None)
        return Situation(
            kind=one.kind,
            admitted=admitted,
            disposition=disposition,
            age=_age(self.person.birth_date, day),
            same_day=day == one.day,
            pregnancy="icd-10" in principal[0] and principal[1].startswith("O"),
            practice=self.practice is not None,
            lace_high=lace_high,
        )

    def _lives(self, anchor: Anchor, recorded: int) -> bool:
        """Whether the anchor may have Tasks: no new ones are made for the dead."""
        death = self.person.deceased
        if death is None:
            return True
        known = self.person.deceased_recorded
        if death.text:
            if anchor.at.us >= death.us:
                return False
            anchor.until = death.us
        elif known is not None:
            if recorded >= known:
                return False
            anchor.until = known
        else:
            anchor.traces_only = True
        anchor.ended = "deceased"
        return True

    def _after_death(self, one: StayVisit) -> bool:
        death = self.person.deceased
        return death is not None and (not death.text or one.admitted.us >= death.us)

    def _afterwards(self, anchor: Anchor, one: StayVisit) -> None:
        """What later stays mean for the Tasks of a discharge."""
        released = False
        for other in self.all:
            if other.admitted.us <= one.admitted.us or other is one:
                continue
            end = other.visit.end if other.visit.discharged else None
            if end is not None and end.us <= anchor.at.us:
                continue
            if other.post_acute:
                if end is None:
                    self._hold(anchor, "in-facility", other)
                elif meaning(other.visit.disposition) in ("community", "ama", "unknown"):
                    released = True
            elif end is None:
                self._hold(anchor, "admitted", other)
            elif end.us < anchor.until:
                anchor.until, anchor.ended = end.us, "readmitted"
        if anchor.held is None and not released and meaning(one.visit.disposition) in IN_FACILITY:
            anchor.held, anchor.held_at = "in-facility", anchor.at.us

    @staticmethod
    def _hold(anchor: Anchor, why: str, other: StayVisit) -> None:
        if anchor.held is None or other.admitted.us < anchor.held_at:
            anchor.held, anchor.held_at = why, other.admitted.us

    def _tasks(
        self,
        anchor: Anchor,
        situation: Situation,
        names: Names,
        episode: Episode,
        tasks: list[dict[str, Any]],
    ) -> None:
        for need, applied in self.protocols.ask(anchor.event, situation).items():
            task = build(need, applied, anchor, self.book, names)
            if task is None:
                continue
            tasks.append(task)
            episode.tasks.append(task["id"])
            episode.plans.update(one.action.plan for one in applied)
            if task["status"] not in TASK_ENDED and not applied[0].action.draft:
                episode.open = True

    def _outlook(self, episode: Episode) -> None:
        """The readmission window, and whether the episode is over."""
        death = self.person.deceased
        last = max(episode.stay.visits, key=lambda one: one.visit.end.us if one.visit.end else 0)
        if episode.discharged and last.visit.end is not None:
            self._window(episode, last, last.visit.end)
        if death is not None:
            episode.status = "revoked"
            episode.ended = death.text or None
            if not episode.open and episode.superseded is not None:
                episode.status, episode.ended = "completed", episode.superseded
            return
        window = episode.window_end
        over = window is not None and (episode.superseded is not None or self.now > window[0])
        if over and window is not None and not episode.open:
            episode.status = "completed"
            episode.ended = episode.superseded or window[1]
        elif window is not None and self.now <= window[0]:
            self.book.wake = min(self.book.wake, window[0] + 1)

    def _window(self, episode: Episode, last: StayVisit, end: Moment) -> None:
        site = self.setting.sites.get(last.visit.site)
        clock = self.protocols.clocks[READMISSION_WINDOW]
        derived = derivation(clock, end, site.zone if site is not None else None, None)
        episode.window_end = (derived.due_us, derived.due[:10])
        for other in self.all:
            if other.admitted.us <= last.admitted.us or other.post_acute or other is last:
                continue
            if other.admitted.us <= derived.due_us and other.visit.admission_type != "C":
                episode.readmitted = True
                episode.back = episode.back or other
            ended = other.visit.end
            if other.visit.discharged and ended is not None and episode.superseded is None:
                episode.superseded = ended.text


def _labels(stay: Stay, person: Person) -> list[str]:
    return [code for one in stay.visits for code in one.visit.labels] + person.labels


def _by_task(statements: Iterable[TaskStatement]) -> dict[str, list[TaskStatement]]:
    found: dict[str, list[TaskStatement]] = {}
    for one in sorted(statements, key=lambda one: one.recorded):
        found.setdefault(one.task, []).append(one)
    return found


def _age(born: str | None, day: date) -> int | None:
    if not born or len(born) < 4:
        return None
    month_day = (day.month, day.day)
    birthday = (int(born[5:7] or 1), int(born[8:10] or 1))
    return day.year - int(born[:4]) - (month_day < birthday)


def relevant(person: Person) -> Hashable:
    """What coordination depends on, as one hashable value.

    While it and the clock's next wake do not change, `coordinate` yields the same. Bed
    moves, practitioners and demographics are not in it.
    """
    return (
        person.key,
        person.patient,
        person.birth_date,
        person.deceased,
        person.deceased_recorded,
        person.practice,
        tuple(person.labels),
        tuple([_visit_digest(visit) for visit in person.visits]),
        tuple([(one.reference, one.version) for one in person.evidence]),
        tuple([(one.task, one.recorded, one.source) for one in person.statements]),
        tuple(
            [
                (one.destination, one.reference, one.at)
                for one in person.receipts
                if one.class_code or one.type_code
            ]
        ),
    )


def _visit_digest(visit: Visit) -> Hashable:
    return (
        visit.key,
        tuple(visit.numbers),
        visit.encounter,
        visit.site,
        visit.status,
        visit.start,
        visit.end,
        visit.expected,
        visit.discharged,
        visit.disposition,
        visit.admission_type,
        visit.reason,
        visit.history,
        tuple([(one.code, one.start) for one in visit.classes]),
        tuple(visit.diagnoses),
        tuple(visit.conditions),
        tuple(visit.voided),
        tuple(visit.struck),
        tuple(visit.labels),
        tuple(visit.noticed.items()),
        tuple(visit.anchored.items()),
    )
