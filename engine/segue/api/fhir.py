"""FHIR R4 over HTTP: the interactions, who may use them, and what answers them.

Each request is read on the event loop and done on a thread: the store's drivers block,
and the process also listens for messages. Only a plain read from an embedded store is done at
once: SQLite has its row in less time than a thread takes to be woken.

Source: https://hl7.org/fhir/R4/http.html
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import structlog
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from segue import __version__
from segue.api.authentication import Client, Tokens
from segue.api.call import Call
from segue.api.catalog import OPERATIONS
from segue.api.context import Context
from segue.api.exchange import Preferences, answer, base_url, refusal
from segue.api.negotiation import BODIES, FORM, PATCHES, Form, body_kind, read_body
from segue.api.operations import Operations
from segue.fhir import canonical
from segue.fhir.conformance import capability_statement, claims
from segue.fhir.outcomes import FhirError, fhir_error, outcome
from segue.model.instants import rfc3339
from segue.model.issues import Issue
from segue.pipeline.faults import described
from segue.pipeline.hub import Hub
from segue.pipeline.speaker import Speaker

log = structlog.get_logger(__name__)

THREADS = 8
"""Requests that are done at once; each thread has connections of its own."""

UNSTORED = frozenset({"Parameters"})
"""Types that travel and are not kept."""


class FhirFace:
    """The FHIR interactions of an engine.

    Args:
        hub: the engine.
        base: what Location and fullUrl begin with; None takes it from each request.
        operations: what is offered as `$name`.
        threads: requests that are done at once.
    """

    def __init__(
        self,
        hub: Hub,
        base: str | None = None,
        *,
        operations: Operations = OPERATIONS,
        threads: int = THREADS,
    ) -> None:
        self.hub = hub
        self.operations = operations
        self.base = base
        self.pool = ThreadPoolExecutor(threads, "fhir")
        self.types = hub.gate.definitions.resources - UNSTORED
        self.since = rfc3339(hub.now())
        self.statement = lru_cache(maxsize=8)(self._statement)

    def close(self) -> None:
        """Finish what is under way."""
        self.pool.shutdown()

    def _statement(self, root: str, secured: bool) -> str:
        return canonical.dumps(
            capability_statement(
                self.types,
                version=__version__,
                date=self.since,
                base_url=root,
                secured=secured,
                operations=self.operations.all,
                profiles=self._profiles(),
                claims=claims(),
            )
        )

    def _profiles(self) -> dict[str, list[str]]:
        """Type to the profiles that writes are held to where `meta.profile` names them."""
        found: dict[str, list[str]] = {}
        for url, one in self.hub.validator.profiles.items():
            if one.type in self.types:
                found.setdefault(one.type, []).append(url)
        return found


@dataclass(frozen=True, slots=True)
class Interaction:
    """A way to ask: routes, OPTIONS and the OpenAPI description are made of these.

    Attributes:
        path: with `{type}`, `{id}` and the like.
        do: what answers; its docstring says what it is for.
        takes: media types of the body; empty: there is none.
        writes: whether the right to write is needed. What a Bundle or an operation may do
            is judged where it is known what it does.
        optional: whether the body may be absent.
        brief: whether it looks up one row, and sends its text as it is stored unless the
            request has parameters.
    """

    method: str
    path: str
    do: Callable[[Call], Response]
    takes: frozenset[str] = frozenset()
    writes: bool = False
    optional: bool = False
    brief: bool = False


_ONE, _MANY = "/fhir/{type}/{id}", "/fhir/{type}"
_WITHIN = "/fhir/{compartment}/{id}"

INTERACTIONS = (
    Interaction("GET", _ONE, Call.read, brief=True),
    Interaction("GET", "/fhir/_history", Call.history),
    Interaction("POST", "/fhir", Call.bundle, BODIES),
    Interaction("POST", "/fhir/", Call.bundle, BODIES),
    *(
        Interaction(method, f"{place}/${{name}}", Call.operation, takes, optional=True)
        for place in ("/fhir", _MANY, _ONE)
        for method, takes in (("GET", frozenset[str]()), ("POST", BODIES))
    ),
    Interaction("POST", f"{_MANY}/_search", Call.search, FORM, optional=True),
    Interaction("GET", f"{_MANY}/_history", Call.history),
    Interaction("GET", f"{_ONE}/_history/{{version}}", Call.vread, brief=True),
    Interaction("GET", f"{_ONE}/_history", Call.history),
    Interaction("GET", f"{_WITHIN}/{{type}}", Call.search),
    Interaction("POST", f"{_WITHIN}/{{type}}/_search", Call.search, FORM, optional=True),
    Interaction("PUT", _ONE, Call.update, BODIES, writes=True),
    Interaction("PATCH", _ONE, Call.patch, PATCHES, writes=True),
    Interaction("DELETE", _ONE, Call.delete, writes=True),
    Interaction("GET", _MANY, Call.search),
    Interaction("POST", _MANY, Call.create, BODIES, writes=True),
    Interaction("PUT", _MANY, Call.update, BODIES, writes=True),
    Interaction("PATCH", _MANY, Call.patch, PATCHES, writes=True),
    Interaction("DELETE", _MANY, Call.delete, writes=True),
)
"""In the order in which paths are matched."""


class _Id(Convertor[str]):
    """What may be an id in a path: `_history` and `$name` never are."""

    regex = "[^/_$][^/]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("fhir_id", _Id())


def routes(face: FhirFace, tokens: Tokens) -> list[Route]:
    """All routes below /fhir."""

    def stated(form: Form, root: str) -> Response:
        text = face.statement(root, not tokens.open)
        return form.shape(answer(text), face.hub.gate.definitions)

    async def metadata(request: Request) -> Response:
        try:
            form = Form.of(request)
        except FhirError as error:
            return refusal(error)
        root = base_url(request, face.base)
        return await asyncio.get_running_loop().run_in_executor(face.pool, stated, form, root)

    return [
        Route("/fhir/metadata", metadata, methods=["GET"], include_in_schema=False),
        *(
            Route(
                one.path.replace("{id}", "{id:fhir_id}"),
                _endpoint(face, tokens, one),
                methods=[one.method],
                include_in_schema=False,
            )
            for one in INTERACTIONS
        ),
    ]


def _endpoint(
    face: FhirFace, tokens: Tokens, interaction: Interaction
) -> Callable[[Request], Awaitable[Response]]:
    definitions = face.hub.gate.definitions
    brief = interaction.brief and face.hub.store.embedded

    def run(form: Form, context: Context, request: Request, kind: str, body: bytes) -> Response:
        try:
            call = Call(
                context,
                request.method,
                request.headers,
                _query(request),
                dict(request.path_params),
                kind,
                body,
            )
            found = interaction.do(call)
        except FhirError as error:
            found = refusal(error)
        return form.shape(found, definitions)

    async def endpoint(request: Request) -> Response:
        form = Form()
        try:
            form = Form.of(request)
            client = _admitted(tokens, request, writes=interaction.writes)
            kind, body = "", b""
            if interaction.takes and not (interaction.optional and _bare(request)):
                kind = body_kind(request)
                body = await read_body(request, interaction.takes)
            root = base_url(request, face.base)
            context = Context(
                face.hub,
                _speaker(client),
                root,
                Preferences.of(request.headers.getlist("prefer")),
                face.operations,
                face.types,
                lambda: face.statement(root, not tokens.open),
            )
            if brief and not request.scope["query_string"] and not form.xml:
                return run(form, context, request, kind, body)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(face.pool, run, form, context, request, kind, body)
        except FhirError as error:
            return form.shape(refusal(error), definitions)
        except Exception as error:  # noqa: BLE001 - its text may hold patient data
            log.error("request.broke", method=request.method, **described(error))  # noqa: TRY400
            issue = Issue("error", "exception", "", "the engine failed: its log has more")
            return answer(outcome([issue]), 500)

    return endpoint


def _query(request: Request) -> str:
    """The query of the URL, still encoded.

    Raises:
        FhirError: 400; it holds bytes that are no text.
    """
    try:
        return str(request.scope["query_string"], "utf-8")
    except UnicodeDecodeError:
        raise fhir_error("incorrect", "value", "the query of the URL is not UTF-8") from None


def _bare(request: Request) -> bool:
    """Whether a request comes without a body."""
    headers = request.headers
    return "content-type" not in headers and headers.get("content-length", "0") == "0"


def _speaker(client: Client) -> Speaker:
    return Speaker(
        client.name,
        client.site,
        client.history,
        anonymous=client.anonymous,
        may_write=client.may_write,
        operates=client.role == "operator",
        others=client.edits,
    )


def _admitted(tokens: Tokens, request: Request, *, writes: bool) -> Client:
    """The caller, where they may do this.

    Raises:
        FhirError: 401, 403.
    """
    client = tokens.client(request.headers.get("authorization"))
    if client is None:
        text = "send Authorization: Bearer with the token of a client"
        raise fhir_error("unauthorised", "login", text)
    if writes and not client.may_write:
        raise fhir_error("forbidden", "forbidden", "this client may read, and not write")
    return client
