"""The sections of `segue.yaml` out of its YAML nodes: which keys there are, what each may be."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from segue.fhir.profiles import definitions
from segue.model.hints import did_you_mean, nearest
from segue.settings.nodes import NAME, Nodes, Section, empty
from segue.settings.sections import (
    ASKS,
    DESTINATIONS,
    FEEDS,
    AcceptSettings,
    Address,
    ClientTlsSettings,
    DestinationSettings,
    FeedSettings,
    HttpSettings,
    KeepSettings,
    LimitSettings,
    RetrySettings,
    Settings,
    SiteSettings,
    TlsSettings,
)

Sites = Mapping[str, SiteSettings]


def top(read: Nodes, root: Any) -> tuple[Section, Settings]:
    """Read the whole tree; without feeds, one of MLLP and one of HTTP."""
    node: dict[str, Any] = {}  # what must wait for other sections

    def later(value: Any, key: str) -> None:
        node[key] = value

    found = read.section(
        root,
        "",
        {
            "version": read.text,
            "data_dir": read.place,
            "database": read.text,
            "workers": read.whole(1, 64),
            "zone": read.zone,
            "matching": read.choice("link", "review", "off"),
            "mappings": read.places,
            "profiles": read.places,
            "protocols": later,
            "http": partial(http, read),
            "keep": partial(keep, read),
            "sites": later,
            "feeds": later,
            "destinations": later,
        },
    )
    values = {key: value for key, value in found.values.items() if key not in node}
    version = values.pop("version", None)
    if "protocols" in node:
        values["protocols"] = protocols(read, node["protocols"], values.get("profiles", ()))
    sites = {
        name: site(read, one, name, values.get("zone"))
        for name, one in read.named(node.get("sites"), "sites").items()
    }
    feeds = {
        name: feed(read, one, name, sites)
        for name, one in read.named(node.get("feeds"), "feeds").items()
    }
    sites = sites or {"default": SiteSettings("default", "default", "", "")}
    if "feeds" not in node:
        first = next(iter(sites))
        feeds = {
            "mllp": FeedSettings("mllp", "mllp", first, Address("127.0.0.1", 2575)),
            "http": FeedSettings("http", "http", first),
        }
    destinations = {
        name: destination(read, one, name)
        for name, one in read.named(node.get("destinations"), "destinations").items()
    }
    settings = Settings(**values, sites=sites, feeds=feeds, destinations=destinations)
    if version is None:
        found.wrong("version", "missing; write version: 1")
    elif version != "1":
        found.wrong("version", "this Segue reads version 1")
    _links(found, settings)
    return found, settings


def _links(found: Section, settings: Settings) -> None:
    """Each name of a feed or destination names one that there is."""
    feeds, destinations = settings.feeds, settings.destinations

    def unknown(path: str, what: str, name: str, known: Mapping[str, Any]) -> None:
        found.wrong(path, f"no {what} {name!r}.{did_you_mean(name, known)}")

    for one in feeds.values():
        here = f"feeds.{one.name}.replies"
        if one.replies is not None and one.replies not in destinations:
            unknown(here, "destination", one.replies, destinations)
        elif one.replies is not None and destinations[one.replies].kind != "mllp":
            found.wrong(here, "acknowledgements go to a destination of mllp")
    for way in destinations.values():
        if way.returns is not None and way.returns not in feeds:
            unknown(f"destinations.{way.name}.returns", "feed", way.returns, feeds)
    for place in settings.sites.values():
        for practice, name in place.practices.items():
            if name not in destinations:
                here = f"sites.{place.name}.practices.{practice}"
                unknown(here, "destination", name, destinations)


def protocols(read: Nodes, node: Any, profiles: tuple[Path, ...]) -> tuple[str, ...]:
    """The protocols that are in force, each of them shipped or in the site's profiles."""
    from segue.care.protocols import ProtocolError, names
    from segue.fhir.profiles import shipped

    chosen = read.strings(node, "protocols")
    try:
        known = names(shipped(), profiles)
    except ProtocolError as error:
        read.problem(node, "protocols", str(error))
        return chosen
    items = zip(chosen, node.value if chosen else (), strict=True)
    for index, (name, item) in enumerate(items):
        if name in chosen[:index]:
            read.problem(item, "protocols", f"{name} given twice")
        elif name not in known:
            read.problem(item, "protocols", f"no protocol {name!r}.{did_you_mean(name, known)}")
    return chosen


