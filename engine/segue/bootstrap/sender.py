"""The sender process: brings deliveries to every destination."""

import asyncio
import gc
import threading
import time
from collections.abc import Mapping
from dataclasses import astuple
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from segue.adapters.destinations.fhir_rest import FhirRest, FhirRestConfig
from segue.adapters.destinations.message_bundle import MessageBundle, MessageBundleConfig
from segue.adapters.destinations.mllp import Mllp, MllpConfig
from segue.adapters.tls import client_context
from segue.bootstrap.beats import Beats, stage_figures
from segue.bootstrap.hub import Rules, build_hub
from segue.bootstrap.stores import Opened
from segue.pipeline.contents import Contents, codes_of
from segue.pipeline.deliver import Retry, Sender
from segue.pipeline.metrics import PrometheusMetrics
from segue.pipeline.ports import Destination
from segue.pipeline.receipts import record_receipts
from segue.pipeline.returns import Returns
from segue.pipeline.senders import Senders
from segue.settings.sections import DestinationSettings, Settings


async def send(
    settings: Settings, rules: Rules, found: Opened, part: str, stop: threading.Event
) -> int:
    """Send until `stop` is set; the exit code."""
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    hub = build_hub(settings, found, rules)
    contents = Contents(found.store, found.journal)
    senders = Senders(embedded=found.store.embedded)
    for one in settings.destinations.values():
        retry = one.retry
        senders.add(
            Sender(
                _destination(one, found, contents, senders),
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

    with Beats(settings, part, figures):
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


def _destination(
    one: DestinationSettings, found: Opened, contents: Contents, senders: Senders
) -> Destination:
    async def identify(references: Any) -> Mapping[str, list[dict[str, Any]]]:
        return await senders.reading(lambda: contents.identifiers(references))

    if one.kind == "fhir_rest":
        assert one.url is not None
        return FhirRest(
            FhirRestConfig(one.name, one.url, one.send, one.headers, one.bundle, one.timeout),
            found.clock,
            identify,
        )
    if one.kind == "message_bundle":
        assert one.url is not None
        return MessageBundle(
            MessageBundleConfig(one.name, one.url, one.headers, one.bundle, one.timeout),
            found.clock,
        )
    assert one.address is not None
    return Mllp(
        MllpConfig(
            one.name,
            one.address.host,
            one.address.port,
            timeout=one.timeout,
            tls=client_context(*astuple(one.tls)) if one.tls is not None else None,
            asks=one.asks,
        ),
        found.clock,
        Returns(found.journal, one.returns, senders.in_store, found.clock.us())
        if one.returns is not None
        else None,
    )


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
