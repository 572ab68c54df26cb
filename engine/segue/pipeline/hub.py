"""The hub: everything a use case needs, in one value that bootstrap builds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Literal

from segue.care.protocols import Protocols
from segue.care.view import CareSetting
from segue.fhir.profiles import shipped
from segue.fhir.validate import Gate
from segue.fhir.validation.validator import Validator
from segue.mapping.context import SiteRules
from segue.mapping.load import MappingSet
from segue.model.instants import Clock, NewId, microseconds
from segue.pipeline.charts import Charts, Directory
from segue.pipeline.routes import Route
from segue.pipeline.stages import Stages
from segue.store.journal import Journal
from segue.store.store import Store


@dataclass(frozen=True, slots=True)
class FeedRules:
    """What processing must know of a feed.

    Attributes:
        history: it only fills the index: no tasks, no deliveries.
        part2: `all`, `none`, or the points of care under 42 CFR Part 2.
        charset_fallback: Python codecs to try where MSH-18 does not hold.
        replies: the destination of application acknowledgements, "" for none.
    """

    name: str
    history: bool = False
    part2: Literal["all", "none"] | frozenset[str] = "none"
    charset_fallback: tuple[str, ...] = ("cp1252",)
    replies: str = ""


NUMBERS = 500
"""Fresh numbers that are fetched at once."""


@dataclass(slots=True)
class Hub:
    """Store, rules and setting of one engine, as one process holds them.

    Attributes:
        mapping_for: the mapping set of a site.
        sites: by name, as mapping sees them; feeds: by name.
        setting: the same as care sees them.
        gate: judges what the hub makes; validator: what others send.
        turn: held by a writer of this process that others were too often faster than.
        charts: recently used persons; directory: recently written directory rows.
        numbers: fresh ones, for persons and resources.
        delete_referenced: whether clients may delete what others of theirs refer to.
        matching: folder of the rules by which Patients are matched.
        rules_digest: of protocols and setting; a change makes all care anew.
    """

    store: Store
    journal: Journal
    mapping_for: Callable[[str], MappingSet]
    sites: Mapping[str, SiteRules]
    feeds: Mapping[str, FeedRules]
    gate: Gate
    validator: Validator
    protocols: Protocols
    setting: CareSetting
    routes: Sequence[Route]
    clock: Clock
    new_id: NewId
    charts: Charts = field(default_factory=Charts)
    directory: Directory = field(default_factory=Directory)
    stages: Stages = field(default_factory=Stages)
    turn: Lock = field(default_factory=Lock)
    rules_digest: bytes = b""
    matching: Path = field(default_factory=lambda: shipped() / "matching")
    delete_referenced: bool = False
    numbers: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Note which protocols and setting care is computed by."""
        if not self.rules_digest:
            told = repr((self.protocols.definitions, self.setting)).encode()
            self.rules_digest = blake2b(told, digest_size=16).digest()

    def new_pk(self) -> int:
        """A fresh number for a person or a resource."""
        while True:
            try:
                return self.numbers.pop()
            except IndexError:
                self.numbers += self.store.new_pk(NUMBERS)[::-1]

    def feed(self, name: str) -> FeedRules:
        """The rules of a feed; of an unknown one, those of a feed without any."""
        return self.feeds.get(name) or FeedRules(name)

    def site(self, name: str) -> SiteRules:
        """The rules of a site; of an unknown one, those of a site without any."""
        return self.sites.get(name) or SiteRules(name, name)

    def now(self) -> int:
        """The present instant in microseconds UTC."""
        return microseconds(self.clock())