def http(read: Nodes, node: Any, here: str) -> HttpSettings:
    """The HTTP listener."""
    found = read.section(
        node,
        here,
        {
            "listen": read.address,
            "base_url": read.optional,
            "tokens": read.optional,
            "delete_referenced": read.boolean,
        },
    ).values
    if found.get("tokens"):
        found["tokens"] = read.base / found["tokens"]
    return HttpSettings(**found)


def keep(read: Nodes, node: Any, here: str) -> KeepSettings:
    """How long things are kept."""
    known = {"messages": read.keep, "duplicates": read.keep}
    return KeepSettings(**read.section(node, here, known).values)


def site(read: Nodes, node: Any, name: str, zone: Any) -> SiteSettings:
    """A facility; its zone is the engine's where it has none of its own."""
    found = read.section(
        node,
        f"sites.{name}",
        {
            "name": read.text,
            "authority": read.text,
            "system": read.text,
            "zone": read.zone,
            "sends_as": read.strings,
            "control_id_reuse": read.choice("process", "quarantine"),
            "links_by": read.strings,
            "practices": read.pairs,
            "lag": read.duration,
            "a37_unmerges": read.boolean,
            "charset_fallback": read.codecs,
            "unknown_visit": read.choice("create", "park", "reject"),
        },
    )
    authority = found.values.get("authority", "")
    if not authority:
        found.wrong("authority", "missing: the assigner of PID-3.4, e.g. HOSPA")
    defaults = {
        "authority": authority,
        "system": f"urn:segue:authority:{authority}",
        "zone": zone,
        "sends_as": (authority,),
    }
    title = found.values.pop("name", name)
    return SiteSettings(**(defaults | found.values | {"name": name, "title": title}))


def feed(read: Nodes, node: Any, name: str, sites: Sites) -> FeedSettings:
    """A way in."""
    here = f"feeds.{name}"
    found = read.section(
        node,
        here,
        {
            "kind": read.choice(*FEEDS),
            "listen": read.address,
            "path": read.place,
            "client": read.text,
            "site": read.text,
            "ack": read.choice("durable", "mapped", "delivered"),
            "allow": read.networks,
            "tls": partial(listener_tls, read),
            "history": read.boolean,
            "part2": partial(part2, read),
            "edits": read.strings,
            "accept": partial(accept, read),
            "replies": read.optional,
            "limits": partial(limits, read),
        },
    )
    values = found.values
    if "kind" not in values:
        found.wrong("kind", f"missing: one of {', '.join(FEEDS)}")
        values["kind"] = "http"
    kind = values["kind"]
    needs = {"mllp": "listen", "folder": "path", "fhir": "client"}.get(kind)
    if needs and needs not in values:
        found.wrong(needs, f"missing: a feed of kind {kind} needs it")
    if "site" not in values:
        if len(sites) != 1:
            found.wrong("site", "missing: which site speaks here?")
        values["site"] = next(iter(sites), "")
    elif values["site"] not in sites:
        found.wrong("site", f"no site {values['site']!r}.{did_you_mean(values['site'], sites)}")
    for other in values.get("edits", ()):
        if other != "*" and other not in sites:
            found.wrong("edits", f"no site {other!r}.{did_you_mean(other, sites)}")
    return FeedSettings(name=name, **values)


def part2(read: Nodes, node: Any, here: str) -> str | tuple[str, ...]:
    """What of a feed 42 CFR Part 2 protects: none, all, or some units."""
    if isinstance(node, yaml.MappingNode):
        units: tuple[str, ...] = read.section(node, here, {"units": read.strings}).values.get(
            "units", ()
        )
        return units
    word: str = read.choice("none", "all")(node, here)
    return word


