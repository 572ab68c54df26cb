"""In which form a request is sent, and in which form its answer is wanted.

Sources: https://hl7.org/fhir/R4/http.html#mime-type, #parameters
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response

from segue.fhir.canonical import indented, loads
from segue.fhir.definitions import Definitions
from segue.fhir.json import JsonError, check_bounds, read_json
from segue.fhir.outcomes import FhirError, fhir_error
from segue.fhir.xml import XmlError, from_xml, to_xml

FHIR_JSON = "application/fhir+json; charset=utf-8"
FHIR_XML = "application/fhir+xml; charset=utf-8"

_JSON = ("application/fhir+json", "application/json", "text/json", "application/json+fhir")
_XML = ("application/fhir+xml", "application/xml", "text/xml", "application/xml+fhir")
BODIES = frozenset(_JSON + _XML)
FORM = frozenset({"application/x-www-form-urlencoded"})
PATCHES = frozenset({"application/json-patch+json", "application/merge-patch+json", *BODIES})

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a body, unpacked."""

MAX_QUERY = 16 * 1024
"""Characters of the query of a URL, or of a search form."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form of an answer."""

    xml: bool = False
    pretty: bool = False

    @classmethod
    def of(cls, request: Request) -> "Form":
        """The form that a request asks for: `_format` overrules `Accept`.

        Raises:
            FhirError: 406; a form that is not spoken, or another version of FHIR.
        """
        pretty, asked = False, None
        if request.scope["query_string"]:
            query = request.query_params
            pretty = query.get("_pretty") == "true"
            asked = query.get("_format")
        if asked is not None:
            kind, _, rest = asked.lower().partition(";")
            kind = kind.strip().replace(" ", "+")
            _check_version(rest)
            if kind in ("json", *_JSON):
                return cls(pretty=pretty)
            if kind in ("xml", *_XML):
                return cls(xml=True, pretty=pretty)
        else:
            wanted = _accepted(request.headers.get("accept", "*/*"))
            if wanted is not None:
                return cls(wanted, pretty)
        text = "ask for application/fhir+json or application/fhir+xml"
        raise fhir_error("not-acceptable", "not-supported", text)

    def shape(self, answer: Response, definitions: Definitions) -> Response:
        """The answer in this form; what is no FHIR JSON stays as it is."""
        if not (self.xml or self.pretty) or answer.headers.get("content-type") != FHIR_JSON:
            return answer
        text = bytes(answer.body)
        if not text:
            return answer
        body = to_xml(loads(text), definitions, pretty=self.pretty) if self.xml else indented(text)
        kept = {
            name: value
            for name, value in answer.headers.items()
            if name not in ("content-type", "content-length")
        }
        kind = FHIR_XML if self.xml else FHIR_JSON
        return Response(body, answer.status_code, kept, media_type=kind)


def _check_version(parameters: str) -> None:
    for one in parameters.split(";"):
        name, _, value = one.strip().partition("=")
        if name.strip() == "fhirversion" and value.strip('" ') not in ("4.0", "4.0.1"):
            raise fhir_error("not-acceptable", "not-supported", "FHIR 4.0 is spoken here")


@lru_cache(maxsize=256)
def _accepted(header: str) -> bool | None:
    """Whether an `Accept` wants XML; None where it wants neither form.

    >>> _accepted("application/fhir+json;q=0.5, application/fhir+xml"), _accepted("text/html, */*")
    (True, False)
    """
    best: tuple[float, int] = (0.0, 0)
    xml: bool | None = None
    parts = header.lower().split(",")
    for part in parts:
        kind, _, rest = part.partition(";")
        kind = kind.strip()
        quality = 1.0
        for one in rest.split(";"):
            name, _, value = one.strip().partition("=")
            if name == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        if kind in _JSON:
            rank, wanted = 3, False
        elif kind in _XML:
            rank, wanted = 2, True
        elif kind in ("*/*", "application/*", ""):
            rank, wanted = 1, False
        else:
            continue
        if (quality, rank) > best and quality > 0:
            _check_version(rest)
            best, xml = (quality, rank), wanted
    if xml and "text/html" in header.lower() and "*/*" in header:
        return False  # A browser: it shows JSON just as well, and names XML by habit.
    return xml


def body_kind(request: Request) -> str:
    """The media type of a body, without parameters.

    Raises:
        FhirError: 415 for another version of FHIR.
    """
    kind, _, rest = request.headers.get("content-type", "").lower().partition(";")
    try:
        _check_version(rest)
    except FhirError as error:
        raise FhirError("unsupported-media", error.issues) from None
    return kind.strip()


async def read_body(request: Request, kinds: frozenset[str] = BODIES) -> bytes:
    """The body of a request, unpacked.

    Args:
        kinds: media types that are taken.

    Raises:
        FhirError: 415 for another media type; see `bounded`.
    """
    kind = body_kind(request)
    if kind not in kinds:
        text = f"Content-Type {kind[:60] or 'missing'}: send {' or '.join(sorted(kinds))}"
        raise fhir_error("unsupported-media", "not-supported", text)
    return await bounded(request)


async def bounded(request: Request, parts: list[bytes] | None = None) -> bytes:
    """The body of a request, unpacked, whatever its media type.

    Args:
        request: whose body is wanted.
        parts: gets what comes, and holds it when an error is raised.

    Raises:
        FhirError: 415 for another packing, 413 for too much, 400 for a body that cannot be
            unpacked.
    """
    unpack = _unpacker(request.headers.get("content-encoding", "identity").strip().lower())
    length = request.headers.get("content-length", "")
    if length.isdigit() and len(length) < 20 and int(length) > MAX_BODY:
        raise too_large()
    parts = [] if parts is None else parts
    size = 0
    async for chunk in request.stream():
        part = chunk
        if unpack is not None:
            try:
                part = unpack.decompress(chunk, MAX_BODY - size + 1)
            except zlib.error:
                raise fhir_error("incorrect", "structure", "the body cannot be unpacked") from None
        size += len(part)
        if size > MAX_BODY:
            raise too_large()
        parts.append(part)
    if unpack is not None and not unpack.eof:
        raise fhir_error("incorrect", "structure", "the packed body is cut off")
    return b"".join(parts)


def _unpacker(encoding: str) -> "zlib._Decompress | None":
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip"):
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    if encoding == "deflate":
        return zlib.decompressobj()
    text = f"Content-Encoding {encoding[:40]}: send gzip, deflate or nothing"
    raise fhir_error("unsupported-media", "not-supported", text)


def too_large() -> FhirError:
    """The error of a body beyond the limit (413)."""
    return fhir_error("too-large", "too-long", f"bodies are limited to {MAX_BODY} bytes")


def parse_body(data: bytes, kind: str, definitions: Definitions) -> object:
    """What a body holds; XML as the JSON that it stands for.

    Args:
        kind: its media type.

    Raises:
        FhirError: 400; it cannot be read, or is beyond the bounds.
    """
    try:
        if kind in _XML:
            found = from_xml(data, definitions)
            check_bounds(found)
            return found
        return read_json(data)
    except XmlError as error:
        raise fhir_error("incorrect", "structure", str(error)) from None
    except JsonError as error:
        raise fhir_error("incorrect", "structure", f"the body is not JSON: {error}") from None


def parse_resource(data: bytes, kind: str, definitions: Definitions) -> dict[str, object]:
    """The resource that a body holds.

    Raises:
        FhirError: 400; see `parse_body`.
    """
    found = parse_body(data, kind, definitions)
    if not isinstance(found, dict):
        raise fhir_error("incorrect", "structure", "the body is not a JSON object")
    return found
