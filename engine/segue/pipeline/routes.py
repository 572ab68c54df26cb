"""Destinations as fan-out sees them: a name, a site, and what they subscribe to."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Route:
    """Who may hear what.

    Attributes:
        name: the destination, as named under `destinations:`.
        site: the site it belongs to; its own statements never go back there.
        send: resource types; `adt` for messages as they came, `careplan` for the plan as a
            document, `alerts` for notifications.
        bed_moves: whether a change of nothing but places and participants is news.
        receipt: `record` where its acceptance means filed in the record.
    """

    name: str
    site: str
    send: frozenset[str]
    bed_moves: bool = False
    receipt: Literal["record", "gateway"] = "gateway"
