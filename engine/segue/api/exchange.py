"""One answer: its headers, what it holds, and errors as OperationOutcome.

Sources: https://hl7.org/fhir/R4/http.html (ETag, Prefer),
https://hl7.org/fhir/R4/operationoutcome.html
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import format_datetime
from functools import lru_cache
from typing import Any

from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import Response

from segue.api.negotiation import FHIR_JSON
from segue.fhir import canonical
from segue.fhir.outcomes import FhirError, fhir_error, outcome
from segue.model.instants import instant_of, rfc3339_us
from segue.store.records import StoredVersion

ANSWERS = ("minimal", "representation", "OperationOutcome")


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a client prefers: the header `Prefer`.

    Attributes:
        answer: `minimal`, `representation`, `OperationOutcome`; "" where it does not say.
        strict: `handling=strict`: search parameters that are not known are errors.
    """

    answer: str = ""
    strict: bool = False

    @classmethod
    def of(cls, headers: Sequence[str]) -> "Preferences":
        """Read the header, which may be sent several times.

        >>> Preferences.of(["return=minimal; handling=strict"])
        Preferences(answer='minimal', strict=True)
        """
        if not headers:
            return _NONE
        answer, strict = "", False
        for part in re.split("[,;]", ",".join(headers)):
            name, _, value = (word.strip().strip('"') for word in part.partition("="))
            if name.lower() == "return" and value in ANSWERS:
                answer = value
            elif name.lower() == "handling":
                strict = value == "strict"
        return cls(answer, strict)


_NONE = Preferences()


class Gone(FhirError):  # noqa: N818
    """The resource was deleted (410); the answer bears its last version."""

    def __init__(self, stored: StoredVersion) -> None:
        self.stored = stored
        text = f"{stored.key.reference} was deleted in version {stored.version}"
        super().__init__("gone", fhir_error("gone", "deleted", text).issues)


def base_url(request: Request, configured: str | None) -> str:
    """The FHIR base, for Location and fullUrl."""
    if configured:
        return configured.rstrip("/")
    scope = request.scope
    server = tuple(scope.get("server") or ())
    return _root(scope["scheme"], request.headers.get("host"), server)


@lru_cache(maxsize=64)
def _root(scheme: str, host: str | None, server: tuple[str, int]) -> str:
    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    asked = {"scheme": scheme, "server": server or None, "path": "/fhir", "headers": headers}
    return str(URL(scope=asked))


def body_of(stored: StoredVersion) -> str:
    """The resource's text with its version and lastUpdated."""
    assert stored.body is not None
    return canonical.splice_meta(stored.body, stored.version, rfc3339_us(stored.at))


def version_headers(stored: StoredVersion) -> dict[str, str]:
    """ETag and Last-Modified."""
    return {
        "ETag": f'W/"{stored.version}"',
        "Last-Modified": format_datetime(instant_of(stored.at), usegmt=True),
    }


def answer(
    body: str | Mapping[str, Any] | None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A FHIR answer; text is sent as it is."""
    if body is None:
        return Response(status_code=status, headers=dict(headers or {}))
    text = body if isinstance(body, str) else canonical.dumps(dict(body))
    return Response(text, status, dict(headers or {}), media_type=FHIR_JSON)


def refusal(error: FhirError) -> Response:
    """An error as OperationOutcome."""
    headers = version_headers(error.stored) if isinstance(error, Gone) else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="segue"'
    return answer(outcome(error.issues), error.status, headers)
