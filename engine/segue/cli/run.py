"""`segue run`: start the processes of an engine, watch them, stop them in order.

One parent, and below it `front` (all sources and HTTP), workers (one a core) and
`sender`. A child lives as long as the parent's pipe is open: when the parent ends,
however it ends, the pipe closes, the child finishes what it has in hand and exits,
and the ports are free. Signals are the parent's business alone.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.output import UNREACHABLE, USAGE, Config, Failure
from segue.settings.load import load
from segue.settings.nodes import ConfigError
from segue.settings.sections import ROLES, Settings

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from segue.bootstrap.hub import Rules

DRAIN_SECONDS = 20.0
RESTART_SECONDS = 1.0


def read_settings(config: Path | None) -> Settings:
    """The settings of a command: `--config`, else ./segue.yaml, else the defaults.

    Raises:
        Failure: with one line per problem, exit code 2.
    """
    if config is None and Path("segue.yaml").exists():
        config = Path("segue.yaml")
    try:
        return load(config)
    except ConfigError as error:
        raise Failure(str(error), USAGE) from None


def run(
    config: Config = None,
    roles: Annotated[
        str, typer.Option(help="Which parts run here: front, worker, sender; default all.")
    ] = ",".join(ROLES),
) -> None:
    """Start the engine; SIGTERM (or Ctrl-C) drains and stops it.

    Without a configuration: data in ./segue-data, MLLP on 127.0.0.1:2575, HTTP on
    127.0.0.1:8080 (FHIR at /fhir, /health, /metrics).
    """
    settings = read_settings(config)
    chosen = tuple(role.strip() for role in roles.split(","))
    for role in chosen:
        if role not in ROLES:
            raise Failure(f"--roles {role}: expected some of {', '.join(ROLES)}", USAGE)
    if settings.database == "sqlite" and set(chosen) != set(ROLES):
        text = f"--roles {roles}: the embedded store is one engine's; hosts share PostgreSQL alone"
        raise Failure(text, USAGE)
    settings = replace(settings, roles=tuple(dict.fromkeys(chosen)))
    from segue.bootstrap.start import StartRefused, prepare

    try:
        with prepare(settings) as rules:
            code = _supervise(settings, rules)
    except StartRefused as refused:
        raise Failure(str(refused), refused.code) from None
    sys.exit(code)


@dataclass
class _Child:
    name: str
    process: "BaseProcess"
    started: float


def _supervise(settings: Settings, rules: "Rules") -> int:
    from segue.bootstrap.part import start

    reading, writing = os.pipe()

    def spawn(name: str) -> _Child:
        return _Child(name, start(settings, rules, name, reading), time.monotonic())

    stopping = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    children = [spawn(name) for name in settings.parts]
    code = 0
    while not stopping:
        for index, child in enumerate(children):
            ended = child.process.exitcode
            if ended is None:
                continue
            if ended in (USAGE, UNREACHABLE):
                # It has said why in one line; starting it again would not help.
                code, stopping = ended, True
                break
            if time.monotonic() - child.started > RESTART_SECONDS:
                children[index] = spawn(child.name)
        time.sleep(0.1)  # noqa: TID251
    os.close(writing)
    deadline = time.monotonic() + DRAIN_SECONDS
    for child in children:
        child.process.join(max(0.1, deadline - time.monotonic()))
        if child.process.exitcode is None:
            child.process.kill()
            child.process.join()
    os.close(reading)
    return code
