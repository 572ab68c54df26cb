"""Sends HL7 v2 messages by MLLP.

A few connections, each with one unanswered message, as HL7 v2.5.1 ch. 2.9.2 asks for;
a lane always takes the same one, so that its order holds. What an answer means is in
`mllp_line`.
"""

import asyncio

from segue.adapters.destinations.mllp_line import NOT_TRIED, Line, MllpConfig
from segue.hl7v2.asking import asking
from segue.model.deliveries import Outcome, Parcel, Receipt, Sent
from segue.model.instants import Clock, microseconds
from segue.pipeline.returns import Returns

__all__ = ["Mllp", "MllpConfig"]


class Mllp:
    """The destination kind `mllp`."""

    def __init__(self, config: MllpConfig, clock: Clock, returns: Returns | None = None) -> None:
        """Take the parts; nothing is opened before the first parcel.

        Args:
            config: of the peer.
            clock: stamps receipts.
            returns: where application acknowledgements come, if not on the same connection.
        """
        self.config = config
        self._clock = clock
        self._returns = returns
        self._lines = [Line(config, clock, returns) for _ in range(config.connections)]

    @property
    def name(self) -> str:
        """As named under `destinations:`."""
        return self.config.name

    @property
    def bundle(self) -> int:
        """Messages per parcel."""
        return self.config.bundle

    @property
    def parallel(self) -> int:
        """Two parcels, so that connections stay busy while one is being settled."""
        return 2

    @property
    def atomic(self) -> bool:
        """Each message has its own answer."""
        return False

    async def send(self, parcel: Parcel) -> list[Outcome]:
        """Send each message; one that fails keeps the later ones of its lane back."""
        outcomes: list[Outcome] = [NOT_TRIED] * len(parcel.deliveries)
        if self._returns is not None:
            await self._accepted_before(parcel, outcomes)
        shares: dict[Line, list[int]] = {}
        for place, queued in enumerate(parcel.deliveries):
            if outcomes[place] is NOT_TRIED:
                line = self._lines[queued.delivery.lane % len(self._lines)]
                shares.setdefault(line, []).append(place)
        await asyncio.gather(
            *(line.run(parcel, places, outcomes) for line, places in shares.items())
        )
        return outcomes

    async def _accepted_before(self, parcel: Parcel, outcomes: list[Outcome]) -> None:
        """What was sent before and answered while nobody waited is not sent again."""
        assert self._returns is not None
        await self._returns.catch_up()
        behind: set[int] = set()
        for place, (queued, body) in enumerate(zip(parcel.deliveries, parcel.bodies, strict=True)):
            assert isinstance(body, bytes)
            asked, lane = asking(body, self.config.asks), queued.delivery.lane
            known = asked.application and lane not in behind
            if known and await self._returns.accepted(
                asked.control_id, queued.created, queued.attempts
            ):
                outcomes[place] = Sent(Receipt(microseconds(self._clock()), "AA"))
            else:
                behind.add(lane)

    async def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()
