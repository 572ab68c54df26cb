"""Who is one person: rules link at once and never wrongly, weights only suggest."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.care.matching.comparison import LEVELS, compare
from segue.care.matching.grade import Match, MatchingError, first_seen_newborn, grade, load
from segue.care.matching.traits import traits_of
from segue.fhir.profiles import shipped
from tests.support.populations import (
    FIRST_SEEN,
    known_elsewhere,
    pairs,
    patient,
    people,
    two_hospitals,
)

RULES = load(shipped() / "matching")
SSN = "http://hl7.org/fhir/sid/us-ssn"


def known(system: str, **said: Any) -> dict[str, Any]:
    """A Patient of one authority; what is said replaces the usual."""
    usual: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": [{"system": system, "value": "1", "type": {"coding": [{"code": "MR"}]}}],
        "name": [{"family": "Okafor", "given": ["Ngozi", "A"]}],
        "birthDate": "1961-04-17",
        "gender": "female",
        "telecom": [{"system": "phone", "value": "(216) 555-0134"}],
        "address": [{"line": ["12 North Main Street"], "postalCode": "44107-1234"}],
    }
    return {name: value for name, value in (usual | said).items() if value is not None}


def match(one: dict[str, Any], other: dict[str, Any], *, newborn: bool = False) -> Match:
    return grade(traits_of(one), traits_of(other), RULES, newborn=newborn)


def test_the_same_name_birth_date_sex_and_phone_are_one_person() -> None:
    found = match(known("urn:a"), known("urn:b", address=None))
    assert (found.grade, found.against) == ("certain", ())
    assert found.rule is not None
    assert found.score > 0.99


@pytest.mark.parametrize(
    "said",
    [
        {"telecom": None, "address": [{"line": ["12 N. Main St."]}]},
        {"name": [{"family": "OKAFOR", "given": ["NGOZI"]}]},
        {"telecom": [{"system": "phone", "value": "+1 216 555 0134"}], "address": None},
    ],
)
def test_spelling_of_names_streets_and_numbers_does_not_matter(said: dict[str, Any]) -> None:
    assert match(known("urn:a"), known("urn:b", **said)).grade == "certain"


def test_names_and_birth_date_alone_link_nobody() -> None:
    found = match(known("urn:a"), known("urn:b", telecom=None, address=None))
    assert found.grade in {"probable", "possible"}
    assert found.rule is None


@pytest.mark.parametrize(
    ("said", "against"),
    [
        ({"multipleBirthInteger": 2}, "multiple-birth"),
        ({"multipleBirthBoolean": True}, "multiple-birth"),
        ({"name": [{"family": "Okafor", "given": ["Ngozi", "Blessing"]}]}, "middle-differs"),
    ],
)
def test_what_speaks_against_it_makes_it_a_question(said: dict[str, Any], against: str) -> None:
    found = match(known("urn:a"), known("urn:b", **said))
    assert found.grade in {"probable", "possible"}
    assert against in found.against


def test_two_numbers_of_one_authority_are_that_authoritys_question() -> None:
    found = match(known("urn:a"), known("urn:a"))
    assert (found.grade, found.against) == ("possible", ("same-authority",))


def test_two_national_ids_are_two_people_until_somebody_says_otherwise() -> None:
    kind = {"coding": [{"code": "SS"}]}
    one = known("urn:a")
    other = known("urn:b")
    one["identifier"] = [*one["identifier"], {"system": SSN, "value": "123-45-6789", "type": kind}]
    other["identifier"] = [
        *other["identifier"],
        {"system": SSN, "value": "987654321", "type": kind},
    ]
    assert "national-differs" in match(one, other).against


def test_a_national_id_of_all_nines_says_nothing() -> None:
    kind = {"coding": [{"code": "SS"}]}
    filler = {"system": SSN, "value": "999-99-9999", "type": kind}
    one = known("urn:a", identifier=[filler], telecom=None, address=None)
    assert "national" not in match(one, {**one}).agreement


def test_twins_of_one_house_are_certainly_not_one_person() -> None:
    first = known("urn:a", multipleBirthInteger=1)
    second = known("urn:b", multipleBirthInteger=2, name=[{"family": "Okafor", "given": ["Chidi"]}])
    assert match(first, second).grade == "certainly-not"


def test_a_newborn_is_never_linked_by_a_rule() -> None:
    baby = {"birthDate": "2026-06-16", "name": [{"family": "Smith", "given": ["Babygirl"]}]}
    found = match(known("urn:a", **baby), known("urn:b", **baby))
    assert found.grade != "certain"
    assert "placeholder" in found.against
    named = {"birthDate": "2026-06-16"}
    assert match(known("urn:a", **named), known("urn:b", **named), newborn=True).grade != "certain"
    assert first_seen_newborn(traits_of(known("urn:a", **named)), 2026)
    assert not first_seen_newborn(traits_of(known("urn:a")), 2026)


def test_father_and_son_of_one_name_and_house_are_two() -> None:
    assert match(known("urn:a"), known("urn:b", birthDate="1988-01-02")).grade != "certain"


def test_senior_and_junior_under_one_birth_date_are_a_question() -> None:
    elder, younger, same = (
        [{"family": "Okafor", "given": ["Ngozi", "A"], "suffix": [suffix]}]
        for suffix in ("Sr.", "JR", "II")
    )
    found = match(known("urn:a", name=elder), known("urn:b", name=younger))
    assert (found.rule, found.against) == (None, ("generation-differs",))
    assert match(known("urn:a", name=younger), known("urn:b", name=same)).grade == "certain"
    assert match(known("urn:a"), known("urn:b", name=younger)).grade == "certain"


def test_a_nickname_and_a_typing_error_are_a_question() -> None:
    other = known(
        "urn:b", name=[{"family": "Smyth", "given": ["Bob"]}], birthDate="1961-04-18", gender="male"
    )
    one = known("urn:a", name=[{"family": "Smith", "given": ["Robert"]}], gender="male")
    found = match(one, other)
    assert found.agreement["given"] == "nickname"
    assert found.agreement["family"] == "sound"
    assert found.agreement["birth"] == "typo"
    assert found.grade == "probable"


@given(st.integers(0, 10_000), st.booleans())
def test_comparing_is_symmetric_and_every_level_is_weighed(seed: int, same: bool) -> None:
    rng = random.Random(seed)
    town = people(seed % 50, 30)
    one = rng.choice(town)
    other = known_elsewhere(rng, one if same else rng.choice(town))
    first = traits_of(patient(rng, one, "urn:a", "1"))
    second = traits_of(patient(rng, other, "urn:b", "2"))
    assert grade(first, second, RULES) == grade(second, first, RULES)
    for field, level in compare(first, second, RULES.nicknames).items():
        assert level in LEVELS[field]
        assert level in RULES.weights[field]


def test_of_a_town_no_two_people_are_linked_wrongly_and_most_others_are_found() -> None:
    first, second = two_hospitals(seed=5, size=4000)
    both = {one.who for one in first} & {one.who for one in second}
    linked = asked = 0
    for one, other in pairs(first, second):
        a, b = traits_of(one.patient), traits_of(other.patient)
        young = any(first_seen_newborn(traits, FIRST_SEEN.year) for traits in (a, b))
        found = grade(a, b, RULES, newborn=young)
        if found.grade == "certain":
            assert one.who == other.who
            linked += 1
        elif found.grade == "probable":
            asked += one.who == other.who
    assert linked > 0.5 * len(both)
    assert linked + asked > 0.95 * len(both)


def test_a_rule_file_that_names_an_unknown_field_says_so(tmp_path: Any) -> None:
    folder = shipped() / "matching"
    text = (folder / "matching.yaml").read_text().replace("one_of: [phone", "one_of: [fone")
    (tmp_path / "matching.yaml").write_text(text)
    with pytest.raises(MatchingError, match="fone"):
        load(tmp_path)
