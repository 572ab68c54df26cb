"""The front process: every source of messages, and HTTP."""

import asyncio
import gc
import os
import threading
from functools import partial
from typing import Any

import structlog
import uvicorn
from prometheus_client import CollectorRegistry

from segue import __version__
from segue.adapters.sources.folder import Folder, FolderConfig
from segue.adapters.sources.http import HttpIntake
from segue.adapters.sources.mllp import MllpListener, MllpListenerConfig
from segue.adapters.tls import TlsConfig
from segue.api.app import build
from segue.api.authentication import Tokens, Voice, read_tokens
from segue.api.engine import Engine
from segue.api.fhir import FhirFace
from segue.api.hl7v2 import Intake
from segue.bootstrap.beats import Beats, stage_figures
from segue.bootstrap.hub import Rules, build_hub, policies
from segue.bootstrap.start import UNREACHABLE
from segue.bootstrap.stores import Opened, run_directory, shared
from segue.hl7v2.times import dtm
from segue.pipeline.answers import mapping_judge
from segue.pipeline.hub import Hub
from segue.pipeline.metrics import PrometheusMetrics
from segue.pipeline.receive import IntakeSite, Receiver
from segue.pipeline.timers import fire_due
from segue.pipeline.waiting import Waiting
from segue.settings.sections import FeedSettings, Settings
from segue.store.database import Checkpoints


async def front(
    settings: Settings, rules: Rules, found: Opened, part: str, stop: threading.Event
) -> int:
    """Listen until `stop` is set; the exit code."""
    registry = CollectorRegistry()
    hub = build_hub(settings, found, rules)
    rules.mappings.watch(stop.wait)
    try:
        tokens = _tokens(settings)
    except (OSError, ValueError) as error:
        structlog.get_logger().error("tokens.unreadable", text=str(error))
        return UNREACHABLE
    receiver = _receiver(settings, found, hub, registry)
    sources = _sources(settings, found, receiver)
    over_http = {f.name: f.limits.bytes for f in settings.feeds.values() if f.kind == "http"}
    intake = HttpIntake(over_http, receiver, found.clock)
    listening = False
    engine = Engine(
        directory=run_directory(settings),
        expected=settings.parts,
        backlog=partial(_backlog, found),
        registry=registry,
        clock=found.clock,
        fire=lambda: fire_due(hub),
        listening=lambda: listening,
        version=__version__,
        pid=os.getppid(),
        refused=lambda: rules.mappings.refused,
    )
    app = build(
        FhirFace(hub, settings.http.base_url),
        engine,
        {
            feed: Intake(partial(intake.handle_er7, feed=feed), partial(intake.keep_cut, feed))
            for feed in over_http
        },
        tokens,
    )
    server = _server(settings, app)
    for source in sources:
        await source.start()
    gc.collect()
    gc.freeze()
    checkpoints = None if shared(settings) else Checkpoints(settings.data_dir)
    if checkpoints is not None:
        checkpoints.start()

    def figures() -> dict[str, float]:
        return stage_figures({"journal": receiver.cpu_seconds}) | rules.mappings.figures()

    with Beats(settings, part, figures):
        listening = True
        serving = asyncio.create_task(server.serve())
        structlog.get_logger().info(
            "engine.listening",
            http=str(settings.http.listen),
            feeds={
                feed.name: str(feed.listen or feed.path or feed.kind)
                for feed in settings.feeds.values()
            },
        )
        while not stop.is_set() and not serving.done():
            await asyncio.sleep(0.1)
        listening = False
        for source in sources:
            await source.stop()
        server.should_exit = True
        await serving
        await asyncio.to_thread(receiver.close)
    if checkpoints is not None:
        await asyncio.to_thread(checkpoints.stop)
    return 0


def _server(settings: Settings, app: Any) -> uvicorn.Server:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.http.listen.host,
            port=settings.http.listen.port,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=5,
            server_header=False,
        )
    )
    # Signals are the parent's.
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    return server


def _tokens(settings: Settings) -> Tokens:
    voices = {
        feed.client: Voice(feed.site, feed.history, frozenset(feed.edits))
        for feed in settings.feeds.values()
        if feed.kind == "fhir" and feed.client
    }
    return read_tokens(settings.http.tokens, voices)


def _receiver(settings: Settings, found: Opened, hub: Hub, registry: CollectorRegistry) -> Receiver:
    return Receiver(
        found.journal,
        {feed.name: feed.site for feed in settings.feeds.values()},
        [
            IntakeSite(
                site.name,
                site.authority,
                site.sends_as,
                site.links_by,
                site.control_id_reuse,  # type: ignore[arg-type]
            )
            for site in settings.sites.values()
        ],
        policies=policies(settings),
        judge=mapping_judge(hub),
        waiting=Waiting(found.inbox.fates, lambda: dtm(hub.now()), found.journal.answered),
        metrics=PrometheusMetrics(registry),
    )


def _sources(settings: Settings, found: Opened, receiver: Receiver) -> list[MllpListener | Folder]:
    sources: list[MllpListener | Folder] = []
    for feed in settings.feeds.values():
        if feed.kind == "mllp":
            sources.append(MllpListener(_listener(feed), receiver, found.clock))
        elif feed.kind == "folder" and feed.path is not None:
            folder = FolderConfig(feed.name, feed.path, max_bytes=feed.limits.bytes)
            sources.append(Folder(folder, receiver, found.clock))
    return sources


def _listener(feed: FeedSettings) -> MllpListenerConfig:
    assert feed.listen is not None
    tls = feed.tls
    return MllpListenerConfig(
        feed.name,
        feed.listen.host,
        feed.listen.port,
        feed.allow,
        TlsConfig(tls.cert, tls.key, tls.client_ca) if tls is not None else None,
        idle_timeout=feed.limits.idle,
        frame_timeout=feed.limits.frame,
        max_frame_bytes=feed.limits.bytes,
        max_connections=feed.limits.connections,
    )


def _backlog(found: Opened) -> dict[str, Any]:
    waiting, oldest = found.inbox.backlog()
    inbox = {"waiting": waiting, "oldest_us": oldest} | found.inbox.counts()
    outbox = {"waiting": 0, "delayed": 0, "blocked": 0, "dead": 0}
    destinations: dict[str, Any] = {}
    for name, backlog in found.deliveries.backlog().items():
        counts = {key: getattr(backlog, key) for key in outbox}
        destinations[name] = counts | {"oldest_us": backlog.oldest}
        for key, value in counts.items():
            outbox[key] += value
    return {"inbox": inbox, "outbox": outbox | {"destinations": destinations}}
