"""What the store asks of a database, in one form for SQLite and PostgreSQL.

A `Session` is one connection with the few verbs that the store needs. SQL is written
once, with `?` for parameters; rows go in as tuples. All in which the two differ is in
`sqlite.py` and `postgres.py`.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

Row = tuple[Any, ...]
Rows = Sequence[Row]


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

    def upsert(
        self,
        table: str,
        keys: Sequence[str],
        columns: Sequence[str],
        rows: Rows,
        held: str | None = None,
    ) -> int:
        """Add rows, or replace `columns` where `keys` are there. Rows: keys, columns.

        Args:
            table, keys, columns, rows: what goes where.
            held: a column whose value must be there already; other rows stay as they are.

        Returns:
            How many were added or replaced.
        """
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

    def lookup_join(self, table: str, alias: str, where: str) -> str:
        """A join that looks rows up, by an index, for each row of what stands before it.

        A planner whose statistics are old, or that cannot know how narrow a range is,
        would read a log from its beginning.

        Args:
            table: whose rows; alias: their name, also in `where`.
            where: may name what stands before; its parameters come in the same place.
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
