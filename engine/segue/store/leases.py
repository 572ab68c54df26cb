"""Who reads which partition of the journal and of the outbox.

A lease only hands out work: what a holder that was too slow still writes is refused,
because its token is old. Times are the database's own clock.
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Sequence
from typing import Any, Literal, get_args

from segue.store.database import Database
from segue.store.dialects import Row, Session
from segue.store.records import Lease

Log = Literal["journal", "outbox", "changes"]

LEASE_US = 10_000_000
"""How long a lease lasts without being prolonged."""


class Leases:
    """The leases of one holder, such as a worker process."""

    def __init__(self, database: Database, holder: str) -> None:
        """Take a name that no other living process uses, such as host and process id."""
        self._database = database
        self._holder = holder

    def hold(self, log: Log, partitions: Sequence[str] | None = None) -> list[Lease]:
        """Prolong, take or give back partitions until this holder has its fair share.

        To be called every few seconds. What is missing from the answer is lost.

        Args:
            log: `journal`, `outbox`, or `changes` for what follows the commits.
            partitions: those wanted; None: all that there are. Holders share among
                those who ask for the same.

        Returns:
            the leases that this holder has now, by partition.
        """
        with self._database.aside() as session:
            if partitions is not None:
                rows = [(log, partition, 0, 0, 0) for partition in sorted(partitions)]
                columns = ("log", "partition", "cursor", "token", "expires")
                if rows and len(self._found(session, log, partitions)) < len(rows):
                    session.insert_new("lease", columns, rows)
            holders = self._announce(session, _group(log, partitions))
            found = self._found(session, log, partitions)
            share = -(-len(found) // holders)
            mine = [row for row in found if row[3] == self._holder and row[4]]
            keep = mine[:share]
            # An own lease that ran out is as free as anyone's.
            take = [row for row in found if not row[4]][: share - len(keep)]
            prolong = f"expires = {session.now} + {LEASE_US}"
            self._set(session, log, mine[share:], "holder = NULL")
            self._set(session, log, keep, prolong)
            self._set(session, log, take, f"{prolong}, token = token + 1, holder = ?")
        kept = [Lease(log, row[0], row[2], row[1]) for row in keep]
        taken = [Lease(log, row[0], row[2] + 1, row[1]) for row in take]
        return sorted(kept + taken, key=lambda lease: lease.partition)

    def release(self, log: Log | None = None, partitions: Sequence[str] | None = None) -> None:
        """Give back all leases, those of one log, or some of its partitions."""
        with self._database.aside() as session:
            for name in get_args(Log) if log is None else (log,):
                found = self._found(session, name, partitions)
                held = [row for row in found if row[3] == self._holder]
                self._set(session, name, held, "holder = NULL")
                group = _group(name, partitions)
                session.run(
                    "DELETE FROM holder WHERE name = ? AND (log = ? OR log LIKE ?)",
                    (self._holder, group, f"{group}:%"),
                )

    def _announce(self, session: Session, group: str) -> int:
        session.run(
            "INSERT INTO holder (log, name, expires) "
            f"VALUES (?, ?, {session.now} + {LEASE_US}) "
            "ON CONFLICT (log, name) DO UPDATE SET expires = excluded.expires",
            (group, self._holder),
        )
        row = session.row(
            f"SELECT count(*) FROM holder WHERE log = ? AND expires > {session.now}",
            (group,),
        )
        return int(row[0]) if row else 1

    def _found(
        self, session: Session, log: str, partitions: Sequence[str] | None = None
    ) -> list[Row]:
        """Rows (partition, cursor, token, holder, whether it is held), locked."""
        where = "1 = 1"
        params: list[Any] = []
        if partitions is not None:
            if not partitions:
                return []
            where, params = session.among(("partition",), [(name,) for name in partitions])
        return session.rows(
            "SELECT partition, cursor, token, holder, "
            f"CASE WHEN holder IS NOT NULL AND expires > {session.now} THEN 1 ELSE 0 END "
            f"FROM lease WHERE log = ? AND {where}" + session.locking("log, partition"),
            [log, *params],
        )

    def _set(self, session: Session, log: str, rows: Sequence[Row], change: str) -> None:
        if rows:
            where, params = session.among(("partition",), [row[:1] for row in rows])
            holder = [self._holder] if "?" in change else []
            session.run(
                f"UPDATE lease SET {change} WHERE log = ? AND {where}",
                [*holder, log, *params],
            )


def _group(log: str, partitions: Sequence[str] | None) -> str:
    """Who asks for the same partitions shares them."""
    return log if partitions is None else f"{log}:{min(partitions, default='')}"


def clear(database: Database) -> None:
    """Free all leases: for an embedded engine that starts, so nobody else can live."""
    with database.aside() as session:
        session.run("UPDATE lease SET holder = NULL, expires = 0")
        session.run("DELETE FROM holder")


def cursors(session: Session, log: Log) -> dict[str, int]:
    """Partition to how far it is read."""
    return dict(session.rows("SELECT partition, cursor FROM lease WHERE log = ?", (log,)))


def lane_cursors(session: Session) -> dict[int, int]:
    """Journal lane to how far it is read."""
    return {int(lane): cursor for lane, cursor in cursors(session, "journal").items()}
