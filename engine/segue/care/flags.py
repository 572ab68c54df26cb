"""Flags of a person: back in hospital within the window, and often in emergency rooms.

They are found across hospitals, whatever PV1-13 says. A flag that does not hold any more
is withdrawn: a merge may make one, and its unmerge takes it back.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from segue.care.parties import HUB_REFERENCE
from segue.care.plans import Episode
from segue.care.stays import NOT_REAL, StayVisit
from segue.care.tasks import Names
from segue.care.view import Visit
from segue.model.identity import stable_id
from segue.model.instants import Moment

CODES: Final = "urn:segue:flag"
READMITTED: Final = "readmission-30d"
OFTEN: Final = (
    ("ed-high-utilizer-4-12mo", 4, 365, "Four emergency visits or more within twelve months"),
    ("ed-high-utilizer-3-60d", 3, 60, "Three emergency visits or more within sixty days"),
)
"""Code, how many visits, within how many days, and in words."""
_DAY_US: Final = 86_400_000_000


def readmission(episode: Episode, back: StayVisit, names: Names) -> dict[str, Any]:
    """That a patient is back: of the stay that went before, named after it.

    It is active as long as the patient is in hospital again.
    """
    end = back.visit.end if back.visit.discharged else None
    period = {"start": back.admitted.text, **({"end": end.text} if end is not None else {})}
    encounter = {"reference": f"Encounter/{back.visit.encounter}"}
    text = "Unplanned readmission within 30 days of discharge"
    made = _flag(episode.stay.first.visit.key, READMITTED, text, names, period)
    return {**made, "status": "active" if end is None else "inactive", "encounter": encounter}


def id_of_visit(visit: str) -> str:
    """Reference of the flag of a stay that is named after a visit."""
    return f"Flag/{stable_id('Flag', visit, READMITTED)}"


def ids_of_person(identity: str) -> list[str]:
    """References of the flags of a person who is named after an identity."""
    return [f"Flag/{stable_id('Flag', identity, code)}" for code, *_ in OFTEN]


def utilizer(
    identity: str, visits: Iterable[Visit], now: int, names: Names
) -> tuple[list[dict[str, Any]], int | None]:
    """Who is often in emergency rooms, wherever they are.

    Args:
        identity: that the person is named after.
        visits: of the person; those that only fill the index count, but not they alone.
        now: the present instant, µs.
        names: of the person.

    Returns:
        The flags that hold now, and the µs at which the first of them ends, None if none does.
    """
    arrivals = sorted(
        (start.us, start.text, visit.history)
        for visit in visits
        if (start := _arrival(visit)) is not None and start.us <= now
    )
    found, ends = [], []
    for code, count, days, text in OFTEN:
        if len(arrivals) < count:
            continue
        last, end = arrivals[-count:], arrivals[-count][0] + days * _DAY_US
        if now <= end and not all(history for *_, history in last):
            period = {"start": arrivals[-1][1]}
            found.append(_flag(identity, code, text, names, period))
            ends.append(end + 1)
    return found, min(ends, default=None)


def _arrival(visit: Visit) -> Moment | None:
    if visit.status in NOT_REAL:
        return None
    return next((period.start for period in visit.classes if period.code == "EMER"), None)


def _flag(of: str, code: str, text: str, names: Names, period: Mapping[str, str]) -> dict[str, Any]:
    own = stable_id("Flag", of, code)
    made: dict[str, Any] = {
        "resourceType": "Flag",
        "id": own,
        "identifier": [{"system": "urn:segue", "value": own}],
        "status": "active",
        "code": {"coding": [{"system": CODES, "code": code}], "text": text},
        "subject": names.patient,
        "period": period,
        "author": HUB_REFERENCE,
    }
    return {**made, "meta": names.meta} if names.meta else made
