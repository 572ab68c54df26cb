"""All in which SQLite and PostgreSQL differ.

A `Session` is one database connection with the few verbs that the store needs. SQL is
written once, with `?` for parameters. Rows go in as tuples: with `executemany` on
SQLite; with COPY and `unnest` on PostgreSQL.
"""

# ruff: noqa: D102, S608 - the protocol says it; names of tables and columns are our own

import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Protocol

from segue.store.records import StoreUnavailableError

if TYPE_CHECKING:
    import psycopg

Row = tuple[Any, ...]
Rows = Sequence[Row]

PAGE_BYTES = 8192
BUSY_MS = 10_000
_TOGETHER = 32
"""Rows of one INSERT on SQLite: an index row by itself costs half as much again."""


class Conflict(Exception):  # noqa: N818
    """The database refused: a key is there already, or two writers crossed."""


class Session(Protocol):
    """One connection, used by one thread at a time."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which database it is."""
        ...

    @property
    def now(self) -> str:
        """The expression for the database's clock, microseconds UTC."""
        ...

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        ...

    def row(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        """The first row of a query."""
        ...

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Execute a statement; the number of rows that it touched."""
        ...

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        """Add rows; raises Conflict where a key is there already."""
        ...

    def insert_new(self, table: str, columns: Sequence[str], rows: Rows) -> int:
        """Add the rows whose key is not there yet; how many that were."""
        ...

    def upsert(self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Rows) -> None:
        """Add rows, or replace `columns` where `keys` are there. Rows: keys, columns."""
        ...

    def update(self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Rows) -> int:
        """Set `columns` where `keys` match; rows: keys, columns. How many matched.

        A column may be a key too: its old value is compared, then replaced.
        """
        ...

    def delete(self, table: str, keys: Sequence[str], rows: Rows) -> int:
        """Remove the rows with these keys; how many there were."""
        ...

    def among(self, columns: Sequence[str], rows: Rows) -> tuple[str, list[Any]]:
        """The condition that `columns` are one of `rows`, and its parameters."""
        ...

    def given(self, columns: Sequence[str], rows: Rows) -> tuple[str, list[Any]]:
        """A WITH clause that names `rows` as the table `given`, and its parameters.

        To look up rows of joined tables by values of several of them: `among` over
        more than one table would read them whole.
        """
        ...

    def lock(self, table: str, keys: Sequence[str], rows: Rows) -> None:
        """Lock rows in the order of their keys; nothing on SQLite."""
        ...

    def locking(self, order: str) -> str:
        """The end of a SELECT that locks its rows in this order."""
        ...

    def lock_numbers(self, numbers: Sequence[int]) -> None:
        """Lock numbers until the transaction ends; nothing on SQLite."""
        ...

    def hold_numbers(self, numbers: Sequence[int]) -> None:
        """Lock numbers until `free_numbers`; nothing on SQLite."""
        ...

    def free_numbers(self, numbers: Sequence[int]) -> None:
        """Undo `hold_numbers`."""
        ...

    def begin_write(self) -> None:
        """Open a transaction that may write."""
        ...

    def begin_read(self) -> None:
        """Open a transaction that sees one snapshot."""
        ...

    def commit(self) -> None:
        """End the transaction; raises Conflict where the database refuses."""
        ...

    @property
    def lost(self) -> bool:
        """Whether the connection is gone, so that another one is needed."""
        ...

    def rollback(self) -> None:
        """Undo the transaction, if one is open."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


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

    def upsert(self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Rows) -> None:
        self._many(_sqlite_upsert(table, tuple(keys), tuple(columns)), rows)

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
def _sqlite_upsert(table: str, keys: tuple[str, ...], columns: tuple[str, ...]) -> str:
    change = ", ".join(f"{column} = excluded.{column}" for column in columns)
    return f"{_insert(table, keys + columns)} ON CONFLICT ({','.join(keys)}) DO UPDATE SET {change}"


@lru_cache(1024)
def _sqlite_update(table: str, keys: tuple[str, ...], columns: tuple[str, ...]) -> str:
    change = ", ".join(f"{column} = ?{len(keys) + n}" for n, column in enumerate(columns, 1))
    where = " AND ".join(f"{key} = ?{n}" for n, key in enumerate(keys, 1))
    return f"UPDATE {table} SET {change} WHERE {where}"


class PostgresSession:
    """A connection to PostgreSQL."""

    dialect: Literal["sqlite", "postgresql"] = "postgresql"
    now = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"

    def __init__(self, url: str) -> None:
        import psycopg

        self._losses = (psycopg.OperationalError, psycopg.InterfaceError)
        try:
            self._raw = psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError as error:
            raise StoreUnavailableError(str(error)) from error
        self._cursor = self._raw.cursor(binary=True)
        settings = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
        found = self._raw.execute(settings).fetchone()
        if found is None or "off" in found:
            self._raw.close()
            msg = (
                "PostgreSQL runs with fsync or synchronous_commit off; acknowledged messages "
                "could be lost. Set both to on."
            )
            raise RuntimeError(msg)
        self._refusals = (
            psycopg.errors.UniqueViolation,
            psycopg.errors.DeadlockDetected,
            psycopg.errors.SerializationFailure,
            psycopg.errors.LockNotAvailable,
        )
        self._types: dict[tuple[str, str], str] = {}

    def _execute(self, sql: str, params: Sequence[Any]) -> "psycopg.Cursor":
        try:
            return self._cursor.execute(sql.encode(), params)
        except self._refusals as error:
            raise Conflict(type(error).__name__) from error
        except self._losses as error:
            raise StoreUnavailableError(str(error)) from error

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return self._execute(_percent(sql), params).fetchall()

    def row(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        return self._execute(_percent(sql), params).fetchone()

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        return self._execute(_percent(sql), params).rowcount

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        text, delimiter = _copied(rows)
        sql = f"COPY {table} ({','.join(columns)}) FROM STDIN (DELIMITER '{delimiter}')"
        try:
            with self._cursor.copy(sql) as copy:
                copy.write(text.encode())
        except self._refusals as error:
            raise Conflict(table) from error
        except self._losses as error:
            raise StoreUnavailableError(str(error)) from error

    def insert_new(self, table: str, columns: Sequence[str], rows: Rows) -> int:
        source, params = self._unnest(table, columns, rows)
        sql = f"INSERT INTO {table} ({','.join(columns)}) SELECT * FROM {source}"
        return self._execute(sql + " ON CONFLICT DO NOTHING", params).rowcount

    def upsert(self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Rows) -> None:
        every = (*keys, *columns)
        source, params = self._unnest(table, every, rows)
        change = ", ".join(f"{column} = excluded.{column}" for column in columns)
        self._execute(
            f"INSERT INTO {table} ({','.join(every)}) SELECT * FROM {source} "
            f"ON CONFLICT ({','.join(keys)}) DO UPDATE SET {change}",
            params,
        )

    def update(self, table: str, keys: Sequence[str], columns: Sequence[str], rows: Rows) -> int:
        source, params = self._unnest(table, (*keys, *columns), rows)
        change = ", ".join(f"{c} = s.c{len(keys) + n}" for n, c in enumerate(columns))
        where = " AND ".join(f"t.{key} = s.c{n}" for n, key in enumerate(keys))
        sql = f"UPDATE {table} t SET {change} FROM {source} WHERE {where}"
        return self._execute(sql, params).rowcount

    def delete(self, table: str, keys: Sequence[str], rows: Rows) -> int:
        source, params = self._unnest(table, keys, rows)
        where = " AND ".join(f"t.{key} = s.c{n}" for n, key in enumerate(keys))
        return self._execute(f"DELETE FROM {table} t USING {source} WHERE {where}", params).rowcount

    def lock(self, table: str, keys: Sequence[str], rows: Rows) -> None:
        source, params = self._unnest(table, keys, rows)
        where = " AND ".join(f"t.{key} = s.c{n}" for n, key in enumerate(keys))
        order = ", ".join(f"t.{key}" for key in keys)
        sql = f"SELECT 1 FROM {table} t JOIN {source} ON {where} ORDER BY {order}"
        self._execute(sql + " FOR UPDATE OF t", params)

    def _unnest(self, table: str, columns: Sequence[str], rows: Rows) -> tuple[str, list[str]]:
        if (table, columns[0]) not in self._types:
            self._types = {(row[0], row[1]): row[2] for row in self.rows(_COLUMN_TYPES)}
        casts = ",".join(f"%s::{self._types[table, column]}[]" for column in columns)
        names = ",".join(f"c{n}" for n in range(len(columns)))
        return f"unnest({casts}) AS s({names})", [
            _array(values) for values in zip(*rows, strict=True)
        ]

    def given(self, columns: Sequence[str], rows: Rows) -> tuple[str, list[Any]]:
        found = sorted(set(rows))
        casts = ["?::text[]" if isinstance(v, str) else "?::bigint[]" for v in found[0]]
        params: list[Any] = [_array(values) for values in zip(*found, strict=True)]
        unnested = f"SELECT * FROM unnest({','.join(casts)})"
        return f"WITH given({','.join(columns)}) AS ({unnested}) ", params

    def among(self, columns: Sequence[str], rows: Rows) -> tuple[str, list[Any]]:
        casts = ["?::text[]" if isinstance(v, str) else "?::bigint[]" for v in rows[0]]
        params: list[Any] = [_array(values) for values in zip(*rows, strict=True)]
        if len(columns) == 1:
            return f"{columns[0]} = ANY({casts[0]})", params
        return f"({','.join(columns)}) IN (SELECT * FROM unnest({','.join(casts)}))", params

    def locking(self, order: str) -> str:
        return f" ORDER BY {order} FOR UPDATE"

    def lock_numbers(self, numbers: Sequence[int]) -> None:
        for number in sorted(set(numbers)):
            self._execute("SELECT pg_advisory_xact_lock(%s::bigint)", (number,))

    def hold_numbers(self, numbers: Sequence[int]) -> None:
        for number in sorted(set(numbers)):
            self._execute("SELECT pg_advisory_lock(%s::bigint)", (number,))

    def free_numbers(self, numbers: Sequence[int]) -> None:
        for number in set(numbers):
            self._execute("SELECT pg_advisory_unlock(%s::bigint)", (number,))

    def begin_write(self) -> None:
        self._execute("BEGIN", ())

    def begin_read(self) -> None:
        self._execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ())

    def commit(self) -> None:
        self._execute("COMMIT", ())

    def rollback(self) -> None:
        if not self._raw.closed:
            self._execute("ROLLBACK", ())

    @property
    def lost(self) -> bool:
        return self._raw.closed

    def close(self) -> None:
        self._raw.close()


_COLUMN_TYPES = (
    "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod) "
    "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
    "WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped "
    "AND c.relnamespace = current_schema()::regnamespace"
)


@lru_cache(1024)
def _percent(sql: str) -> str:
    return sql.replace("?", "%s")


def _copied(rows: Rows) -> tuple[str, str]:
    """Rows in COPY's text format, and its delimiter. Source: PostgreSQL, COPY."""
    if len(rows[0]) > 1 and all(type(value) is int for value in rows[0]):
        # Index rows are numbers only: one call for all of them, ten times as fast.
        text = str(rows)
        if "N" not in text:
            return text[2:-2].replace("), (", "\n"), ","
    return "\n".join(["\t".join([_FIELD[type(v)](v) for v in row]) for row in rows]), "\t"


def _copied_text(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text or "\r" in text or "\t" in text or "\0" in text:
        text = text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
        text = text.replace("\0", "\ufffd")
    return text


_FIELD: dict[type, Callable[[Any], str]] = {
    int: str,
    str: _copied_text,
    bytes: lambda value: "\\\\x" + value.hex(),
    type(None): lambda _: "\\N",
}


def _array(values: Sequence[Any]) -> str:
    """An array literal. Source: PostgreSQL, Arrays, "Array Value Input"."""
    return "{" + ",".join([_ELEMENT[type(value)](value) for value in values]) + "}"


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\0", "\ufffd")
    return f'"{text}"'


_ELEMENT: dict[type, Callable[[Any], str]] = {
    int: str,
    str: _quoted,
    bytes: lambda value: f'"\\\\x{value.hex()}"',
    type(None): lambda _: "NULL",
}
