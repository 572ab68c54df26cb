"""The ASGI application: mounts every face of the engine and turns errors into outcomes."""

from collections.abc import Awaitable, Callable, Sequence

import structlog
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from segue.api import engine as engine_surface
from segue.api import fhir as fhir_surface
from segue.api import hl7v2
from segue.api.authentication import Tokens
from segue.api.exchange import base_url, refusal
from segue.api.fhir import FhirFace
from segue.api.front import HEADERS, page
from segue.api.openapi import describe
from segue.fhir.outcomes import FhirError, fhir_error

log = structlog.get_logger(__name__)


def build(
    face: FhirFace,
    engine: engine_surface.Engine,
    intakes: dict[str, hl7v2.Intake],
    tokens: Tokens,
) -> ASGIApp:
    """Put the application together: FHIR below /fhir, beside it the rest of the API.

    FHIR has an application of its own: FastAPI in front of it would cost as much as a read.

    Args:
        face: the FHIR interactions. engine: the engine's own surface.
        intakes: feeds of kind http, by name. tokens: who may ask.
    """
    app = FastAPI(
        title="Segue",
        version=engine.version,
        summary="A FHIR-native integration engine for case management.",
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(engine_surface.router(engine))
    app.add_api_route(
        "/hl7v2/{feed}",
        _receive(intakes, tokens),
        methods=["POST"],
        tags=["hl7v2"],
        summary="Take one ER7 message (or batch) and answer with its acknowledgement",
        response_class=Response,
    )
    app.add_route("/", _front(face, engine.version, sorted(intakes), tokens), methods=["GET"])
    app.openapi = describe(app, face.operations, secured=not tokens.open)  # type: ignore[method-assign]
    app.add_exception_handler(FhirError, _outcome)
    app.add_exception_handler(Exception, _broken)
    return _doors(_fhir(face, tokens), app)


def _fhir(face: FhirFace, tokens: Tokens) -> Starlette:
    routes = fhir_surface.routes(face, tokens)
    options = Route("/fhir{rest:path}", _options(routes), methods=["OPTIONS"])
    return Starlette(
        routes=[*routes, options],
        exception_handlers={
            FhirError: _outcome,
            404: _not_found,
            405: _not_allowed(routes),
            Exception: _broken,
        },
    )


def _doors(fhir: ASGIApp, rest: ASGIApp) -> ASGIApp:
    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        chosen = fhir if scope.get("path", "").startswith("/fhir") else rest
        await chosen(scope, receive, send)

    return door


def _front(
    face: FhirFace, version: str, feeds: list[str], tokens: Tokens
) -> Callable[[Request], Awaitable[Response]]:
    async def front(request: Request) -> Response:
        base = base_url(request, face.base)
        found = page(
            base, version, len(face.types), face.operations, feeds, secured=not tokens.open
        )
        return HTMLResponse(found, headers=HEADERS)

    return front


def _receive(
    intakes: dict[str, hl7v2.Intake], tokens: Tokens
) -> Callable[[Request, str], Awaitable[Response]]:
    async def receive(request: Request, feed: str) -> Response:
        return await hl7v2.receive(request, feed, intakes, tokens)

    return receive


async def _outcome(_request: Request, error: Exception) -> Response:
    assert isinstance(error, FhirError)
    return refusal(error)


async def _not_found(_request: Request, _error: Exception) -> Response:
    return refusal(fhir_error("not-found", "not-found", "no such path below /fhir"))


def _methods(found: Sequence[Route], request: Request) -> str:
    """The methods that a path below /fhir knows, as `Allow` lists them."""
    known: set[str] = set()
    for route in found:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            known |= route.methods or set()
    return ", ".join(sorted(known | {"OPTIONS"})) if known else ""


def _options(found: Sequence[Route]) -> Callable[[Request], Awaitable[Response]]:
    async def options(request: Request) -> Response:
        allowed = _methods(found, request)
        if not allowed:
            return await _not_found(request, Exception())
        return Response(status_code=204, headers={"Allow": allowed})

    return options


def _not_allowed(
    found: Sequence[Route],
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def not_allowed(request: Request, error: Exception) -> Response:
        allowed = _methods(found, request)
        if not allowed:
            return await _not_found(request, error)
        text = f"{request.method} is not done here: {allowed} are"
        answer = refusal(fhir_error("not-allowed", "not-supported", text))
        answer.headers["Allow"] = allowed
        return answer

    return not_allowed


async def _broken(request: Request, error: Exception) -> Response:
    # The text of an unexpected error may hold patient data: its class is enough.
    log.error("request.broke", method=request.method, error=type(error).__name__)
    body = {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "fatal",
                "code": "exception",
                "diagnostics": f"{type(error).__name__}: the engine's log has more",
            }
        ],
    }
    return JSONResponse(body, 500, media_type="application/fhir+json")
