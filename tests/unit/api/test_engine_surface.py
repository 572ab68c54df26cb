"""/health, /metrics, /-/clock and /hl7v2: the surface that is not FHIR."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.requests import ClientDisconnect

from segue.api.app import build
from segue.api.authentication import Client, Tokens
from segue.api.engine import Engine
from segue.api.fhir import FhirFace
from segue.api.hl7v2 import Intake
from segue.model.instants import microseconds
from segue.pipeline.clock import SharedClock, SystemClock
from segue.pipeline.parts import Pulse
from segue.pipeline.receive import NotDurable
from tests.support.hub import make_hub

ACK = b"MSH|^~\\&|HUB||ADT|HOSPA|||ACK|1|P|2.5.1\rMSA|AA|1\r"


class Surface:
    """An application whose parts the test chooses."""

    def __init__(self, directory: Path, **changes: Any) -> None:
        bench = make_hub(directory / "data")
        self.fired: list[str] = []
        self.registry = CollectorRegistry()
        parts: dict[str, Any] = {
            "directory": directory,
            "expected": ("front",),
            "backlog": lambda: {"inbox": {"waiting": 3}, "outbox": {}},
            "registry": self.registry,
            "clock": SystemClock(),
            "fire": lambda: self.fired.append("due"),
            "listening": lambda: True,
            "version": "1.2.3",
            "pid": 1,
        }
        intakes = changes.pop("intakes", {})
        tokens = changes.pop("tokens", Tokens(None))
        self.face = FhirFace(bench.hub)
        self.app = build(self.face, Engine(**(parts | changes)), intakes, tokens)
        self.bench = bench

    def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
                return await client.request(method, path, **kwargs)

        return asyncio.run(run())

    def close(self) -> None:
        self.face.close()
        self.bench.close()


@pytest.fixture
def surface(tmp_path: Path) -> Any:
    made: list[Surface] = []

    def make(**changes: Any) -> Surface:
        made.append(Surface(tmp_path, **changes))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[..., Surface]


def test_health_is_ready_when_every_part_lives(surface: Make, tmp_path: Path) -> None:
    Pulse(tmp_path, "front", dict).beat()
    answer = surface().call("GET", "/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "ready"
    assert body["parts"] == {"front": "up", "sources": "up", "store": "up"}
    assert body["inbox"] == {"waiting": 3}
    assert body["clock"]["simulated"] is False


def test_health_is_not_ready_while_a_part_is_missing_or_the_store_is_down(surface: Make) -> None:
    def down() -> dict[str, Any]:
        raise ConnectionError("SMITH^JOHN")

    answer = surface(backlog=down, listening=lambda: False).call("GET", "/health")
    assert answer.status_code == 503
    body = answer.json()
    assert body["parts"] == {"front": "starting", "sources": "starting", "store": "down"}
    assert body["problem"] == "ConnectionError"
    assert "SMITH" not in answer.text


def test_metrics_join_the_figures_of_all_parts(surface: Make, tmp_path: Path) -> None:
    Pulse(tmp_path, "worker-0", lambda: {'segue_stage_seconds_total{stage="fold"}': 2.5}).beat()
    made = surface()
    Counter("segue_received", "Messages.", registry=made.registry).inc()
    text = made.call("GET", "/metrics").text
    assert "segue_received_total 1.0" in text
    assert "# TYPE segue_stage_seconds_total counter" in text
    assert 'segue_stage_seconds_total{stage="fold",part="worker-0"} 2.5' in text


def test_a_simulated_clock_is_moved_on_and_what_is_due_fires(surface: Make, tmp_path: Path) -> None:
    clock = SharedClock.create(tmp_path / "clock", "2026-07-05T08:00:00-04:00")
    made = surface(clock=clock)
    answer = made.call("POST", "/-/clock", json={"advance_to": "2026-07-06T08:00:00-04:00"})
    assert (answer.status_code, answer.json()) == (200, {"now": "2026-07-06T12:00:00.000Z"})
    assert clock.us() == microseconds(datetime.fromisoformat("2026-07-06T08:00:00-04:00"))
    assert made.fired == ["due"]
    back = made.call("POST", "/-/clock", json={"advance_to": "2026-07-05T08:00:00-04:00"})
    assert back.status_code == 409
    naive = made.call("POST", "/-/clock", json={"advance_to": "2026-07-07T08:00:00"})
    assert naive.status_code == 400


def test_the_systems_clock_is_not_moved(surface: Make) -> None:
    answer = surface().call("POST", "/-/clock", json={"advance_to": "2036-07-06T08:00:00-04:00"})
    assert answer.status_code == 409


def intake(take: Callable[[bytes], Awaitable[bytes]], kept: list[Any] | None = None) -> Intake:
    held = [] if kept is None else kept
    return Intake(take, lambda body, cut: held.append((body, cut)))


async def accept(_body: bytes) -> bytes:
    return ACK


def test_a_message_by_http_is_answered_with_its_acknowledgement(surface: Make) -> None:
    made = surface(intakes={"adt": intake(accept)})
    answer = made.call("POST", "/hl7v2/adt", content=b"MSH|")
    assert (answer.status_code, answer.content) == (200, ACK)
    assert answer.headers["content-type"].startswith("x-application/hl7-v2+er7")
    unknown = made.call("POST", "/hl7v2/other", content=b"MSH|")
    assert unknown.status_code == 404
    assert "adt" in unknown.text


def test_a_body_that_does_not_come_whole_is_kept(surface: Make) -> None:
    kept: list[Any] = []

    async def cut() -> AsyncIterator[bytes]:
        yield b"MSH|first"
        raise ClientDisconnect

    made = surface(intakes={"adt": intake(accept, kept)})
    answer = made.call("POST", "/hl7v2/adt", content=cut())
    assert answer.status_code == 400
    assert b"MSA" not in answer.content
    packed = gzip.compress(b"MSH|second" * 200)[:-8]
    header = {"Content-Encoding": "gzip"}
    assert made.call("POST", "/hl7v2/adt", content=packed, headers=header).status_code == 400
    assert kept == [(b"MSH|first", "truncated"), (b"MSH|second" * 200, "truncated")]


def test_a_message_that_is_not_durable_is_not_acknowledged(surface: Make) -> None:
    async def refuse(_body: bytes) -> bytes:
        raise NotDurable("the journal is full")

    answer = surface(intakes={"adt": intake(refuse)}).call("POST", "/hl7v2/adt", content=b"MSH|")
    assert answer.status_code == 503
    assert b"MSA" not in answer.content


def test_a_message_needs_a_client_that_may_write(surface: Make) -> None:
    key = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # "secret"
    tokens = Tokens({key: Client("demo", "reader")})
    made = surface(intakes={"adt": intake(accept)}, tokens=tokens)
    assert made.call("POST", "/hl7v2/adt", content=b"MSH|").status_code == 401
    header = {"Authorization": "Bearer secret"}
    answer = made.call("POST", "/hl7v2/adt", content=b"MSH|", headers=header)
    assert answer.status_code == 403


def test_errors_of_paths_are_outcomes_under_fhir_only(surface: Make) -> None:
    made = surface()
    assert made.call("GET", "/fhir/a/b/c/d/e").json()["resourceType"] == "OperationOutcome"
    assert made.call("PATCH", "/fhir/Patient/1").json()["resourceType"] == "OperationOutcome"
    assert "resourceType" not in made.call("GET", "/nowhere").json()
    assert made.call("GET", "/hl7v2/adt").status_code == 405
