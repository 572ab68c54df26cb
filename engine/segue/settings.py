"""The configuration: `segue.yaml`, the environment, the defaults; read once, at the top.

Precedence: command option > environment > file > default. Every fault is one line
with file, line, path, what is wrong and what was probably meant.
"""

import codecs
import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

NAME = re.compile(r"[a-z][a-z0-9-]*\Z")
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)\Z")
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
ASKS = ("as-sent", "original", "accept", "application")
"""What an mllp destination may be asked to answer with (MSH-15, MSH-16)."""
PROTOCOLS = ("PD-01", "PD-02", "PD-03", "PD-04", "PD-05")
"""The protocols that are in force unless `protocols` says otherwise."""
_LOOPBACK = ("127.", "localhost", "::1", "[::1]")


class ConfigError(Exception):
    """The configuration cannot be used; each problem is one line for a person."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or to connect."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host.startswith(_LOOPBACK)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


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
    source: Path | None = None


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration file and the environment.

    Args:
        path: `segue.yaml`; None for the defaults alone.
        environment: instead of the process's own, for tests.

    Raises:
        ConfigError: with every problem found, each on one line.
    """
    environment = os.environ if environment is None else environment  # noqa: TID251
    reader = _Reader(str(path) if path else "(defaults)", environment)
    if path is None:
        root: Any = yaml.compose("{}")
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
        try:
            root = yaml.compose(text) or yaml.compose("{}")
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            what = getattr(error, "problem", None) or "is not YAML"
            raise ConfigError([f"{path}:{line}  {what}"]) from error
    settings = reader.settings(root, path)
    if reader.problems:
        raise ConfigError(reader.problems)
    return settings


