"""Golden vectors of the clock algebra, and the laws it keeps."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.care import clocks
from segue.care.calendars import closed_because
from segue.model.instants import Moment, microseconds

NEW_YORK = ZoneInfo("America/New_York")
CHICAGO = ZoneInfo("America/Chicago")
TABLE = clocks.load(Path(__file__).parents[3] / "fhir_profiles" / "clocks.yaml")


def due(code, anchor, zone=NEW_YORK, due_zone=None):
    return clocks.derive(code, anchor, zone, due_zone, TABLE)


def at(text, zone=NEW_YORK):
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("discharge", "contact", "visit7", "visit14", "information", "last", "period"),
    [
        (
            "2026-07-10",
            "2026-07-14",
            "2026-07-17",
            "2026-07-24",
            "2026-07-12",
            "2026-08-09",
            "2026-08-08",
        ),
        (
            "2026-07-02",
            "2026-07-07",
            "2026-07-09",
            "2026-07-16",
            "2026-07-04",
            "2026-08-01",
            "2026-07-31",
        ),
        (
            "2026-07-11",
            "2026-07-14",
            "2026-07-18",
            "2026-07-25",
            "2026-07-13",
            "2026-08-10",
            "2026-08-09",
        ),
        (
            "2026-05-22",
            "2026-05-27",
            "2026-05-29",
            "2026-06-05",
            "2026-05-24",
            "2026-06-21",
            "2026-06-20",
        ),
        (
            "2026-09-04",
            "2026-09-09",
            "2026-09-11",
            "2026-09-18",
            "2026-09-06",
            "2026-10-04",
            "2026-10-03",
        ),
        (
            "2026-10-09",
            "2026-10-14",
            "2026-10-16",
            "2026-10-23",
            "2026-10-11",
            "2026-11-08",
            "2026-11-07",
        ),
        (
            "2026-11-25",
            "2026-11-30",
            "2026-12-02",
            "2026-12-09",
            "2026-11-27",
            "2026-12-25",
            "2026-12-24",
        ),
        (
            "2026-12-24",
            "2026-12-29",
            "2026-12-31",
            "2027-01-07",
            "2026-12-26",
            "2027-01-23",
            "2027-01-22",
        ),
    ],
)
def test_the_dues_of_a_discharge_are_the_golden_ones(
    discharge, contact, visit7, visit14, information, last, period
):
    anchor = at(discharge + "T14:05:00")
    wanted = {
        "C-1": contact,
        "C-2": visit7,
        "C-3": visit14,
        "C-6": information,
        "C-7": last,
        "C-8": last,
        "C-13": last,
        "C-4": period,
    }
    got = {code: due(code, anchor).due for code in wanted}
    for code, day in wanted.items():
        assert got[code][:19] == day + "T23:59:59", code


@pytest.mark.parametrize(
    ("discharge", "contact"),
    [
        ("2026-12-31T12:00:00", "2027-01-05"),
        ("2027-12-29T12:00:00", "2028-01-03"),
        ("2027-06-17T12:00:00", "2027-06-22"),
        ("2027-07-02T12:00:00", "2027-07-07"),
    ],
)
def test_holidays_kept_on_another_day_or_in_another_year_do_not_count(discharge, contact):
    assert due("C-1", at(discharge)).due[:10] == contact


def test_follow_up_after_a_psychiatric_stay_leaves_out_the_day_of_discharge():
    anchor = at("2026-09-04T16:00:00")
    assert due("C-9", anchor).opens == "2026-09-05T00:00:00-04:00"
    assert due("C-9", anchor).due == "2026-09-11T23:59:59-04:00"
    assert due("C-10", anchor).due == "2026-10-04T23:59:59-04:00"


def test_follow_up_after_an_ed_visit_counts_the_day_of_the_visit():
    anchor = at("2026-09-03T16:00:00")
    assert due("C-11", anchor).opens[:10] == "2026-09-03"
    assert due("C-11", anchor).due[:10] == "2026-09-10"
    assert due("C-11-30", anchor).due[:10] == "2026-10-03"
    assert due("C-12", anchor).due[:10] == "2026-09-10"


def test_the_observation_notice_runs_in_elapsed_hours_through_the_end_of_summer_time():
    derived = due("C-14", at("2026-10-31T20:00:00"))
    assert derived.due == "2026-11-02T07:00:00-05:00"
    warn = derived.as_json()["steps"][0]
    assert warn == {"date": "2026-11-01T19:00:00-05:00", "counts": True, "n": 24, "why": "warn"}


def test_the_observation_notice_runs_in_elapsed_hours_through_the_start_of_summer_time():
    assert due("C-14", at("2026-03-07T20:00:00")).due == "2026-03-09T09:00:00-04:00"


def test_the_observation_notice_of_a_hospital_in_chicago():
    derived = due("C-14", at("2026-09-14T15:30:00", CHICAGO), CHICAGO)
    assert derived.due == "2026-09-16T03:30:00-05:00"
    assert [step["date"] for step in derived.as_json()["steps"]][:2] == [
        "2026-09-15T15:30:00-05:00",
        "2026-09-15T21:30:00-05:00",
    ]


def test_the_first_home_health_visit_is_due_48_hours_after_the_discharge():
    assert due("C-18", at("2026-07-10T14:05:00")).due == "2026-07-12T14:05:00-04:00"


def test_the_snf_baseline_plan_has_no_weekend_exception():
    assert due("C-19", at("2026-08-14T16:00:00")).due == "2026-08-16T16:00:00-04:00"


def test_the_important_message_is_due_two_days_after_the_admission():
    assert due("C-16", at("2026-07-05T13:40:00")).due[:10] == "2026-07-07"


def test_the_date_of_the_anchor_is_the_facilitys_and_the_end_of_the_day_the_practices():
    derived = due("C-1", at("2026-07-10T23:30:00", CHICAGO), CHICAGO, NEW_YORK)
    assert derived.anchor == "2026-07-10T23:30:00-05:00"
    assert derived.due == "2026-07-14T23:59:59-04:00"


def test_an_admission_in_another_offset_keeps_its_local_date():
    # 23:30 on 10-31 in New York, read with the summer offset of that day.
    anchor = Moment("2026-10-31T23:30:00-04:00", microseconds(at("2026-10-31T23:30:00")))
    assert due("C-5", anchor).due[:10] == "2026-11-02"


def test_without_a_zone_the_anchors_own_offset_is_the_place():
    anchor = Moment("2026-10-31T23:30:00-05:00", 1793507400000000)
    derived = clocks.derive("C-5", anchor, None, None, TABLE)
    assert derived.due == "2026-11-02T23:59:59-05:00"


def test_a_date_without_a_time_stays_that_date_in_every_zone():
    anchor = Moment("2026-07-02", 0)
    assert due("C-1", anchor).due == "2026-07-07T23:59:59-04:00"
    assert due("C-1", anchor).opens == "2026-07-02T00:00:00-04:00"


def test_two_midnights_are_counted_at_the_facility():
    derived = due("C-15", at("2026-09-14T13:10:00", CHICAGO), CHICAGO)
    assert derived.due == "2026-09-16T00:00:00-05:00"


def test_the_derivation_shows_every_step():
    derived = due("C-1", at("2026-07-02T14:00:00"))
    assert derived.as_json() == {
        "code": "C-1",
        "anchor": "2026-07-02T14:00:00-04:00",
        "zone": "America/New_York",
        "due_zone": "America/New_York",
        "calendar": "us-federal-observed",
        "opens": "2026-07-02T14:00:00-04:00",
        "due": "2026-07-07T23:59:59-04:00",
        "steps": [
            {"date": "2026-07-02", "counts": False, "why": "day 0"},
            {"date": "2026-07-03", "counts": False, "why": "Independence Day (observed)"},
            {"date": "2026-07-04", "counts": False, "why": "Saturday"},
            {"date": "2026-07-05", "counts": False, "why": "Sunday"},
            {"date": "2026-07-06", "counts": True, "n": 1},
            {"date": "2026-07-07", "counts": True, "n": 2},
        ],
        "source": "V22",
    }


def test_windows_that_leave_out_day_0_open_at_midnight_of_the_next():
    assert due("C-7", at("2026-07-10T14:05:00")).opens == "2026-07-11T00:00:00-04:00"


def test_a_local_holiday_moves_our_own_dues_but_never_a_statutory_one():
    monday = frozenset({date(2026, 7, 13)})
    anchor = at("2026-07-10T14:05:00")
    assert (
        clocks.derive("C-1", anchor, NEW_YORK, None, TABLE, local=monday).due[:10] == "2026-07-14"
    )
    assert (
        clocks.derive("RC-2", anchor, NEW_YORK, None, TABLE, local=monday).due[:10] == "2026-07-15"
    )


def test_an_unknown_clock_is_refused_with_the_list_of_those_that_exist():
    with pytest.raises(clocks.ClockError, match=r"no clock 'C-99'; there are C-1, C-2"):
        due("C-99", at("2026-07-10T14:05:00"))


def test_one_may_ask_whether_a_clock_exists():
    assert "C-1" in TABLE
    assert "C-99" not in TABLE
    assert TABLE.get("C-99") is None


def test_a_clock_that_counts_visits_has_no_due_date():
    with pytest.raises(clocks.ClockError, match="counts visits"):
        due("C-26", at("2026-07-10T14:05:00"))


def test_the_table_holds_all_26_clocks_and_each_names_its_source():
    assert {f"C-{n}" for n in range(1, 27)} <= set(TABLE)
    assert all(key in TABLE.sources for row in TABLE.values() for key in row.source.split(", "))


DATES = st.datetimes(datetime(2024, 1, 1), datetime(2031, 12, 31))  # noqa: DTZ001
ZONES = st.sampled_from(
    [
        NEW_YORK,
        CHICAGO,
        ZoneInfo("America/Anchorage"),
        ZoneInfo("UTC"),
        ZoneInfo("Pacific/Honolulu"),
    ]
)


@given(DATES, ZONES)
def test_two_business_days_later_agrees_with_counting_weekdays_by_hand(naive, zone):
    anchor = naive.replace(tzinfo=UTC)
    day = anchor.astimezone(zone).date()
    open_days = []
    while len(open_days) < 2:
        day += timedelta(days=1)
        if closed_because(day) is None:
            open_days.append(day)
    assert due("C-1", anchor, zone).due[:10] == open_days[-1].isoformat()
    assert open_days[-1].weekday() < 5


@given(DATES, ZONES, st.sampled_from(["C-2", "C-7", "C-13", "C-20"]))
def test_day_clocks_end_n_dates_after_the_local_date_whatever_the_offset(naive, zone, code):
    anchor = naive.replace(tzinfo=UTC)
    day = anchor.astimezone(zone).date() + timedelta(days=TABLE[code].n)
    derived = due(code, anchor, zone)
    assert derived.due[:19] == day.isoformat() + "T23:59:59"
    assert datetime.fromisoformat(derived.due).astimezone(zone).date() == day


@given(DATES, ZONES)
def test_hour_clocks_are_exact_in_elapsed_time(naive, zone):
    anchor = naive.replace(tzinfo=UTC, microsecond=0)
    elapsed = datetime.fromisoformat(due("C-14", anchor, zone).due) - anchor
    assert elapsed == timedelta(hours=36)


def test_the_shipped_holidays_are_those_of_the_library_and_it_answers_beyond_them():
    from holidays.countries.united_states import UnitedStates

    from segue.care.calendars import federal_days

    for year in (2019, 2020, 2026, 2027, 2028, 2049, 2050, 2060):
        library = UnitedStates(years=year, observed=True)
        weekdays = {d: n for d, n in library.items() if d.weekday() < 5 and d.year == year}
        assert federal_days(year) == weekdays
