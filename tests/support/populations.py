"""Made-up people as two hospitals know them, with the truth of who is who.

Names are drawn with the unevenness of real ones, so that strangers share them; what the
second hospital writes down has typing errors, nicknames, moves, new phones, marriages and
gaps. Twins, fathers and sons of one name, and newborns without a name are among them.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

_NAMES: dict[str, str] = yaml.safe_load(
    (Path(__file__).parent / "names.yaml").read_text(encoding="utf-8")
)
FAMILY = tuple(_NAMES["family"].split())
MEN = tuple(_NAMES["men"].split())
WOMEN = tuple(_NAMES["women"].split())
STREETS = tuple(_NAMES["streets"].split())
SHORT = {
    "james": "jim", "robert": "bob", "john": "jack", "michael": "mike", "william": "bill",
    "richard": "dick", "thomas": "tom", "elizabeth": "beth", "margaret": "peggy",
    "patricia": "pat", "jennifer": "jen", "katherine": "kate", "deborah": "debbie",
    "susan": "sue", "steven": "steve", "edward": "ted",
}  # fmt: skip
FIRST_SEEN = date(2026, 6, 1)


@dataclass(frozen=True)
class Someone:
    """The truth: `who` is the same for the same person."""

    who: int
    family: str
    given: str
    middle: str
    birth: date
    sex: str
    street: str
    postal: str
    phone: str
    email: str
    national: str
    order: int = 0


def people(seed: int, size: int) -> list[Someone]:
    """A town of this many people."""
    rng = random.Random(seed)
    found: list[Someone] = []
    while len(found) < size:
        one = _someone(rng, len(found))
        found.append(one)
        chance = rng.random()
        if chance < 0.02:
            # A twin: everything of the household, another given name, perhaps another sex.
            sex = rng.choice(["male", "female"])
            pool = [n for n in (MEN if sex == "male" else WOMEN) if n != one.given]
            found[-1] = replace(one, order=1)
            found.append(
                replace(one, who=len(found), given=rng.choice(pool), sex=sex, order=2,
                        national=_number(rng, 9))
            )  # fmt: skip
        elif chance < 0.03:
            # A son or daughter of the same name in the same house.
            birth = one.birth + timedelta(days=rng.randrange(7000, 12000))
            found.append(replace(one, who=len(found), birth=birth, national=_number(rng, 9)))
        elif chance < 0.035:
            # A stranger of the same name born on the same day.
            other = _someone(rng, len(found))
            found.append(
                replace(other, family=one.family, given=one.given, birth=one.birth, sex=one.sex)
            )
    return found[:size]


def _someone(rng: random.Random, who: int) -> Someone:
    sex = rng.choice(["male", "female"])
    given = _uneven(rng, MEN if sex == "male" else WOMEN)
    family = _uneven(rng, FAMILY)
    birth = date(1930, 1, 1) + timedelta(days=rng.randrange(365 * 96))
    return Someone(
        who,
        family,
        given,
        rng.choice("abcdefghjklmnprstw"),
        birth,
        sex,
        f"{rng.randrange(1, 4000)} {rng.choice(STREETS)} {rng.choice(['st', 'ave', 'rd'])}",
        f"44{rng.randrange(100, 160)}",
        f"216{_number(rng, 7)}",
        f"{given}.{family}{rng.randrange(1000)}@example.org" if rng.random() < 0.5 else "",
        _number(rng, 9),
    )


def _uneven(rng: random.Random, names: tuple[str, ...]) -> str:
    return names[min(int(rng.expovariate(1 / (len(names) / 4))), len(names) - 1)]


def _number(rng: random.Random, digits: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(digits))


def known_elsewhere(rng: random.Random, one: Someone) -> Someone:
    """The same person as another hospital wrote them down, years apart."""
    if rng.random() < 0.06 and one.sex == "female":
        one = replace(one, family=_uneven(rng, FAMILY))
    if rng.random() < 0.06:
        one = replace(one, family=_mistyped(rng, one.family))
    if rng.random() < 0.05:
        one = replace(one, given=_mistyped(rng, one.given))
    if rng.random() < 0.25:
        one = replace(one, given=SHORT.get(one.given, one.given))
    if rng.random() < 0.04:
        day = one.birth.day
        birth = one.birth
        if day <= 12 and rng.random() < 0.5:
            birth = birth.replace(month=day, day=birth.month)
        else:
            birth = birth + timedelta(days=rng.choice([-1, 1, 10, 365]))
        one = replace(one, birth=birth)
    if rng.random() < 0.25:
        one = replace(
            one,
            street=f"{rng.randrange(1, 4000)} {rng.choice(STREETS)} st",
            postal=f"44{rng.randrange(100, 160)}",
        )
    if rng.random() < 0.25:
        one = replace(one, phone=f"440{_number(rng, 7)}")
    return one


def _mistyped(rng: random.Random, name: str) -> str:
    at = rng.randrange(1, len(name))
    kind = rng.randrange(3)
    if kind == 0:
        return name[:at] + name[at + 1 :] or name
    if kind == 1:
        return name[:at] + rng.choice("aeiou") + name[at:]
    return name[: at - 1] + name[at] + name[at - 1] + name[at + 1 :]


def patient(rng: random.Random, one: Someone, system: str, mrn: str) -> dict[str, Any]:
    """What a hospital states of someone, with gaps."""
    kept = {name: rng.random() for name in ("middle", "phone", "street", "email", "national")}
    name: dict[str, Any] = {"family": one.family.title(), "given": [one.given.title()]}
    young = (FIRST_SEEN - one.birth).days
    if 0 <= young < 90 and rng.random() < 0.5:
        name["given"] = ["Babygirl" if one.sex == "female" else "Baby Boy"]
    elif kept["middle"] < 0.5:
        name["given"].append(one.middle.upper())
    types = "http://terminology.hl7.org/CodeSystem/v2-0203"
    made: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": [
            {"system": system, "value": mrn, "type": {"coding": [{"system": types, "code": "MR"}]}}
        ],
        "name": [name],
        "birthDate": one.birth.isoformat(),
        "gender": one.sex,
    }
    if kept["phone"] < 0.7:
        made["telecom"] = [{"system": "phone", "value": f"({one.phone[:3]}) {one.phone[3:]}"}]
    if kept["email"] < 0.5 and one.email:
        made.setdefault("telecom", []).append({"system": "email", "value": one.email})
    if kept["street"] < 0.85:
        made["address"] = [{"line": [one.street.title()], "postalCode": one.postal}]
    if kept["national"] < 0.3:
        made["identifier"].append(
            {
                "system": "http://hl7.org/fhir/sid/us-ssn",
                "value": one.national,
                "type": {"coding": [{"system": types, "code": "SS"}]},
            }
        )
    if one.order and rng.random() < 0.5:
        made["multipleBirthInteger"] = one.order
    return made


@dataclass(frozen=True)
class Known:
    """A person as one hospital knows them."""

    who: int
    patient: dict[str, Any]


def two_hospitals(seed: int, size: int) -> tuple[list[Known], list[Known]]:
    """What two hospitals know of a town: the first half of it, and an overlapping half."""
    rng = random.Random(seed)
    town = people(seed, size)
    rng.shuffle(town)
    third = size // 3
    first = [
        Known(one.who, patient(rng, one, "urn:oid:2.999.1", f"A{n}"))
        for n, one in enumerate(town[: 2 * third])
    ]
    second = [
        Known(one.who, patient(rng, known_elsewhere(rng, one), "urn:oid:2.999.2", f"B{n}"))
        for n, one in enumerate(town[third:])
    ]
    return first, second


def pairs(first: list[Known], second: list[Known]) -> Iterator[tuple[Known, Known]]:
    """All pairs that share a birth date, or a family and a given name."""
    blocks: dict[object, list[Known]] = {}
    for one in first:
        for key in _blocks(one.patient):
            blocks.setdefault(key, []).append(one)
    for other in second:
        seen: set[int] = set()
        for key in _blocks(other.patient):
            for one in blocks.get(key, ()):
                if id(one) not in seen:
                    seen.add(id(one))
                    yield one, other


def _blocks(patient: dict[str, Any]) -> Iterator[object]:
    name = patient["name"][0]
    yield patient["birthDate"]
    yield name["family"], name["given"][0]
