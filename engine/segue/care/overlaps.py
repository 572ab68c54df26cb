"""Stays at two hospitals at once: a sign that an identity is wrong.

Nobody lies in two hospitals at once, but for the hours that a transfer takes and on leave of
absence. Where stays overlap for longer, a number of one patient was perhaps given for another:
a DetectedIssue asks whoever keeps identities, and nothing is parted by itself. It is withdrawn
when the stays turn out not to overlap, or to be two people's. It names both hospitals, and so
leaves to neither.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from segue.care.stays import StayVisit
from segue.care.tasks import Names
from segue.model.identity import stable_id
from segue.model.instants import rfc3339

CODES: Final = "urn:segue:detected-issue"
OVERLAPPING: Final = "overlapping-encounters"
TOLERATED_US: Final = 4 * 3_600_000_000
"""How long both hospitals may hold a patient who is transferred: its papers take hours."""
_FOREVER: Final = 1 << 62
_DETAIL: Final = (
    "The stays overlap for more than four hours, and no discharge, transfer or leave explains it."
    " Check whether the identifiers of both are one person's."
)


def overlaps(
    visits: Iterable[StayVisit], now: int, names: Names
) -> tuple[list[dict[str, Any]], int | None]:
    """What is to be asked of a person's stays.

    Args:
        visits: all of the person.
        now: the present instant, µs.
        names: of the person.

    Returns:
        A DetectedIssue for each visit that began while others went on elsewhere, and the µs
        at which the next one comes, None if none does.
    """
    found: list[dict[str, Any]] = []
    coming: list[int] = []
    ordered = sorted(visits, key=lambda one: (one.admitted.us, one.visit.key))
    for place, later in enumerate(ordered):
        beside: list[tuple[StayVisit, int]] = []
        for one in ordered[:place]:
            since = _beyond_tolerance(one, later)
            if since is None:
                continue
            if since <= now:
                beside.append((one, since))
            else:
                coming.append(since)
        if beside:
            found.append(_issue(later, beside, names))
    return found, min(coming, default=None)


def id_of_visit(visit: str) -> str:
    """Reference of the DetectedIssue that is named after a visit."""
    return f"DetectedIssue/{stable_id('DetectedIssue', visit, OVERLAPPING)}"


def _beyond_tolerance(one: StayVisit, later: StayVisit) -> int | None:
    """µs at which two visits have overlapped for too long, None if they never do."""
    if (
        one.visit.site == later.visit.site
        or one.post_acute
        or later.post_acute
        or one.visit.client
        or later.visit.client
    ):
        return None
    at, end = later.admitted.us, min(_end(one), _end(later))
    left = TOLERATED_US
    for begun, ended in sorted([*_leaves(one), *_leaves(later)]):
        if at + left < min(begun, end):
            break
        left -= max(min(begun, end) - at, 0)
        at = max(at, ended)
    return at + left + 1 if at + left < end else None


def _end(one: StayVisit) -> int:
    visit = one.visit
    return visit.end.us if visit.discharged and visit.end is not None else _FOREVER


def _leaves(one: StayVisit) -> Iterable[tuple[int, int]]:
    for start, end in one.visit.leaves:
        yield start.us, _FOREVER if end is None else end.us


def _issue(
    later: StayVisit, beside: Sequence[tuple[StayVisit, int]], names: Names
) -> dict[str, Any]:
    own = stable_id("DetectedIssue", later.visit.key, OVERLAPPING)
    visits = [*(one for one, _ in beside), later]
    made: dict[str, Any] = {
        "resourceType": "DetectedIssue",
        "id": own,
        "identifier": [{"system": "urn:segue", "value": own}],
        "status": "preliminary",
        "code": {
            "coding": [{"system": CODES, "code": OVERLAPPING}],
            "text": "In two hospitals at once",
        },
        "severity": "high",
        "patient": names.patient,
        "identifiedDateTime": rfc3339(min(since for _, since in beside)),
        "implicated": [{"reference": f"Encounter/{one.visit.encounter}"} for one in visits],
        "detail": _DETAIL,
    }
    return {**made, "meta": names.meta} if names.meta else made
