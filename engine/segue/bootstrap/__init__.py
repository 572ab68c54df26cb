"""Builds an engine from its settings: everything once, handed down, nothing global."""

import secrets
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from segue.bootstrap.mappings import Mappings
from segue.care.clocks import Clocks
from segue.care.view import CareSetting, SiteProfile
from segue.mapping.context import SiteRules
from segue.mapping.load import MappingSet
from segue.model.instants import NewId
from segue.pipeline import parts as pulses
from segue.pipeline.acceptance import DEFAULT, FeedPolicy
from segue.pipeline.clock import DomainClock, SharedClock, SystemClock
from segue.pipeline.engine import FeedRules, Hub
from segue.pipeline.routes import Route
from segue.pipeline.stages import Stages
from segue.settings.sections import FeedSettings, Settings
from segue.store.database import DataDirectoryInUseError, DataDirectoryLock
from segue.store.inbox import Inbox
from segue.store.journal import Journal
from segue.store.migrate import is_postgres
from segue.store.outbox import Outbox
from segue.store.store import Store

if TYPE_CHECKING:
    from segue.care.protocols import Protocols
    from segue.fhir.validate import Gate
    from segue.pipeline.matching import Matcher
    from segue.pipeline.rebuild import Rebuilt

WRONG_CONFIGURATION, UNREACHABLE = 2, 3
OUTLIVE_SECONDS = 15.0
"""How long a start waits for the processes of an engine whose parent was killed."""


class StartRefused(Exception):  # noqa: N818
    """The engine does not start: a line for a person, an exit code for a script."""

    def __init__(self, text: str, code: int = WRONG_CONFIGURATION) -> None:
        self.code = code
        super().__init__(text)


class Unreachable(Exception):  # noqa: N818
    """The store of a configuration cannot be reached."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open store with its parts."""

    store: Store
    journal: Journal
    inbox: Inbox
    outbox: Outbox
    clock: DomainClock


def shared(settings: Settings) -> bool:
    """Whether the database is PostgreSQL."""
    return settings.database != "sqlite"


def where(settings: Settings) -> str | Path:
    """What the store opens: a URL, or the data directory."""
    return settings.database if shared(settings) else settings.data_dir


def run_directory(settings: Settings) -> Path:
    """Where the processes of this engine report and share the clock."""
    return settings.data_dir / "run"


def clock_of(settings: Settings) -> DomainClock:
    """The system's clock, or the simulated one that the parent has started."""
    if settings.clock is None:
        return SystemClock()
    return SharedClock(run_directory(settings) / "clock")


def clocks() -> Clocks:
    """The clock table, for `segue clock`."""
    from segue.care.clocks import shipped

    return shipped()


@contextmanager
def opened(settings: Settings) -> Iterator[Opened]:
    """Open the store of a configuration that exists.

    Raises:
        Unreachable: it does not exist, or does not answer.
    """
    if not shared(settings) and not (settings.data_dir / "store.db").exists():
        raise Unreachable(
            f"{settings.data_dir}: no store here. Start the engine once, or set --config or "
            "SEGUE_DATA_DIR to where it runs."
        )
    clock: DomainClock = SystemClock()
    if settings.clock is not None and (run_directory(settings) / "clock").exists():
        clock = SharedClock(run_directory(settings) / "clock")
    found = open_parts(settings, clock, "cli")
    try:
        yield found
    finally:
        found.store.close()
        found.journal.close()


def open_parts(settings: Settings, clock: DomainClock, holder: str) -> Opened:
    """Open store and journal.

    Args:
        holder: who holds leases, unique among all processes.

    Raises:
        Unreachable: the database does not answer, or has no schema or an older one.
        SearchParameterError: one of the site's search parameters cannot be used.
    """
    from segue.store.store import open_journal, open_store

    install_search_parameters(settings)
    keep = settings.keep.duplicates
    try:
        store = open_store(where(settings), clock)
        journal = open_journal(
            where(settings), duplicates_days=keep.days if keep is not None else 36_500
        )
    except (OSError, RuntimeError) as error:
        raise Unreachable(str(error)) from error
    except Exception as error:
        raise Unreachable(
            f"the database cannot be reached: {type(error).__name__}: {_first_line(error)}"
        ) from error
    return Opened(
        store,
        journal,
        store.inbox(journal),
        store.outbox(holder),
        clock,
    )


