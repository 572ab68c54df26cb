"""A hub in one process: store, rules and setting, without servers."""

import atexit
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from zoneinfo import ZoneInfo

from segue.care.protocols import shipped as shipped_protocols
from segue.care.view import CareSetting, SiteProfile
from segue.fhir.canonical import canonical_state, loads
from segue.fhir.profiles import shipped
from segue.fhir.validate import Gate
from segue.fhir.validation.validator import Validator
from segue.hl7v2.peek import peek
from segue.mapping.context import SiteRules
from segue.mapping.load import MappingSet, load
from segue.model.deliveries import Delivery
from segue.model.instants import instant_of, microseconds
from segue.model.messages import Envelope, InboxEntry, RawMessage
from segue.pipeline.charts import Charts, Directory
from segue.pipeline.hub import FeedRules, Hub
from segue.pipeline.process import Outcome, process
from segue.pipeline.rebuild import Rebuilt, rebuild
from segue.pipeline.routes import Route
from segue.pipeline.workers import Worker
from segue.settings.sections import PROTOCOLS
from segue.store.packing import unpack
from segue.store.records import NewEntry
from segue.store.store import open_journal, open_store

ROOT = Path(__file__).resolve().parents[2]
ZONE = ZoneInfo("America/New_York")


@dataclass
class TestClock:
    """A clock that stands still until it is set."""

    us: int
    __test__ = False

    @classmethod
    def at(cls, text: str) -> "TestClock":
        """Of an instant with offset, `2026-07-10T15:30:00-04:00`."""
        return cls(microseconds(datetime.fromisoformat(text)))

    def __call__(self) -> datetime:
        return instant_of(self.us)

    def set(self, text: str) -> None:
        self.us = microseconds(datetime.fromisoformat(text))


SITES = ("hospa", "hospb", "pcpb", "payx")


def setting(destinations: Mapping[str, str], record: Sequence[str] = ()) -> CareSetting:
    """The care setting of the stories' sites."""
    return CareSetting(
        sites={
            name: SiteProfile(name, name.upper(), name.upper(), ZONE, practices={"PCPB": "pcpb"})
            for name in SITES
        },
        rank=(),
        record_destinations=frozenset(record),
        destination_sites=dict(destinations),
    )


@dataclass
class Bench:
    """A hub with a journal that entries are put into."""

    hub: Hub
    clock: TestClock
    ids: "count[int]" = field(default_factory=lambda: count(1))

    def entry(self, raw: bytes | str, feed: str = "adt", site: str = "hospa") -> InboxEntry:
        """A message as the journal would give it."""
        body = raw.encode() if isinstance(raw, str) else raw
        seen = peek(body)
        sender = f"{seen.sender_app}|{seen.sender_facility}"
        digest = sha256(body).hexdigest()
        envelope = Envelope(sender, seen.control_id, seen.event, digest, site, 0)
        message = RawMessage(body, feed, self.clock.us)
        return InboxEntry(next(self.ids), message, envelope, b"", "AA")

    def process(self, *messages: bytes | str, feed: str = "adt", site: str = "hospa") -> Outcome:
        """Process messages as one batch, without the journal."""
        return process(self.hub, [self.entry(raw, feed, site) for raw in messages])

    def resources(self, *types: str) -> list[dict[str, Any]]:
        """Current resources of kind `fold`, or of the types given; without deleted ones."""
        rows = self._rows(
            "SELECT r.type, r.kind, v.body FROM resource r "
            "JOIN version v ON v.resource = r.pk AND v.version = r.version "
            "WHERE r.deleted = 0 ORDER BY r.type, r.id"
        )
        return [
            loads(unpack(body))
            for name, kind, body in rows
            if (name in types if types else kind == 0)
        ]

    def state(self) -> bytes:
        """The canonical form of all that is stored."""
        return canonical_state(self.resources())

    def deliveries(self) -> list[tuple[str, str, str, int, str]]:
        """(destination, form, what, version, cause) in order."""
        rows = self._rows("SELECT partition, form, what, version, cause FROM outbox ORDER BY id")
        return [(row[0].partition("/")[0], row[1], row[2], row[3], row[4]) for row in rows]

    def versions(self) -> int:
        """How many versions are stored."""
        return int(self._rows("SELECT count(*) FROM version")[0][0])

    def commits(self) -> int:
        """How many commits there were."""
        return int(self._rows("SELECT count(*) FROM commits")[0][0])

    def exceptions(self) -> dict[int, tuple[str, str]]:
        """Entry to (state, issues as JSON)."""
        rows = self._rows("SELECT entry, state, issues FROM inbox_exception ORDER BY entry")
        return {row[0]: (row[1], row[2]) for row in rows}

    def work(self, *messages: bytes | str, site: str = "hospa") -> None:
        """Put messages into the journal and let a worker process them."""
        for raw in messages:
            self.append(raw, site=site)
        worker = Worker(self.hub, "test")
        while worker.step():
            pass

    def rebuilt(self, directory: Path, waiting: Sequence[Delivery] = ()) -> Rebuilt:
        """The same from the records alone: the journal, and what was stated beside it."""
        _copy(directory)
        store = open_store(directory, self.clock)
        try:
            with self.hub.store.read() as old:
                hub = replace(
                    self.hub, store=store, charts=Charts(), directory=Directory(), numbers=[]
                )
                return rebuild(old, hub, waiting=waiting)
        finally:
            store.close()

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.hub.store.read() as reader:
            return reader.session.rows(sql)

    def close(self) -> None:
        self.hub.store.close()
        self.hub.journal.close()

    def append(
        self, raw: bytes | str, feed: str = "adt", site: str = "hospa", lane: int = 0
    ) -> int:
        """Put a message into the journal."""
        entry = self.entry(raw, feed, site)
        old = entry.envelope
        envelope = Envelope(old.sender, old.control_id, old.event, old.digest, site, lane)
        (verdict,) = self.hub.journal.append([NewEntry(entry.raw, envelope, b"", "AA")])
        return verdict.entry


