"""One process of a running engine: `front`, a worker, or `sender`.

Each ends when the parent's pipe closes: it lets go of what it listens to, finishes what
it has in hand, and returns. Signals are the parent's.
"""

import asyncio
import gc
import os
import select
import threading
import time

import structlog

from segue.bootstrap.hub import Rules
from segue.bootstrap.start import UNREACHABLE
from segue.bootstrap.stores import Unreachable, clock_of, open_parts
from segue.settings.sections import Settings


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
            from segue.bootstrap.worker import work

            return work(settings, rules, found, part, holder, stop)
        if part == "front":
            from segue.bootstrap.front import front as run
        else:
            from segue.bootstrap.sender import send as run
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
