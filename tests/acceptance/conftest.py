"""The databases that the stories are told on."""

import pytest

from tests.support.databases import postgres

__all__ = ["postgres"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """SEGUE_DATABASE_URL of an empty database; None is the embedded one."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres").upgraded()
    return url
