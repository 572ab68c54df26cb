"""Scores: the printed tables, and intervals that never promise more than is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.care import charlson
from segue.care.dispositions import meaning
from segue.care.risk import Interval, hospital, lace

ICD = "http://hl7.org/fhir/sid/icd-10-cm"


@pytest.mark.parametrize(
    ("los", "acute", "comorbidity", "ed", "total"),
    [(5, True, 3, 2, 12), (4, True, 3, 3, 13), (12, True, 2, 0, 10), (6, True, 0, 1, 8)],
)
def test_lace_of_complete_inputs_is_the_printed_number(los, acute, comorbidity, ed, total):
    score = lace(los=los, acute=acute, charlson=comorbidity, ed_visits=ed)
    assert (score.low, score.high) == (total, total)
    assert score.open == ()


def test_lace_without_diagnoses_is_an_interval_that_asks_for_them():
    score = lace(los=5, acute=True, charlson=None, ed_visits=2)
    assert (score.low, score.high, score.tier, score.decides) == (9, 14, None, "C")


def test_lace_before_the_discharge_is_undetermined_because_of_the_length_of_stay():
    score = lace(los=None, acute=True, charlson=3, ed_visits=2)
    assert (score.low, score.high, score.tier, score.open) == (8, 15, None, ("L",))


def test_lace_skips_the_values_that_its_table_skips():
    lengths = [lace(los=n, acute=False, charlson=0, ed_visits=0).low for n in range(16)]
    assert lengths == [0, 1, 2, 3, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 7, 7]
    comorbidity = [lace(los=0, acute=False, charlson=n, ed_visits=0).low for n in range(7)]
    assert comorbidity == [0, 1, 2, 3, 5, 5, 5]
    visits = [lace(los=0, acute=False, charlson=0, ed_visits=n).low for n in range(6)]
    assert visits == [0, 1, 2, 3, 4, 4]


def test_the_two_versions_of_hospital_differ_in_one_prior_admission():
    given_ = {"oncology": False, "acute": True, "admissions": 1, "los": 5}
    newer, older = hospital(**given_), hospital(**given_, version="2013")
    assert (newer.low, newer.high) == (3, 6)
    assert (older.low, older.high) == (5, 8)


def test_an_unknown_service_widens_hospital_by_two():
    newer = hospital(acute=True, admissions=1, los=5)
    older = hospital(acute=True, admissions=1, los=5, version="2013")
    assert (newer.low, newer.high) == (3, 8)
    assert (older.low, older.high) == (5, 10)


def test_hospital_of_complete_inputs():
    score = hospital(
        hemoglobin=11.9, oncology=True, sodium=134, procedure=True, acute=True, admissions=6, los=9
    )
    assert (score.low, score.high, score.tier) == (13, 13, "high")


@given(st.integers(0, 30), st.booleans(), st.integers(0, 12), st.integers(0, 12), st.integers(0, 3))
def test_an_interval_of_lace_holds_every_value_that_full_knowledge_could_give(
    los, acute, comorbidity, ed, more
):
    truth = lace(los=los, acute=acute, charlson=comorbidity, ed_visits=ed).low
    for known in (
        lace(los=None, acute=acute, charlson=comorbidity, ed_visits=ed),
        lace(los=los, acute=None, charlson=None, ed_visits=ed),
        lace(
            los=los,
            acute=acute,
            charlson=Interval(max(comorbidity - more, 0), comorbidity + more),
            ed_visits=Interval(max(ed - more, 0), ed + more),
        ),
    ):
        assert known.low <= truth <= known.high
        assert known.tier in (
            None,
            lace(los=los, acute=acute, charlson=comorbidity, ed_visits=ed).tier,
        )


def test_charlson_counts_each_group_once_and_the_graver_alone():
    assert charlson.points([(ICD, "I50.23"), (ICD, "E11.9")]) == 3
    assert charlson.points([(ICD, "E11.9"), (ICD, "E11.22")]) == 2
    assert charlson.points([(ICD, "C34.10"), (ICD, "C78.00")]) == 6
    assert charlson.points([(ICD, "I50.23"), (ICD, "I50.9"), (ICD, "I11.0")]) == 2
    assert charlson.points([("http://snomed.info/sct", "44054006")]) == 1
    assert charlson.points([]) == 0


def test_dispositions_with_one_digit_or_a_planned_readmission_mean_their_base():
    assert meaning("7") == "ama"
    assert meaning("81") == meaning("01") == "community"
    assert meaning("20") == meaning("41") == "expired"
    assert meaning("XX") == "unknown"
