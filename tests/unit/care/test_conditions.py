"""The subset of FHIRPath in which protocols state their conditions."""

import pytest

from segue.care.conditions import UnsupportedError, compile_condition, holds

ENCOUNTER = {
    "resourceType": "Encounter",
    "class": {"code": "IMP"},
    "status": "finished",
    "diagnosis": [{"rank": 1}, {"rank": 2}],
}


@pytest.mark.parametrize(
    ("expression", "variables", "expected"),
    [
        ("Encounter.class.code = 'IMP'", {}, True),
        ("class.code in ('IMP' | 'ACUTE')", {}, True),
        ("class.code in ('AMB' | 'EMER')", {}, False),
        ("diagnosis.count() = 2 and diagnosis.rank.first() = 1", {}, True),
        ("period.end.empty()", {}, True),
        ("status.exists() and (status = 'planned').not()", {}, True),
        ("%lace.high >= 10", {"lace": {"high": 12}}, True),
        ("%lace.high >= 10", {"lace": {"high": 9}}, False),
        ("%missing = 1", {}, False),
        ("%missing = 1 or true", {}, True),
        ("%a != %b", {"a": 1, "b": 2}, True),
        ("true and true or false and false", {}, True),
        ("%a implies false", {"a": False}, True),
        ("true xor true", {}, False),
        ("%x < 1.5", {"x": 1}, True),
        ("{}.empty()", {}, True),
    ],
)
def test_expressions_mean_what_fhirpath_says(expression, variables, expected):
    assert holds(compile_condition(expression), ENCOUNTER, variables) is expected


def test_nothing_compared_with_something_is_neither_true_nor_false():
    assert compile_condition("%missing = 1")({}, {}) == []
    assert compile_condition("(%missing = 1).not()")({}, {}) == []


@pytest.mark.parametrize(
    "expression", ["a.where(b = 1)", "a +", "a ~ b", "'open", "(a", "a.startsWith('x')", "a b"]
)
def test_what_is_outside_the_subset_is_refused_when_it_is_loaded(expression):
    with pytest.raises(UnsupportedError):
        compile_condition(expression)
