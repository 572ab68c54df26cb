"""SQLite: one file in WAL mode, every commit fsynced; rows go in with `executemany`."""

# ruff: noqa: D102, S608 - the protocol says it; names of tables and columns are our own

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Literal

from segue.store.dialects import Conflict, Row, Rows
from segue.store.records import StoreUnavailableError

PAGE_BYTES = 8192
BUSY_MS = 10_000
_TOGETHER = 32
"""Rows of one INSERT: an index row by itself costs half as much again."""


def _padded(rows: Rows) -> list[Row]:
    """The rows, the last one repeated: a power of two, so that few statements are prepared."""
    count = 1
    while count < len(rows):
        count *= 2
    return [*rows, *[rows[-1]] * (count - len(rows))]


class SqliteSession:
    """A connection to one SQLite file in WAL mode that fsyncs every commit."""

    dialect: Literal["sqlite", "postgresql"] = "sqlite"
    now = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"

    def __init__(self, path: str, *, cache_mib: int = 64, checkpoint_pages: int = 16_000) -> None:
        with _sqlite_errors(path):
            self._raw = sqlite3.connect(
                path,
                timeout=BUSY_MS / 1000,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=400,
            )
            self._prepare(path, cache_mib, checkpoint_pages)

    def _prepare(self, path: str, cache_mib: int, checkpoint_pages: int) -> None:
        execute = self._raw.execute
        execute(f"PRAGMA page_size = {PAGE_BYTES}")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute(f"PRAGMA cache_size = {-1024 * cache_mib}")
        execute("PRAGMA temp_store = MEMORY")
        # Only a backstop: a thread of its own checkpoints long before.
        execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
        level = execute("PRAGMA synchronous").fetchone()[0]
        mode = execute("PRAGMA journal_mode").fetchone()[0]
        if (level, mode) != (2, "wal"):
            self._raw.close()
            msg = (
                f"{path}: SQLite runs with synchronous={level}, journal_mode={mode}; "
                "acknowledged messages could be lost. Put the data directory on a local disk."
            )
            raise RuntimeError(msg)

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        with _sqlite_errors():
            return self._raw.execute(sql, params).fetchall()

    def row(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        with _sqlite_errors():
            found: Row | None = self._raw.execute(sql, params).fetchone()
            return found

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        with _sqlite_errors():
            return self._raw.execute(sql, params).rowcount

    def _many(self, sql: str, rows: Rows) -> int:
        with _sqlite_errors():
            return self._raw.executemany(sql, rows).rowcount

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        names = tuple(columns)
        together = len(rows) // _TOGETHER * _TOGETHER
        if together:
            values = tuple(chain.from_iterable(rows))
            width = _TOGETHER * len(names)
            ends = range(width, together * len(names) + 1, width)
            sql = _insert(table, names, _TOGETHER)
            self._many(sql, [values[end - width : end] for end in ends])
        if together < len(rows):
            self._many(_insert(table, names), rows[together:])

    def insert_new(self, table: str, columns: Sequence[str], rows: Rows) -> int:
        sql = _insert(table, tuple(columns)) + " ON CONFLICT DO NOTHING"
        return self._many(sql, rows)

    def upsert(
        self,
        table: str,
        keys: Sequence[str],
        columns: Sequence[str],
        rows: Rows,
        held: str | None = None,
    ) -> int:
        return self._many(_sqlite_upsert(table, tuple(keys), tuple(columns), held), rows)

    def update(self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Rows) -> int:
        sql = _sqlite_update(table, tuple(keys), tuple(columns))
        return self._many(sql, rows)

    def delete(self, table: str, keys: Sequence[str], rows: Rows) -> int:
        where = " AND ".join(f"{key} = ?" for key in keys)
        return self._many(f"DELETE FROM {table} WHERE {where}", rows)

    def given(self, columns: Sequence[str], rows: Rows) -> tuple[str, list[Any]]:
        padded = _padded(rows)
        one = f"({','.join('?' * len(columns))})"
        values = ",".join([one] * len(padded))
        params = [value for row in padded for value in row]
        # Padding repeats a row; DISTINCT keeps it from being found twice.
        return (
            f"WITH given({','.join(columns)}) AS (SELECT DISTINCT * FROM (VALUES {values})) ",
            params,
        )

    def lookup_join(self, table: str, alias: str, where: str) -> str:
        # SQLite keeps the order of a CROSS JOIN (https://sqlite.org/lang_select.html).
        return f"CROSS JOIN {table} {alias} ON {where}"

    def among(self, columns: Sequence[str], rows: Rows) -> tuple[str, list[Any]]:
        padded = _padded(rows)
        count = len(padded)
        params = [value for row in padded for value in row]
        if len(columns) == 1:
            return f"{columns[0]} IN ({','.join('?' * count)})", params
        one = f"({','.join('?' * len(columns))})"
        # A bare IN (VALUES …) over several columns would scan the table; a SELECT over it
        # uses the index.
        values = ",".join([one] * count)
        return f"({','.join(columns)}) IN (SELECT * FROM (VALUES {values}))", params

    def lock(self, table: str, keys: Sequence[str], rows: Rows) -> None:
        """Whoever writes is alone."""

    def locking(self, order: str) -> str:
        return f" ORDER BY {order}"

    def lock_numbers(self, numbers: Sequence[int]) -> None:
        """Whoever writes is alone."""

    def hold_numbers(self, numbers: Sequence[int]) -> None:
        """Whoever writes is alone."""

    def free_numbers(self, numbers: Sequence[int]) -> None:
        """Whoever writes is alone."""

    def begin_write(self) -> None:
        self.run("BEGIN IMMEDIATE")

    def begin_read(self) -> None:
        # The snapshot is taken by the first SELECT.
        self._raw.execute("BEGIN")

    def commit(self) -> None:
        self.run("COMMIT")

    @property
    def lost(self) -> bool:
        return False

    def rollback(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("ROLLBACK")

    def close(self) -> None:
        self._raw.close()


class _sqlite_errors:  # noqa: N801 - used as a statement
    """Driver errors as ours; a class, as it is entered for every statement."""

    __slots__ = ("_path",)

    def __init__(self, path: str = "") -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None:
            return
        if isinstance(error, sqlite3.IntegrityError):
            raise Conflict(str(error)) from error
        if isinstance(error, sqlite3.OperationalError):
            msg = f"{self._path} {error}".strip()
            raise StoreUnavailableError(msg) from error


@lru_cache(1024)
def _insert(table: str, columns: tuple[str, ...], rows: int = 1) -> str:
    marks = f"({','.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({','.join(columns)}) VALUES {','.join([marks] * rows)}"


@lru_cache(1024)
def _sqlite_upsert(
    table: str, keys: tuple[str, ...], columns: tuple[str, ...], held: str | None
) -> str:
    change = ", ".join(f"{column} = excluded.{column}" for column in columns)
    sql = f"{_insert(table, keys + columns)} ON CONFLICT ({','.join(keys)}) DO UPDATE SET {change}"
    return sql if held is None else f"{sql} WHERE {table}.{held} = excluded.{held}"


@lru_cache(1024)
def _sqlite_update(table: str, keys: tuple[str, ...], columns: tuple[str, ...]) -> str:
    change = ", ".join(f"{column} = ?{len(keys) + n}" for n, column in enumerate(columns, 1))
    where = " AND ".join(f"{key} = ?{n}" for n, key in enumerate(keys, 1))
    return f"UPDATE {table} SET {change} WHERE {where}"
