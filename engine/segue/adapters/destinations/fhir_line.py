"""One FHIR server over HTTP: requests, and what their answers mean for a delivery."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
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
        self._secure = url.startswith("https:")
        self._headers = {
            "Content-Type": "application/fhir+json",
            "Accept": "application/fhir+json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": "segue",
            **headers,
        }
        self._extensions = {"timeout": httpx.Timeout(timeout.total_seconds()).as_dict()}
        self._connections = connections
        self._transport = transport

    async def request(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]
    ) -> Answer | RetryLater:
        """One request; one that got no answer is to be tried again.

        It goes straight to the transport: a client's cookies, redirects and authentication
        are not wanted here, and cost as much as the request itself.
        """
        if self._transport is None:
            limits = httpx.Limits(max_connections=self._connections)
            self._transport = AiohttpTransport(limits=limits, verify=self._secure)
        request = httpx.Request(
            method,
            _address(url),
            headers={**self._headers, **headers},
            content=content,
            extensions=self._extensions,
        )
        try:
            response = await self._transport.handle_async_request(request)
            try:
                found = await response.aread()
            finally:
                await response.aclose()
        except httpx.ConnectTimeout as error:
            return RetryLater("unreachable", type(error).__name__)
        except httpx.TimeoutException as error:
            return RetryLater("timeout", type(error).__name__)
        except (httpx.HTTPError, OSError) as error:
            return RetryLater("unreachable", type(error).__name__)
        return Answer(response.status_code, response.headers, found)

    async def close(self) -> None:
        """Let go of connections."""
        if self._transport is not None:
            await self._transport.aclose()


@lru_cache(maxsize=16)
def _address(url: str) -> httpx.URL:
    """Of the few that most requests go to, parsed once."""
    return httpx.URL(url)


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
