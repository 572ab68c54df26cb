"""Which days are business days.

The default calendar is the United States' federal holidays on the day they are
*observed*: a holiday on a Saturday is kept on the Friday, one on a Sunday on the
Monday. Source: 5 U.S.C. 6103. The days come from a table that is generated out of the
`holidays` library; for years beyond the table the library itself is asked.
"""

import json
from collections.abc import Mapping
from datetime import date
from functools import lru_cache

FEDERAL_OBSERVED = "us-federal-observed"

_WEEKEND = {5: "Saturday", 6: "Sunday"}


@lru_cache(maxsize=256)
def federal_days(year: int) -> Mapping[date, str]:
    """The weekdays of a year on which federal offices are closed, with the reason.

    >>> federal_days(2026)[date(2026, 7, 3)]
    'Independence Day (observed)'
    >>> federal_days(2027)[date(2027, 12, 31)]
    "New Year's Day (observed)"
    """
    first, last, days = _table()
    if first <= year <= last:
        return {day: name for day, name in days.items() if day.year == year}
    # The library takes a second to import: only who asks beyond the table pays.
    from holidays.countries.united_states import UnitedStates

    found = UnitedStates(years=year, observed=True)
    return {day: name for day, name in found.items() if day.weekday() < 5 and day.year == year}


@lru_cache(maxsize=1)
def _table() -> tuple[int, int, Mapping[date, str]]:
    from segue.fhir.profiles import shipped

    path = shipped() / "federal_holidays.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    first, last = table["years"]
    return first, last, {date.fromisoformat(day): name for day, name in table["days"].items()}


def closed_because(day: date, local: frozenset[date] = frozenset()) -> str | None:
    """Why a day is not a business day; None where it is one.

    Args:
        day: a calendar date at the place whose calendar counts.
        local: further closed days of that place. They must not be given for a
            statutory clock, whose due they would move later.

    >>> closed_because(date(2026, 7, 3))
    'Independence Day (observed)'
    >>> closed_because(date(2026, 7, 4))
    'Saturday'
    >>> closed_because(date(2026, 7, 6)) is None
    True
    """
    weekend = _WEEKEND.get(day.weekday())
    if weekend is not None:
        return weekend
    holiday = federal_days(day.year).get(day)
    if holiday is not None:
        return holiday
    return "local holiday" if day in local else None