@lru_cache(maxsize=1)
def core_mapping() -> MappingSet:
    return load(ROOT / "mappings" / "core", [], None)


@lru_cache(maxsize=1)
def gate() -> Gate:
    return Gate(shipped() / "definitions")


@lru_cache(maxsize=1)
def _template() -> Path:
    """An empty store, made once: making the schema takes longer than most tests."""
    folder = Path(mkdtemp(prefix="segue-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    clock = TestClock(0)
    for part in (open_store(folder, clock), open_journal(folder)):
        part.close()
    return folder


def _copy(directory: Path) -> None:
    if not (directory / "store.db").exists():
        directory.mkdir(parents=True, exist_ok=True)
        for file in _template().glob("*.db*"):
            shutil.copy(file, directory / file.name)


@contextmanager
def hub(
    directory: Path | str,
    clock: TestClock | None = None,
    routes: Sequence[Route] = (),
    feeds: Sequence[FeedRules] = (),
    protocols: Sequence[str] = PROTOCOLS,
) -> Iterator[Bench]:
    """`make_hub`, closed at the end."""
    bench = make_hub(directory, clock, routes, feeds, protocols)
    try:
        yield bench
    finally:
        bench.close()


def make_hub(
    directory: Path | str,
    clock: TestClock | None = None,
    routes: Sequence[Route] = (),
    feeds: Sequence[FeedRules] = (),
    protocols: Sequence[str] = PROTOCOLS,
) -> Bench:
    """Open a store in a directory or at a PostgreSQL URL, and build a hub on it.

    Args:
        protocols: names of those that are in force.
    """
    clock = clock or TestClock.at("2026-07-10T15:30:00-04:00")
    if isinstance(directory, Path):
        _copy(directory)
    core = core_mapping()
    numbers = count(1)
    hub = Hub(
        store=open_store(directory, clock),
        journal=open_journal(directory),
        mapping_for=lambda _: core,
        sites={
            name: SiteRules(
                name,
                name.upper(),
                f"urn:segue:authority:{name.upper()}",
                ZONE,
                practices={"PCPB": "pcpb"},
            )
            for name in SITES
        },
        feeds={feed.name: feed for feed in feeds},
        gate=gate(),
        validator=Validator(gate()),
        protocols=shipped_protocols().in_force(protocols),
        setting=setting(
            {route.name: route.site for route in routes},
            [route.name for route in routes if route.receipt == "record"],
        ),
        routes=routes,
        clock=clock,
        new_id=lambda: f"id{next(numbers)}",
    )
    return Bench(hub, clock)