class _Reader:
    """Walks the YAML nodes, so that each problem knows its line."""

    def __init__(self, file: str, environment: Mapping[str, str]) -> None:
        self.file = file
        self.environment = environment
        self.problems: list[str] = []
        self.base = Path()

    def problem(self, node: Any, path: str, what: str) -> None:
        line = node.start_mark.line + 1 if node is not None else 1
        self.problems.append(f"{self.file}:{line}  {path}: {what}")

    def mapping(self, node: Any, path: str, known: tuple[str, ...] | None) -> dict[str, Any]:
        """Key to node; unknown keys are problems. `known` None accepts names."""
        if node is None or (isinstance(node, yaml.ScalarNode) and node.value in ("", "null", "~")):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, path or "(file)", "expected keys and values")
            return {}
        found: dict[str, Any] = {}
        for key_node, value in node.value:
            key = str(key_node.value)
            here = f"{path}.{key}" if path else key
            if key in found:
                self.problem(key_node, here, "given twice")
            elif known is not None and key not in known:
                self.problem(key_node, here, f"unknown key.{did_you_mean(key, known)}")
            elif known is None and not NAME.match(key):
                self.problem(key_node, here, "a name is lower case: letters, digits, hyphens")
            else:
                found[key] = value
        return found

    def text(self, node: Any, path: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self.problem(node, path, "expected one value")
            return ""

        def variable(match: re.Match[str]) -> str:
            name = match.group(1)
            if name not in self.environment:
                self.problem(node, path, f"the environment has no {name}")
                return ""
            return self.environment[name]

        return re.sub(r"\$\{(\w+)\}", variable, str(node.value))

    def optional(self, node: Any, path: str) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null"):
            return None
        return self.text(node, path)

    def integer(self, node: Any, path: str, low: int, high: int) -> int:
        value = self.text(node, path)
        if not value.isdigit() or not low <= int(value) <= high:
            self.problem(node, path, f"expected a whole number from {low} to {high}")
            return low
        return int(value)

    def boolean(self, node: Any, path: str) -> bool:
        value = self.text(node, path)
        if value not in ("true", "false"):
            self.problem(node, path, "expected true or false")
        return value == "true"

    def choice(self, node: Any, path: str, *choices: str) -> str:
        value = self.text(node, path)
        if value not in choices:
            expected = ", ".join(choices)
            self.problem(node, path, f"expected one of {expected}.{did_you_mean(value, choices)}")
            return choices[0]
        return value

    def strings(self, node: Any, path: str) -> tuple[str, ...]:
        if isinstance(node, yaml.SequenceNode):
            return tuple(self.text(item, path) for item in node.value)
        self.problem(node, path, "expected a list, [a, b]")
        return ()

    def pairs(self, node: Any, path: str) -> dict[str, str]:
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, path, "expected keys and values")
            return {}
        return {str(key.value): self.text(value, path) for key, value in node.value}

    def duration(self, node: Any, path: str) -> timedelta:
        match = _DURATION.match(self.text(node, path))
        if match is None:
            self.problem(node, path, "expected a duration such as 500ms, 10s, 15m, 72h or 90d")
            return timedelta(seconds=1)
        return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})

    def keep(self, node: Any, path: str) -> timedelta | None:
        if isinstance(node, yaml.ScalarNode) and node.value == "forever":
            return None
        return self.duration(node, path)

    def zone(self, node: Any, path: str) -> ZoneInfo | None:
        name = self.optional(node, path)
        if name is None:
            return None
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            self.problem(node, path, f"no IANA time zone {name!r}, such as America/New_York")
            return None

    def address(self, node: Any, path: str) -> Address:
        host, _, port = self.text(node, path).rpartition(":")
        if not host or not port.isdigit() or not 0 <= int(port) < 65536:
            self.problem(node, path, "expected host:port, such as 127.0.0.1:2575")
            return Address("127.0.0.1", 0)
        return Address(host, int(port))

    def place(self, node: Any, path: str) -> Path:
        return self.base / self.text(node, path)

    def settings(self, root: Any, path: Path | None) -> Settings:
        """Read the whole tree."""
        self.base = path.parent if path else Path()
        top = self.mapping(
            root,
            "",
            ("version", "data_dir", "database", "workers", "zone", "mappings", "profiles", "http",
             "keep", "matching", "protocols", "sites", "feeds", "destinations"),
        )  # fmt: skip
        values: dict[str, Any] = {"source": path}
        if path is not None:
            if "version" not in top:
                self.problem(root, "version", "missing; write version: 1")
            elif self.text(top["version"], "version") != "1":
                self.problem(top["version"], "version", "this Segue reads version 1")
        if "data_dir" in top:
            values["data_dir"] = self.place(top["data_dir"], "data_dir")
        if "database" in top:
            values["database"] = self.text(top["database"], "database")
        if "workers" in top:
            values["workers"] = self.integer(top["workers"], "workers", 1, 64)
        if "zone" in top:
            values["zone"] = self.zone(top["zone"], "zone")
        if "matching" in top:
            values["matching"] = self.choice(top["matching"], "matching", "link", "review", "off")
        for key in ("mappings", "profiles"):
            if key in top:
                values[key] = tuple(self.base / item for item in self.strings(top[key], key))
        if "protocols" in top:
            values["protocols"] = self.protocols(top["protocols"], values.get("profiles", ()))
        if "http" in top:
            values["http"] = self.http(top["http"])
        if "keep" in top:
            values["keep"] = self.kept(top["keep"])
        site_zone = values.get("zone")
        sites = {
            name: self.site(node, name, site_zone)
            for name, node in self.mapping(top.get("sites"), "sites", None).items()
        }
        given = path is not None and "feeds" in top
        feeds = {
            name: self.feed(node, name, sites)
            for name, node in self.mapping(top.get("feeds"), "feeds", None).items()
        }
        sites = sites or {"default": SiteSettings("default", "default", "", "")}
        if path is None or not given:
            first = next(iter(sites))
            feeds = {
                "mllp": FeedSettings("mllp", "mllp", first, Address("127.0.0.1", 2575)),
                "http": FeedSettings("http", "http", first),
            }
        destinations = {
            name: self.destination(node, name, sites)
            for name, node in self.mapping(top.get("destinations"), "destinations", None).items()
        }
        for feed in feeds.values():
            if feed.replies is None:
                continue
            here = f"feeds.{feed.name}.replies"
            if feed.replies not in destinations:
                hint = did_you_mean(feed.replies, destinations)
                self.problem(top["feeds"], here, f"no destination {feed.replies!r}.{hint}")
            elif destinations[feed.replies].kind != "mllp":
                self.problem(top["feeds"], here, "acknowledgements go to a destination of mllp")
        for one in destinations.values():
            if one.returns is not None and one.returns not in feeds:
                hint = did_you_mean(one.returns, feeds)
                here = f"destinations.{one.name}.returns"
                self.problem(top["destinations"], here, f"no feed {one.returns!r}.{hint}")
        for site in sites.values():
            for practice, name in site.practices.items():
                if name not in destinations:
                    self.problem(
                        top["sites"], f"sites.{site.name}.practices.{practice}",
                        f"no destination {name!r}.{did_you_mean(name, destinations)}",
                    )  # fmt: skip
        values |= {"sites": sites, "feeds": feeds, "destinations": destinations}
        values |= self.from_environment(values, top)
        settings = Settings(**values)
        self.exposure(settings, top)
        return settings

    def protocols(self, node: Any, profiles: tuple[Path, ...]) -> tuple[str, ...]:
        """The protocols that are in force, each of them shipped or in the site's profiles."""
        from segue.care.protocols import ProtocolError, names
        from segue.fhir.profiles import shipped

        chosen = self.strings(node, "protocols")
        try:
            known = names(shipped(), profiles)
        except ProtocolError as error:
            self.problem(node, "protocols", str(error))
            return chosen
        items = zip(chosen, node.value if chosen else (), strict=True)
        for index, (name, item) in enumerate(items):
            if name in chosen[:index]:
                self.problem(item, "protocols", f"{name} given twice")
            elif name not in known:
                hint = did_you_mean(name, known) or f" There are {', '.join(known)}."
                self.problem(item, "protocols", f"no protocol {name!r}.{hint}")
        return chosen

    def http(self, node: Any) -> HttpSettings:
        keys = self.mapping(node, "http", ("listen", "base_url", "tokens", "delete_referenced"))
        values: dict[str, Any] = {}
        if "listen" in keys:
            values["listen"] = self.address(keys["listen"], "http.listen")
        if "base_url" in keys:
            values["base_url"] = self.optional(keys["base_url"], "http.base_url")
        if "tokens" in keys:
            tokens = self.optional(keys["tokens"], "http.tokens")
            values["tokens"] = self.base / tokens if tokens else None
        if "delete_referenced" in keys:
            values["delete_referenced"] = self.boolean(
                keys["delete_referenced"], "http.delete_referenced"
            )
        return HttpSettings(**values)

    def kept(self, node: Any) -> KeepSettings:
        keys = self.mapping(node, "keep", ("messages", "duplicates"))
        return KeepSettings(**{k: self.keep(v, f"keep.{k}") for k, v in keys.items()})

    def site(self, node: Any, name: str, zone: ZoneInfo | None) -> SiteSettings:
        here = f"sites.{name}"
        keys = self.mapping(
            node,
            here,
            ("name", "authority", "system", "zone", "sends_as", "control_id_reuse", "links_by",
             "practices", "lag", "a37_unmerges", "charset_fallback", "unknown_visit"),
        )  # fmt: skip

        def has(key: str, read: Callable[..., Any], default: Any, *more: str) -> Any:
            return read(keys[key], f"{here}.{key}", *more) if key in keys else default

        authority = has("authority", self.text, "")
        if not authority:
            self.problem(node, f"{here}.authority", "missing: the assigner of PID-3.4, e.g. HOSPA")
        return SiteSettings(
            name=name,
            title=has("name", self.text, name),
            authority=authority,
            system=has("system", self.text, f"urn:segue:authority:{authority}"),
            zone=has("zone", self.zone, zone),
            sends_as=has("sends_as", self.strings, (authority,)),
            control_id_reuse=has(
                "control_id_reuse", self.choice, "process", "process", "quarantine"
            ),
            charset_fallback=has("charset_fallback", self.codecs, ("cp1252",)),
            links_by=has("links_by", self.strings, ("MR", "PI")),
            practices=has("practices", self.pairs, {}),
            lag=has("lag", self.duration, timedelta(hours=72)),
            a37_unmerges=has("a37_unmerges", self.boolean, False),
            unknown_visit=has("unknown_visit", self.choice, "create", "create", "park", "reject"),
        )

    def known_site(
        self, keys: dict[str, Any], node: Any, here: str, sites: Mapping[str, SiteSettings]
    ) -> str:
        if "site" not in keys:
            if len(sites) == 1:
                return next(iter(sites))
            self.problem(node, f"{here}.site", "missing: which site speaks here?")
            return ""
        name = self.text(keys["site"], f"{here}.site")
        if name not in sites:
            self.problem(
                keys["site"], f"{here}.site", f"no site {name!r}.{did_you_mean(name, sites)}"
            )
        return name

    def feed(self, node: Any, name: str, sites: Mapping[str, SiteSettings]) -> FeedSettings:
        here = f"feeds.{name}"
        keys = self.mapping(
            node,
            here,
            ("kind", "listen", "path", "client", "site", "ack", "allow", "tls", "history", "part2",
             "edits", "accept", "replies", "limits"),
        )  # fmt: skip

        def has(key: str, read: Callable[..., Any], default: Any, *more: str) -> Any:
            return read(keys[key], f"{here}.{key}", *more) if key in keys else default

        if "kind" not in keys:
            self.problem(node, f"{here}.kind", "missing: mllp, http, folder or fhir")
        kind = has("kind", self.choice, "http", "mllp", "http", "folder", "fhir")
        needs = {"mllp": "listen", "folder": "path", "fhir": "client"}.get(kind)
        if needs and needs not in keys:
            self.problem(node, f"{here}.{needs}", f"missing: a feed of kind {kind} needs it")
        part2: str | tuple[str, ...] = "none"
        if "part2" in keys:
            if isinstance(keys["part2"], yaml.MappingNode):
                units = self.mapping(keys["part2"], f"{here}.part2", ("units",))
                part2 = self.strings(units["units"], f"{here}.part2.units") if units else ()
            else:
                part2 = self.choice(keys["part2"], f"{here}.part2", "none", "all")
        tls_keys = self.mapping(keys.get("tls"), f"{here}.tls", ("cert", "key", "client_ca"))
        tls = None
        if tls_keys:
            files = {k: self.place(v, f"{here}.tls.{k}") for k, v in tls_keys.items()}
            if "cert" in files and "key" in files:
                tls = TlsSettings(files["cert"], files["key"], files.get("client_ca"))
            else:
                self.problem(keys["tls"], f"{here}.tls", "needs cert and key")
        return FeedSettings(
            name=name,
            kind=kind,
            site=self.known_site(keys, node, here, sites),
            listen=has("listen", self.address, None),
            path=has("path", self.place, None),
            client=has("client", self.text, None),
            ack=has("ack", self.choice, "durable", "durable", "mapped", "delivered"),
            accept=self.accept(keys.get("accept"), f"{here}.accept"),
            replies=has("replies", self.optional, None),
            limits=self.limits(keys.get("limits"), f"{here}.limits"),
            allow=has("allow", self.strings, ()),
            tls=tls,
            history=has("history", self.boolean, False),
            part2=part2,
            edits=self.edited(keys, here, sites),
        )

    def edited(
        self, keys: dict[str, Any], here: str, sites: Mapping[str, SiteSettings]
    ) -> tuple[str, ...]:
        names = self.strings(keys["edits"], f"{here}.edits") if "edits" in keys else ()
        for name in names:
            if name != "*" and name not in sites:
                text = f"no site {name!r}.{did_you_mean(name, sites)}"
                self.problem(keys["edits"], f"{here}.edits", text)
        return names

    def client_tls(self, node: Any, here: str) -> ClientTlsSettings | None:
        keys = self.mapping(node, here, ("ca", "cert", "key"))
        files = {k: self.place(v, f"{here}.{k}") for k, v in keys.items()}
        if ("cert" in files) != ("key" in files):
            self.problem(node, here, "cert and key belong together")
        return ClientTlsSettings(**files)

    def accept(self, node: Any, here: str) -> AcceptSettings:
        keys = self.mapping(node, here, ("processing_ids", "types", "versions"))
        values = {k: frozenset(self.strings(v, f"{here}.{k}")) for k, v in keys.items()}
        for item in values.get("types", ()):
            if not re.fullmatch(r"[A-Z]{3}(\^[A-Z][A-Z0-9]{2})?", item):
                self.problem(keys["types"], f"{here}.types", f"{item!r}: write ADT or ORU^R01")
        return AcceptSettings(**values)

    def limits(self, node: Any, here: str) -> LimitSettings:
        keys = self.mapping(node, here, ("idle", "frame", "bytes", "connections", "answer"))
        values: dict[str, Any] = {
            k: self.duration(v, f"{here}.{k}")
            for k, v in keys.items()
            if k in ("idle", "frame", "answer")
        }
        if "bytes" in keys:
            values["bytes"] = self.integer(keys["bytes"], f"{here}.bytes", 1_000, 1 << 30)
        if "connections" in keys:
            values["connections"] = self.integer(
                keys["connections"], f"{here}.connections", 1, 100_000
            )
        return LimitSettings(**values)

    def codecs(self, node: Any, path: str) -> tuple[str, ...]:
        names = self.strings(node, path)
        for name in names:
            try:
                codecs.lookup(name)
            except LookupError:
                self.problem(node, path, f"{name!r} is no character set, such as cp1252")
        return names

    def destination(
        self, node: Any, name: str, sites: Mapping[str, SiteSettings]
    ) -> DestinationSettings:
        here = f"destinations.{name}"
        keys = self.mapping(
            node,
            here,
            ("kind", "url", "address", "site", "send", "headers", "bundle", "receipt",
             "bed_moves", "timeout", "retry", "tls", "asks", "returns"),
        )  # fmt: skip

        def has(key: str, read: Callable[..., Any], default: Any, *more: str) -> Any:
            return read(keys[key], f"{here}.{key}", *more) if key in keys else default

        if "kind" not in keys:
            self.problem(node, f"{here}.kind", "missing: fhir_rest, message_bundle or mllp")
        kind = has("kind", self.choice, "fhir_rest", "fhir_rest", "message_bundle", "mllp")
        needs = "address" if kind == "mllp" else "url"
        if needs not in keys:
            self.problem(node, f"{here}.{needs}", f"missing: a destination of kind {kind} needs it")
        site = (
            self.text(keys["site"], f"{here}.site")
            if "site" in keys
            else name
        )  # fmt: skip
        if not NAME.match(site):
            self.problem(node, f"{here}.site", "a name is lower case: letters, digits, hyphens")
        retry = RetrySettings()
        if "retry" in keys:
            parts = self.mapping(
                keys["retry"], f"{here}.retry", ("first", "factor", "ceiling", "give_up")
            )
            values: dict[str, Any] = {
                k: self.duration(v, f"{here}.retry.{k}") for k, v in parts.items() if k != "factor"
            }
            if "factor" in parts:
                factor = self.text(parts["factor"], f"{here}.retry.factor")
                if re.fullmatch(r"\d+(\.\d+)?", factor) and float(factor) >= 1:
                    values["factor"] = float(factor)
                else:
                    self.problem(parts["factor"], f"{here}.retry.factor", "a number from 1 up")
            retry = RetrySettings(**values)
        if "send" not in keys:
            self.problem(node, f"{here}.send", "missing: what is sent, such as [Encounter, Task]")
        sent = frozenset(has("send", self.strings, ()))
        for item in sent:
            if kind == "mllp" and item not in ("adt", "careplan"):
                self.problem(keys["send"], f"{here}.send", f"{item!r}: mllp sends adt, careplan")
            if kind == "message_bundle" and item != "alerts":
                text = f"{item!r}: message_bundle sends alerts"
                self.problem(keys["send"], f"{here}.send", text)
            if kind == "fhir_rest" and not item[:1].isupper():
                self.problem(keys["send"], f"{here}.send", f"{item!r} is no FHIR resource type")
        for key in ("tls", "asks", "returns"):
            if key in keys and kind != "mllp":
                self.problem(keys[key], f"{here}.{key}", f"{kind} has none; it is for mllp")
        return DestinationSettings(
            name=name,
            kind=kind,
            site=site,
            send=sent,
            url=has("url", self.text, None),
            address=has("address", self.address, None),
            headers=has("headers", self.pairs, {}),
            bundle=has("bundle", lambda n, p: self.integer(n, p, 1, 500), 50),
            receipt=has("receipt", self.choice, "gateway", "gateway", "record"),
            bed_moves=has("bed_moves", self.boolean, False),
            timeout=has("timeout", self.duration, timedelta(seconds=10)),
            retry=retry,
            tls=self.client_tls(keys["tls"], f"{here}.tls") if "tls" in keys else None,
            asks=has("asks", self.choice, "as-sent", *ASKS),
            returns=has("returns", self.optional, None),
        )

    def from_environment(self, values: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
        """What the environment overrides."""
        found: dict[str, Any] = {}
        if text := self.environment.get("SEGUE_DATA_DIR"):
            found["data_dir"] = Path(text)
        if text := self.environment.get("SEGUE_DATABASE_URL"):
            found["database"] = text
        if text := self.environment.get("SEGUE_CLOCK"):
            found["clock"] = text
        if text := self.environment.get("SEGUE_HTTP_PORT"):
            http: HttpSettings = values.get("http", HttpSettings())
            listen = Address(http.listen.host, self.port(text, "SEGUE_HTTP_PORT"))
            found["http"] = replace(http, listen=listen)
        if text := self.environment.get("SEGUE_MLLP_PORT"):
            port = self.port(text, "SEGUE_MLLP_PORT")
            feeds: dict[str, FeedSettings] = dict(values["feeds"])
            mllp = [feed for feed in feeds.values() if feed.kind == "mllp" and feed.listen]
            if len(mllp) > 1:
                names = ", ".join(feed.name for feed in mllp)
                self.problems.append(
                    f"SEGUE_MLLP_PORT: several mllp feeds ({names}); set their listen in the file"
                )
            for feed in mllp[:1]:
                assert feed.listen is not None
                changed = {s: getattr(feed, s) for s in FeedSettings.__slots__}
                changed["listen"] = Address(feed.listen.host, port)
                feeds[feed.name] = FeedSettings(**changed)
            found["feeds"] = feeds
        database = found.get("database", values.get("database", "sqlite"))
        if database != "sqlite" and not database.startswith(("postgresql://", "postgres://")):
            self.problem(
                top.get("database"), "database", "expected sqlite or a postgresql:// address"
            )
        return found

    def port(self, text: str, name: str) -> int:
        if not text.isdigit() or not 0 <= int(text) < 65536:
            self.problems.append(f"{name}: expected a port number, 0 to 65535")
            return 0
        return int(text)

    def exposure(self, settings: Settings, top: dict[str, Any]) -> None:
        """Refuse to listen beyond this machine without authentication."""
        if not settings.http.listen.loopback and settings.http.tokens is None:
            self.problem(
                top.get("http"), "http.listen",
                f"{settings.http.listen} is reachable from other machines: set http.tokens",
            )  # fmt: skip
        for feed in settings.feeds.values():
            mutual = feed.tls is not None and feed.tls.client_ca is not None
            exposed = feed.listen is not None and not feed.listen.loopback
            if exposed and not feed.allow and not mutual:
                self.problem(
                    top.get("feeds"), f"feeds.{feed.name}.listen",
                    f"{feed.listen} is reachable from other machines: "
                    "set allow: [network] or tls.client_ca",
                )  # fmt: skip


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A hint for a word that is not among the choices, or "".

    >>> did_you_mean("ackk", ("ack", "allow"))
    " Did you mean 'ack'?"
    """
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
