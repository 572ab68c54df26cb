"""What must hold before an engine starts; else it refuses, with one line that says why."""

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from functools import partial
from pathlib import Path

from segue.adapters.tls import TlsConfig, client_context, listener_context
from segue.api.authentication import read_tokens
from segue.bootstrap.hub import Rules, rules_of
from segue.bootstrap.stores import Unreachable, open_parts, run_directory, search_marks, shared
from segue.fhir.validation.library import library
from segue.mapping.source import MappingError
from segue.model.hints import did_you_mean
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
        check_files(settings)
        if "front" in settings.roles:
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


def check_files(settings: Settings) -> None:
    """Try tokens, certificates and folders once, so that what cannot be used stops the start.

    Raises:
        StartRefused: a line for each of them, with the key that names it.
    """
    wrong = list(unusable_files(settings))
    for feed in settings.feeds.values() if "front" in settings.roles else ():
        try:
            if feed.path is not None:
                feed.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            wrong.append(f"{settings.at(f'feeds.{feed.name}.path')}: {_told(error)}")
    if wrong:
        raise StartRefused("\n".join(wrong))


def unusable_files(settings: Settings) -> Iterator[str]:
    """A line for each file of tokens or certificates that the roles here cannot use."""
    listens, sends = "front" in settings.roles, "sender" in settings.roles
    tried: dict[str, Callable[[], object]] = {}
    if listens and settings.http.tokens is not None:
        tried["http.tokens"] = partial(read_tokens, settings.http.tokens)
    for feed in settings.feeds.values() if listens else ():
        if feed.tls is not None:
            files = astuple(feed.tls)
            made = partial(listener_context, TlsConfig(*files))
            tried[f"feeds.{feed.name}.tls"] = partial(_secured, files, made)
    for one in settings.destinations.values() if sends else ():
        if one.tls is not None:
            files = astuple(one.tls)
            made = partial(client_context, *files)
            tried[f"destinations.{one.name}.tls"] = partial(_secured, files, made)
    for key, attempt in tried.items():
        try:
            attempt()
        except (OSError, ValueError) as error:
            yield f"{settings.at(key)}: {_told(error)}"


def clients_without_token(settings: Settings) -> Iterator[str]:
    """A line for each feed whose client the tokens file does not know."""
    try:
        known = read_tokens(settings.http.tokens).names
    except (OSError, ValueError):
        return
    for feed in settings.feeds.values():
        if feed.client is not None and feed.client not in known:
            hint = did_you_mean(feed.client, known)
            yield f"{settings.at(f'feeds.{feed.name}.client')}: no token of {feed.client!r}.{hint}"


def _secured(files: Iterable[Path | None], made: Callable[[], object]) -> None:
    """Read certificates first by themselves: OpenSSL does not name the file that is not there."""
    for file in files:
        if file is not None:
            file.read_bytes()
    made()


def _told(error: OSError | ValueError) -> str:
    """What is wrong with a file; OpenSSL does not say which."""
    if not isinstance(error, OSError) or error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"


def check_ports(settings: Settings) -> None:
    """Refuse to start where somebody else listens already.

    Raises:
        StartRefused: names the setting and the address.
    """
    for key, address in settings.listeners().items():
        try:
            family, kind, *_, place = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM
            )[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
        except OSError as error:
            raise StartRefused(
                f"{settings.at(key)}: {address} cannot be listened on: {error.strerror}. "
                "Stop what listens there, or choose another port."
            ) from None
