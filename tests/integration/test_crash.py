"""The short form of `make crash`: a few kills on each database."""

from pathlib import Path

from tests.integration.crash import crash
from tests.support.databases import PostgresServer


def test_nothing_is_lost_or_doubled_when_the_embedded_engine_is_killed(tmp_path: Path) -> None:
    figures = crash(tmp_path, 4, None, seed=2)
    assert figures["acknowledged"] == figures["delivered"]


def test_nothing_is_lost_or_doubled_on_postgresql(tmp_path: Path, postgres: PostgresServer) -> None:
    figures = crash(tmp_path, 3, postgres.upgraded(), seed=3)
    assert figures["acknowledged"] == figures["delivered"]
