"""The FHIR face over a hub in one process, with the stories' clients."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import httpx
import uvicorn
from prometheus_client import CollectorRegistry

from segue.api.app import build
from segue.api.authentication import Client, Tokens
from segue.api.catalog import OPERATIONS
from segue.api.engine import Engine
from segue.api.fhir import FhirFace
from segue.api.operations import Operations
from segue.pipeline.routes import Route
from segue.store.outbox import Outbox
from segue.store.store import open_journal, open_store
from tests.support.hub import Bench, TestClock, make_hub

BASE = "http://testserver/fhir"
CLIENTS = (
    Client("pcpb", "client", "pcpb"),
    Client("payx", "client", "payx"),
    Client("hospa-cm", "client", "hospa"),
    Client("pcpb-history", "client", "pcpb", history=True),
    Client("nobody", "client"),
    Client("steward", "client", "hospb", edits=frozenset({"*"})),
    Client("demo", "reader"),
    Client("office", "operator"),
)
ROUTES = (
    Route(
        "pcpb",
        "pcpb",
        frozenset({"Encounter", "CarePlan", "Task", "DocumentReference"}),
        receipt="record",
    ),
    Route("payx", "payx", frozenset({"Encounter", "CarePlan", "Task"})),
)


class Http:
    """Requests to an application without a server."""

    def __init__(self, app: Any) -> None:
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://testserver")

    def request(self, *args: Any, **kwargs: Any) -> httpx.Response:
        return self.together([(args, kwargs)])[0]

    def together(self, requests: Sequence[tuple[Any, dict[str, Any]]]) -> list[httpx.Response]:
        """Several requests at once."""

        async def run() -> list[httpx.Response]:
            calls = [self._client.request(*args, **kwargs) for args, kwargs in requests]
            return list(await asyncio.gather(*calls))

        return self._runner.run(run())

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


@dataclass
class Api:
    """A running face: what clients do, and what feeds bring.

    Attributes:
        app: the application itself.
        counter: makes `urn:uuid` of entries.
    """

    bench: Bench
    http: Http
    app: Any = None
    counter: int = 0
    seen: list[str] = field(default_factory=list)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        client: str = "pcpb",
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One request of a client, "" for one without a token."""
        # No two requests are made in the same millisecond.
        self.bench.clock.us += 1000
        sent = {"Authorization": f"Bearer {client}"} if client else {}
        kwargs: dict[str, Any] = {}
        if isinstance(body, (bytes, str)):
            kwargs["content"] = body
        elif body is not None:
            kwargs["json"] = body
            sent["Content-Type"] = "application/fhir+json"
        return self.http.request(method, path, headers={**sent, **(headers or {})}, **kwargs)

    def get(self, path: str, **kwargs: Any) -> Any:
        """The body of a read that must succeed."""
        answer = self.call("GET", f"/fhir/{path}", **kwargs)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def find(self, type_: str, query: str = "") -> list[dict[str, Any]]:
        """All resources that a search finds."""
        bundle = self.get(f"{type_}?_count=500&{query}")
        return [entry["resource"] for entry in bundle.get("entry", [])]

    def post(
        self,
        resources: Sequence[dict[str, Any]],
        *,
        client: str = "pcpb",
        kind: str = "transaction",
    ) -> Any:
        """A Bundle: resources with an id are updates."""
        entries = []
        for sent in resources:
            resource = dict(sent)
            self.counter += 1
            url = resource.pop("_fullUrl", f"urn:uuid:00000000-0000-4000-8000-{self.counter:012d}")
            request = {"method": "POST", "url": resource["resourceType"]}
            if "id" in resource:
                target = f"{resource['resourceType']}/{resource['id']}"
                request = {"method": "PUT", "url": target}
            entries.append({"fullUrl": url, "resource": resource, "request": request})
        bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
        return self.call("POST", "/fhir", bundle, client=client)

    def hl7(self, message: str, site: str = "hospa") -> None:
        """A feed's message, processed."""
        self.bench.work(message, site=site)

    def at(self, instant: str) -> None:
        """Set the clock."""
        self.bench.clock.set(instant)

    def deliveries(self) -> dict[str, list[str]]:
        """What each destination must hear, since the last call."""
        found: dict[str, list[str]] = {}
        outbox = Outbox(self.bench.hub.store.database, "test")
        for lease in (lease for route in ROUTES for lease in outbox.lease(route.name)):
            for queued in outbox.read(lease, lease.cursor, 1000):
                text = f"{queued.id} {queued.delivery.destination}"
                if text not in self.seen:
                    self.seen.append(text)
                    what = queued.delivery.what
                    found.setdefault(queued.delivery.destination, []).append(what)
        return found


@contextmanager
def running(
    where: Path | str,
    directory: Path,
    *,
    clock: str = "2026-07-10T15:30:00-04:00",
    open_to_all: bool = False,
    routes: Sequence[Route] = ROUTES,
    operations: Operations = OPERATIONS,
) -> Iterator[Api]:
    """Start a face over a store.

    Args:
        where: data directory, or URL of PostgreSQL.
        directory: for what is not in the store.
        open_to_all: without tokens, as on loopback.
        operations: what is offered as `$name`.
    """
    at = TestClock.at(clock)
    bench = make_hub(where if isinstance(where, Path) else directory / "unused", at, routes)
    if not isinstance(where, Path):
        bench.close()
        bench.hub = replace(
            bench.hub, store=open_store(where, at), journal=open_journal(where), numbers=[]
        )
    known = {hashlib.sha256(c.name.encode()).hexdigest(): c for c in CLIENTS}
    face = FhirFace(bench.hub, operations=operations)
    engine = Engine(
        directory,
        (),
        dict,
        CollectorRegistry(),
        bench.clock,  # type: ignore[arg-type]
        lambda: None,
        lambda: True,
        "0",
        1,
    )
    app = build(face, engine, {}, Tokens(None if open_to_all else known))
    http = Http(app)
    try:
        yield Api(bench, http, app)
    finally:
        http.close()
        face.close()
        bench.hub.store.close()
        bench.hub.journal.close()


@contextmanager
def listening(api: Api) -> Iterator[str]:
    """Serve a face over a real socket; gives its URL."""
    server = uvicorn.Server(
        uvicorn.Config(api.app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    )
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = monotonic() + 20
        while not server.started:
            assert monotonic() < deadline, "the server does not start"
            sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/fhir"
    finally:
        server.should_exit = True
        thread.join(20)
