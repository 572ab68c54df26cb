"""FHIR R4 over HTTP: the routes, who may use them, and what answers them.

Each request is read on the event loop and done on a thread: the store's drivers block,
and the process also listens for messages.

Source: https://hl7.org/fhir/R4/http.html
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from segue import __version__
from segue.api import read, search, write
from segue.api.authentication import Client, Tokens
from segue.api.catalog import OPERATIONS
from segue.api.exchange import (
    FORM,
    Preferences,
    answer,
    base_url,
    body_of,
    check_format,
    parse_object,
    read_body,
    refusal,
    version_headers,
)
from segue.api.operations import Invocation, Level, Operations
from segue.fhir import canonical
from segue.fhir.bundles import Entry
from segue.fhir.conformance import capability_statement
from segue.fhir.outcomes import FhirError, fhir_error, outcome
from segue.model.instants import rfc3339
from segue.model.issues import Issue
from segue.pipeline.engine import Hub
from segue.pipeline.faults import described
from segue.pipeline.statements import Speaker

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
        self.metadata = lru_cache(maxsize=8)(self._metadata)

    def close(self) -> None:
        """Finish what is under way."""
        self.pool.shutdown()

    def _metadata(self, root: str, secured: bool) -> str:
        return canonical.dumps(
            capability_statement(
                self.types,
                version=__version__,
                date=self.since,
                base_url=root,
                secured=secured,
                operations=self.operations.all,
            )
        )

    def check(self, type_: str) -> None:
        """Let a type pass that is stored (404)."""
        if type_ not in self.types:
            raise fhir_error("not-found", "not-supported", f"there is no resource type {type_!r}")


class Call:
    """One request, read as far as the event loop has to."""

    def __init__(self, face: FhirFace, request: Request, client: Client, body: bytes) -> None:
        self.face = face
        self.hub = face.hub
        self.client = client
        self.body = body
        self.method = request.method
        self.headers = request.headers
        self.query = parse_qsl(request.url.query, keep_blank_values=True)
        self.root = base_url(request, face.base)
        self.prefer = Preferences.of(request.headers.getlist("prefer"))
        self.parts: dict[str, str] = dict(request.path_params)

    @property
    def type(self) -> str:
        """The resource type in the URL."""
        return self.parts["type"]

    @property
    def speaker(self) -> Speaker:
        """Who asks."""
        client = self.client
        return Speaker(
            client.name,
            client.site,
            client.history,
            anonymous=client.anonymous,
            may_write=client.may_write,
            others=client.edits,
        )

    # --- reads ---------------------------------------------------------------------------

    def read(self) -> Response:
        """The current version."""
        self.face.check(self.type)
        with self.hub.store.read() as reader:
            stored = read.current(reader, self.type, self.parts["id"])
        headers = version_headers(stored)
        if read.unchanged(stored, self.headers):
            return answer(None, 304, headers)
        return answer(body_of(stored), 200, headers)

    def vread(self) -> Response:
        """One version."""
        self.face.check(self.type)
        with self.hub.store.read() as reader:
            stored = read.version(reader, self.type, self.parts["id"], self.parts["version"])
        return answer(body_of(stored), 200, version_headers(stored))

    def history(self) -> Response:
        """Versions of a resource, of a type, or of all."""
        type_ = self.parts.get("type")
        if type_ is not None:
            self.face.check(type_)
        with self.hub.store.read() as reader:
            return answer(
                read.history(reader, self.root, dict(self.query), type_, self.parts.get("id"))
            )

    def search(self) -> Response:
        """A search by GET, or by POST with a form."""
        self.face.check(self.type)
        pairs = list(self.query)
        if self.body:
            try:
                pairs += parse_qsl(self.body.decode(), keep_blank_values=True)
            except ValueError:
                raise fhir_error("incorrect", "value", "the form is not UTF-8") from None
        with self.hub.store.read() as reader:
            query = search.parse(reader, self.type, pairs, self.root, strict=self.prefer.strict)
            return answer(search.search(reader, query, self.root))

    # --- writes --------------------------------------------------------------------------

    def create(self) -> Response:
        """POST [base]/[type]."""
        return self._write("POST", parse_object(self.body))

    def update(self) -> Response:
        """PUT [base]/[type]/[id], or PUT [base]/[type]?[search]."""
        return self._write("PUT", parse_object(self.body))

    def delete(self) -> Response:
        """DELETE [base]/[type]/[id], or DELETE [base]/[type]?[search]."""
        return self._write("DELETE", None)

    def _write(self, method: Any, resource: dict[str, Any] | None) -> Response:
        self.face.check(self.type)
        id_ = self.parts.get("id")
        query = [pair for pair in self.query if pair[0] not in ("_format", "_pretty")]
        entry = Entry(
            0,
            method,
            self.type,
            id_,
            tuple(query) if id_ is None else (),
            "",
            resource,
            None,
            self.headers.get("if-match"),
            self.headers.get("if-none-match"),
            self.headers.get("if-none-exist"),
        )
        return write.single(self.hub, self.speaker, entry, self.root, self.prefer)

    def bundle(self) -> Response:
        """POST [base]: a batch or transaction."""
        found = write.together(
            self.hub,
            self.speaker,
            parse_object(self.body),
            self.root,
            self.prefer,
            self.face.operations,
        )
        return answer(found)

    # --- operations ----------------------------------------------------------------------

    def operation(self) -> Response:
        """An operation of the system, of a type, or of a resource, by GET or POST."""
        type_, id_ = self.parts.get("type", ""), self.parts.get("id", "")
        if type_:
            self.face.check(type_)
        level: Level = "instance" if id_ else "type" if type_ else "system"
        body = parse_object(self.body) if self.body else None
        asked = Invocation(
            self.hub,
            self.speaker,
            level,
            type_,
            id_,
            body,
            self.query,
            self.root,
            self.prefer,
        )
        done = self.face.operations.run(asked, self.parts["name"], post=self.method == "POST")
        return answer(done.body, done.status, done.headers)


def routes(face: FhirFace, tokens: Tokens) -> list[Route]:
    """All routes below /fhir."""

    def metadata(call: Call) -> Response:
        return answer(face.metadata(call.root, not tokens.open))

    one, many = "/fhir/{type}/{id}", "/fhir/{type}"
    served: Sequence[tuple[str, str, Callable[[Call], Response]]] = (
        ("GET", "/fhir/metadata", metadata),
        ("GET", "/fhir/_history", Call.history),
        ("POST", "/fhir", Call.bundle),
        ("POST", "/fhir/", Call.bundle),
        ("GET", "/fhir/${name}", Call.operation),
        ("POST", "/fhir/${name}", Call.operation),
        ("GET", f"{many}/${{name}}", Call.operation),
        ("POST", f"{many}/${{name}}", Call.operation),
        ("GET", f"{one}/${{name}}", Call.operation),
        ("POST", f"{one}/${{name}}", Call.operation),
        ("POST", f"{many}/_search", Call.search),
        ("GET", f"{many}/_history", Call.history),
        ("GET", f"{one}/_history/{{version}}", Call.vread),
        ("GET", f"{one}/_history", Call.history),
        ("GET", one, Call.read),
        ("PUT", one, Call.update),
        ("DELETE", one, Call.delete),
        ("GET", many, Call.search),
        ("POST", many, Call.create),
        ("PUT", many, Call.update),
        ("DELETE", many, Call.delete),
    )
    return [
        Route(path, _endpoint(face, tokens, method, do), methods=[method], include_in_schema=False)
        for method, path, do in served
    ]


def _endpoint(
    face: FhirFace, tokens: Tokens, method: str, do: Callable[[Call], Response]
) -> Callable[[Request], Awaitable[Response]]:
    public = do.__name__ == "metadata"
    # What a Bundle or an operation may do is judged where it is known what it does.
    reads = method == "GET" or do in (Call.search, Call.bundle, Call.operation)

    async def endpoint(request: Request) -> Response:
        try:
            check_format(request)
            client = _admitted(tokens, request, public=public, reads=reads)
            body = b""
            if do is Call.search and method == "POST":
                body = await read_body(request, FORM)
            elif do is Call.operation:
                if method == "POST" and request.headers.get("content-type"):
                    body = await read_body(request)
            elif method in ("POST", "PUT"):
                body = await read_body(request)
            call = Call(face, request, client, body)
            return await asyncio.get_running_loop().run_in_executor(face.pool, do, call)
        except FhirError as error:
            return refusal(error)
        except Exception as error:  # noqa: BLE001 - its text may hold patient data
            log.error("request.broke", method=method, **described(error))  # noqa: TRY400
            issue = Issue("error", "exception", "", "the engine failed: its log has more")
            return answer(outcome([issue]), 500)

    return endpoint


def _admitted(tokens: Tokens, request: Request, *, public: bool, reads: bool) -> Client:
    """The caller, where they may do this.

    Raises:
        FhirError: 401, 403.
    """
    client = tokens.client(request.headers.get("authorization"))
    if client is None:
        if public:
            return Client("", "reader")
        text = "send Authorization: Bearer with the token of a client"
        raise fhir_error("unauthorised", "login", text)
    if not reads and not client.may_write:
        raise fhir_error("forbidden", "forbidden", "this client may read, and not write")
    return client
