"""One attempt to do the writes of a request, on a draft."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from segue.care.consent import labels
from segue.care.statements import references
from segue.care.states import PersonState
from segue.fhir.canonical import canonical_json, content_hash, loads
from segue.fhir.outcomes import FhirError, fhir_error
from segue.fhir.references import parse_reference, resolve_conditional
from segue.fhir.requests import Entry, at_entry, check_distinct, in_order
from segue.model.changes import Cause, Write
from segue.model.facts import Fact, Fragment
from segue.model.identity import ResourceKey, stable_id
from segue.model.instants import Moment, rfc3339
from segue.pipeline import authorship, demographics, evidence, owned
from segue.pipeline.addresses import Addresses
from segue.pipeline.charts import Chart
from segue.pipeline.compare import InvalidError, deletion, write
from segue.pipeline.conditional import ConditionalReferences
from segue.pipeline.coordinate import coordinate_person
from segue.pipeline.facts import pack, pack_value
from segue.pipeline.fan_out import Change
from segue.pipeline.identities import Identified, elements_of, fact_of, name_of
from segue.pipeline.kin import Affected
from segue.pipeline.record import Recorder
from segue.pipeline.referrers import referrers, refers
from segue.pipeline.refold import add_fact, note, project
from segue.pipeline.speaker import Speaker
from segue.pipeline.targets import Resource, Target, check_match
from segue.pipeline.transact import Draft
from segue.store.records import FactRow, Step


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one request.

    Attributes:
        status: 201 created, 200 there already or changed, 204 deleted.
        key: of the resource; None where there was nothing to delete.
        version: current one of it after the commit.
        changed: whether this request made that version.
    """

    status: Literal[200, 201, 204]
    key: ResourceKey | None
    version: int = 0
    changed: bool = False


@contextmanager
def placed(entry: Entry | None, *, bundle: bool) -> Iterator[None]:
    """Name the entry of a Bundle in errors that are about it."""
    try:
        yield
    except InvalidError as error:
        found = FhirError("unprocessable", error.issues)
        raise (at_entry(found, entry.index) if bundle and entry else found) from None
    except FhirError as error:
        if bundle and entry is not None:
            raise at_entry(error, entry.index) from None
        raise


