"""One process of a running engine, forked from the parent.

The parent has read the configuration, imported what all parts need and compiled the
mappings; a fork starts with all of it, where a process of its own would do it again. Only
a parent without threads, event loops and open connections may fork.
"""

import gc
import multiprocessing
import os
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from segue.bootstrap.hub import Rules
from segue.bootstrap.serve import serve
from segue.settings.sections import Settings

_FORK = multiprocessing.get_context("fork")


def start(settings: Settings, rules: Rules, name: str, pipe: int) -> BaseProcess:
    """Start a part; it ends when the write end of the pipe is closed.

    Args:
        rules: as `prepare` gave them.
        name: `front`, `worker-0` …, `sender`.
        pipe: file descriptor to read; the write end must be the caller's alone.
    """
    # Pages that the collector does not touch stay shared.
    gc.collect()
    gc.freeze()
    process = _FORK.Process(target=_main, args=(settings, rules, name, pipe), name=name)
    process.start()
    return process


def _main(settings: Settings, rules: Rules, name: str, pipe: int) -> None:
    # The lock of the data directory and the pipe's other end are the parent's alone.
    os.closerange(3, pipe)
    os.closerange(pipe + 1, os.sysconf("SC_OPEN_MAX"))
    # Signals belong to the parent; the pipe says when to stop.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _show(name)
    sys.exit(serve(settings, rules, name, pipe))


def _show(name: str) -> None:
    """Let `ps` and `top` tell the parts from one another, where there is /proc."""
    shown = Path("/proc/self/comm")
    if shown.exists():
        shown.write_text(f"segue {name}")
