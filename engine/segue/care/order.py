"""The two orders of facts: when things happened, and when they were written down.

`occurred` orders movements (status, class, place, participants), `recorded` orders
statements (everything else). Arrival decides nothing. Ties fall to the time of the
message (MSH-7), the event's place in a visit's life, the site, the control id
compared as people count ("9" before "10"), and last to the digest of the payload.
"""

import re
from functools import lru_cache

from segue.model.events import HAPPENINGS
from segue.model.facts import Fact

Key = tuple[int, int, int, str, str, str]
"""Sorts facts on one axis; no two different facts have the same."""

Instant = tuple[int, int]
"""The first two parts of a key: µs on the axis, then µs of MSH-7."""

_RANKS = {code: event.rank for code, event in HAPPENINGS.items()}
_UPDATE = 4
_DIGITS = re.compile(r"\d+")


def rank_of(event: str) -> int:
    """Place of an event in a visit's life; of an unknown one, that of an update."""
    return _RANKS.get(event, _UPDATE)


@lru_cache(maxsize=4096)
def natural(control_id: str) -> str:
    """A form of a control id that sorts as people count.

    >>> natural("9") < natural("10"), natural("HA9x") < natural("HA10x")
    (True, True)
    """
    return _DIGITS.sub(lambda digits: digits[0].zfill(24), control_id)


def occurred_key(fact: Fact) -> Key:
    """Where a fact stands among movements."""
    return (
        fact.occurred.us,
        fact.sent.us,
        _RANKS.get(fact.event, _UPDATE),
        fact.site,
        natural(fact.control_id),
        fact.digest + fact.id,
    )


def recorded_key(fact: Fact) -> Key:
    """Where a fact stands among statements."""
    return (
        fact.recorded.us,
        fact.sent.us,
        _RANKS.get(fact.event, _UPDATE),
        fact.site,
        natural(fact.control_id),
        fact.digest + fact.id,
    )
