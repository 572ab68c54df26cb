"""The store as the pipeline sees it."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import thread_time

from segue.model.instants import Clock
from segue.store.commit import Plan, write_commit
from segue.store.database import Database, open_database
from segue.store.deliveries import Deliveries
from segue.store.dialects import Conflict
from segue.store.inbox import Inbox
from segue.store.journal import Journal
from segue.store.leases import Leases, clear
from segue.store.migrate import is_postgres
from segue.store.outbox import Outbox
from segue.store.packing import pack
from segue.store.reader import Reader
from segue.store.records import Commit, Committed, RevisionConflict
from segue.store.wake import Bell, NotifyBell, SocketBell

_BLOCK = 1000


class Store:
    """Persons, facts, resources, leases and the outbox."""

    def __init__(self, database: Database, bell: Bell, clock: Clock) -> None:
        """Take an open database of the part `store`.

        Args:
            database: where to.
            bell: tells senders that there is something new.
            clock: gives `lastUpdated`.
        """
        self.database = database
        self.bell = bell
        self._clock = clock
        self._numbers = {"pk": range(0), "tx": range(0)}
        self._guard = threading.Lock()
        self._mappings: set[str] = set()

    @property
    def embedded(self) -> bool:
        """Whether it is a file of this machine, and nobody has to be asked over a network."""
        return self.database.dialect == "sqlite"

    @contextlib.contextmanager
    def read(self) -> Iterator[Reader]:
        """One snapshot of everything."""
        with self.database.read() as session:
            yield Reader(session)

    def commit(self, commit: Commit) -> Committed:
        """Write everything of a commit, or nothing.

        Raises:
            RevisionConflict: a person, a resource or a lease moved meanwhile.
            ValueError: the versions of a resource do not follow one another.
        """
        plan = Plan(commit)
        tx = self._new("tx", 1)[0] if self.database.dialect == "postgresql" else None
        try:
            with self.database.write() as session:
                begun = thread_time()
                committed = write_commit(session, plan, tx, self._clock)
        except Conflict as error:
            raise RevisionConflict from error
        committed.held = thread_time() - begun
        if any(step.deliveries for step in commit.steps):
            self.bell.ring("outbox")
        return committed

    @contextlib.contextmanager
    def hold(self, conditions: Sequence[int]) -> Iterator[None]:
        """Let nobody else commit with these conditions: look, then commit, inside.

        For conditional creates: a search that finds nothing stays true until the
        commit, which must be made by the same thread. Keep it short: an embedded
        store lets no other writer in at all.

        Args:
            conditions: numbers of the normalised queries.
        """
        if not conditions:
            yield
            return
        with self.database.exclusive():
            session = self.database.writer()
            session.hold_numbers(conditions)
            try:
                yield
            finally:
                session.free_numbers(conditions)

    def leases(self, holder: str) -> Leases:
        """Leases for a process; `holder` is a name that no other living one uses."""
        return Leases(self.database, holder)

    def outbox(self, holder: str) -> Outbox:
        """The outbox for a sender; `holder` is a name that no other living process uses."""
        return Outbox(self.database, holder)

    def deliveries(self) -> Deliveries:
        """The outbox for people."""
        return Deliveries(self.database)

    def inbox(self, journal: Journal) -> Inbox:
        """The journal's entries with what became of them."""
        return Inbox(journal, self.database)

    def clear_leases(self) -> None:
        """Free all leases; only for an embedded engine that starts."""
        clear(self.database)

    def go_on_from(self, old: Reader) -> None:
        """Read the journal on where another store stopped; destinations keep their pauses."""
        lanes = [("journal", str(lane), cursor) for lane, cursor in old.lane_cursors().items()]
        columns = ("name", "paused", "because", "since")
        paused = old.session.rows(f"SELECT {', '.join(columns)} FROM destination")  # noqa: S608
        with self.database.write() as session:
            session.update("lease", ("log", "partition"), ("cursor",), lanes)
            if paused:
                session.insert_new("destination", columns, paused)

    def keep_mapping(self, digest: str, files: Callable[[], bytes]) -> None:
        """Keep a mapping set, unless it is kept already.

        Args:
            digest: of the set.
            files: gives its files as bytes; asked only once for each set and process.
        """
        if digest in self._mappings:
            return
        packed = pack(files())
        with self.database.write() as session:
            session.insert_new("mapping_set", ("digest", "files"), [(digest, packed)])
        self._mappings.add(digest)

    def new_pk(self, count: int) -> list[int]:
        """Fresh numbers for persons and resources; those not used are lost."""
        return self._new("pk", count)

    def _new(self, name: str, count: int) -> list[int]:
        with self._guard:
            numbers = self._numbers[name]
            taken = list(numbers[:count])
            if len(taken) < count:
                size = max(_BLOCK, count)
                end = self._reserve(name, size)
                numbers = range(end - size, end)
                missing = count - len(taken)
                taken += numbers[:missing]
                self._numbers[name] = numbers[missing:]
            else:
                self._numbers[name] = numbers[count:]
            return taken

    def _reserve(self, name: str, size: int) -> int:
        with self.database.aside() as session:
            row = session.row(
                "UPDATE counter SET next = next + ? WHERE name = ? RETURNING next", (size, name)
            )
        assert row is not None, f"the store has no counter {name}"
        return int(row[0])

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
        self.bell.close()


def open_store(where: str | Path, clock: Clock) -> Store:
    """Open the store, creating an empty embedded one.

    Args:
        where: a `postgresql://` URL, or the data directory of an embedded store.
        clock: gives `lastUpdated`.

    Raises:
        RuntimeError: the database would not keep what it has committed, or has no or
            an older schema.
    """
    return Store(open_database(where, "store"), open_bell(where), clock)


def open_journal(where: str | Path, *, duplicates_days: int = 30) -> Journal:
    """Open the journal, creating an empty embedded one.

    Args:
        where: as for `open_store`.
        duplicates_days: how long a control id is remembered.
    """
    return Journal(open_database(where, "journal", cache_mib=16), open_bell(where), duplicates_days)


def open_bell(where: str | Path) -> Bell:
    """What wakes the other processes of this store."""
    if is_postgres(where):
        return NotifyBell(str(where))
    return SocketBell(Path(where))
