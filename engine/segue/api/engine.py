"""The engine's own surface: /health, /metrics, and /-/clock for a simulated time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import BaseModel

from segue.model.instants import microseconds, rfc3339
from segue.pipeline.clock import DomainClock, SharedClock
from segue.pipeline.parts import Part, parts


@dataclass(frozen=True, slots=True)
class Engine:
    """What the engine's surface shows.

    Attributes:
        directory: where the parts report. expected: names of the parts that must live.
        backlog: the state of inbox and outbox, `{"inbox": {…}, "outbox": {…}}`.
        registry: the metrics of this process.
        fire: fires the timers that are due, for a simulated clock.
        listening: whether all sources of this process are open.
        pid: process id of the parent, which is to be sent signals.
        refused: what is wrong with mapping files that were changed; the ones before hold.
    """

    directory: Path
    expected: tuple[str, ...]
    backlog: Callable[[], dict[str, Any]]
    registry: CollectorRegistry
    clock: DomainClock
    fire: Callable[[], object]
    listening: Callable[[], bool]
    version: str
    pid: int
    refused: Callable[[], Sequence[str]] = tuple


class Advance(BaseModel):
    """The instant to move a simulated clock to: RFC 3339 with offset."""

    advance_to: datetime


def router(engine: Engine) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["engine"])

    @routes.get("/health", summary="State of each part; 200 when ready, 503 when not")
    def health() -> JSONResponse:
        body = _health(engine)
        return JSONResponse(body, 200 if body["status"] == "ready" else 503)

    @routes.get("/metrics", summary="Figures for Prometheus")
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(
            generate_latest(engine.registry).decode() + _figures(parts(engine.directory)),
            media_type="text/plain; version=0.0.4; charset=utf-8",
        )

    @routes.post("/-/clock", summary="Move a simulated clock; fires what is due")
    def clock(advance: Advance, request: Request) -> dict[str, str]:
        host = request.client.host if request.client else ""
        if not isinstance(engine.clock, SharedClock):
            raise HTTPException(409, "the clock is the system's: start with SEGUE_CLOCK")
        if not host.startswith(("127.", "::1", "testclient")):
            raise HTTPException(403, "only from this machine")
        if advance.advance_to.tzinfo is None:
            raise HTTPException(400, "advance_to: the instant needs an offset, such as -04:00")
        try:
            engine.clock.advance_to(microseconds(advance.advance_to))
        except ValueError as error:
            raise HTTPException(409, str(error)) from None
        engine.fire()
        return {"now": rfc3339(engine.clock.us())}

    return routes


def _health(engine: Engine) -> dict[str, Any]:
    """What /health says."""
    living = {part.name: part for part in parts(engine.directory)}
    states = {name: _state(living.get(name)) for name in engine.expected}
    states["sources"] = "up" if engine.listening() else "starting"
    problem = {}
    backlog: dict[str, Any] = {"inbox": {}, "outbox": {}}
    try:
        backlog = engine.backlog()
        states["store"] = "up"
    except Exception as error:  # noqa: BLE001 - whatever it is, health must say it
        states["store"] = "down"
        problem = {"problem": type(error).__name__}
    body = {
        "status": "ready" if set(states.values()) == {"up"} else "not ready",
        "version": engine.version,
        "pid": engine.pid,
        "parts": states,
        "clock": {"now": rfc3339(engine.clock.us()), "simulated": engine.clock.simulated},
        **backlog,
    }
    if refused := engine.refused():
        body["mappings"] = {"state": "refused", "faults": list(refused)}
    return body | problem


def _figures(reported: Iterable[Part]) -> str:
    """The figures that other processes report, in the text format of Prometheus."""
    lines = []
    seen: set[str] = set()
    for part in reported:
        for name, value in sorted(part.figures.items()):
            bare, brace, labels = name.partition("{")
            if bare not in seen:
                seen.add(bare)
                kind = "counter" if bare.endswith("_total") else "gauge"
                lines.append(f"# TYPE {bare} {kind}\n")
            inner = labels.rstrip("}") if brace else ""
            joined = f'{inner},part="{part.name}"' if inner else f'part="{part.name}"'
            lines.append(f"{bare}{{{joined}}} {value}\n")
    return "".join(lines)


def _state(part: Part | None) -> str:
    if part is None:
        return "starting"
    return "up" if part.alive else "silent"
