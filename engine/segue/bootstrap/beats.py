"""What each process of an engine tells of itself once a second: that it lives, its figures."""

import threading
from collections.abc import Callable, Mapping

from segue.bootstrap.stores import run_directory
from segue.pipeline.parts import Pulse
from segue.settings.sections import Settings

BEAT_SECONDS = 1.0


class Beats:
    """A thread that reports until the block ends."""

    def __init__(
        self, settings: Settings, part: str, figures: Callable[[], Mapping[str, float]]
    ) -> None:
        self._pulse = Pulse(run_directory(settings), part, figures)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> "Beats":
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