def install_search_parameters(settings: Settings) -> None:
    """Take the site's own search parameters, in this process.

    Raises:
        SearchParameterError: a file cannot be used.
    """
    if settings.profiles:
        from segue.fhir.profiles import definitions
        from segue.fhir.search.custom import install, read

        install(read(definitions(), settings.profiles))


def search_marks() -> list[str]:
    """What the store remembers the site's indexed search parameters by."""
    from segue.fhir.search.parameters import installed

    return [one.mark for one in installed() if one.mark]


def reindex_store(
    settings: Settings, total: Callable[[int], object], advance: Callable[[int], object]
) -> dict[str, int]:
    """Make the rows of the site's search parameters for all that is stored.

    Args:
        total: told how many resources there are; advance: how many more are done.

    Returns:
        `parameters` that are now in the index, and `resources` that were read for them.

    Raises:
        Unreachable: the store does not answer.
        StartRefused: no engine has started with one of the parameters yet.
    """
    from segue.store.reindex import reindex, states

    with opened(settings) as found:
        marks = search_marks()
        unknown = sorted(set(marks) - states(found.store.database).keys())
        if unknown:
            _, type_, code, _ = unknown[0].split(":")
            raise StartRefused(
                f"{type_}:{code}: the engine does not write it yet: start the engine anew with "
                "this configuration, then run `segue db reindex`"
            )
        count = reindex(found.store.database, marks, total, advance)
    return {"parameters": len(marks), "resources": count}


def upgrade_schema(settings: Settings) -> dict[str, str]:
    """Create or upgrade the schema of both parts; part to revision.

    Raises:
        Unreachable: the database does not answer.
    """
    from segue.store.migrate import REVISION, upgrade

    try:
        if shared(settings):
            upgrade(settings.database)
        else:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            upgrade(settings.data_dir / "journal.db", ["journal"])
            upgrade(settings.data_dir / "store.db", ["store"])
    except Exception as error:
        raise Unreachable(
            f"the database cannot be upgraded: {type(error).__name__}: {_first_line(error)}"
        ) from error
    return {"journal": REVISION, "store": REVISION}


def rebuild_store(
    settings: Settings,
    into: str | None,
    total: Callable[[int], object],
    advance: Callable[[int], object],
) -> "Rebuilt":
    """Make the store anew from its records, in another place, and compare.

    Args:
        into: directory, or `postgresql://` URL with the schema in it; None: a
            temporary directory.
        total: told how many journal entries there are; advance: how many more are done.

    Raises:
        Unreachable: one of the stores does not answer, or the new place is not empty.
    """
    from segue.pipeline.rebuild import rebuild, waiting_in
    from segue.store.store import open_store

    with ExitStack() as stack:
        found = stack.enter_context(opened(settings))
        place = into or stack.enter_context(TemporaryDirectory(prefix="segue-rebuild-"))
        if not is_postgres(place):
            Path(place).mkdir(parents=True, exist_ok=True)
        try:
            store = open_store(place if is_postgres(place) else Path(place), found.clock)
        except (OSError, RuntimeError) as error:
            raise Unreachable(f"{place}: {error}") from error
        stack.callback(store.close)
        with store.read() as reader:
            if reader.head_position()[0]:
                raise Unreachable(f"{place}: there is a store already: name an empty place")
        total(found.journal.head())
        hub = build_hub(settings, replace(found, store=store))
        old = stack.enter_context(found.store.read())
        return rebuild(old, hub, waiting=waiting_in(found.outbox), advance=advance)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def mapping_sets(settings: Settings) -> dict[str, MappingSet]:
    """The compiled mapping of every configured site.

    Raises:
        MappingError: some file is wrong; all faults, with file and line.
    """
    return Mappings(settings).sets


