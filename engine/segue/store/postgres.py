"""PostgreSQL: rows go in with COPY and `unnest`, and are locked where writers may cross."""

# ruff: noqa: D102, S608 - the protocol says it; names of tables and columns are our own

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from segue.store.dialects import Conflict, Row, Rows
from segue.store.records import StoreUnavailableError

if TYPE_CHECKING:
    import psycopg


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

    def upsert(
        self,
        table: str,
        keys: Sequence[str],
        columns: Sequence[str],
        rows: Rows,
        held: str | None = None,
    ) -> int:
        every = (*keys, *columns)
        source, params = self._unnest(table, every, rows)
        change = ", ".join(f"{column} = excluded.{column}" for column in columns)
        sql = (
            f"INSERT INTO {table} ({','.join(every)}) SELECT * FROM {source} "
            f"ON CONFLICT ({','.join(keys)}) DO UPDATE SET {change}"
        )
        if held is not None:
            sql += f" WHERE {table}.{held} = excluded.{held}"
        return self._execute(sql, params).rowcount

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

    def lookup_join(self, table: str, alias: str, where: str) -> str:
        # OFFSET keeps the planner from taking the lookup apart.
        rows = f"SELECT {alias}.* FROM {table} {alias} WHERE {where} OFFSET 0"
        return f"CROSS JOIN LATERAL ({rows}) {alias}"

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
