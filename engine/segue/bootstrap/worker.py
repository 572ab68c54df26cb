"""A worker process: maps, folds and commits what intake has written down."""

import gc
import threading

from segue.bootstrap.beats import Beats, stage_figures
from segue.bootstrap.hub import Rules, build_hub, build_matcher
from segue.bootstrap.stores import Opened
from segue.pipeline.workers import Worker
from segue.settings.sections import Settings


def work(
    settings: Settings,
    rules: Rules,
    found: Opened,
    part: str,
    holder: str,
    stop: threading.Event,
) -> int:
    """Work until `stop` is set; the exit code."""
    hub = build_hub(settings, found, rules)
    rules.mappings.watch(stop.wait)
    worker = Worker(hub, holder, build_matcher(settings, hub, holder))
    gc.collect()
    gc.freeze()

    def figures() -> dict[str, float]:
        stages = stage_figures(hub.stages.seconds)
        return stages | worker.figures() | rules.mappings.figures()

    with Beats(settings, part, figures):
        worker.run(stop)
    return 0
