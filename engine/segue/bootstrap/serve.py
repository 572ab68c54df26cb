"""One process of a running engine: `front`, a worker, or `sender`.

Each ends when the parent's pipe closes: it lets go of what it listens to, finishes what
it has in hand, and returns. Signals are the parent's.
"""

import asyncio
import gc
import os
import select
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from segue.bootstrap import (
    UNREACHABLE,
    Opened,
    Rules,
    Unreachable,
    build_hub,
    build_matcher,
    clock_of,
    open_parts,
    policies,
    run_directory,
    shared,
)
from segue.pipeline.parts import Pulse
from segue.pipeline.ports import Destination
from segue.settings.sections import ClientTlsSettings, Settings
from segue.store.database import Checkpoints

BEAT_SECONDS = 1.0


def serve(settings: Settings, rules: Rules, part: str, pipe: int) -> int:
    """Run one part until the pipe closes; the exit code.

    Args:
        settings: of the engine.
        rules: read by the parent.
        part: `front`, `worker-0` …, `sender`.
        pipe: file descriptor whose end of file says stop.
    """
    _log(part)
    # The hot path makes many objects and no cycles. A batch has some hundred thousand at
    # once, and to look through them would find nothing.
    if part.startswith("worker"):
        gc.set_threshold(1_000_000, 10, 10)
    else:
        gc.set_threshold(100_000, 50, 50)
    clock = clock_of(settings)
    holder = f"{part}-{os.getpid()}-{time.monotonic_ns() & 0xFFFFFF:x}"
    try:
        found = open_parts(settings, clock, holder)
    except Unreachable as error:
        structlog.get_logger().error("part.unreachable", part=part, text=str(error))
        return UNREACHABLE
    stop = threading.Event()
    threading.Thread(target=_watch, args=(pipe, stop), name="pipe", daemon=True).start()
    try:
        if part.startswith("worker"):
            return _work(settings, rules, found, part, holder, stop)
        run = _front if part == "front" else _send
        try:
            import uvloop

            return uvloop.run(run(settings, rules, found, part, stop))
        except ImportError:
            return asyncio.run(run(settings, rules, found, part, stop))
    finally:
        found.store.close()
        found.journal.close()