class Writing:
    """Does the writes of a request to a draft.

    Args:
        draft: the working copy.
        speaker: who writes.
        entries: the requests; ids: a fresh logical id for each.
        ref: id of the request.
        base: our base URL.
        bundle: whether the requests are entries of a Bundle.
    """

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
        self.bundle = bundle
        self.now = Moment(rfc3339(draft.now), draft.now)
        self.at = Addresses(draft, speaker, base, bundle=bundle)
        self.affected: dict[int, Affected] = {}
        self.stirred: set[int] = set()
        self.before: dict[ResourceKey, int] = {}
        cause = Cause("statement", ref, speaker.source)
        self.recorder = Recorder(draft, Step(cause), history=speaker.history)

    def run(self) -> list[Written | None]:
        """All of it; one answer for each entry, None for reads.

        Raises:
            FhirError: something cannot be done; the draft is of no use then.
        """
        at = self.at
        for entry in in_order(self.entries):
            with placed(entry, bundle=self.bundle):
                at.target(entry, self.ids[entry.index])
        self._check_distinct()
        for target in self._those("create", "update"):
            with placed(target.entry, bundle=self.bundle):
                at.resolve(target)
        conditional = ConditionalReferences(self.draft, at.base, at.targets)
        for target in self._those("create", "update"):
            with placed(target.entry, bundle=self.bundle):
                assert target.resource is not None
                target.resource = resolve_conditional(target.resource, conditional.find)
        at.load_references()
        # Persons first, for all else is somebody's; statements last, for they need evidence.
        for step in (self._judge, self._delete, self._patient, self._own, self._computed):
            for target in self._those("create", "update", "delete"):
                with placed(target.entry, bundle=self.bundle):
                    step(target)
        with placed(None, bundle=False):
            self._finish()
        answers = {target.entry.index: self._answer(target) for target in at.targets}
        return [answers[entry.index] for entry in self.entries]

    def _those(self, *actions: str) -> list[Target]:
        return [target for target in self.at.targets if target.action in actions]

    def _check_distinct(self) -> None:
        """Refuse a transaction that touches one resource twice."""
        check_distinct(self.entries)
        seen: dict[ResourceKey | None, int] = {}
        for target in self._those("create", "update", "delete"):
            first = seen.setdefault(target.key, target.entry.index)
            if first != target.entry.index:
                text = f"the same resource as entry {first}: a transaction touches each once"
                raise at_entry(fhir_error("incorrect", "duplicate", text), target.entry.index)

    def _judge(self, target: Target) -> None:
        """If-Match and If-None-Match, against what is stored now."""
        assert target.key is not None
        head = self.at.head(target.key)
        self.before[target.key] = head.version if head is not None else 0
        if not target.restated:
            check_match(target.entry, head)

    # --- delete --------------------------------------------------------------------------

    def _delete(self, target: Target) -> None:
        key = target.key
        if target.action != "delete" or key is None:
            return
        head, chart = self.at.head(key), self.at.chart(key)
        if head is None or head.deleted:
            target.action = "nothing"
            return
        if self.at.is_computed(key):
            who = owned.decider(key.type, key.id, chart, self.hub.setting)
            text = f"{key.reference} cannot be deleted: it is decided by {who}"
            raise fhir_error("unprocessable", "business-rule", text)
        if head.kind == "client" and key.type != "Patient":
            author = self.at.author(key)
            if not authorship.may_edit(self.speaker, author):
                raise authorship.not_yours(key, author, "deleted")
        if key.type == "Patient" and chart is not None:
            self._forget(key, chart)
        stored = self.draft.bodies([key]).get(key)
        if not self.hub.delete_referenced:
            self._check_referrers(key)
        self._store(deletion(key, head, chart.pk if chart else None), chart, stored)
        if chart is not None:
            self._withdraw(key, chart)

    def _check_referrers(self, key: ResourceKey) -> None:
        """Let a delete pass that leaves no reference without its target.

        Raises:
            FhirError: 409.
        """
        here = {target.key for target in self._those("create", "update", "delete") if target.key}
        still = {
            target.key
            for target in self._those("create", "update")
            if target.key and target.key != key and refers(target.resource or {}, key)
        }
        found = [*sorted(still), *referrers(self.draft, key, here)]
        if found:
            named = ", ".join(other.reference for other in found[:3])
            text = f"{key.reference} is still referred to by {named}"
            raise fhir_error("conflict", "conflict", text)

    def _forget(self, key: ResourceKey, chart: Chart) -> None:
        """Forget a Patient whom nobody but clients knows, and of whom nothing else is stored.

        Raises:
            FhirError: 409; somebody still needs it.
        """
        living = [k for k, head in chart.heads.items() if k != key and not head.deleted]
        known = all(source.stated for source in chart.person.patients.values())
        if living or not known or any(visit.status for visit in chart.visits.values()):
            named = ", ".join(sorted(other.reference for other in living)[:3])
            text = f"{key.reference} is still needed by {named or 'what feeds say of the person'}"
            raise fhir_error("conflict", "conflict", text)
        for row in self.draft.reader.people.facts_of(chart.identities):
            # The fact stays as a record, under a name by which nobody is found.
            gone = replace(row, kind="forgotten", identity=key.reference, visit=None, stay=b"")
            self.recorder.step.facts.append(gone)
        chart.gone |= {(visit, chart.pk) for visit in chart.visits}
        chart.visits = {}
        chart.hold(())
        chart.person = PersonState()

    def _withdraw(self, key: ResourceKey, chart: Chart) -> None:
        """A resource is this person's evidence no more."""
        before = chart.person
        chart.person = evidence.without_evidence(before, key.reference)
        chart.touched = True
        if chart.person is not before:
            self.stirred.add(chart.pk)

    # --- identities ----------------------------------------------------------------------

    def _patient(self, target: Target) -> None:
        """A Patient: its client's statement of demographics."""
        identity, key, resource = target.identity, target.key, target.resource
        if identity is None or key is None or resource is None:
            return
        self.draft.load(identity.links)
        elements = elements_of(resource)
        if target.action == "update":
            found = self._said_anew(target, identity, resource)
            if found is None:
                return
            identity, elements = found
        fact = self._fact(target, identity, Fragment("Patient", key.id, "person", elements))
        fact.details = demographics.details(elements)
        self.at.belongs(key, self._add(fact))

    def _said_anew(
        self, target: Target, identity: Identified, sent: Resource
    ) -> tuple[Identified, dict[str, Any]] | None:
        """What a write to a Patient that is there says; None where it says nothing new.

        Raises:
            FhirError: 422; it changes what the authority of the identity states.
        """
        key = target.key
        assert key is not None
        chart = self.at.chart(key) or self.draft.person(identity.key)
        assert chart is not None, "a Patient that is there is somebody's"
        person, source = chart.person, self.speaker.source
        name = next((k for k, one in person.patients.items() if one.id == key.id), identity.key)
        stored = self.draft.bodies([key]).get(key, {})
        if target.restated:
            elements = demographics.restated(person, sent, stored, source)
        else:
            elements = demographics.updated(person, key.id, sent, stored, source)
            may = demographics.may_state(person, name, self.at.authority, source)
            if elements and not may:
                names = {name_of(path): None for path in elements}
                raise owned.refusal("Patient", names, f"the authority {name.partition('|')[0]}")
        links = {*identity.links, name}
        if not elements and links <= set(person.identities):
            return None
        return Identified(name, tuple(sorted(links))), elements

    def _adopt(self, target: Target, chart: Chart) -> None:
        """Let the visit number lead to the client's Encounter from now on."""
        visit, key = target.visits[0], target.key
        assert key is not None
        state = chart.visits.get(visit)
        if chart.person.key and (state is None or state.encounter != key.id):
            identity = Identified(chart.person.key, (chart.person.key,))
            self.draft.load(identity.links)
            self._add(
                self._fact(target, identity, Fragment("Encounter", key.id, "visit", {}), visit)
            )

    def _fact(
        self, target: Target, identity: Identified, fragment: Fragment, visit: str | None = None
    ) -> Fact:
        return fact_of(
            stable_id("Fact", self.ref, str(target.entry.index)),
            self.speaker.source,
            identity,
            self.now,
            fragment,
            history=self.speaker.history,
            resource=target.resource or {},
            visit=visit,
        )

    def _add(self, fact: Fact) -> Chart:
        """Fold a statement into the person that it is about."""
        affected = add_fact(self.draft, fact)
        self.recorder.step.facts.append(pack(fact, 0, "statement"))
        note(self.affected, affected)
        return affected[0].chart

    # --- a client's own ------------------------------------------------------------------

    def _own(self, target: Target) -> None:
        """A client's own resource: stored as it was written."""
        key, resource = target.key, target.resource
        if key is None or resource is None or key.type == "Patient" or self.at.is_computed(key):
            return
        head, previous = self.at.head(key), self.at.chart(key)
        resource = authorship.stamped(resource, self.speaker)
        if target.action == "update" and not self._is_new(target, key, resource):
            return
        author = self.at.author(key)
        chart = self.at.owner(resource)
        if previous is not None and previous is not chart:
            del previous.heads[key]
            self._withdraw(key, previous)
        made = write(
            resource,
            key,
            content_hash(resource),
            head or self.draft.contested.get(key),
            self.draft.new_pk,
            kind="client",
            owner=chart.pk if chart else None,
        )
        self._store(made, chart, resource)
        if chart is None:
            return
        if evidence.is_evidence(key.type, history=self.speaker.history):
            found = evidence.evidence(
                resource,
                made.version,
                "" if author.startswith("client:") else author,
                self.now.us,
                history=self.speaker.history,
            )
            chart.person = evidence.with_evidence(chart.person, found)
            self.stirred.add(chart.pk)
        if target.visits:
            self._adopt(target, chart)

    def _is_new(self, target: Target, key: ResourceKey, resource: Resource) -> bool:
        """Whether an update says anything that is to be stored.

        Raises:
            FhirError: 403, 422; it is not this client's to say.
        """
        stored = self.draft.reader.bodies([key]).get(key)
        if stored is None or stored.body is None or stored.body == canonical_json(resource):
            return stored is None or stored.body is None
        before, author = loads(stored.body), self.at.author(key)
        if not authorship.may_edit(self.speaker, author):
            if content_hash(before) == content_hash(resource):
                return False
            if target.restated:
                self._keep(key, resource)
                return False
        authorship.check_update(key, before, resource, author, self.speaker, self.hub.setting)
        return True

    def _store(self, made: Write, chart: Chart | None, resource: Resource | None = None) -> None:
        """Add a version to the step, and let others hear of it."""
        self.recorder.step.writes.append(made)
        head = made.head()
        self.at.put(made.key, head, chart)
        if resource is not None and made.body is not None:
            self.draft.unfinished.index(made, head, resource)
        if chart is not None:
            sources = frozenset({self.speaker.source})
            sent = resource or {}
            status = str(sent.get("status", ""))
            change = Change(made, sources, labels(sent), status)
            self.recorder.changes.setdefault(chart.pk, []).append(change)

    # --- what the engine computes --------------------------------------------------------

    def _computed(self, target: Target) -> None:
        """A statement about what the engine computes.

        Raises:
            FhirError: 422; it is not the client's to say.
        """
        key, resource = target.key, target.resource
        if key is None or resource is None or not self.at.is_computed(key):
            return
        stored = self.draft.bodies([key])[key]
        elements = owned.changed(stored, resource)
        if not elements:
            return
        if target.restated:
            self._keep(key, resource)
            return
        chart = self.at.chart(key)
        if chart is None or not owned.may_be_stated(key, chart):
            who = owned.decider(key.type, key.id, chart, self.hub.setting)
            raise owned.refusal(key.type, elements, who)
        if key.type == "Task":
            actor = owned.actor(
                stored,
                self.speaker.site,
                chart,
                self.hub.setting,
                anonymous=self.speaker.anonymous,
            )
            issues = owned.task_issues(stored, elements, actor, self._pointed_to(elements))
        else:
            issues = owned.plan_issues(elements)
        if issues:
            raise FhirError("unprocessable", issues)
        made = owned.statement(chart, key, elements, self.speaker.site, self.now.us)
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
        here = {t.key.reference: t.resource for t in self.at.targets if t.key and t.resource}
        names = references(elements.get("output") or ())
        keys = [key for name in names if name not in here and (key := parse_reference(name))]
        stored = {key.reference: body for key, body in self.draft.bodies(keys).items()}
        return stored | {name: here[name] for name in names if name in here}

    def _keep(self, key: ResourceKey, value: Resource) -> None:
        """Store what was said, under a name that no person's facts have."""
        id_ = stable_id("Fact", self.ref, key.reference)
        told = {"source": self.speaker.site, "recorded": self.now.us, "said": value}
        if (chart := self.at.chart(key)) is not None:
            # Of a Task in another's place: which other orders of arrival never make.
            for first, new in chart.margin.renewed.items():
                if new == key.reference:
                    told["first"] = first
        row = FactRow(id_, 0, "statement", key.reference, None, pack_value(told), b"")
        self.recorder.step.facts.append(row)

    # --- the end -------------------------------------------------------------------------

    def _finish(self) -> None:
        """Fold, coordinate, decide who hears of it, and name the source of all."""
        draft, recorder = self.draft, self.recorder
        stirred = {draft.chart(pk).pk for pk in self.stirred}
        for pk, affected in self.affected.items():
            # A person who was merged away is shown by the one who stays.
            if draft.chart(pk).pk == pk and project(recorder, affected):
                stirred.add(pk)
        for pk in sorted(stirred):
            coordinate_person(recorder, draft.chart(pk))
        if recorder.step.writes or recorder.step.facts:
            recorder.close()

    def _answer(self, target: Target) -> Written | None:
        key = target.key
        if target.action == "read":
            return None
        head = self.at.head(key) if key is not None else None
        if head is None or key is None:
            return Written(204, None)
        changed = head.version != self.before.get(key, head.version)
        if target.action in ("delete", "nothing"):
            return Written(204, key, head.version, changed)
        return Written(201 if target.action == "create" else 200, key, head.version, changed)