def listener_tls(read: Nodes, node: Any, here: str) -> TlsSettings | None:
    """TLS of a listener; null is none."""
    found = read.section(
        node, here, {"cert": read.place, "key": read.place, "client_ca": read.place}
    ).values
    if found and not found.keys() >= {"cert", "key"}:
        read.problem(node, here, "needs cert and key")
        return None
    return TlsSettings(**found) if found else None


def client_tls(read: Nodes, node: Any, here: str) -> ClientTlsSettings | None:
    """TLS of a destination; null is none, `{}` trusts whom the machine trusts."""
    if empty(node):
        return None
    found = read.section(
        node, here, {"ca": read.place, "cert": read.place, "key": read.place}
    ).values
    if ("cert" in found) != ("key" in found):
        read.problem(node, here, "cert and key belong together")
    return ClientTlsSettings(**found)


def accept(read: Nodes, node: Any, here: str) -> AcceptSettings:
    """What a feed takes."""
    known = {"processing_ids": read.strings, "types": read.strings, "versions": read.strings}
    found = read.section(node, here, known)
    for item in found.values.get("types", ()):
        if not re.fullmatch(r"[A-Z]{3}(\^[A-Z][A-Z0-9]{2})?", item):
            found.wrong("types", f"{item!r}: write ADT or ORU^R01")
    return AcceptSettings(**{key: frozenset(value) for key, value in found.values.items()})


def limits(read: Nodes, node: Any, here: str) -> LimitSettings:
    """Limits of a listener."""
    known = {
        "idle": read.duration,
        "frame": read.duration,
        "bytes": read.whole(1_000, 1 << 30),
        "connections": read.whole(1, 100_000),
        "answer": read.duration,
    }
    return LimitSettings(**read.section(node, here, known).values)


def destination(read: Nodes, node: Any, name: str) -> DestinationSettings:
    """A way out; its site has its name where none is given."""
    found = read.section(
        node,
        f"destinations.{name}",
        {
            "kind": read.choice(*DESTINATIONS),
            "url": read.url,
            "address": read.address,
            "site": read.text,
            "send": read.strings,
            "headers": read.pairs,
            "bundle": read.whole(1, 500),
            "receipt": read.choice("gateway", "record"),
            "bed_moves": read.boolean,
            "timeout": read.duration,
            "retry": partial(retry, read),
            "tls": partial(client_tls, read),
            "asks": read.choice(*ASKS),
            "returns": read.optional,
        },
    )
    values = found.values
    if "kind" not in values:
        found.wrong("kind", f"missing: one of {', '.join(DESTINATIONS)}")
    kind = values.setdefault("kind", "fhir_rest")
    needs = "address" if kind == "mllp" else "url"
    if needs not in values:
        found.wrong(needs, f"missing: a destination of kind {kind} needs it")
    if not NAME.match(values.setdefault("site", name)):
        found.wrong("site", "a name is lower case: letters, digits, hyphens")
    if "send" not in values:
        found.wrong("send", "missing: what is sent, such as [Encounter, Task]")
    values["send"] = frozenset(values.get("send", ()))
    for item in values["send"]:
        if fault := _unsendable(kind, item):
            found.wrong("send", f"{item!r}{fault}")
    for key in ("tls", "asks", "returns"):
        if key in values and kind != "mllp":
            found.wrong(key, f"{kind} has none; it is for mllp")
    return DestinationSettings(name=name, **values)


def _unsendable(kind: str, item: str) -> str:
    """Why a destination of a kind cannot send it, or ""."""
    if kind == "mllp":
        return "" if item in ("adt", "careplan") else ": mllp sends adt, careplan"
    if kind == "message_bundle":
        return "" if item == "alerts" else ": message_bundle sends alerts"
    known = definitions().resources
    return "" if item in known else f" is no FHIR resource type.{nearest(item, known)}"


def retry(read: Nodes, node: Any, here: str) -> RetrySettings:
    """Back-off of a destination."""
    known = {
        "first": read.duration,
        "factor": read.factor,
        "ceiling": read.duration,
        "give_up": read.duration,
    }
    return RetrySettings(**read.section(node, here, known).values)
