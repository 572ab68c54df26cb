"""Sends resources to a FHIR server, many in one transaction Bundle.

A parcel is one `POST [base]` with a transaction of conditional updates, so that sending
it twice changes nothing more (https://hl7.org/fhir/R4/http.html#transaction). The header
`Idempotency-Key` names the outbox ids. Where the peer's version is known it is asked for
with `ifMatch`; a 412 of a single resource is answered by reading, merging and trying
again, at most five times. What is `Refused` of several lanes the caller sends again lane
by lane.

How references are made to resolve at the peer: `projection`.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from segue.adapters.destinations import projection
from segue.adapters.destinations.fhir_line import Answer, FhirLine, Transport, json_of, verdict
from segue.fhir.canonical import dumps, loads
from segue.model.deliveries import Outcome, Parcel, Refused, RetryLater, Sent
from segue.model.instants import Clock
from segue.model.memo import Recent

MERGES = 5
"""How often a 412 is answered by re-reading and merging."""

Identify = Callable[[Sequence[str]], Awaitable[Mapping[str, Sequence[Mapping[str, Any]]]]]
"""References to the identifiers of the stored resources they name, those that exist."""


@dataclass(frozen=True, slots=True)
class FhirRestConfig:
    """A FHIR server to send to.

    Attributes:
        url: its base, without a trailing slash.
        send: types that it subscribes to.
        bundle: resources per transaction. connections: transactions at once.
        timeout: of one transaction.
    """

    name: str
    url: str
    send: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    bundle: int = 50
    timeout: timedelta = timedelta(seconds=10)
    connections: int = 4


class _Response(msgspec.Struct, frozen=True):
    location: str | None = None
    etag: str | None = None


class _Answered(msgspec.Struct):
    response: _Response = _Response()


class _TransactionResponse(msgspec.Struct, tag_field="resourceType", tag="Bundle"):
    entry: list[_Answered] = []


_transaction_response = msgspec.json.Decoder(_TransactionResponse).decode


class FhirRest:
    """The destination kind `fhir_rest`."""

    def __init__(
        self,
        config: FhirRestConfig,
        clock: Clock,
        identify: Identify | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Take the configuration; nothing is opened before the first parcel.

        Args:
            config: whom to send to.
            clock: stamps receipts.
            identify: knows targets of references that were never sent there.
            transport: instead of the network, for tests.
        """
        self.config = config
        self._clock = clock
        self._identify = identify
        self._line = FhirLine(
            config.url, config.headers, config.timeout, config.connections, transport
        )
        self._etags: Recent[str, str] = Recent(50_000)
        self._stands: Recent[str, str] = Recent(70_000)

    @property
    def name(self) -> str:
        """As named under `destinations:`."""
        return self.config.name

    @property
    def bundle(self) -> int:
        """Resources per transaction."""
        return self.config.bundle

    @property
    def parallel(self) -> int:
        """Transactions at once."""
        return self.config.connections

    @property
    def atomic(self) -> bool:
        """A transaction fails as a whole."""
        return True

    async def send(self, parcel: Parcel) -> list[Outcome]:
        """Send all in one transaction; what is said of one is true of all.

        A parcel of one resource that meets 412 is merged with the peer's version.
        """
        bodies = [body if isinstance(body, str) else body.decode() for body in parcel.bodies]
        names = [queued.delivery.what for queued in parcel.deliveries]
        key = "segue-" + ",".join([str(queued.id) for queued in parcel.deliveries])
        entries = await self._entries(bodies, names)
        outcome, answered = await self._transact(entries, key)
        tries = 0
        while (
            len(entries) == 1
            and isinstance(outcome, Refused)
            and outcome.status == 412
            and tries < MERGES
        ):
            tries += 1
            again = await self._merged(loads(entries[0]), names[0])
            if isinstance(again, dict):
                outcome, answered = await self._transact([dumps(again)], key)
            else:
                outcome = again
        if isinstance(outcome, Sent):
            self._remember(names, bodies, answered)
        elif isinstance(outcome, Refused):
            for name in names:
                self._forget(name)
        return [outcome] * len(names)

    async def close(self) -> None:
        """Let go of connections."""
        await self._line.close()

    async def _entries(self, bodies: Sequence[str], names: Sequence[str]) -> list[str]:
        urls = {
            name: projection.full_url(name)
            for name, body in zip(names, bodies, strict=True)
            if body
        }
        taken_apart = [projection.apart(body) if body else [] for body in bodies]
        # A person's resources refer to few others, again and again.
        references = {reference for parts in taken_apart for reference in parts[1::2]}
        said = await self._said(references, urls)
        entries = []
        for name, parts in zip(names, taken_apart, strict=True):
            etag = self._etags.get(name) if parts else None
            url = urls.get(name, "")
            entries.append(projection.entry(parts, name, said, url=url, if_match=etag))
        return entries

    async def _said(
        self, references: Collection[str], urls: Mapping[str, str]
    ) -> Mapping[str, str]:
        """What stands for each reference, in a Bundle that has these resources."""
        said: dict[str, str] = {}
        unknown: dict[str, str] = {}
        for reference in references:
            # Nearly all are relative, and of no particular version.
            if reference not in urls and (stands := self._stands.get(reference)) is not None:
                said[reference] = stands
            elif not (target := projection.relative(reference)):
                said[reference] = projection.unchanged(reference)
            elif target in urls:
                said[reference] = projection.literal(urls[target])
            elif (stands := self._stands.get(target)) is not None:
                said[reference] = stands
            else:
                unknown[reference] = target
        if unknown:
            await self._learn(set(unknown.values()))
            for reference, target in unknown.items():
                said[reference] = self._stands.get(target) or projection.logical(target)
        return said

    async def _learn(self, targets: Collection[str]) -> None:
        """Fetch the business identifiers of targets that the peer never gets from us."""
        if self._identify is None:
            return
        wanted = [one for one in targets if one.partition("/")[0] not in self.config.send]
        if wanted:
            known = await self._identify(sorted(wanted))
            for target in wanted:
                identifier = projection.business_identifier(known.get(target, ()))
                self._stands.put(target, projection.logical(target, identifier))

    async def _transact(self, entries: Sequence[str], key: str) -> tuple[Outcome, list[_Response]]:
        bundle = f'{{"resourceType":"Bundle","type":"transaction","entry":[{",".join(entries)}]}}'
        response = await self._line.request(
            "POST", self.config.url, bundle.encode(), {"Idempotency-Key": key}
        )
        if not isinstance(response, Answer):
            return response, []
        outcome = verdict(response, self._clock)
        if not isinstance(outcome, Sent):
            return outcome, []
        answered = _answers(response.content)
        if len(answered) != len(entries):
            reason = "2xx without a transaction-response of as many entries"
            return RetryLater("protocol", reason, response.status), []
        return outcome, answered

    async def _merged(self, entry: dict[str, Any], name: str) -> "dict[str, Any] | Outcome":
        """The entry over the version that the peer has now."""
        url = f"{self.config.url}/{projection.address(name)}"
        response = await self._line.request("GET", url, None, {})
        if not isinstance(response, Answer):
            return response
        outcome = verdict(response, self._clock)
        if not isinstance(outcome, Sent):
            return outcome
        found = _read(response.content)
        resource = entry.get("resource")
        request = {k: v for k, v in entry["request"].items() if k != "ifMatch"}
        if found is None or resource is None:
            return entry | {"request": request}
        request["ifMatch"] = f'W/"{found.get("meta", {}).get("versionId", "")}"'
        return entry | {"resource": projection.merge(resource, found), "request": request}

    def _remember(
        self,
        names: Sequence[str],
        bodies: Sequence[str],
        answered: Sequence[_Response],
    ) -> None:
        for name, body, answer in zip(names, bodies, answered, strict=True):
            literal = _literal(answer.location or "")
            if not body:
                self._forget(name)
            elif literal:
                self._stands.put(name, projection.literal(literal))
                if answer.etag:
                    self._etags.put(name, answer.etag)
                else:
                    self._etags.forget(name)

    def _forget(self, name: str) -> None:
        self._stands.forget(name)
        self._etags.forget(name)


def _answers(content: bytes) -> list[_Response]:
    """Of the entries of a Bundle, in their order; none where it is no Bundle."""
    try:
        return [one.response for one in _transaction_response(content).entry]
    except ValueError:
        return []


def _read(content: bytes) -> dict[str, Any] | None:
    found = json_of(content)
    if isinstance(found, dict) and found.get("resourceType") == "Bundle":
        entries = found.get("entry", ())
        found = entries[0].get("resource") if entries else None
    return found if isinstance(found, dict) else None


def _literal(location: str) -> str:
    """`Task/12` of `http://peer/fhir/Task/12/_history/3`."""
    parts = location.partition("/_history/")[0].rstrip("/").split("/")
    return "/".join(parts[-2:]) if len(parts) >= 2 else ""
