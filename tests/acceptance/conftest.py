"""The databases that the stories are told on."""

from collections.abc import Iterator

import pytest

from tests.support.databases import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for all stories."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """SEGUE_DATABASE_URL of an empty database; None is the embedded one."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgres").upgraded()