def site_rules(settings: Settings) -> dict[str, SiteRules]:
    """The sites as mapping sees them."""
    systems = {site.authority: site.system for site in settings.sites.values() if site.authority}
    return {
        site.name: SiteRules(
            site.name,
            site.authority,
            site.system,
            site.zone,
            site.links_by,
            site.practices,
            systems,
            site.a37_unmerges,
            site.unknown_visit,  # type: ignore[arg-type]
        )
        for site in settings.sites.values()
    }


def care_setting(settings: Settings) -> CareSetting:
    """The sites and destinations as care sees them."""
    return CareSetting(
        sites={
            site.name: SiteProfile(
                site.name, site.title, site.authority, site.zone, site.lag, dict(site.practices)
            )
            for site in settings.sites.values()
        },
        rank=tuple(site.authority for site in settings.sites.values() if site.authority),
        record_destinations=frozenset(
            d.name for d in settings.destinations.values() if d.receipt == "record"
        ),
        destination_sites={d.name: d.site for d in settings.destinations.values()},
    )


def routes(settings: Settings) -> list[Route]:
    """The destinations as fan-out sees them."""
    return [
        Route(d.name, d.kind, d.site, d.send, d.bed_moves, d.receipt)  # type: ignore[arg-type]
        for d in settings.destinations.values()
    ]


def charset_fallback(settings: Settings, feed: FeedSettings) -> tuple[str, ...]:
    """The character sets of a feed's site that are tried where MSH-18 does not hold."""
    return settings.sites[feed.site].charset_fallback


def policies(settings: Settings) -> dict[str, FeedPolicy]:
    """What each feed takes and when it answers, as intake sees it."""
    # MSH-4 may name any site.
    rejects = any(site.unknown_visit == "reject" for site in settings.sites.values())
    found = {
        feed.name: FeedPolicy(
            feed.ack,  # type: ignore[arg-type]
            feed.accept.processing_ids,
            feed.accept.types,
            feed.accept.versions,
            charset_fallback(settings, feed),
            feed.limits.answer.total_seconds(),
            rejects and feed.ack == "mapped",
        )
        for feed in settings.feeds.values()
    }
    return {name: policy for name, policy in found.items() if policy != DEFAULT}


def new_id() -> str:
    """A random id that begins with its time, so that an index grows at its end.

    Source: https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7
    """
    ms = time.time_ns() // 1_000_000
    digits = f"{ms:012x}7{secrets.randbits(12):03x}{secrets.randbits(62) | 1 << 63:016x}"
    return str(uuid.UUID(digits))


@dataclass(frozen=True, slots=True)
class Rules:
    """What all processes of an engine read.

    Attributes:
        mappings: compiled; they may be read anew while a process runs.
    """

    mappings: Mappings
    gate: "Gate"
    protocols: "Protocols"


def rules_of(settings: Settings) -> Rules:
    """Read and compile everything that a configuration names.

    Raises:
        MappingError: a mapping file is wrong.
        ProtocolError: a protocol of a site is wrong.
    """
    from segue.fhir.profiles import definitions
    from segue.fhir.validate import Gate

    in_force = protocols_of(settings).in_force(settings.protocols)
    return Rules(Mappings(settings), Gate(definitions()), in_force)


def protocols_of(settings: Settings) -> "Protocols":
    """The shipped protocols and those of the site's own profiles, all of them in force.

    Raises:
        ProtocolError: one is wrong.
    """
    from segue.care.protocols import load
    from segue.fhir.fhirpath import compile_path
    from segue.fhir.profiles import shipped

    return load(shipped(), settings.profiles, compile_path)


def build_hub(
    settings: Settings, found: Opened, rules: Rules | None = None, new: NewId = new_id
) -> Hub:
    """The hub of a process; with mappings that may be read anew while it runs.

    Args:
        settings: of the engine.
        found: the open store.
        rules: if they have been read already.
        new: makes ids.

    Raises:
        MappingError: a mapping file is wrong.
    """
    from segue.fhir.validation.validator import Validator

    rules = rules or rules_of(settings)
    return Hub(
        store=found.store,
        journal=found.journal,
        mapping_for=rules.mappings,
        sites=site_rules(settings),
        feeds={
            feed.name: FeedRules(
                feed.name,
                feed.history,
                feed.part2 if isinstance(feed.part2, str) else frozenset(feed.part2),  # type: ignore[arg-type]
                charset_fallback(settings, feed),
                feed.replies or "",
            )
            for feed in settings.feeds.values()
        },
        gate=rules.gate,
        validator=Validator(rules.gate, settings.profiles),
        protocols=rules.protocols,
        setting=care_setting(settings),
        routes=routes(settings),
        clock=found.clock,
        new_id=new,
        stages=Stages(every=2),
        matching=matching_folder(settings),
        delete_referenced=settings.http.delete_referenced,
    )


