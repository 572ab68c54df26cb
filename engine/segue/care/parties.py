"""Who owns what: the organizations of the hub, of sites and of practices."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from segue.care.view import CareSetting, Person
from segue.model.identity import stable_id

HUB: Final = "segue"
"""Name under which the hub itself is an organization."""


@dataclass(frozen=True, slots=True)
class Party:
    """An organization that can own a task.

    Attributes:
        site: name of the site, by which its statements and evidence are known.
        destination: where it receives, "" if nowhere known.
        reference: FHIR Reference to its Organization.
        zone: IANA zone of the place, None if not configured.
    """

    site: str
    destination: str
    reference: Mapping[str, Any]
    zone: ZoneInfo | None


@lru_cache(maxsize=1024)
def organization_id(site: str) -> str:
    """Id of the Organization of a site (or of the hub)."""
    return stable_id("Organization", "urn:segue:site", site)


@lru_cache(maxsize=1024)
def _reference(site: str, title: str) -> Mapping[str, Any]:
    return {"reference": f"Organization/{organization_id(site)}", "display": title}


HUB_REFERENCE: Final[Mapping[str, Any]] = _reference(HUB, "Segue coordination hub")


def site_party(name: str, setting: CareSetting) -> Party:
    """A hospital, as a party; the hub stands in where a source has no site.

    >>> site_party("", CareSetting({})).reference["display"]
    'Segue coordination hub'
    """
    if not name:
        return Party("", "", HUB_REFERENCE, None)
    profile = setting.sites.get(name)
    title = profile.title if profile is not None else name
    return Party(name, "", _reference(name, title), profile.zone if profile is not None else None)


def practice_party(person: Person, setting: CareSetting) -> Party | None:
    """The ongoing care provider, None if not known."""
    if person.practice is None:
        return None
    site = setting.destination_sites.get(person.practice, person.practice)
    profile = setting.sites.get(site)
    title = profile.title if profile is not None else site
    zone = profile.zone if profile is not None else None
    return Party(site, person.practice, _reference(site, title), zone)


def organizations(setting: CareSetting) -> list[dict[str, Any]]:
    """The Organizations that tasks and plans refer to: the hub, sites, destinations' sites.

    They are directory resources: whoever starts the engine writes them.
    """
    titles = {HUB: "Segue coordination hub"}
    titles.update((name, profile.title) for name, profile in setting.sites.items())
    for site in setting.destination_sites.values():
        titles.setdefault(site, site)
    return [
        {
            "resourceType": "Organization",
            "id": organization_id(name),
            "identifier": [{"system": "urn:segue:site", "value": name}],
            "active": True,
            "name": title,
        }
        for name, title in titles.items()
    ]


def due_zone(practice: Party | None, here: tzinfo) -> ZoneInfo | None:
    """Zone that the practice's days end in: its own, else the hospital's."""
    if practice is not None and practice.zone is not None:
        return practice.zone
    return here if isinstance(here, ZoneInfo) else None
