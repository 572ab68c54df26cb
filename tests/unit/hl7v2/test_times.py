from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.hl7v2.normalise import WARNINGS
from segue.hl7v2.times import dtm, dtm_of, moment, offset_of
from segue.model.instants import Moment, instant_of, microseconds

NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("text", "zone", "offset", "expected", "code"),
    [
        ("2026", None, None, "2026", None),
        ("202607", None, None, "2026-07", None),
        ("20260705", None, None, "2026-07-05", None),
        ("20260705", NEW_YORK, "-0500", "2026-07-05", None),
        ("20260705134200-0400", None, None, "2026-07-05T13:42:00-04:00", None),
        ("20260705134200+0000", NEW_YORK, None, "2026-07-05T13:42:00+00:00", None),
        ("20260705134200.1234+0530", None, None, "2026-07-05T13:42:00.1234+05:30", None),
        ("20260705134200+00", None, None, "2026-07-05T13:42:00+00:00", None),
        ("202607051342", NEW_YORK, None, "2026-07-05T13:42:00-04:00", None),
        ("2026070513", NEW_YORK, None, "2026-07-05T13:00:00-04:00", None),
        ("20260105134200", NEW_YORK, None, "2026-01-05T13:42:00-05:00", None),
        ("20260705134200", None, "-0500", "2026-07-05T13:42:00-05:00", None),
        ("20260705134200", NEW_YORK, "-0400", "2026-07-05T13:42:00-04:00", None),
        ("20260705134200", None, None, "2026-07-05", "no-zone"),
        # MSH-7 was sent in November, the patient came in October.
        ("20261031233000", NEW_YORK, "-0500", "2026-10-31T23:30:00-04:00", "offset-disagrees"),
        ("20261101013000", NEW_YORK, None, "2026-11-01T01:30:00-04:00", "ambiguous-local-time"),
        ("20260308023000", NEW_YORK, None, "2026-03-08T02:30:00-05:00", "nonexistent-local-time"),
        ("20260705240000", NEW_YORK, None, "2026-07-06T00:00:00-04:00", "hour-24"),
        ("20261231240000-0500", None, None, "2027-01-01T00:00:00-05:00", "hour-24"),
        ("20260705134260-0400", None, None, "2026-07-05T13:42:59-04:00", "leap-second"),
        ("2026-07-05T13:42:00-04:00", None, None, "2026-07-05T13:42:00-04:00", "time-format"),
        ("2026-07-05", None, None, "2026-07-05", "time-format"),
        ("20260705 13:42", NEW_YORK, None, "2026-07-05T13:42:00-04:00", "time-format"),
        (" 20260705 ", None, None, "2026-07-05", None),
        ("20240229", None, None, "2024-02-29", None),
    ],
)
def test_a_time_is_read_with_its_precision_and_the_right_zone(
    text: str, zone: ZoneInfo | None, offset: str | None, expected: str, code: str | None
):
    found, problem = moment(text, zone, offset)
    assert found is not None
    assert (found.text, problem) == (expected, code)
    if found.has_time:
        assert found.us == microseconds(datetime.fromisoformat(found.text))


@pytest.mark.parametrize(
    "text",
    ["00000000", "20260230", "20261301", "202607051", "2026070525", "20260705136100-0400",
     "yesterday", "2026-0", "20260705134200-2500", "20260705134200.x", "٢٠٢٦", "-0400", "Z",
     "20260705.5", "12/31/2026",
     "20260705134200-²²²²", "20260705134200-٠٤٠٠"],
)  # fmt: skip
def test_garbage_is_no_time(text: str):
    assert moment(text, NEW_YORK, None) == (None, "bad-time")


def test_nothing_sent_is_no_problem():
    assert moment("", NEW_YORK) == (None, None)
    assert moment("  ") == (None, None)


def test_a_date_begins_at_midnight_of_its_zone():
    found, _ = moment("20260705", NEW_YORK)
    assert found is not None
    assert instant_of(found.us) == datetime(2026, 7, 5, 4, tzinfo=UTC)


def test_a_time_before_zones_had_whole_minutes_is_still_a_fhir_time():
    found, _ = moment("18500101120000", NEW_YORK)
    assert found is not None
    assert found.text == "1850-01-01T12:00:00-04:56"


@pytest.mark.parametrize(
    ("text", "offset"),
    [("20260705134200-0400", "-0400"), ("2026070513+01", "+01"), ("20260705", None), ("", None),
     ("2026-07-05", None)],
)  # fmt: skip
def test_the_offset_of_a_message_is_that_of_its_msh_7(text: str, offset: str | None):
    assert offset_of(text) == offset


zones = st.sampled_from(
    [ZoneInfo(n) for n in ("America/New_York", "Europe/Berlin", "Asia/Kathmandu",
                           "Australia/Lord_Howe", "America/Havana", "UTC")]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.datetimes(datetime(1970, 1, 1), datetime(2037, 12, 31)), zones)  # noqa: DTZ001
def test_local_times_agree_with_zoneinfo(local: datetime, zone: ZoneInfo):
    local = local.replace(microsecond=0, fold=0)
    found, code = moment(local.strftime("%Y%m%d%H%M%S"), zone)
    assert found is not None
    assert found.us == microseconds(local.replace(tzinfo=zone))
    unique = (
        local.replace(tzinfo=zone).utcoffset() == local.replace(tzinfo=zone, fold=1).utcoffset()
    )
    assert (code is None) == unique


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**51), zones)
def test_an_instant_that_was_written_is_read_again(us: int, zone: ZoneInfo):
    us -= us % 1000
    written = dtm(us, zone)
    found, code = moment(written)
    assert (found and found.us, code) == (us, None)
    assert found is not None
    assert moment(dtm_of(found))[0] == found


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=25) | st.text(alphabet="0123456789+-.: TZ", max_size=25))
def test_no_text_at_all_makes_it_raise(text: str):
    found, code = moment(text, NEW_YORK, "-0500")
    assert isinstance(found, Moment) or code == "bad-time" or not text.strip()
    assert code is None or code in WARNINGS
