"""What must hold before an engine starts; else it refuses, with one line that says why."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from segue.bootstrap.hub import Rules, rules_of
from segue.bootstrap.stores import Unreachable, open_parts, run_directory, search_marks, shared
from segue.fhir.validation.library import library
from segue.mapping.source import MappingError
from segue.pipeline import parts
from segue.pipeline.clock import DomainClock, SharedClock, SystemClock
from segue.settings.sections import Settings
from segue.store.database import DataDirectoryInUseError, DataDirectoryLock
from segue.store.reindex import note

WRONG_CONFIGURATION, UNREACHABLE = 2, 3
OUTLIVE_SECONDS = 15.0
"""How long a start waits for the processes of an engine whose parent was killed."""


class StartRefused(Exception):  # noqa: N818
    """The engine does not start: a line for a person, an exit code for a script."""

    def __init__(self, text: str, code: int = WRONG_CONFIGURATION) -> None:
        self.code = code
        super().__init__(text)


@contextmanager
def prepare(settings: Settings) -> Iterator[Rules]:
    """Make everything ready before the processes start; holds the data directory.

    Raises:
        StartRefused: another engine lives here, a port is taken, a mapping or a protocol
            is wrong, the database does not answer or must be upgraded first.
    """
    try:
        lock = DataDirectoryLock(settings.data_dir)
    except DataDirectoryInUseError as error:
        raise StartRefused(str(error), UNREACHABLE) from None
    except OSError as error:
        raise StartRefused(f"{settings.data_dir}: {error.strerror}", UNREACHABLE) from None
    try:
        yield _ready(settings)
    finally:
        lock.close()


def _ready(settings: Settings) -> Rules:
    try:
        directory = run_directory(settings)
        directory.mkdir(parents=True, exist_ok=True)
        parts.outlive(directory, OUTLIVE_SECONDS)
        check_ports(settings)
        rules = rules_of(settings)
        check_profiles(settings)
        _open_once(settings, _started_clock(settings))
    except Unreachable as error:
        raise StartRefused(str(error), UNREACHABLE) from None
    except (MappingError, ValueError) as error:
        raise StartRefused(str(error)) from None
    return rules


def _started_clock(settings: Settings) -> DomainClock:
    if settings.clock is None:
        return SystemClock()
    if not settings.http.listen.loopback:
        raise StartRefused("SEGUE_CLOCK: a simulated clock is for loopback only")
    return SharedClock.create(run_directory(settings) / "clock", settings.clock)


def _open_once(settings: Settings, clock: DomainClock) -> None:
    """Bring the store to where processes may open it, and note what they index."""
    found = open_parts(settings, clock, "parent")
    note(found.store.database, search_marks())
    if not shared(settings):
        found.store.clear_leases()
    found.store.close()
    found.journal.close()


def check_profiles(settings: Settings) -> None:
    """Read a site's own profiles once, so that a wrong one stops the start.

    Raises:
        ValueError: a file is not JSON or no profile; the message names it.
    """
    if any(folder.is_dir() for folder in settings.profiles):
        library(*settings.profiles)


def check_ports(settings: Settings) -> None:
    """Refuse to start where somebody else listens already.

    Raises:
        StartRefused: names the setting and the address.
    """
    wanted = [("http.listen", settings.http.listen)]
    wanted += [
        (f"feeds.{feed.name}.listen", feed.listen)
        for feed in settings.feeds.values()
        if feed.listen is not None
    ]
    for name, address in wanted:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.host, address.port))
            except OSError as error:
                file = f"{settings.source}  " if settings.source else ""
                raise StartRefused(
                    f"{file}{name}: {address} cannot be listened on: {error.strerror}. "
                    "Stop what listens there, or choose another port."
                ) from None
