"""What of a Patient can be compared with another one, in a form that compares well.

Letter case, accents, punctuation and the spelling of streets are taken away; what is
left is compared by `segue.care.matching.comparison`. Source of the elements:
https://hl7.org/fhir/R4/patient.html
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
_NOT_LETTERS = re.compile(r"[^a-z0-9 ]+")
_STREET_WORDS = {
    "street": "st",
    "avenue": "ave",
    "av": "ave",
    "road": "rd",
    "drive": "dr",
    "lane": "ln",
    "court": "ct",
    "place": "pl",
    "boulevard": "blvd",
    "apartment": "apt",
    "unit": "apt",
    "north": "n",
    "south": "s",
    "east": "e",
    "west": "w",
}
_PLACEHOLDER = re.compile(
    r"\b(baby ?(boy|girl)?|bb|bg|infant|newborn|twin|unknown|unidentified|john doe|jane doe|doe)\b"
)
"""Names that wards give before there is one; they say nothing about who it is."""


_GENERATIONS = {"sr": "sr", "jr": "jr", "ii": "jr", "2nd": "jr", "iii": "iii", "3rd": "iii"} | {
    "iv": "iv", "4th": "iv", "senior": "sr", "junior": "jr",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traits:
    """What a Patient says of who it is; empty where it says nothing.

    Attributes:
        family: all family names, current first. given: first given names.
        middle: further given names of the current name.
        generation: `sr`, `jr`, `iii` … of the current name.
        birth: `YYYY-MM-DD`, or shorter.
        phones, emails, streets, postal: as sets, since people move and share.
        national: national ids (type SS): for comparison, never to link by themselves.
        order: place among multiple births, 0 where it is one of unknown place, None
            where nothing is said.
        placeholder: the name is one that a ward gives to a newborn or an unknown.
        authorities: identifier systems in which it has a record number.
    """

    family: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    middle: tuple[str, ...] = ()
    generation: str = ""
    birth: str = ""
    sex: str = ""
    phones: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()
    streets: frozenset[str] = frozenset()
    postal: frozenset[str] = frozenset()
    national: frozenset[str] = frozenset()
    order: int | None = None
    placeholder: bool = False
    authorities: frozenset[str] = frozenset()


def traits_of(patient: Mapping[str, Any]) -> Traits:
    """The traits of a Patient resource.

    Args:
        patient: FHIR R4 JSON; other elements than those of a Patient are ignored.

    >>> told = traits_of({"name": [{"family": "O'Néill", "given": ["Ann", "B."]}]})
    >>> told.family, told.given, told.middle
    (('oneill',), ('ann',), ('b',))
    """
    names = [
        name
        for name in patient.get("name", ())
        if name.get("use") not in {"nickname", "anonymous"} and not name.get("_family")
    ]
    names.sort(key=lambda name: name.get("use") in {"old", "maiden"})
    family = _distinct(plain(name.get("family", "")).replace(" ", "") for name in names)
    given = [[plain(one) for one in name.get("given", ()) if one] for name in names]
    whole = " ".join(
        " ".join([name.get("family", ""), *(one or "" for one in name.get("given", ()))])
        for name in names
    )
    order: int | None = None
    if "multipleBirthInteger" in patient:
        order = int(patient["multipleBirthInteger"])
    elif patient.get("multipleBirthBoolean"):
        order = 0
    phones, emails = _contacts(patient.get("telecom", ()))
    addresses = [one for one in patient.get("address", ()) if one.get("use") != "old"]
    return Traits(
        family=family,
        given=_distinct(one[0] for one in given if one),
        middle=tuple(given[0][1:]) if given else (),
        generation=_generation(names[0].get("suffix", ())) if names else "",
        birth=str(patient.get("birthDate", "")),
        sex=str(patient.get("gender", "")).replace("unknown", ""),
        phones=phones,
        emails=emails,
        streets=frozenset(filter(None, map(_street, addresses))),
        postal=frozenset(filter(None, (str(a.get("postalCode", ""))[:5] for a in addresses))),
        national=frozenset(_numbers(patient, {"SS", "SB"})),
        order=order,
        placeholder=bool(_PLACEHOLDER.search(plain(whole))),
        authorities=frozenset(_systems(patient)),
    )


def plain(text: str) -> str:
    """Lower case letters, digits and single spaces, without accents.

    >>> plain("  José-María  ")
    'jose maria'
    """
    bare = unicodedata.normalize("NFKD", text.replace("'", "").replace("’", "")).lower()
    bare = "".join(sign for sign in bare if not unicodedata.combining(sign))
    return " ".join(_NOT_LETTERS.sub(" ", bare).split())


def _generation(suffixes: Iterable[str]) -> str:
    """Which of several of one name it is; degrees say nothing.

    >>> _generation(["M.D.", "II"])
    'jr'
    """
    return next((_GENERATIONS[one] for one in map(plain, suffixes) if one in _GENERATIONS), "")


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _street(address: Mapping[str, Any]) -> str:
    words = plain(" ".join(address.get("line", ()))).split()
    return " ".join(_STREET_WORDS.get(word, word) for word in words)


def _contacts(telecom: Iterable[Mapping[str, Any]]) -> tuple[frozenset[str], frozenset[str]]:
    phones, emails = set[str](), set[str]()
    for one in telecom:
        value = str(one.get("value", ""))
        if one.get("use") == "work" or one.get("use") == "old":
            continue
        if one.get("system") == "email" or "@" in value:
            emails.add(value.strip().lower())
        elif one.get("system") in {"phone", "sms"}:
            digits = "".join(sign for sign in value if sign.isdigit())[-10:]
            if len(digits) >= 7 and len(set(digits)) > 2:
                phones.add(digits)
    return frozenset(phones), frozenset(emails)


def _numbers(patient: Mapping[str, Any], types: set[str]) -> Iterable[str]:
    for identifier in patient.get("identifier", ()):
        codes = {c.get("code") for c in identifier.get("type", {}).get("coding", ())}
        digits = "".join(sign for sign in str(identifier.get("value", "")) if sign.isalnum())
        if codes & types and len(set(digits)) > 2:
            yield digits


def _systems(patient: Mapping[str, Any]) -> Iterable[str]:
    for identifier in patient.get("identifier", ()):
        codings = identifier.get("type", {}).get("coding", ())
        codes = {c.get("code") for c in codings if c.get("system", _TYPES) == _TYPES}
        if "MR" in codes and identifier.get("system") and identifier.get("use") != "old":
            yield identifier["system"]
