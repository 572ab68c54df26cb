"""Opens the store of a configuration, with journal, inbox and outbox."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from segue.pipeline.clock import DomainClock, SharedClock, SystemClock
from segue.settings.sections import Settings
from segue.store.deliveries import Deliveries
from segue.store.inbox import Inbox
from segue.store.journal import Journal
from segue.store.outbox import Outbox
from segue.store.store import Store, open_journal, open_store


class Unreachable(Exception):  # noqa: N818
    """The store of a configuration cannot be reached."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open store with its parts."""

    store: Store
    journal: Journal
    inbox: Inbox
    outbox: Outbox
    deliveries: Deliveries
    clock: DomainClock


def shared(settings: Settings) -> bool:
    """Whether the database is PostgreSQL."""
    return settings.database != "sqlite"


def where(settings: Settings) -> str | Path:
    """What the store opens: a URL, or the data directory."""
    return settings.database if shared(settings) else settings.data_dir


def run_directory(settings: Settings) -> Path:
    """Where the processes of this engine report and share the clock."""
    return settings.data_dir / "run"


def clock_of(settings: Settings) -> DomainClock:
    """The system's clock, or the simulated one that the parent has started."""
    if settings.clock is None:
        return SystemClock()
    return SharedClock(run_directory(settings) / "clock")


@contextmanager
def opened(settings: Settings) -> Iterator[Opened]:
    """Open the store of a configuration that exists.

    Raises:
        Unreachable: it does not exist, or does not answer.
    """
    if not shared(settings) and not (settings.data_dir / "store.db").exists():
        raise Unreachable(
            f"{settings.data_dir}: no store here. Start the engine once, or set --config or "
            "SEGUE_DATA_DIR to where it runs."
        )
    simulated = (run_directory(settings) / "clock").exists()
    clock = clock_of(settings) if simulated else SystemClock()
    found = open_parts(settings, clock, "cli")
    try:
        yield found
    finally:
        found.store.close()
        found.journal.close()


def open_parts(settings: Settings, clock: DomainClock, holder: str) -> Opened:
    """Open store and journal.

    Args:
        holder: who holds leases, unique among all processes.

    Raises:
        Unreachable: the database does not answer, or has no schema or an older one.
        SearchParameterError: one of the site's search parameters cannot be used.
    """
    install_search_parameters(settings)
    keep = settings.keep.duplicates
    try:
        store = open_store(where(settings), clock)
        journal = open_journal(
            where(settings), duplicates_days=keep.days if keep is not None else 36_500
        )
    except (OSError, RuntimeError) as error:
        raise Unreachable(f"database: {' '.join(str(error).split())}") from error
    except Exception as error:
        raise Unreachable(
            f"the database cannot be reached: {type(error).__name__}: {first_line(error)}"
        ) from error
    return Opened(
        store,
        journal,
        store.inbox(journal),
        store.outbox(holder),
        store.deliveries(),
        clock,
    )


def install_search_parameters(settings: Settings) -> None:
    """Take the site's own search parameters, in this process.

    Raises:
        SearchParameterError: a file cannot be used.
    """
    if settings.profiles:
        from segue.fhir.profiles import definitions
        from segue.fhir.search.custom import install, read

        install(read(definitions(), settings.profiles))


def search_marks() -> list[str]:
    """What the store remembers the site's indexed search parameters by."""
    from segue.fhir.search.parameters import installed

    return [one.mark for one in installed() if one.mark]


def first_line(error: Exception) -> str:
    """What an error says first; drivers go on with hints and addresses."""
    return (str(error).splitlines() or [""])[0]
