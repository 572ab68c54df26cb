"""The hub of a process, and the rules that all processes of an engine read."""

import secrets
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segue.bootstrap.mappings import Mappings
from segue.bootstrap.stores import Opened
from segue.care.matching.grade import rules_in
from segue.care.protocols import Protocols
from segue.care.protocols import load as load_protocols
from segue.care.view import CareSetting, SiteProfile
from segue.fhir import profiles
from segue.fhir.fhirpath import compile_path
from segue.fhir.validate import Gate
from segue.fhir.validation.validator import Validator
from segue.mapping.context import SiteRules
from segue.model.instants import NewId
from segue.pipeline.acceptance import DEFAULT, FeedPolicy
from segue.pipeline.hub import FeedRules, Hub
from segue.pipeline.matching import Matcher
from segue.pipeline.routes import Route
from segue.pipeline.stages import Stages
from segue.settings.sections import FeedSettings, Settings


@dataclass(frozen=True, slots=True)
class Rules:
    """What all processes of an engine read.

    Attributes:
        mappings: compiled; they may be read anew while a process runs.
    """

    mappings: Mappings
    gate: Gate
    protocols: Protocols


def rules_of(settings: Settings) -> Rules:
    """Read and compile everything that a configuration names.

    Raises:
        MappingError: a mapping file is wrong.
        ProtocolError: a protocol of a site is wrong.
    """
    in_force = protocols_of(settings).in_force(settings.protocols)
    return Rules(Mappings(settings), Gate(profiles.definitions()), in_force)


def protocols_of(settings: Settings) -> Protocols:
    """The shipped protocols and those of the site's own profiles, all of them in force.

    Raises:
        ProtocolError: one is wrong.
    """
    return load_protocols(profiles.shipped(), settings.profiles, compile_path)


def new_id() -> str:
    """A random id that begins with its time, so that an index grows at its end.

    Source: https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7
    """
    ms = time.time_ns() // 1_000_000
    digits = f"{ms:012x}7{secrets.randbits(12):03x}{secrets.randbits(62) | 1 << 63:016x}"
    return str(uuid.UUID(digits))


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
        Route(d.name, d.site, d.send, d.bed_moves, d.receipt)  # type: ignore[arg-type]
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


def matching_folder(settings: Settings) -> Path:
    """The matching rules: those of the site's own profiles, else the shipped ones."""
    found = [folder / "matching" for folder in (*settings.profiles, profiles.shipped())]
    return next((one for one in found if (one / "matching.yaml").is_file()), found[-1])


def build_matcher(settings: Settings, hub: Hub, holder: str) -> Matcher | None:
    """What links Patients of different authorities; None where there is only one."""
    authorities = {site.authority for site in settings.sites.values() if site.authority}
    if settings.matching == "off" or len(authorities) < 2:
        return None
    mode: Literal["link", "review"] = "link" if settings.matching == "link" else "review"
    return Matcher(hub, holder, rules_in(hub.matching), mode)