def _log(part: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(part=part)


def _watch(pipe: int, stop: threading.Event) -> None:
    """Set `stop` when the parent is gone."""
    while not stop.is_set():
        ready, _, _ = select.select([pipe], [], [], 1.0)
        if ready and not os.read(pipe, 1):
            stop.set()


class _Beats:
    """A thread that reports once a second."""

    def __init__(
        self, settings: Settings, part: str, figures: Callable[[], Mapping[str, float]]
    ) -> None:
        self._pulse = Pulse(run_directory(settings), part, figures)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> "_Beats":
        self._pulse.beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(2)
        self._pulse.stop()

    def _run(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            self._pulse.beat()


def stage_figures(seconds: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds by stage as Prometheus names them."""
    return {
        f'segue_stage_cpu_seconds_total{{stage="{stage}"}}': value
        for stage, value in seconds.items()
    }


# --- worker --------------------------------------------------------------------------------


def _work(
    settings: Settings,
    rules: Rules,
    found: Opened,
    part: str,
    holder: str,
    stop: threading.Event,
) -> int:
    from segue.pipeline.workers import Worker

    hub = build_hub(settings, found, rules)
    rules.mappings.watch(stop.wait)
    worker = Worker(hub, holder, build_matcher(settings, hub, holder))
    gc.collect()
    gc.freeze()
    with _Beats(settings, part, lambda: stage_figures(hub.stages.seconds) | worker.figures()):
        worker.run(stop)
    return 0


# --- front ---------------------------------------------------------------------------------


async def _front(
    settings: Settings, rules: Rules, found: Opened, part: str, stop: threading.Event
) -> int:
    import uvicorn

    from segue import __version__
    from segue.adapters.sources.folder import Folder, FolderConfig
    from segue.adapters.sources.http import HttpIntake
    from segue.adapters.sources.mllp import MllpListener, MllpListenerConfig, TlsConfig
    from segue.api.app import build
    from segue.api.authentication import Voice, read_tokens
    from segue.api.engine import Engine
    from segue.api.fhir import FhirFace
    from segue.hl7v2.times import dtm
    from segue.pipeline.answers import mapping_judge
    from segue.pipeline.metrics import PrometheusMetrics
    from segue.pipeline.receive import IntakeSite, Receiver
    from segue.pipeline.timers import fire_due
    from segue.pipeline.waiting import Waiting

    registry = CollectorRegistry()
    hub = build_hub(settings, found, rules)
    rules.mappings.watch(stop.wait)
    receiver = Receiver(
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
        waiting=Waiting(found.inbox.fates, lambda: dtm(hub.now())),
        metrics=PrometheusMetrics(registry),
    )
    sources: list[Any] = []
    for feed in settings.feeds.values():
        if feed.kind == "mllp" and feed.listen is not None:
            tls = None
            if feed.tls is not None:
                tls = TlsConfig(feed.tls.cert, feed.tls.key, feed.tls.client_ca)
            config = MllpListenerConfig(
                feed.name,
                feed.listen.host,
                feed.listen.port,
                feed.allow,
                tls,
                idle_timeout=feed.limits.idle,
                frame_timeout=feed.limits.frame,
                max_frame_bytes=feed.limits.bytes,
                max_connections=feed.limits.connections,
            )
            sources.append(MllpListener(config, receiver, found.clock))
        elif feed.kind == "folder" and feed.path is not None:
            folder = FolderConfig(feed.name, feed.path, max_bytes=feed.limits.bytes)
            sources.append(Folder(folder, receiver, found.clock))
    over_http = {f.name: f.limits.bytes for f in settings.feeds.values() if f.kind == "http"}
    http_intake = HttpIntake(over_http, receiver, found.clock)
    voices = {
        feed.client: Voice(feed.site, feed.history, frozenset(feed.edits))
        for feed in settings.feeds.values()
        if feed.kind == "fhir" and feed.client
    }
    try:
        tokens = read_tokens(settings.http.tokens, voices)
    except (OSError, ValueError) as error:
        structlog.get_logger().error("tokens.unreadable", text=str(error))
        return UNREACHABLE
    listening = False
    engine = Engine(
        directory=run_directory(settings),
        expected=("front", *(f"worker-{n}" for n in range(settings.workers)), "sender"),
        backlog=partial(_backlog, found),
        registry=registry,
        clock=found.clock,
        fire=lambda: fire_due(hub),
        listening=lambda: listening,
        version=__version__,
        pid=os.getppid(),
    )
    app = build(
        FhirFace(hub, settings.http.base_url),
        engine,
        {feed: partial(http_intake.handle_er7, feed=feed) for feed in over_http},
        tokens,
    )
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
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    for source in sources:
        await source.start()
    gc.collect()
    gc.freeze()

    def figures() -> dict[str, float]:
        return stage_figures({"journal": receiver.cpu_seconds})

    checkpoints = None if shared(settings) else Checkpoints(settings.data_dir)
    if checkpoints is not None:
        checkpoints.start()
    with _Beats(settings, part, figures):
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


def _backlog(found: Opened) -> dict[str, Any]:
    waiting, oldest = found.inbox.backlog()
    inbox = {"waiting": waiting, "oldest_us": oldest} | found.inbox.counts()
    outbox = {"waiting": 0, "delayed": 0, "blocked": 0, "dead": 0}
    destinations: dict[str, Any] = {}
    for name, backlog in found.outbox.backlog().items():
        counts = {
            "waiting": backlog.waiting,
            "delayed": backlog.delayed,
            "blocked": backlog.blocked,
            "dead": backlog.dead,
        }
        destinations[name] = counts | {"oldest_us": backlog.oldest}
        for key, value in counts.items():
            outbox[key] += value
    return {"inbox": inbox, "outbox": outbox | {"destinations": destinations}}


# --- sender --------------------------------------------------------------------------------


async def _send(
    settings: Settings, rules: Rules, found: Opened, part: str, stop: threading.Event
) -> int:
    from segue.adapters.destinations.fhir_rest import FhirRest, FhirRestConfig
    from segue.adapters.destinations.message_bundle import MessageBundle, MessageBundleConfig
    from segue.adapters.destinations.mllp import Mllp, MllpConfig
    from segue.pipeline.contents import Contents, codes_of
    from segue.pipeline.deliver import Retry, Sender
    from segue.pipeline.metrics import PrometheusMetrics
    from segue.pipeline.receipts import record_receipts
    from segue.pipeline.returns import Returns
    from segue.pipeline.senders import Senders

    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    hub = build_hub(settings, found, rules)
    contents = Contents(found.store, found.journal)
    senders = Senders(embedded=found.store.embedded)

    async def identify(references: Any) -> Mapping[str, list[dict[str, Any]]]:
        return await senders.reading(lambda: contents.identifiers(references))

    for one in settings.destinations.values():
        destination: Destination
        if one.kind == "fhir_rest":
            assert one.url is not None
            destination = FhirRest(
                FhirRestConfig(one.name, one.url, one.send, one.headers, one.bundle, one.timeout),
                found.clock,
                identify,
            )
        elif one.kind == "message_bundle":
            assert one.url is not None
            destination = MessageBundle(
                MessageBundleConfig(one.name, one.url, one.headers, one.bundle, one.timeout),
                found.clock,
            )
        else:
            assert one.address is not None
            destination = Mllp(
                MllpConfig(
                    one.name,
                    one.address.host,
                    one.address.port,
                    timeout=one.timeout,
                    tls=_client_tls(one.tls) if one.tls is not None else None,
                    asks=one.asks,
                ),
                found.clock,
                Returns(found.journal, one.returns, senders.in_store, found.clock.us())
                if one.returns is not None
                else None,
            )
        retry = one.retry
        senders.add(
            Sender(
                destination,
                found.outbox,
                contents,
                senders.in_store,
                retry=Retry(retry.first, retry.factor, retry.ceiling, retry.give_up),
                clock_us=found.clock.us,
                records=partial(record_receipts, hub) if one.receipt == "record" else None,
                codes_of=codes_of,
                metrics=metrics,
                simulated=found.clock.simulated,
                reading=senders.reading,
            )
        )
    gc.collect()
    gc.freeze()

    def figures() -> dict[str, float]:
        return stage_figures({"deliver": time.process_time()}) | _samples(registry)

    with _Beats(settings, part, figures):
        if not settings.destinations:
            while not stop.is_set():
                await asyncio.sleep(0.1)
            return 0
        running = asyncio.create_task(senders.run(found.store.bell))
        while not stop.is_set() and not running.done():
            await asyncio.sleep(0.1)
        senders.stop()
        await running
        await asyncio.to_thread(found.outbox.release)
    return 0


def _client_tls(settings: ClientTlsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca)
    if settings.cert is not None:
        context.load_cert_chain(settings.cert, settings.key)
    return context


def _samples(registry: CollectorRegistry) -> dict[str, float]:
    """A registry's samples by name with labels."""
    found: dict[str, float] = {}
    for metric in registry.collect():
        for sample in metric.samples:
            if sample.name.endswith("_created"):
                continue
            labels = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found
