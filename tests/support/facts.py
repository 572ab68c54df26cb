"""Facts written by hand, and random histories of a visit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from random import Random
from typing import Any

from hypothesis import strategies as st

from segue.model.events import HAPPENINGS
from segue.model.facts import Fact, Fragment
from segue.model.identity import stable_id
from segue.model.instants import Moment, instant_of, microseconds
from segue.model.notes import NOTES

EASTERN = timezone(timedelta(hours=-4))
CLASSES = {"E": "EMER", "I": "IMP", "O": "AMB", "P": "PRENC", "B": "OBSENC"}
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def t(text: str) -> Moment:
    """`07-05 08:12` in 2026, four hours behind UTC."""
    at = datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=EASTERN)
    return moment(microseconds(at))


def moment(us: int) -> Moment:
    return Moment(instant_of(us).astimezone(EASTERN).isoformat(), us)


def minutes(n: int) -> Moment:
    """Minutes after 2026-07-01T00:00 UTC."""
    return moment(microseconds(datetime(2026, 7, 1, tzinfo=UTC)) + n * 60_000_000)


def place(name: str) -> list[dict[str, Any]]:
    return [
        {
            "location": {
                "reference": f"Location/{stable_id('Location', 'hospa', name)}",
                "display": name,
            }
        }
    ]


def doctor(name: str, role: str = "ATND") -> list[dict[str, Any]]:
    return [
        {
            "type": [
                {
                    "coding": [
                        {
                            "system": (
                                "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
                            ),
                            "code": role,
                        }
                    ]
                }
            ],
            "individual": {"reference": f"Practitioner/{stable_id('Practitioner', name)}"},
        }
    ]


def fact(
    event: str,
    occurred: Moment,
    recorded: Moment | None = None,
    *,
    control: str = "1",
    sent: Moment | None = None,
    targets: Moment | None = None,
    visit: str | None = "HOSPA|V1",
    identity: str = "HOSPA|100234",
    links: tuple[str, ...] = (),
    prior: str | None = None,
    site: str = "hospa",
    patient_class: str | None = None,
    at: str | None = None,
    attending: str | None = None,
    admitted: Moment | None = None,
    discharged: Moment | None = None,
    disposition: str | None = None,
    patient: dict[str, Any] | None = None,
    details: dict[str, Any] | None = None,
    encounter: dict[str, Any] | None = None,
    others: tuple[Fragment, ...] = (),
    mine: tuple[Fragment, ...] = (),
    labels: tuple[str, ...] = (),
    history: bool = False,
    received: int = 0,
) -> Fact:
    """One fact; what is not given was not sent."""
    recorded = recorded or occurred
    sent = sent or recorded
    elements: dict[str, Any] = {}
    said: dict[str, Any] = {}
    if patient_class is not None:
        said["class"] = patient_class
        elements["class"] = {"system": ACT_CODE, "code": CLASSES[patient_class]}
    if at is not None:
        elements["location#assigned"] = place(at)
        said["place"] = at
    if attending is not None:
        elements["participant#attending"] = doctor(attending)
    if admitted is not None:
        said["admitted"] = admitted
    if discharged is not None:
        said["discharged"] = discharged
    if disposition is not None:
        said["disposition"] = disposition
        elements["hospitalization.dischargeDisposition"] = {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/discharge-disposition",
                    "code": "home",
                }
            ],
            "text": disposition,
        }
    if visit is not None:
        number = visit.partition("|")[2]
        elements["identifier#visit"] = [{"system": "urn:segue:authority:HOSPA", "value": number}]
    elements.update(encounter or {})
    said.update(details or {})
    value = identity.partition("|")[2]
    person = [
        Fragment(
            "Patient",
            stable_id("Patient", identity),
            "person",
            {
                "identifier#mrn": [{"system": f"urn:{identity.partition('|')[0]}", "value": value}],
                **(patient or {}),
            },
        ),
        *mine,
    ]
    about_visit = HAPPENINGS[event].about_visit if event in HAPPENINGS else event in NOTES
    stay = [
        Fragment("Encounter", stable_id("Encounter", visit) if visit else "", "visit", elements),
        *others,
    ]
    digest = stable_id(event, control, site, occurred.text, recorded.text, str(sorted(said)))
    return Fact(
        id=stable_id("fact", digest, repr(elements), repr(patient)),
        site=site,
        authority=identity.partition("|")[0],
        control_id=control,
        digest=digest,
        event=event,
        occurred=occurred,
        recorded=recorded,
        sent=sent,
        received=received or recorded.us,
        identity=identity,
        links=[identity, *links],
        targets=targets,
        prior=prior,
        visit=visit,
        about_visit=about_visit,
        person=person,
        stay=stay if about_visit else [],
        details=said,
        history=history,
        labels=list(labels),
    )


def condition(code: str, visit: str = "HOSPA|V1") -> Fragment:
    system = "http://hl7.org/fhir/sid/icd-10-cm"
    return Fragment(
        "Condition",
        stable_id("Condition", visit, system, code),
        "visit",
        {
            "code": {"coding": [{"system": system, "code": code, "display": code}]},
            "category#diagnosis": [
                {
                    "coding": [
                        {
                            "system": ("http://terminology.hl7.org/CodeSystem/condition-category"),
                            "code": "encounter-diagnosis",
                        }
                    ]
                }
            ],
            "clinicalStatus": {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                        "code": "active",
                    }
                ]
            },
        },
    )


PLACES = ("ED^1", "4W^2", "CCU^3", "5E^4")
DOCTORS = ("ann", "bob", "cy")
CANCELS = {
    "A01": "A11",
    "A04": "A11",
    "A02": "A12",
    "A03": "A13",
    "A05": "A38",
    "A14": "A27",
    "A21": "A52",
    "A22": "A53",
    "A54": "A55",
    "A15": "A26",
    "A16": "A25",
    "A09": "A33",
    "A10": "A32",
    "A61": "A62",
}
DEMOGRAPHICS: tuple[dict[str, Any], ...] = (
    {},
    {"birthDate": "1955-02-14", "gender": "female"},
    {"address#home": [{"city": "Albany"}]},
    {"address#home": [{"city": "Troy"}], "gender": None},
    {"address": None},
)
SAID_OF_VISITS: tuple[dict[str, Any], ...] = (
    {},
    {"serviceType": {"text": "MED"}},
    {"serviceType": None, "priority": {"text": "E"}},
    {"type#4": [{"text": "E"}], "identifier": None},
    {"location#temporary": place("XR^1")},
    {"location#prior-temporary": place("XR^1"), "location#temporary": place("OR^2")},
)
CODES = ((), ("I50.23",), ("E11.9", "J18.9"))
COMMON = ("A02", "A08", "A08", "A03", "A13", "A12", "A06", "A02", "A54", "A21", "A22", "A11")
EVENTS_DRAWN = (*HAPPENINGS, "R01", "R01", "T02", "S12", "S15")


@st.composite
def histories(draw: st.DrawFn, least: int = 8, most: int = 14) -> list[Fact]:
    """The facts of one visit in the order they occurred: likely ones, and odd ones.

    A seed and a length are drawn, and a shorter history of the same seed begins like a
    longer one: so histories are cheap, and a failing one shrinks to its beginning.
    """
    return history(draw(st.integers(0, 2**32)), draw(st.integers(least, most)))


def history(seed: int, length: int) -> list[Fact]:
    """A random history of at least so many facts.

    Minutes tie, messages lag, control ids sort either way round, cancels name their
    target or do not, some events are restated under a new control id.
    """
    return list(_history(seed, length))


@lru_cache(maxsize=2)
def _history(seed: int, length: int) -> list[Fact]:
    chance = Random(seed)
    now = chance.randrange(600)
    facts: list[Fact] = []
    event = chance.choice(("A04", "A01", "A05", "A08", "A02", "A03"))
    while len(facts) < length:
        now += chance.choice((0, 0, 1, 7, 60, 600))
        facts.append(_random_fact(chance, event, now, facts))
        if chance.randrange(7) == 0:
            facts.append(again(facts[-1], control=str(chance.randrange(120)), later=1))
        event = chance.choice(COMMON if chance.randrange(5) else EVENTS_DRAWN)
    return facts


def _random_fact(chance: Random, event: str, now: int, facts: list[Fact]) -> Fact:
    sent = now + chance.choice((0, 0, 0, 1, 26, 700))
    occurred, targets = minutes(now), None
    cancels = HAPPENINGS[event].cancels if event in HAPPENINGS else ()
    known = [f for f in facts if f.event in cancels]
    if known and chance.randrange(2):
        occurred = targets = chance.choice(known).occurred
    elif chance.randrange(4) == 0:
        occurred = minutes(max(0, now - chance.choice((1, 30, 900))))
    others = tuple(condition(code) for code in chance.choice(CODES))
    return fact(
        event,
        occurred,
        minutes(now),
        sent=minutes(sent),
        control=str(chance.randrange(120)),
        targets=targets,
        patient_class=chance.choice(("E", "I", "I", "O", "P", None)),
        at=chance.choice((*PLACES, None)),
        attending=chance.choice((*DOCTORS, None)),
        admitted=minutes(chance.choice((0, 100, now))) if chance.randrange(2) else None,
        discharged=minutes(now - chance.choice((0, 10))) if chance.randrange(4) == 0 else None,
        disposition=chance.choice((None, None, "01", "03", "20", "30")),
        patient=chance.choice(DEMOGRAPHICS),
        encounter=chance.choice(SAID_OF_VISITS)
        | ({"location#pending": place(chance.choice(PLACES))} if event == "A15" else {}),
        others=others,
        received=minutes(sent).us + chance.randrange(5_000_000),
        details=chance.choice(({}, {"service": "MED"}, {"deceased": "Y"}, {"deceased": "N"}))
        | (_movement(chance) if chance.randrange(3) == 0 else {})
        | (
            {"listed": {"DG1": [f"{o.type}/{o.id}" for o in others]}} if chance.randrange(3) else {}
        ),
    )


def _movement(chance: Random) -> dict[str, Any]:
    """What a ZBE says: which movement, whether it corrects one, whether it is past."""
    said: dict[str, Any] = {"movement": f"HOSPA|M{chance.randrange(4)}"}
    said |= {"corrects": True} if chance.randrange(2) else {}
    return said | ({"historic": True} if chance.randrange(3) == 0 else {})


def again(one: Fact, *, control: str, later: int) -> Fact:
    """The same event under a new control id, sent some minutes later."""
    digest = stable_id("again", one.digest, control)
    return replace(
        one,
        id=stable_id("fact", digest),
        control_id=control,
        digest=digest,
        sent=moment(one.sent.us + later * 60_000_000),
        received=one.received + later * 60_000_000,
    )
