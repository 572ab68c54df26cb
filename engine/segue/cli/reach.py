"""How commands reach a store: the one of the configuration, running or not."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from segue.cli.output import UNREACHABLE, USAGE, Failure
from segue.cli.run import read_settings
from segue.model.instants import microseconds

if TYPE_CHECKING:
    from segue.bootstrap.stores import Opened
    from segue.pipeline.hub import Hub


@contextmanager
def reached(config: Path | None) -> "Iterator[Opened]":
    """The store, journal, inbox and outbox of a configuration.

    Raises:
        Failure: they cannot be reached; exit code 3.
    """
    from segue.bootstrap.stores import Unreachable, opened

    settings = read_settings(config)
    try:
        with opened(settings) as parts:
            yield parts
    except Unreachable as error:
        raise Failure(str(error), UNREACHABLE) from None


def hub(config: Path | None, parts: "Opened") -> "Hub":
    """The hub of a configuration over an open store."""
    from segue.bootstrap.hub import build_hub

    return build_hub(read_settings(config), parts)


def instant(text: str | None, option: str) -> int | None:
    """An RFC 3339 instant of an option as microseconds UTC."""
    return None if text is None else microseconds(aware(text, option))


def aware(text: str, option: str) -> datetime:
    """An RFC 3339 instant of an option.

    Raises:
        Failure: it is none, or has no offset; exit code 2.
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(
            f"{option} {text}: no RFC 3339 instant, such as 2026-07-02T14:00:00-04:00", USAGE
        ) from None
    if value.tzinfo is None:
        raise Failure(f"{option} {text}: needs an offset, such as -04:00 or Z", USAGE)
    return value


def wall_us() -> int:
    """The machine's time, by which senders wait."""
    return time.time_ns() // 1000
