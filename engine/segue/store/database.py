"""Opening a database, one connection per thread, and the one writer of SQLite."""

import contextlib
import fcntl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from segue.store.dialects import Session
from segue.store.migrate import REVISION, Part, create, is_postgres, upgrade
from segue.store.postgres import PostgresSession
from segue.store.records import StoreUnavailableError
from segue.store.sqlite import SqliteSession


class DataDirectoryInUseError(RuntimeError):
    """Another engine lives in this data directory."""


class DataDirectoryLock:
    """Proof that no other engine runs in this data directory; held until closed."""

    def __init__(self, data_dir: Path) -> None:
        """Take the lock.

        Raises:
            DataDirectoryInUseError: another process holds it.
        """
        data_dir.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = (data_dir / "engine.lock").open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            msg = f"{data_dir}: another engine runs here. Stop it, or set another data_dir."
            raise DataDirectoryInUseError(msg) from error

    def close(self) -> None:
        """Let another engine in."""
        self._file.close()


class WriteLock:
    """One writer at a time over all threads and processes; re-entrant in a thread.

    Waiting in line for a file lock is fairer than SQLite's own polling: writers of
    small transactions wait for one large transaction and not for several.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        self._thread = threading.RLock()
        self._depth = 0

    def __enter__(self) -> None:
        self._thread.acquire()
        if self._depth == 0:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread.release()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


class Database:
    """Connections to one database: a writing one and reading ones for every thread."""

    def __init__(self, connect: Callable[[], Session], lock: WriteLock | None) -> None:
        """Take what opens a connection, and the lock that writers queue behind."""
        self._connect = connect
        self._lock = lock
        self._local = threading.local()
        self._all: list[Session] = []
        self._guard = threading.Lock()
        self.dialect = self.writer().dialect

    def _open(self) -> Session:
        session = self._connect()
        with self._guard:
            self._all = [one for one in self._all if not one.lost]
            self._all.append(session)
        return session

    def writer(self) -> Session:
        """This thread's writing connection."""
        session: Session | None = getattr(self._local, "writer", None)
        if session is None or session.lost:
            session = self._local.writer = self._open()
        return session

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep all other writers of an SQLite file out; nothing on PostgreSQL."""
        with self._lock or contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction: committed at the end, rolled back on any exception."""
        session = self.writer()
        with self._lock or contextlib.nullcontext(), _transaction(session):
            yield session

    @contextlib.contextmanager
    def aside(self) -> Iterator[Session]:
        """A short transaction of its own, apart from one that this thread has open."""
        session: Session | None = getattr(self._local, "aside", None)
        if session is None or session.lost:
            session = self._local.aside = self._open()
        with self._lock or contextlib.nullcontext(), _transaction(session):
            yield session

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """One snapshot; may be nested, each with its own."""
        idle: list[Session] | None = getattr(self._local, "idle", None)
        if idle is None:
            idle = self._local.idle = []
        session = idle.pop() if idle else self._open()
        if session.lost:
            session = self._open()
        session.begin_read()
        try:
            yield session
        finally:
            with contextlib.suppress(StoreUnavailableError):
                session.rollback()
            if not session.lost:
                idle.append(session)

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._guard:
            for session in self._all:
                session.close()
            self._all.clear()
        if self._lock:
            self._lock.close()


@contextlib.contextmanager
def _transaction(session: Session) -> Iterator[None]:
    session.begin_write()
    try:
        yield
        session.commit()
    except BaseException:
        with contextlib.suppress(StoreUnavailableError):
            session.rollback()
        raise


class Checkpoints:
    """Moves what SQLite logged into the database file, on a thread of its own.

    Without it a writer does so within its commit and everybody waits. One process of
    an embedded engine runs it.
    """

    def __init__(self, data_dir: Path, *, every_s: float = 0.5, at_mib: int = 64) -> None:
        """Take the directory; nothing runs before `start`.

        Args:
            data_dir: where `journal.db` and `store.db` are.
            every_s: seconds between two looks.
            at_mib: how large a log may grow before it is moved.
        """
        self._data_dir = data_dir
        self._every_s = every_s
        self._at_bytes = at_mib << 20
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after what is under way."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            for part in ("journal", "store"):
                log = self._data_dir / f"{part}.db-wal"
                if log.exists() and log.stat().st_size > self._at_bytes:
                    checkpoint(self._data_dir, part)


def checkpoint(data_dir: Path, part: Part) -> None:
    """Move one part's log into its file; writers wait for the last bit only."""
    session = SqliteSession(str(data_dir / f"{part}.db"), cache_mib=1)
    lock = WriteLock(data_dir / f"{part}.lock")
    try:
        session.rows("PRAGMA wal_checkpoint(PASSIVE)")
        # What was written meanwhile is little. The log can start anew only when all of it
        # is moved, which never happens while somebody writes.
        with lock:
            session.rows("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        lock.close()
        session.close()


def open_database(where: str | Path, part: Part, *, cache_mib: int = 64) -> Database:
    """Open one part of the store; an empty or older embedded one is brought up to date.

    Args:
        where: a `postgresql://` URL, or the data directory of an embedded store.
        part: `journal` (`journal.db`) or `store` (`store.db`); on PostgreSQL both
            are in the same database.
        cache_mib: page cache of each SQLite connection.

    Raises:
        RuntimeError: the database would not keep what it has committed, or its
            schema is not the one of this program.
    """
    if is_postgres(where):
        url = str(where)
        database = Database(lambda: PostgresSession(url), None)
        if (found := _revision(database)) != REVISION:
            database.close()
            msg = (
                f"the database has schema {found or 'none'}, this program needs {REVISION}: "
                "run `segue db upgrade`"
            )
            raise RuntimeError(msg)
        return database
    folder = Path(where)
    folder.mkdir(parents=True, exist_ok=True)
    lock = WriteLock(folder / f"{part}.lock")
    path = folder / f"{part}.db"
    with lock:
        database = Database(lambda: SqliteSession(str(path), cache_mib=cache_mib), lock)
        if (found := _revision(database)) is None:
            create(path, part)
        elif found != REVISION:
            upgrade(path, (part,))
    return database


def _revision(database: Database) -> str | None:
    session = database.writer()
    if session.dialect == "postgresql":
        known = session.row("SELECT to_regclass('alembic_version')::text")
    else:
        known = session.row("SELECT name FROM sqlite_master WHERE name = 'alembic_version'")
    if known is None or known[0] is None:
        return None
    row = session.row("SELECT version_num FROM alembic_version")
    return row[0] if row else None
