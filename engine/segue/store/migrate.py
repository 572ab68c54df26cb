"""Creating the schema, and bringing an older one up to date.

Only here, and only to upgrade or for PostgreSQL, SQLAlchemy and Alembic are imported:
together they cost most of a second.
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

import sqlite3
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

Part = Literal["journal", "store"]

REVISION = "0004"
"""The schema that this program works with: the newest file in `migrations/versions`."""

LANES = 64
"""Partitions of the journal."""

_STAMP = (
    "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def is_postgres(where: str | Path) -> bool:
    """Whether this is a URL of PostgreSQL and not a file or data directory."""
    return isinstance(where, str) and where.startswith(("postgresql:", "postgres:"))


def create(where: str | Path, *parts: Part) -> None:
    """Create the tables of an empty store, as all migrations together would.

    Args:
        where: the file of an embedded part, or a `postgresql://` URL.
        parts: `journal`, `store` or both.
    """
    last = (
        _STAMP,
        "DELETE FROM alembic_version",
        f"INSERT INTO alembic_version (version_num) VALUES ('{REVISION}')",
    )
    if not is_postgres(where):
        _create_embedded(where, parts, last)
        return
    from segue.store.tables import TABLES

    engine = _engine(where)
    try:
        with engine.begin() as connection:
            for part in parts:
                TABLES[part].create_all(connection)
                for statement in first_rows(part):
                    connection.exec_driver_sql(statement)
            for statement in last:
                connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def _create_embedded(where: str | Path, parts: Sequence[Part], last: Sequence[str]) -> None:
    """The same without SQLAlchemy, by the scripts that `python -m tools.schema` makes."""
    scripts = resources.files("segue.store").joinpath("schema")
    raw = sqlite3.connect(where, isolation_level=None)
    try:
        for part in parts:
            made = scripts.joinpath(f"{part}.sql").read_text(encoding="utf-8")
            statements = [*first_rows(part), *last]
            raw.executescript(";\n".join(["BEGIN", made, *statements, "COMMIT"]))
    finally:
        raw.close()


def upgrade(where: str | Path, parts: Sequence[Part] = ("journal", "store")) -> None:
    """Run the migrations that are missing.

    Args:
        where: the file of an embedded part, or a `postgresql://` URL.
        parts: what is kept there.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = _engine(where)
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            config.attributes["parts"] = tuple(parts)
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def _engine(where: str | Path) -> Any:
    from sqlalchemy import NullPool, create_engine

    if is_postgres(where):
        url = "postgresql+psycopg:" + str(where).partition(":")[2]
    else:
        url = f"sqlite:///{where}"
    return create_engine(url, poolclass=NullPool)


def first_rows(part: Part) -> list[str]:
    """The statements that fill the rows which every store has."""
    if part == "journal":
        return ["INSERT INTO journal_head (id, position) VALUES (1, 0)"]
    return [
        "INSERT INTO head (id, position, at) VALUES (1, 0, 0)",
        "INSERT INTO counter (name, next) VALUES ('pk', 1), ('tx', 1)",
        *(
            "INSERT INTO lease (log, partition, cursor, token, expires) "
            f"VALUES ('journal', '{lane}', 0, 0, 0)"
            for lane in range(LANES)
        ),
    ]
