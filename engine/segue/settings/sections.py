"""The sections of `segue.yaml` as frozen values, with the defaults of each key."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from zoneinfo import ZoneInfo

FEEDS = ("mllp", "http", "folder", "fhir")
"""Kinds of ways in; one of kind fhir is a client of the FHIR interface."""
DESTINATIONS = ("fhir_rest", "message_bundle", "mllp")
"""Kinds of ways out."""
ASKS = ("as-sent", "original", "accept", "application")
"""What an mllp destination may be asked to answer with (MSH-15, MSH-16)."""
PROTOCOLS = ("PD-01", "PD-02", "PD-03", "PD-04", "PD-05")
"""The protocols that are in force unless `protocols` says otherwise."""
ROLES = ("front", "worker", "sender")
"""The parts of an engine: what listens, what processes, what delivers."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or to connect; of IPv6 without the brackets."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it.

        >>> Address("127.0.0.2", 80).loopback, Address("::1", 80).loopback
        (True, True)
        >>> Address("localhost.example.org", 80).loopback, Address("::1234", 80).loopback
        (False, False)
        """
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The HTTP listener: FHIR, `POST /hl7v2/<feed>`, health and metrics."""

    listen: Address = Address("127.0.0.1", 8080)
    base_url: str | None = None
    tokens: Path | None = None
    delete_referenced: bool = False


@dataclass(frozen=True, slots=True)
class KeepSettings:
    """How long things are kept; None is for ever."""

    messages: timedelta | None = None
    duplicates: timedelta | None = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """A facility that sends: its authority, zone and habits."""

    name: str
    title: str
    authority: str
    system: str
    zone: ZoneInfo | None = None
    sends_as: tuple[str, ...] = ()
    control_id_reuse: str = "process"
    charset_fallback: tuple[str, ...] = ("cp1252",)
    links_by: tuple[str, ...] = ("MR", "PI")
    practices: Mapping[str, str] = field(default_factory=dict)
    lag: timedelta = timedelta(hours=72)
    a37_unmerges: bool = False
    unknown_visit: str = "create"


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Certificates of a listener; `client_ca` demands client certificates."""

    cert: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class ClientTlsSettings:
    """TLS of an mllp destination: who is trusted, and what proves who we are."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class AcceptSettings:
    """What a feed takes; None takes all. Anything else is answered AR."""

    processing_ids: frozenset[str] | None = None
    types: frozenset[str] | None = None
    versions: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Limits of a listener: silence, a frame's length and time, connections, answers."""

    idle: timedelta = timedelta(minutes=10)
    frame: timedelta = timedelta(seconds=30)
    bytes: int = 16 * 1_048_576
    connections: int = 500
    answer: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """A way in.

    Attributes:
        edits: of kind fhir: sites whose own resources it may change, `*` for all.
        ack: when original mode is answered: durable, mapped or delivered.
        replies: the destination of application acknowledgements of enhanced mode.
    """

    name: str
    kind: str
    site: str
    listen: Address | None = None
    path: Path | None = None
    client: str | None = None
    ack: str = "durable"
    allow: tuple[str, ...] = ()
    accept: AcceptSettings = AcceptSettings()
    replies: str | None = None
    limits: LimitSettings = LimitSettings()
    tls: TlsSettings | None = None
    history: bool = False
    part2: str | tuple[str, ...] = "none"
    edits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """Back-off of a destination: exponential with full jitter."""

    first: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    ceiling: timedelta = timedelta(minutes=15)
    give_up: timedelta = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """A way out.

    Attributes:
        asks: of mllp: as-sent, original, accept or application (MSH-15, MSH-16).
        returns: of mllp: the feed by which application acknowledgements come.
    """

    name: str
    kind: str
    site: str
    send: frozenset[str]
    url: str | None = None
    address: Address | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    bundle: int = 50
    receipt: str = "gateway"
    bed_moves: bool = False
    timeout: timedelta = timedelta(seconds=10)
    retry: RetrySettings = RetrySettings()
    tls: ClientTlsSettings | None = None
    asks: str = "as-sent"
    returns: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that an engine is built from."""

    data_dir: Path = Path("./segue-data")
    database: str = "sqlite"
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    zone: ZoneInfo | None = None
    matching: str = "link"
    protocols: tuple[str, ...] = PROTOCOLS
    mappings: tuple[Path, ...] = ()
    profiles: tuple[Path, ...] = ()
    http: HttpSettings = HttpSettings()
    keep: KeepSettings = KeepSettings()
    sites: Mapping[str, SiteSettings] = field(default_factory=dict)
    feeds: Mapping[str, FeedSettings] = field(default_factory=dict)
    destinations: Mapping[str, DestinationSettings] = field(default_factory=dict)
    clock: str | None = None
    roles: tuple[str, ...] = ROLES
    source: Path | None = None
    said: Mapping[str, str] = field(default_factory=dict)
    """Where each key is said, by its path: `http.listen` at `segue.yaml:8`."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The processes that the roles of this host make: `front`, `worker-0` …, `sender`."""
        workers = tuple(f"worker-{n}" for n in range(self.workers))
        return tuple(
            name for role in self.roles for name in (workers if role == "worker" else (role,))
        )

    def listeners(self) -> dict[str, Address]:
        """Where the engine listens, by the key that says so, HTTP first."""
        found = {"http.listen": self.http.listen}
        for feed in self.feeds.values():
            if feed.listen is not None:
                found[f"feeds.{feed.name}.listen"] = feed.listen
        return found

    def at(self, key: str) -> str:
        """The beginning of a line about a key: where it is said, and its path."""
        return f"{self.said[key]}  {key}" if key in self.said else key
