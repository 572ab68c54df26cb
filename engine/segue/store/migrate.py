"""Creating the schema, and bringing an older one up to date.

Only here, and only when there is something to do, SQLAlchemy and Alembic are imported:
together they cost most of a second.
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

Part = Literal["journal", "store"]

REVISION = "0002"
"""The schema that this program works with: the newest file in `migrations/versions`."""

LANES = 64
"""Partitions of the journal."""

_STAMP = (
    "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def create(where: str | Path, *parts: Part) -> None:
    """Create the tables of an empty store, as all migrations together would.

    Args:
        where: the file of an embedded part, or a `postgresql://` URL.
        parts: `journal`, `store` or both.
    """
    from segue.store.tables import TABLES

    engine = _engine(where)
    try:
        with engine.begin() as connection:
            for part in parts:
                TABLES[part].create_all(connection)
                for statement in first_rows(part):
                    connection.exec_driver_sql(statement)
            connection.exec_driver_sql(_STAMP)
            connection.exec_driver_sql("DELETE FROM alembic_version")
            connection.exec_driver_sql(
                f"INSERT INTO alembic_version (version_num) VALUES ('{REVISION}')"
            )
    finally:
        engine.dispose()


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

    if isinstance(where, str) and where.startswith("postgres"):
        url = "postgresql+psycopg:" + where.partition(":")[2]
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
