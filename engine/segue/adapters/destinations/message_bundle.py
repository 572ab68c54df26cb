"""Sends notifications to a FHIR receiver: `POST [base]/$process-message`, one by one.

The body of a delivery is the whole message Bundle (`segue.pipeline.notices`); its
MessageHeader has the same id at every attempt, by which a receiver knows a repetition. An
empty body is a change that is no event, and is done without a request.

Source: https://hl7.org/fhir/R4/messageheader-operation-process-message.html,
http://hl7.org/fhir/us/davinci-alerts
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from segue.adapters.destinations.fhir_line import Answer, FhirLine, json_of, verdict
from segue.model.deliveries import Outcome, Parcel, QueuedDelivery, Receipt, RetryLater, Sent
from segue.model.instants import Clock, microseconds

NOTHING = "no event"
"""Status of a delivery that had nothing to tell."""

KEPT_BACK = RetryLater("unreachable", "kept back behind one that was not sent", None, 0.0)


@dataclass(frozen=True, slots=True)
class MessageBundleConfig:
    """A receiver of notifications.

    Attributes:
        url: its FHIR base, without a trailing slash.
        bundle: messages handed over together. connections: lanes under way at once.
        timeout: of one message.
    """

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    bundle: int = 50
    timeout: timedelta = timedelta(seconds=10)
    connections: int = 4


class MessageBundle:
    """The destination kind `message_bundle`."""

    def __init__(self, config: MessageBundleConfig, clock: Clock) -> None:
        """Take the configuration; nothing is opened before the first message."""
        self.config = config
        self._clock = clock
        self._line = FhirLine(config.url, config.headers, config.timeout, config.connections)
        self._free = asyncio.Semaphore(config.connections)

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
        """Two parcels, so that the line stays busy while one is being settled."""
        return 2

    @property
    def atomic(self) -> bool:
        """Each message has its own answer."""
        return False

    async def send(self, parcel: Parcel) -> list[Outcome]:
        """Send each message; one that fails keeps the later ones of its lane back."""
        lanes: dict[int, list[int]] = {}
        for place, queued in enumerate(parcel.deliveries):
            lanes.setdefault(queued.delivery.lane, []).append(place)
        outcomes: list[Outcome] = [KEPT_BACK] * len(parcel.deliveries)

        async def run(places: list[int]) -> None:
            async with self._free:
                for place in places:
                    outcomes[place] = await self._one(
                        parcel.deliveries[place], parcel.bodies[place]
                    )
                    if not isinstance(outcomes[place], Sent):
                        return

        await asyncio.gather(*(run(places) for places in lanes.values()))
        return outcomes

    async def _one(self, queued: QueuedDelivery, body: str | bytes) -> Outcome:
        if not body:
            return Sent(Receipt(microseconds(self._clock()), NOTHING))
        content = body.encode() if isinstance(body, str) else body
        response = await self._line.request(
            "POST",
            f"{self.config.url}/$process-message",
            content,
            {"Idempotency-Key": f"segue-{queued.id}"},
        )
        if not isinstance(response, Answer):
            return response
        outcome = verdict(response, self._clock)
        if isinstance(outcome, Sent) and not _is_answer(response.content):
            return RetryLater("protocol", "2xx without a FHIR answer", response.status)
        return outcome

    async def close(self) -> None:
        """Let go of connections."""
        await self._line.close()


def _is_answer(content: bytes) -> bool:
    """Whether a body is FHIR; a receiver may also answer without one."""
    found = json_of(content)
    return not content or (isinstance(found, dict) and "resourceType" in found)
