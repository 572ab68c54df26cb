"""One FHIR server over HTTP: requests, and what their answers mean for a delivery."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from httpx_aiohttp import AiohttpTransport

from segue.fhir.canonical import loads
from segue.model.deliveries import Category, Outcome, Receipt, Refused, RetryLater, Sent
from segue.model.instants import Clock, microseconds

Transport = httpx.AsyncBaseTransport
"""What stands in for the network in tests."""

RETRIED = frozenset({408, 425, 429})
"""Client errors that time may cure; all others are dead letters at once."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class FhirLine:
    """Connections to one server; nothing is opened before the first request."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        timeout: timedelta,
        connections: int,
        transport: Transport | None = None,
    ) -> None:
        """Take where to and how.

        Args:
            url: base of the server. headers: sent with every request.
            timeout: of one request. connections: open at once.
            transport: instead of the network, for tests.
        """
        self._url = url
        self._headers = headers
        self._timeout = timeout
        self._connections = connections
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def request(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]
    ) -> Answer | RetryLater:
        """One request; one that got no answer is to be tried again."""
        if self._client is None:
            limits = httpx.Limits(max_connections=self._connections)
            secure = self._url.startswith("https:")
            transport = self._transport or AiohttpTransport(limits=limits, verify=secure)
            self._client = httpx.AsyncClient(
                transport=transport,
                timeout=self._timeout.total_seconds(),
                headers={
                    "Content-Type": "application/fhir+json",
                    "Accept": "application/fhir+json",
                    **self._headers,
                },
                trust_env=False,
            )
        try:
            found = await self._client.request(method, url, content=content, headers=dict(headers))
        except httpx.ConnectTimeout as error:
            return RetryLater("unreachable", type(error).__name__)
        except httpx.TimeoutException as error:
            return RetryLater("timeout", type(error).__name__)
        except (httpx.HTTPError, OSError) as error:
            return RetryLater("unreachable", type(error).__name__)
        return Answer(found.status_code, found.headers, found.content)

    async def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def verdict(answer: Answer, clock: Clock) -> Outcome:
    """What an HTTP status means for a delivery.

    Network errors, 408, 425, 429 and 5xx are tried again; 401 and 403 halt the
    destination; every other 3xx and 4xx is refused for good.
    """
    status = answer.status
    if 200 <= status < 300:
        return Sent(Receipt(microseconds(clock()), str(status)))
    reason = _issues(answer.content) or f"HTTP {status}"
    if status in (401, 403):
        return RetryLater("unauthorised", reason, status, halt=True)
    if status >= 500 or status in RETRIED:
        after = _retry_after(answer.headers.get("retry-after"), clock)
        category: Category = "timeout" if status in (408, 504) else "refused"
        return RetryLater(category, reason, status, after)
    return Refused("conflict" if status in (409, 412) else "refused", reason, status)


def _retry_after(value: str | None, clock: Clock) -> float | None:
    if not value:
        return None
    if value.strip().isdigit():
        return float(value) or None
    try:
        return max(0.1, (parsedate_to_datetime(value) - clock()).total_seconds())
    except (TypeError, ValueError):
        return None


def _issues(content: bytes) -> str:
    """Issue codes and places of an OperationOutcome; its texts may hold patient data."""
    outcome = json_of(content)
    found = []
    for issue in outcome.get("issue", ()) if isinstance(outcome, dict) else ():
        where = (issue.get("expression") or issue.get("location") or [""])[0]
        found.append(f"{issue.get('code', '')} at {where}" if where else str(issue.get("code")))
    return "; ".join(found[:5])


def json_of(content: bytes) -> Any:
    """A body as JSON, None where it is none."""
    try:
        return loads(content.decode())
    except ValueError:
        return None