def matching_folder(settings: Settings) -> Path:
    """The matching rules: those of the site's own profiles, else the shipped ones."""
    from segue.fhir.profiles import shipped

    found = [folder / "matching" for folder in (*settings.profiles, shipped())]
    return next((one for one in found if (one / "matching.yaml").is_file()), found[-1])


def build_matcher(settings: Settings, hub: Hub, holder: str) -> "Matcher | None":
    """What links Patients of different authorities; None where there is only one."""
    authorities = {site.authority for site in settings.sites.values() if site.authority}
    if settings.matching == "off" or len(authorities) < 2:
        return None
    from segue.care.matching.grade import rules_in
    from segue.pipeline.matching import Matcher

    mode: Literal["link", "review"] = "link" if settings.matching == "link" else "review"
    return Matcher(hub, holder, rules_in(hub.matching), mode)


@contextmanager
def prepare(settings: Settings) -> Iterator[Rules]:
    """Make everything ready before the processes start; holds the data directory.

    Raises:
        StartRefused: another engine lives here, a port is taken, a mapping or a protocol
            is wrong, the database does not answer or must be upgraded first.
    """
    from segue.fhir.search.custom import SearchParameterError
    from segue.mapping.source import MappingError
    from segue.store.reindex import note

    try:
        lock = DataDirectoryLock(settings.data_dir)
    except DataDirectoryInUseError as error:
        raise StartRefused(str(error), UNREACHABLE) from None
    except OSError as error:
        raise StartRefused(f"{settings.data_dir}: {error.strerror}", UNREACHABLE) from None
    try:
        directory = run_directory(settings)
        directory.mkdir(parents=True, exist_ok=True)
        pulses.outlive(directory, OUTLIVE_SECONDS)
        check_ports(settings)
        try:
            rules = rules_of(settings)
            check_profiles(settings)
        except (MappingError, ValueError) as error:
            raise StartRefused(str(error)) from None
        clock: DomainClock = SystemClock()
        if settings.clock is not None:
            if not settings.http.listen.loopback:
                raise StartRefused("SEGUE_CLOCK: a simulated clock is for loopback only")
            try:
                clock = SharedClock.create(directory / "clock", settings.clock)
            except ValueError as error:
                raise StartRefused(str(error)) from None
        try:
            found = open_parts(settings, clock, "parent")
            note(found.store.database, search_marks())
            if not shared(settings):
                found.store.clear_leases()
            found.store.close()
            found.journal.close()
        except Unreachable as error:
            raise StartRefused(str(error), UNREACHABLE) from None
        except SearchParameterError as error:
            raise StartRefused(str(error)) from None
        yield rules
    finally:
        lock.close()


def check_profiles(settings: Settings) -> None:
    """Read a site's own profiles once, so that a wrong one stops the start.

    Raises:
        ValueError: a file is not JSON or no profile; the message names it.
    """
    if any(folder.is_dir() for folder in settings.profiles):
        from segue.fhir.validation.library import library

        library(*settings.profiles)


def check_ports(settings: Settings) -> None:
    """Refuse to start where somebody else listens already.

    Raises:
        StartRefused: names the setting and the address.
    """
    wanted = [("http.listen", settings.http.listen)]
    wanted += [
        (f"feeds.{feed.name}.listen", feed.listen)
        for feed in settings.feeds.values()
        if feed.listen is not None
    ]
    for name, address in wanted:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.host, address.port))
            except OSError as error:
                file = f"{settings.source}  " if settings.source else ""
                raise StartRefused(
                    f"{file}{name}: {address} cannot be listened on: {error.strerror}. "
                    "Stop what listens there, or choose another port."
                ) from None
