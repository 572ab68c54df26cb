"""FHIR dates and instants as `Moment`s."""

from datetime import UTC, datetime
from functools import lru_cache

from segue.model.instants import Moment, microseconds


@lru_cache(maxsize=4096)
def moment_of(text: str) -> Moment | None:
    """Read a FHIR dateTime or instant; None where the text is neither.

    A date alone is its first instant in UTC, as no zone is known for it.
    Source: FHIR R4 section 2.24.0.1 (dateTime).

    >>> moment_of("2026-07-05T13:40:00-04:00").us
    1783273200000000
    >>> moment_of("2026-07").us == moment_of("2026-07-01T00:00:00Z").us
    True
    """
    full = text + "-01-01"[len(text) - 4 :] if len(text) in (4, 7) else text
    try:
        instant = datetime.fromisoformat(full)
    except ValueError:
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return Moment(text, microseconds(instant))
