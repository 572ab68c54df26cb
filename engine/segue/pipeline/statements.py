"""What a client's write means: a resource of its own, an identity, or a statement.

All that one REST request (or one transaction Bundle) writes is one commit with one
Provenance. A resource is one of three kinds (docs/architecture.md, "Kinds of resources"):

- a client's own: valid ones are stored as written; they belong to the person that they
  refer to and are evidence for protocols;
- a Patient, or an Encounter with a visit number: it stands for a source identity. A
  Patient is that identity's statement of demographics, folded with what feeds say of
  the person; the resource keeps the id that its client gave it. There is one resource
  for each identity, so a second create finds the first;
- computed by the engine: a write is a statement about it, see `segue.pipeline.owned`.

Everything is computed on a draft and computed again where somebody else was first.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from segue.care.consent import labels
from segue.care.statements import references
from segue.care.states import PersonState
from segue.fhir.bundles import (
    Entry,
    at_entry,
    check_distinct,
    in_order,
    resolve_conditional,
)
from segue.fhir.canonical import canonical_json, content_hash
from segue.fhir.outcomes import FhirError, fhir_error
from segue.fhir.references import parse_reference, rewrite, walk_references
from segue.model.changes import Cause, Head
from segue.model.facts import Fragment
from segue.model.identity import ResourceKey, stable_id
from segue.model.instants import Moment, rfc3339
from segue.pipeline import evidence, owned
from segue.pipeline.charts import Chart, Charts, Directory
from segue.pipeline.compare import InvalidError, deletion, write
from segue.pipeline.coordinate import coordinate_person
from segue.pipeline.engine import Hub
from segue.pipeline.facts import pack, pack_value
from segue.pipeline.fan_out import Change
from segue.pipeline.identities import (
    UNNAMED,
    Authorities,
    Identified,
    elements_of,
    fact_of,
    identify,
    name_of,
    told_by,
    visit_keys,
)
from segue.pipeline.record import Recorder
from segue.pipeline.refold import Affected, add_fact, project
from segue.pipeline.stages import Stages
from segue.pipeline.targets import (
    Target,
    check_id,
    check_match,
    check_type,
    condition,
    lock_of,
    look_up,
    matches,
    several,
)
from segue.pipeline.transact import Draft, transact
from segue.store.records import FactRow, RevisionConflict, Step

Resource = dict[str, Any]
Status = Literal[200, 201, 204]


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who writes.

    Attributes:
        name: of the client.
        site: the site that it speaks for, "" where it speaks for none.
        history: what it writes only fills the index: no tasks, no deliveries.
        anonymous: nobody is asked for a token (loopback only).
        may_write: False for a client that may only read.
    """

    name: str
    site: str = ""
    history: bool = False
    anonymous: bool = False
    may_write: bool = True

    @property
    def source(self) -> str:
        """Under which name its statements are kept."""
        return self.site or self.name


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one request.

    Attributes:
        status: 201 created, 200 there already or changed, 204 deleted.
        key: of the resource; None where there was nothing to delete.
        version: current one of it after the commit.
        changed: whether this request made that version.
    """

    status: Status
    key: ResourceKey | None
    version: int = 0
    changed: bool = False


def write_all(
    hub: Hub, speaker: Speaker, entries: Sequence[Entry], *, base: str, bundle: bool = True
) -> list[Written | None]:
    """Do the writes of one request, all or none; one commit, one Provenance.

    Args:
        hub: the engine. It is not changed: several threads may write at once.
        speaker: who writes.
        entries: the requests; reads among them are left to the caller.
        base: our base URL; references that begin with it are ours.
        bundle: whether they are entries of a Bundle: errors then name the entry.

    Returns:
        One for each entry, in their order; None for reads.

    Raises:
        FhirError: the request cannot be done; nothing was written.
    """
    # Charts are of one thread, and a client judges by what is stored now.
    own = replace(hub, charts=Charts(), directory=Directory(), stages=Stages())
    ref = stable_id("Statement", hub.new_id())
    ids = [hub.new_id() for _ in entries]
    answers: list[Written | None] = []

    def compute(draft: Draft) -> None:
        answers[:] = _Writing(draft, speaker, entries, ids, ref, base, bundle=bundle).run()

    held: set[int] = set()
    for entry in entries:
        with _placed(entry, bundle=bundle):
            check_type(entry, hub.gate.definitions.resources)
            if (number := lock_of(entry, base)) is not None:
                held.add(number)
    try:
        with own.store.hold(sorted(held)):
            transact(own, compute)
    except RevisionConflict:
        raise fhir_error(
            "conflict", "lock-error", "others write the same resources all the time: try again"
        ) from None
    return answers


@contextmanager
def _placed(entry: Entry | None, *, bundle: bool) -> Iterator[None]:
    """Name the entry in errors that are about it."""
    try:
        yield
    except InvalidError as error:
        found = FhirError("unprocessable", error.issues)
        raise (at_entry(found, entry.index) if bundle and entry else found) from None
    except FhirError as error:
        if bundle and entry is not None:
            raise at_entry(error, entry.index) from None
        raise


class _Writing:
    """One attempt to do the writes of a request, on a draft."""

    def __init__(
        self,
        draft: Draft,
        speaker: Speaker,
        entries: Sequence[Entry],
        ids: Sequence[str],
        ref: str,
        base: str,
        *,
        bundle: bool,
    ) -> None:
        self.draft = draft
        self.hub = draft.hub
        self.speaker = speaker
        self.entries = entries
        self.ids = ids
        self.ref = ref
        self.base = base.rstrip("/") + "/"
        self.bundle = bundle
        self.now = Moment(rfc3339(draft.now), draft.now)
        self.site = self.hub.site(speaker.site) if speaker.site else None
        self.authorities = Authorities(self.hub.sites.values())
        self.heads: dict[ResourceKey, Head] = {}
        self.links: dict[str, str] = {}
        self.conditions: dict[str, Target] = {}
        self.targets: dict[int, Target] = {}
        self.owners: dict[ResourceKey, int] = {}
        self.affected: dict[int, Affected] = {}
        self.stirred: set[int] = set()
        self.before: dict[ResourceKey, int] = {}
        cause = Cause("statement", ref, speaker.source)
        self.recorder = Recorder(draft, Step(cause), history=speaker.history)

    def run(self) -> list[Written | None]:
        """All of it; one answer for each entry."""
        for entry in in_order(self.entries):
            with _placed(entry, bundle=self.bundle):
                self.targets[entry.index] = target = self._target(entry)
                self._link(target)
        self._check_distinct()
        for target in self._those("create", "update"):
            with _placed(target.entry, bundle=self.bundle):
                self._resolve(target)
        self._load()
        for target in self._those("create", "update", "delete"):
            with _placed(target.entry, bundle=self.bundle):
                self._judge(target)
        for step in (self._delete, self._patient, self._own, self._computed):
            for target in self._those("create", "update", "delete"):
                with _placed(target.entry, bundle=self.bundle):
                    step(target)
        with _placed(None, bundle=False):
            self._finish()
        return [self._answer(self.targets[entry.index]) for entry in self.entries]

    def _those(self, *actions: str) -> list[Target]:
        """Targets in the order of processing."""
        return [target for target in self.targets.values() if target.action in actions]

    # --- what each request is about ------------------------------------------------------

    def _target(self, entry: Entry) -> Target:
        if entry.method in ("GET", "HEAD"):
            return Target(entry, "read")
        if entry.method == "PATCH":
            raise fhir_error("not-allowed", "not-supported", "PATCH is not done here: use PUT")
        if entry.rest:
            raise fhir_error("not-allowed", "not-supported", f"{entry.method} of {entry.rest}")
        query = condition(entry, self.base)
        found: ResourceKey | None = None
        asked = ""
        if query is not None:
            asked = f"{entry.type}?{sorted(query.used)}"
            if entry.method == "POST" and asked in self.conditions:
                return Target(entry, "found", self.conditions[asked].key)
            keys = matches(self.draft, query)
            if len(keys) > 1:
                raise several(entry)
            found = keys[0] if keys else None
        if entry.method == "DELETE":
            key = found if query is not None else ResourceKey(entry.type, entry.id or "")
            if key is None or self._head(key) is None:
                return Target(entry, "nothing", key)
            return Target(entry, "delete", key)
        if entry.method == "POST":
            if found is not None:
                return Target(entry, "found", found)
            target = self._created(entry)
            if query is not None:
                self.conditions[asked] = target
            return target
        check_id(entry)
        return self._updated(entry, found)

    def _created(self, entry: Entry) -> Target:
        assert entry.resource is not None
        target = Target(entry, "create", ResourceKey(entry.type, self.ids[entry.index]))
        target.resource = {k: v for k, v in entry.resource.items() if k != "id"}
        self._identify(target)
        known = self._known(target)
        if known is not None:
            target.action, target.key, target.restated = "update", known, True
        elif target.identity is not None and target.identity.authority != UNNAMED:
            target.key = ResourceKey("Patient", stable_id("Patient", target.identity.key))
        elif target.visits:
            target.key = ResourceKey("Encounter", stable_id("Encounter", target.visits[0]))
        assert target.key is not None
        target.resource["id"] = target.key.id
        if self._lives(target.key) and not target.restated:
            target.action, target.restated = "update", True
        return target

    def _updated(self, entry: Entry, found: ResourceKey | None) -> Target:
        """The target of an update, by id or by condition."""
        assert entry.resource is not None
        sent: str | None = entry.id or entry.resource.get("id")
        if found is not None and sent is not None and sent != found.id:
            raise fhir_error(
                "incorrect", "invalid", "the body has another id than the resource that was found"
            )
        if entry.id is None and found is None and sent is None:
            return self._created(entry)
        key = found or ResourceKey(entry.type, sent or "")
        target = Target(entry, "update" if self._lives(key) else "create", key)
        target.resource = {**entry.resource, "id": key.id}
        self._identify(target)
        known = self._known(target)
        if known is None or known == key or target.action == "update":
            return target
        if not (self.bundle and self.speaker.site):
            raise fhir_error(
                "conflict",
                "duplicate",
                f"this identity has a resource already: {known.reference}. Update that one",
            )
        # A feed's own ids mean as little as a urn:uuid.
        self.links[key.reference] = known.reference
        target.action, target.key, target.restated = "update", known, True
        target.resource["id"] = known.id
        return target

    def _identify(self, target: Target) -> None:
        resource, key = target.resource, target.key
        assert resource is not None
        assert key is not None
        issues = self.hub.gate.issues(resource) if not self.hub.gate.is_valid(resource) else []
        if issues:
            raise FhirError("unprocessable", issues)
        own = self.site.authority if self.site else ""
        if key.type == "Encounter":
            target.visits = visit_keys(resource, self.authorities, own)
        elif key.type == "Patient":
            links_by = self.site.links_by if self.site else ("MR", "PI")
            never = self.hub.mapping_for(self.speaker.site).identity.never
            found = identify(resource, self.authorities, own, links_by, never)
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
        if target.visits:
            rows = draft.reader.visits(target.visits)
            draft.load(pks={row.owner for row in rows.values()})
            for name in target.visits:
                if name in rows:
                    state = draft.chart(rows[name].owner).visits.get(name)
                    if state is not None and state.encounter:
                        return ResourceKey("Encounter", state.encounter)
        return None

    def _head(self, key: ResourceKey) -> Head | None:
        """What is stored of a resource; of one that was deleted, its last version."""
        owner = self.owners.get(key)
        if owner is not None:
            return self.draft.chart(owner).heads.get(key)
        if key not in self.heads:
            self._fetch([key])
            return self._head(key) if key in self.owners else self.heads.get(key)
        return self.heads[key]

    def _fetch(self, keys: Iterable[ResourceKey]) -> None:
        found = self.draft.reader.heads([k for k in keys if k not in self.heads])
        self.heads |= found
        owners = {head.owner for head in found.values() if head.owner is not None}
        if owners:
            self.draft.load(pks=owners)
        for key, head in found.items():
            if head.owner is not None:
                self.owners[key] = head.owner

    def _lives(self, key: ResourceKey) -> bool:
        head = self._head(key)
        return head is not None and not head.deleted

    def _link(self, target: Target) -> None:
        """Let references within the bundle find what the entry became."""
        url = target.entry.full_url
        if target.key is not None and url and target.action != "read":
            self.links[url] = target.key.reference

    def _check_distinct(self) -> None:
        """Refuse a transaction that touches one resource twice."""
        check_distinct(self.entries)
        seen: dict[ResourceKey, int] = {}
        for target in self._those("create", "update", "delete"):
            assert target.key is not None
            first = seen.setdefault(target.key, target.entry.index)
            if first != target.entry.index:
                text = f"the same resource as entry {first}: a transaction touches each once"
                error = fhir_error("incorrect", "duplicate", text)
                raise at_entry(error, target.entry.index) if self.bundle else error

    # --- references ----------------------------------------------------------------------

    def _resolve(self, target: Target) -> None:
        """Make all references literal and relative."""
        resource = target.resource
        assert resource is not None
        links = dict(self.links)
        for _, reference in walk_references(resource):
            text = reference["reference"]
            if text.startswith(self.base) and text not in links:
                relative = text[len(self.base) :]
                links[text] = links.get(relative, relative)
        resource = rewrite(resource, links)
        target.resource = resolve_conditional(
            resource, lambda type_, text: look_up(self.draft, type_, text, self.base)
        )

    def _load(self) -> None:
        """Fetch everybody that the resources belong to, in few queries."""
        keys: set[ResourceKey] = set()
        for target in self._those("create", "update"):
            for _, reference in walk_references(target.resource):
                key = parse_reference(reference["reference"], "")
                if key is not None:
                    keys.add(key)
        self._fetch(keys - self.heads.keys())

    def _owner(self, resource: Resource, seen: frozenset[ResourceKey] = frozenset()) -> int | None:
        """The pk of the person that a resource belongs to."""
        here = {target.key: target for target in self.targets.values()}
        for key in evidence.owners(resource):
            if key in self.owners:
                return self.draft.chart(self.owners[key]).pk
            target = here.get(key)
            if target is not None and target.resource is not None and key not in seen:
                found = self._owner(target.resource, seen | {key})
                if found is not None:
                    return found
        return None

    # --- writes --------------------------------------------------------------------------

    def _judge(self, target: Target) -> None:
        """If-Match and If-None-Match, against what is stored now."""
        assert target.key is not None
        head = self._head(target.key)
        self.before[target.key] = head.version if head is not None else 0
        if not target.restated:
            check_match(target.entry, head)

    def _is_computed(self, key: ResourceKey) -> bool:
        """Whether the engine, or a feed, is the author of what is stored."""
        head = self._head(key)
        if head is None or key.type == "Patient":
            return False
        if head.kind != "client":
            return head.kind == "directory" or not head.deleted
        owner = self.owners.get(key)
        if key.type != "Encounter" or owner is None:
            return False
        visits = self.draft.chart(owner).visits.values()
        return any(visit.encounter == key.id and visit.status for visit in visits)

    def _delete(self, target: Target) -> None:
        if target.action != "delete":
            return
        key = target.key
        assert key is not None
        head = self._head(key)
        if head is None or head.deleted:
            target.action = "nothing"
            return
        owner = self.owners.get(key)
        chart = self.draft.chart(owner) if owner is not None else None
        if self._is_computed(key):
            who = owned.decider(key.type, key.id, chart, self.hub.setting)
            raise fhir_error(
                "unprocessable",
                "business-rule",
                f"{key.reference} cannot be deleted: it is decided by {who}",
            )
        if key.type == "Patient":
            assert chart is not None
            self._forget_patient(key, chart)
        made = deletion(key, head, chart.pk if chart else None)
        self.recorder.step.writes.append(made)
        self._note(made.head(), key, chart)
        if chart is not None:
            chart.touched = True
            change = Change(made, frozenset({self.speaker.source}))
            self.recorder.changes.setdefault(chart.pk, []).append(change)
            before = chart.person
            chart.person = evidence.without_evidence(before, key.reference)
            if chart.person is not before:
                self.stirred.add(chart.pk)

    def _note(self, head: Head, key: ResourceKey, chart: Chart | None) -> None:
        if chart is None:
            self.heads[key] = head
        else:
            chart.heads[key] = head
            self.owners[key] = chart.pk

    def _forget_patient(self, key: ResourceKey, chart: Chart) -> None:
        """A Patient whom nobody but clients knows, and of whom nothing else is stored."""
        person = chart.person
        others = [
            other.reference
            for other, head in chart.heads.items()
            if other != key and not head.deleted
        ]
        known = all(source.stated for source in person.patients.values())
        if others or not known or any(visit.status for visit in chart.visits.values()):
            what = ", ".join(sorted(others)[:3]) or "what feeds say of the person"
            raise fhir_error("conflict", "conflict", f"{key.reference} is still needed by {what}")
        for row in self.draft.reader.facts_of(chart.identities):
            # The fact stays as a record, under a name by which nobody is found.
            gone = replace(row, identity=key.reference, visit=None, stay=b"")
            self.recorder.step.facts.append(gone)
        chart.gone |= set(chart.visits)
        chart.visits = {}
        chart.person = PersonState()

    def _patient(self, target: Target) -> None:
        identity, key = target.identity, target.key
        if identity is None or key is None or target.action not in ("create", "update"):
            return
        assert target.resource is not None
        self.draft.load(identity.links)
        elements = elements_of(target.resource)
        if target.action == "update":
            found = self._restated(target, elements)
            if found is None:
                return
            identity, elements = found
        details: dict[str, Any] = {}
        if {"deceasedBoolean", "deceasedDateTime"} & {n for n, v in elements.items() if v is None}:
            details["deceased"] = ""
        fact = fact_of(
            stable_id("Fact", self.ref, str(target.entry.index)),
            self.speaker.source,
            identity,
            self.now,
            Fragment("Patient", key.id, "person", elements),
            history=self.speaker.history,
            resource=target.resource,
        )
        fact.details = details
        affected = add_fact(self.draft, fact)
        self.recorder.step.facts.append(pack(fact, 0, "statement"))
        pk = affected.chart.pk
        held = self.affected.get(pk)
        self.affected[pk] = affected if held is None else held.and_also(affected)
        self.owners[key] = pk

    def _restated(
        self, target: Target, elements: dict[str, Any]
    ) -> tuple[Identified, dict[str, Any]] | None:
        """What a write to a Patient that is there says anew; None where it says nothing.

        Raises:
            FhirError: 422; it changes what the authority of the identity states.
        """
        key, identity = target.key, target.identity
        assert key is not None
        assert identity is not None
        self.draft.load(identity.links)
        chart = self.draft.person(identity.key)
        if key in self.owners:
            chart = self.draft.chart(self.owners[key])
        assert chart is not None, "a Patient that is there is somebody's"
        person = chart.person
        name = next((k for k, one in person.patients.items() if one.id == key.id), identity.key)
        source = self.speaker.source
        marks = sorted(labels(target.resource or {}))
        said = told_by(person, f"{source}#{','.join(marks)}" if marks else source)
        stored = self.draft.bodies([key]).get(key, {})
        links = tuple(sorted({*identity.links, name}))
        if not target.restated:
            current = elements_of(stored)
            if current.get("active") is True and "active" not in elements:
                del current["active"]
            if key.id == person.patient:
                news = {path: v for path, v in elements.items() if current.get(path) != v}
            else:
                news = {path: v for path, v in elements.items() if said.get(path) != v}
                news.pop("active", None)
            names = {name_of(path) for path in elements}
            news |= {p: None for p, v in said.items() if v is not None and name_of(p) not in names}
            authority = self.site.authority if self.site else ""
            allowed = name.partition("|")[0] == authority or (
                person.patients[name].stated and bool(said or self.speaker.anonymous)
            )
            if news and not allowed:
                raise owned.refusal(
                    "Patient",
                    {name_of(path): None for path in news},
                    f"the authority {name.partition('|')[0]}",
                )
            elements = news
        new_links = not set(links) <= set(person.identities)
        if all(said.get(path) == value for path, value in elements.items()) and not new_links:
            return None
        return Identified(name, links), elements

    def _own(self, target: Target) -> None:
        """A client's own resource: stored as it was written."""
        key, resource = target.key, target.resource
        if (
            key is None
            or resource is None
            or key.type == "Patient"
            or target.action not in ("create", "update")
            or self._is_computed(key)
        ):
            return
        head = self._head(key)
        text = canonical_json(resource)
        previous = self.owners.get(key)
        if head is not None and not head.deleted and target.action == "update":
            stored = self.draft.reader.bodies([key]).get(key)
            if stored is not None and stored.body == text:
                return
        pk = self._owner({k: v for k, v in resource.items() if k != "id"})
        chart = self.draft.chart(pk) if pk is not None else None
        if previous is not None and self.draft.chart(previous) is not chart:
            self._part(key, self.draft.chart(previous))
        made = write(
            resource,
            key,
            content_hash(resource),
            head or self.draft.contested.get(key),
            self.draft.new_pk,
            kind="client",
            owner=chart.pk if chart else None,
        )
        self.recorder.step.writes.append(made)
        self._note(made.head(), key, chart)
        if chart is None:
            return
        chart.touched = True
        change = Change(
            made,
            frozenset({self.speaker.source}),
            labels(resource),
            str(resource.get("status", "")),
        )
        self.recorder.changes.setdefault(chart.pk, []).append(change)
        if key.type in evidence.TYPES:
            chart.person = evidence.with_evidence(
                chart.person,
                evidence.evidence(
                    resource,
                    made.version,
                    self.speaker.site,
                    self.now.us,
                    history=self.speaker.history,
                ),
            )
            self.stirred.add(chart.pk)
        if target.visits:
            self._adopt(target, chart)

    def _part(self, key: ResourceKey, chart: Chart) -> None:
        """The resource is another person's, or nobody's, from now on."""
        chart.heads.pop(key, None)
        chart.person = evidence.without_evidence(chart.person, key.reference)
        chart.touched = True
        self.stirred.add(chart.pk)

    def _adopt(self, target: Target, chart: Chart) -> None:
        """Let the visit number lead to the client's Encounter."""
        visit, key = target.visits[0], target.key
        assert key is not None
        state = chart.visits.get(visit)
        if not chart.person.key or (state is not None and state.encounter == key.id):
            return
        assert target.resource is not None
        fact = fact_of(
            stable_id("Fact", self.ref, str(target.entry.index)),
            self.speaker.source,
            Identified(chart.person.key, (chart.person.key,)),
            self.now,
            Fragment("Encounter", key.id, "visit", {}),
            history=self.speaker.history,
            resource=target.resource,
            visit=visit,
        )
        self.draft.load(fact.links)
        affected = add_fact(self.draft, fact)
        self.recorder.step.facts.append(pack(fact, 0, "statement"))
        pk = affected.chart.pk
        held = self.affected.get(pk)
        self.affected[pk] = affected if held is None else held.and_also(affected)

    def _computed(self, target: Target) -> None:
        """A statement about what the engine computes."""
        key, resource = target.key, target.resource
        if (
            key is None
            or resource is None
            or target.action != "update"
            or not self._is_computed(key)
        ):
            return
        stored = self.draft.bodies([key])[key]
        elements = owned.changed(stored, resource)
        if not elements:
            return
        owner = self.owners.get(key)
        chart = self.draft.chart(owner) if owner is not None else None
        if target.restated:
            self._keep(key, resource)
            return
        setting = self.hub.setting
        who = owned.decider(key.type, key.id, chart, setting)
        in_care = chart is not None and key.reference in chart.margin.care
        if chart is None or not in_care or key.type not in ("Task", "CarePlan"):
            raise owned.refusal(key.type, elements, who)
        if key.type == "Task":
            actor = owned.actor(
                stored, self.speaker.site, chart, setting, anonymous=self.speaker.anonymous
            )
            issues = owned.task_issues(stored, elements, actor, self._pointed_to(elements))
        else:
            issues = owned.plan_issues(elements)
        if issues:
            raise FhirError("unprocessable", issues)
        subject = key.id if key.type == "Task" else key.reference
        made = owned.statement(chart, subject, elements, self.speaker.site, self.now.us)
        if made is None:
            return
        statements = [*chart.person.statements, made]
        chart.person = replace(chart.person, statements=statements)
        chart.touched = True
        self.stirred.add(chart.pk)
        self.recorder.said[key] = content_hash(resource)
        self._keep(key, elements)

    def _pointed_to(self, elements: Resource) -> dict[str, Resource]:
        """The resources that a Task's new outputs refer to, those of this request first."""
        here = {t.key.reference: t.resource for t in self.targets.values() if t.key and t.resource}
        names = references(elements.get("output") or ())
        keys = [key for name in names if name not in here and (key := parse_reference(name))]
        stored = {key.reference: body for key, body in self.draft.bodies(keys).items()}
        return stored | {name: here[name] for name in names if name in here}

    def _keep(self, key: ResourceKey, value: Resource) -> None:
        """Store what was said, under a name that no person's facts have."""
        id_ = stable_id("Fact", self.ref, key.reference)
        told = {"source": self.speaker.site, "recorded": self.now.us, "said": value}
        row = FactRow(id_, 0, "statement", key.reference, None, pack_value(told), b"")
        self.recorder.step.facts.append(row)

    # --- the end -------------------------------------------------------------------------

    def _finish(self) -> None:
        """Fold, coordinate, decide who hears of it, and name the source of all."""
        draft, recorder = self.draft, self.recorder
        stirred = {draft.chart(pk).pk for pk in self.stirred}
        for pk, affected in self.affected.items():
            if draft.chart(pk).pk != pk:
                continue
            if project(recorder, affected):
                stirred.add(pk)
        for pk in sorted(stirred):
            coordinate_person(recorder, draft.chart(pk))
        if recorder.step.writes or recorder.step.facts:
            recorder.close()

    def _answer(self, target: Target) -> Written | None:
        if target.action == "read":
            return None
        key = target.key
        if key is None:
            return Written(204, None)
        head = self._head(key)
        if target.action == "nothing":
            return Written(204, key if head else None, head.version if head else 0)
        assert head is not None
        changed = head.version != self.before.get(key, head.version)
        if target.action == "delete":
            return Written(204, key, head.version, changed)
        created = target.action == "create"
        return Written(201 if created else 200, key, head.version, changed)
