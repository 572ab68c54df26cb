"""What the requests of one write are about: keys, persons, and what is stored of them."""

from collections.abc import Iterable
from typing import Any

from segue.fhir.canonical import loads, splice_meta
from segue.fhir.outcomes import FhirError, fhir_error
from segue.fhir.references import parse_reference, rewrite, walk_references
from segue.fhir.requests import Entry
from segue.fhir.validation.validator import refusal_category
from segue.model.changes import Head
from segue.model.identity import ResourceKey, stable_id
from segue.model.instants import rfc3339_us
from segue.pipeline import evidence
from segue.pipeline.charts import Chart
from segue.pipeline.identities import UNNAMED, Authorities, Identified, identify, visit_keys
from segue.pipeline.recall import numbers_of
from segue.pipeline.speaker import Speaker
from segue.pipeline.targets import (
    MOST_DELETED,
    Resource,
    Target,
    check_id,
    check_match,
    condition,
    deletes_many,
    matches,
    several,
)
from segue.pipeline.transact import Draft


class Addresses:
    """Finds resources, identities and owners, as one draft sees them.

    Args:
        draft: persons that are found are loaded into it.
        speaker: who writes.
        base: our base URL.
        bundle: whether the requests are entries of a Bundle.
    """

    def __init__(self, draft: Draft, speaker: Speaker, base: str, *, bundle: bool) -> None:
        self.draft = draft
        self.hub = draft.hub
        self.speaker = speaker
        self.base = base.rstrip("/") + "/"
        self.bundle = bundle
        self.site = self.hub.site(speaker.site) if speaker.site else None
        self.authorities = Authorities(self.hub.sites.values())
        self.links: dict[str, str] = {}
        self.targets: list[Target] = []
        self._heads: dict[ResourceKey, Head] = {}
        self._asked: set[ResourceKey] = set()
        self._owners: dict[ResourceKey, int] = {}
        self._authors: dict[ResourceKey, str] = {}
        self._conditions: dict[str, Target] = {}

    @property
    def authority(self) -> str:
        """The client's own authority, "" where it has none."""
        return self.site.authority if self.site else ""

    # --- what is stored ------------------------------------------------------------------

    def load(self, keys: Iterable[ResourceKey]) -> None:
        """Fetch heads and owners of many resources at once."""
        new = set(keys) - self._asked
        if not new:
            return
        self._asked |= new
        found = self.draft.reader.heads(new)
        self.draft.load(pks={head.owner for head in found.values() if head.owner is not None})
        for key, head in found.items():
            if head.owner is None:
                self._heads[key] = head
            else:
                self._owners[key] = head.owner

    def head(self, key: ResourceKey) -> Head | None:
        """The last version of a resource, also of one that was deleted."""
        self.load([key])
        chart = self.chart(key)
        return self._heads.get(key) if chart is None else chart.heads.get(key)

    def lives(self, key: ResourceKey) -> bool:
        """Whether it is there and not deleted."""
        head = self.head(key)
        return head is not None and not head.deleted

    def chart(self, key: ResourceKey) -> Chart | None:
        """The person that a resource belongs to."""
        owner = self._owners.get(key)
        return None if owner is None else self.draft.chart(owner)

    def belongs(self, key: ResourceKey, chart: Chart) -> None:
        """Note whose resource it is."""
        self._asked.add(key)
        self._owners[key] = chart.pk

    def put(self, key: ResourceKey, head: Head, chart: Chart | None) -> None:
        """Note what is to be stored of a resource."""
        self._asked.add(key)
        if chart is None:
            self._owners.pop(key, None)
            self._heads[key] = head
        else:
            chart.heads[key] = head
            chart.touched = True
            self._owners[key] = chart.pk

    def author(self, key: ResourceKey) -> str:
        """Source of who stored a resource first; our own where nobody has yet."""
        head = self.head(key)
        if head is None or head.deleted:
            return self.speaker.source
        if key not in self._authors:
            self._authors |= self.draft.reader.history.authors([key])
        return self._authors.get(key, self.speaker.source)

    def owner(self, resource: Resource, seen: frozenset[ResourceKey] = frozenset()) -> Chart | None:
        """The person that a resource belongs to by its references."""
        here = {target.key: target for target in self.targets}
        for key in evidence.owners(resource):
            self.load([key])
            chart = self.chart(key)
            if chart is not None:
                return chart
            target = here.get(key)
            if target is not None and target.resource is not None and key not in seen:
                chart = self.owner(target.resource, seen | {key})
                if chart is not None:
                    return chart
        return None

    def is_computed(self, key: ResourceKey) -> bool:
        """Whether the engine, or a feed, is the author of what is stored."""
        head = self.head(key)
        if head is None or key.type == "Patient":
            return False
        if head.kind != "client":
            return head.kind == "directory" or not head.deleted
        chart = self.chart(key)
        if key.type != "Encounter" or chart is None:
            return False
        # A feed speaks of the visit that a client's Encounter began.
        return any(visit.encounter == key.id and visit.status for visit in chart.visits.values())

    # --- what requests are about ---------------------------------------------------------

    def target(self, entry: Entry, new_id: str) -> Target:
        """What a request is about; references to it are resolved from now on.

        Args:
            new_id: logical id for what it creates.

        Raises:
            FhirError: it cannot be done; 412 for a condition that several meet.
        """
        made = self._target(entry, new_id)
        self.targets.append(made)
        if made.key is not None and entry.full_url and made.action != "read":
            self.links[entry.full_url] = made.key.reference
            # References of a Bundle from another server are relative to that server.
            theirs = parse_reference(entry.full_url)
            if entry.method == "POST" and theirs is not None:
                self.links.setdefault(theirs.reference, made.key.reference)
        return made

    def _target(self, entry: Entry, new_id: str) -> Target:
        if entry.method in ("GET", "HEAD"):
            return Target(entry, "read")
        if entry.rest:
            raise fhir_error("not-allowed", "not-supported", f"{entry.method} of {entry.rest[:60]}")
        query = condition(entry, self.base)
        found: ResourceKey | None = None
        asked = ""
        if query is not None:
            asked = f"{entry.type}?{sorted(query.used)}"
            if entry.method == "POST" and asked in self._conditions:
                return Target(entry, "found", self._conditions[asked].key)
            keys = matches(self.draft, query)
            if deletes_many(entry):
                return self._deleted(entry, keys)
            if len(keys) > 1:
                raise several(entry)
            found = keys[0] if keys else None
        if entry.method == "DELETE":
            key = found if query is not None else ResourceKey(entry.type, entry.id or "")
            there = key is not None and self.head(key) is not None
            if key is not None and not there:
                check_match(entry, None)
            return Target(entry, "delete" if there else "nothing", key)
        if entry.method == "PATCH":
            key = found if query is not None else ResourceKey(entry.type, entry.id or "")
            return self._patched(entry, key)
        if entry.method == "PUT":
            check_id(entry)
            return self._updated(entry, found, new_id)
        if found is not None:
            return Target(entry, "found", found)
        made = self._created(entry, new_id)
        if query is not None:
            self._conditions[asked] = made
        return made

    def _deleted(self, entry: Entry, keys: list[ResourceKey]) -> Target:
        """The targets of a conditional delete of all that it selects."""
        if len(keys) > MOST_DELETED:
            text = f"more than {MOST_DELETED} {entry.type} meet the condition: delete fewer at once"
            raise fhir_error("precondition", "too-costly", text)
        self.load(keys)
        self.targets += [Target(entry, "delete", key) for key in keys[1:]]
        return Target(entry, "delete" if keys else "nothing", keys[0] if keys else None)

    def _patched(self, entry: Entry, key: ResourceKey | None) -> Target:
        """The target of a patch: from here on, an update by what it makes of the resource."""
        head = self.head(key) if key is not None else None
        if key is None or head is None:
            name = key.reference if key is not None else f"{entry.type} that meets the condition"
            raise fhir_error("not-found", "not-found", f"there is no {name}")
        check_match(entry, head)
        if head.deleted:
            raise fhir_error("gone", "deleted", f"{key.reference} was deleted")
        stored = self.draft.reader.bodies([key])[key]
        assert stored.body is not None
        assert entry.patch is not None
        # Patches speak of what a read shows, the version among it.
        shown = loads(splice_meta(stored.body, stored.version, rfc3339_us(stored.at)))
        resource = entry.patch.apply(shown, self.hub.gate.definitions)
        made = Target(entry, "update", key, resource)
        self._identify(made)
        self._known(made)
        return made

    def _created(self, entry: Entry, new_id: str) -> Target:
        assert entry.resource is not None
        resource = {name: value for name, value in entry.resource.items() if name != "id"}
        made = Target(entry, "create", ResourceKey(entry.type, new_id), resource)
        self._identify(made)
        known = self._known(made)
        if known is not None:
            made.key, made.restated = known, True
        elif made.identity is not None and made.identity.authority != UNNAMED:
            made.key = ResourceKey("Patient", stable_id("Patient", made.identity.key))
        elif made.visits:
            made.key = ResourceKey("Encounter", stable_id("Encounter", made.visits[0]))
        assert made.key is not None
        made.restated = made.restated or self.lives(made.key)
        if made.restated:
            made.action = "update"
        resource["id"] = made.key.id
        return made

    def _updated(self, entry: Entry, found: ResourceKey | None, new_id: str) -> Target:
        """The target of an update, by id or by condition."""
        assert entry.resource is not None
        sent: str | None = entry.id or entry.resource.get("id")
        if found is not None and sent is not None and sent != found.id:
            raise fhir_error(
                "incorrect", "invalid", "the body has another id than the resource that was found"
            )
        if found is None and sent is None:
            return self._created(entry, new_id)
        key = found or ResourceKey(entry.type, sent or "")
        made = Target(
            entry,
            "update" if self.lives(key) else "create",
            key,
            {**entry.resource, "id": key.id},
        )
        self._identify(made)
        known = self._known(made)
        if known is None or known == key or made.action == "update":
            return made
        if not (self.bundle and self.speaker.site):
            raise fhir_error(
                "conflict",
                "duplicate",
                f"this identity has a resource already: {known.reference}. Update that one",
            )
        # Within its own bundle a feed's ids mean as little as a urn:uuid.
        self.links[key.reference] = known.reference
        made.action, made.key, made.restated = "update", known, True
        assert made.resource is not None
        made.resource["id"] = known.id
        return made

    def _identify(self, target: Target) -> None:
        """Judge the resource, and read the identity that it states."""
        resource, key = target.resource, target.key
        assert resource is not None
        assert key is not None
        refusals = self.hub.validator.refusals(resource)
        if refusals:
            patched = target.entry.patch is not None
            category = "unprocessable" if patched else refusal_category(refusals)
            raise FhirError(category, refusals)
        if key.type == "Encounter":
            target.visits = visit_keys(resource, self.authorities, self.authority)
        elif key.type == "Patient":
            links_by = self.site.links_by if self.site else ("MR", "PI")
            never = self.hub.mapping_for(self.speaker.site).identity.never
            found = identify(resource, self.authorities, self.authority, links_by, never)
            unnamed = f"{UNNAMED}|{key.id}"
            target.identity = found or Identified(unnamed, (unnamed,))

    def _known(self, target: Target) -> ResourceKey | None:
        """The resource that there is already for the identity that is stated."""
        draft = self.draft
        if target.identity is not None:
            draft.load(target.identity.links)
            chart = draft.person(target.identity.key)
            known = chart.person.patients.get(target.identity.key) if chart else None
            return ResourceKey("Patient", known.id) if known is not None else None
        rows = draft.reader.people.visits(target.visits)
        draft.load(pks={row.owner for row in rows.values()})
        for name in target.visits:
            if name in rows:
                chart = draft.chart(rows[name].owner)
                state = chart.visits.get(numbers_of(chart.person).get(name, name))
                if state is not None and state.encounter:
                    return ResourceKey("Encounter", state.encounter)
        return None

    # --- references ----------------------------------------------------------------------

    def resolve(self, target: Target) -> None:
        """Let the references of what was sent name what the request creates, relatively."""
        resource: Any = target.resource
        links = dict(self.links)
        for _, reference in walk_references(resource):
            text = reference["reference"]
            if text.startswith(self.base) and text not in links:
                relative = text[len(self.base) :]
                links[text] = self.links.get(relative, relative)
        target.resource = rewrite(resource, links)

    def load_references(self) -> None:
        """Fetch all that the targets refer to in few queries."""
        keys = set()
        for target in self.targets:
            for _, reference in walk_references(target.resource or {}):
                key = parse_reference(reference["reference"], "")
                if key is not None:
                    keys.add(key)
        self.load(keys)
