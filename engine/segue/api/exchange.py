"""One request and its answer: content negotiation, headers, errors as OperationOutcome.

Sources: https://hl7.org/fhir/R4/http.html (content types, ETag, Prefer),
https://hl7.org/fhir/R4/operationoutcome.html
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from segue.fhir import canonical
from segue.fhir.outcomes import FhirError, fhir_error, outcome
from segue.model.instants import instant_of
from segue.store.records import StoredVersion

FHIR_JSON = "application/fhir+json; charset=utf-8"
_ACCEPTED = {"application/fhir+json", "application/json", "text/json", "*/*", "application/*", ""}
_FORMATS = {"json", "application/json", "application/fhir+json", "text/json"}
BODIES = frozenset({"application/fhir+json", "application/json", "text/json"})
FORM = frozenset({"application/x-www-form-urlencoded"})
ANSWERS = ("minimal", "representation", "OperationOutcome")
MAX_BODY = 32 * 1024 * 1024


def check_format(request: Request) -> None:
    """Refuse an answer format that is not JSON (406)."""
    asked = request.query_params.get("_format")
    if asked is not None:
        if asked.partition(";")[0].strip().replace(" ", "+") in _FORMATS:
            return
        raise fhir_error("not-acceptable", "not-supported", f"_format={asked}: only JSON is spoken")
    accept = request.headers.get("accept", "*/*")
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if not kinds & _ACCEPTED:
        raise fhir_error("not-acceptable", "not-supported", "only application/fhir+json is spoken")


async def read_body(request: Request, kinds: frozenset[str] = BODIES) -> bytes:
    """The body of a request.

    Args:
        kinds: content types that are taken.

    Raises:
        FhirError: 415 for another content type, 413 for too much.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in kinds:
        raise fhir_error(
            "unsupported-media",
            "not-supported",
            f"Content-Type {kind or 'missing'}: send {sorted(kinds)[0]}",
        )
    length = request.headers.get("content-length")
    if length and length.isdigit() and int(length) > MAX_BODY:
        raise too_large()
    parts, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise too_large()
        parts.append(chunk)
    return b"".join(parts)


def too_large() -> FhirError:
    """The error of a body beyond the limit (413)."""
    return fhir_error("too-large", "too-long", f"bodies are limited to {MAX_BODY} bytes")


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object; 400 where it is none."""
    try:
        value = canonical.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise fhir_error("incorrect", "structure", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise fhir_error("incorrect", "structure", "the body is not a JSON object")
    return value


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
    def of(cls, headers: Iterable[str]) -> "Preferences":
        """Read the header, which may be sent several times.

        >>> Preferences.of(["return=minimal; handling=strict"])
        Preferences(answer='minimal', strict=True)
        """
        answer, strict = "", False
        for part in re.split("[,;]", ",".join(headers)):
            name, _, value = (word.strip().strip('"') for word in part.partition("="))
            if name.lower() == "return" and value in ANSWERS:
                answer = value
            elif name.lower() == "handling":
                strict = value == "strict"
        return cls(answer, strict)


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
    return f"{request.url.scheme}://{request.url.netloc}/fhir"


def body_of(stored: StoredVersion) -> str:
    """The resource's text with its version and lastUpdated."""
    assert stored.body is not None
    return canonical.splice_meta(stored.body, stored.version, rfc3339_us(stored.at))


def rfc3339_us(us: int) -> str:
    """RFC 3339 with microseconds: the commit order is visible in it."""
    return instant_of(us).isoformat(timespec="microseconds").replace("+00:00", "Z")


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
