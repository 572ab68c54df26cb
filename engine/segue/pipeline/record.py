"""One step of a commit: what one cause changes, who is told, and the Provenance of it.

The fold and coordination say how a person's resources should be. Here that becomes
versions (only of what differs and is valid), deliveries, and one Provenance.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from segue.care.consent import labels
from segue.care.parties import HUB_REFERENCE
from segue.care.retraction import ENDS_IN_PLACE, is_provisional, retract, without
from segue.care.view import Person
from segue.fhir.canonical import hash_of, loads
from segue.fhir.references import rewrite
from segue.model.changes import Cause, Head, Kind, Write
from segue.model.deliveries import Delivery
from segue.model.facts import Fragment
from segue.model.identity import ResourceKey
from segue.pipeline.charts import Chart, Register
from segue.pipeline.compare import (
    Resource,
    content_of,
    deletion,
    differing,
    parse_key,
    retracted,
    write,
)
from segue.pipeline.fan_out import Change, Plan, fan_out
from segue.pipeline.hub import Hub
from segue.pipeline.places import STATUS, put_together
from segue.pipeline.provenance import (
    provenance,
    provenance_id,
    provenance_terms,
    provenance_text,
)
from segue.pipeline.transact import Draft, transact
from segue.store.records import Step

_HUB: frozenset[str] = frozenset()
_OWNER = HUB_REFERENCE["reference"]
_KEPT = ENDS_IN_PLACE | {"Encounter"}


class Recorder:
    """Collects what one cause changes; `close` makes the step of it.

    Args:
        draft: the working copy that the step belongs to.
        step: with its cause; facts and issues may be added by the caller.
        history: it only fills the index: nobody is told.
    """

    def __init__(self, draft: Draft, step: Step, *, history: bool = False) -> None:
        self.draft = draft
        self.hub = draft.hub
        self.step = step
        self.history = history
        self.changes: dict[int, list[Change]] = {}
        self.plans: dict[int, ResourceKey] = {}
        self.ended: dict[int, dict[ResourceKey, frozenset[str]]] = {}
        self.plan_labels: dict[int, frozenset[str]] = {}
        self.said: dict[ResourceKey, bytes] = {}
        self.notices: dict[ResourceKey, str] = {}
        self.held: dict[ResourceKey, frozenset[str]] = {}
        self.after: dict[int, set[int]] = {}
        self.registers: list[Write] = []
        self.deleted: set[str] = set()

    @property
    def cause(self) -> Cause:
        """What the step is owed to."""
        return self.step.cause

    def put(
        self,
        chart: Chart,
        resources: Iterable[Resource],
        sources: Mapping[ResourceKey, frozenset[str]] | None = None,
        kind: Kind = "fold",
    ) -> None:
        """Make these resources of a person be as they are here.

        Args:
            chart: whose they are.
            resources: as they should be.
            sources: sites whose statements each is folded from; None: the hub's own.
            kind: who may write them.

        Raises:
            InvalidError: one of them is not valid FHIR.
        """
        hub, stages = self.hub, self.hub.stages
        found = differing(resources, chart.heads)
        stages.end("compare")
        if not found:
            return
        unfinished = self.draft.unfinished
        for content in found:
            unfinished.check(hub.gate, content.resource, content.key)
        stages.end("validate")
        changes = self.changes.setdefault(chart.pk, [])
        for content in found:
            resource, key = content.resource, content.key
            made = write(
                resource,
                key,
                content.digest,
                chart.heads.get(key) or self.draft.contested.get(key),
                self.draft.new_pk,
                kind=kind,
                owner=chart.pk,
                body=content.body,
            )
            unfinished.index(made, self._add(chart, made), resource)
            changes.append(
                Change(
                    made,
                    _HUB if sources is None else sources.get(key, _HUB),
                    labels(resource),
                    str(resource.get("status", "")),
                    self.said.get(key),
                    _is_internal(resource, hub_made=sources is None),
                    self.notices.get(key, ""),
                    self.held.get(key, _HUB),
                )
            )
        stages.end("rows")

    def retire(self, chart: Chart, keys: Iterable[ResourceKey], view: Person | None = None) -> None:
        """End resources that the fold or coordination yields no more; a client's stay.

        Args:
            chart: whose they are.
            keys: of the resources.
            view: the person as protocols see them, if the caller has made it; it says
                why a Task ends.
        """
        ended = set(chart.margin.retired)
        final: set[str] = set()
        gone = [
            key
            for key in sorted(keys)
            if (head := chart.heads.get(key)) is not None
            and head.kind == "fold"
            and not head.deleted
            and key.reference not in ended
        ]
        if not gone:
            return
        bodies = self._bodies([key for key in gone if key.type in _KEPT])
        deleted = {key.reference for key in gone if key not in bodies}
        for key in gone:
            if (body := bodies.get(key)) is not None:
                ended.add(key.reference)
                if key.type == "Encounter":
                    ending: Resource | None = retracted(body)
                else:
                    if view is None:
                        view = chart.view(self.hub.setting)
                    ending = retract(body, view, deleted)
                    if key.type == "Task" and not (ending and is_provisional(body, ending)):
                        final.add(key.reference)
                    if key.type == "CarePlan" and not body.get("partOf"):
                        self.ended.setdefault(chart.pk, {})[key] = labels(body)
                if ending is not None:
                    self.put(chart, [ending])
                continue
            made = deletion(key, chart.heads[key], chart.pk)
            self._add(chart, made)
            self.changes.setdefault(chart.pk, []).append(Change(made))
        final |= set(chart.margin.ended)
        chart.margin = replace(
            chart.margin, retired=tuple(sorted(ended)), ended=tuple(sorted(final))
        )
        self.deleted |= deleted

    def mend(self, chart: Chart) -> None:
        """Let what ended earlier point to the person as they are now.

        And to nothing that is deleted, or that turned out to be another person's.
        """
        patient = chart.person.patient
        strangers = [self.draft.charts[pk] for pk in self.changes if pk != chart.pk]
        persons = [chart.person, *(one.person for one in strangers)]
        others = {one.id for person in persons for one in person.patients.values()} - {patient}
        now = {f"Patient/{other}": f"Patient/{patient}" for other in others}
        keys = [key for key in map(parse_key, chart.margin.retired) if key in chart.heads]
        bodies = self._bodies([key for key in keys if not chart.heads[key].deleted])
        gone = self.deleted | {
            key.reference for one in strangers for key in one.heads if key.type != "Patient"
        }
        self.put(chart, [without(rewrite(body, now), gone) for body in bodies.values()])

    def _bodies(self, keys: Iterable[ResourceKey]) -> dict[ResourceKey, Resource]:
        """Contents as this step leaves them, without deleted ones."""
        wanted = set(keys)
        own = {one.key: one.body for one in self.step.writes if one.key in wanted}
        found = self.draft.bodies(wanted - own.keys())
        return found | {key: loads(body) for key, body in own.items() if body is not None}

    def revive(self, chart: Chart, keys: Iterable[ResourceKey]) -> None:
        """Note that the fold yields these again."""
        ended = chart.margin.retired
        if ended and (back := {key.reference for key in keys} & set(ended)):
            left = tuple(reference for reference in ended if reference not in back)
            chart.margin = replace(chart.margin, retired=left)

    def directory(self, fragments: Iterable[Fragment], recorded: tuple[int, str]) -> None:
        """Offer whole directory resources, all with one (recorded µs, control id).

        Raises:
            InvalidError: one of them is not valid FHIR.
        """
        hub, offered = self.hub, self.draft.registers
        for fragment in fragments:
            key = ResourceKey(fragment.type, fragment.id)
            register = (fragment.elements, recorded)
            if key.type == "Location" and STATUS in fragment.elements:
                place = {k: v for k, v in fragment.elements.items() if k != STATUS}
                known = (place, recorded)
            elif self._is_news(key, register):
                known = register
            else:
                continue
            if key.type == "Location":
                joined = put_together(self.draft, key, register)
                if joined is None:
                    continue
                register = joined
            resource = {"resourceType": key.type, "id": key.id, **register[0]}
            self.draft.unfinished.check(hub.gate, resource, key)
            content = content_of(resource)
            made = write(
                resource,
                key,
                content.digest,
                None,
                self.draft.new_pk,
                kind="directory",
                recorded=register[1],
                body=content.body,
            )
            self.draft.unfinished.index(made, None, resource)
            self.registers.append(made)
            offered[key] = known
        hub.stages.end("rows")

    def _is_news(self, key: ResourceKey, register: Register) -> bool:
        if self.draft.again:
            # What the entry said before may be what stands.
            held = self.draft.registers.get(key)
            return held is None or register[1] > held[1]
        return self.hub.directory.is_news(key, register, self.draft.registers)

    def _add(self, chart: Chart, made: Write) -> Head:
        self.step.writes.append(made)
        chart.heads[made.key] = head = made.head()
        chart.touched = True
        return head

    def close(
        self,
        *,
        forward: Chart | None = None,
        protected: frozenset[str] = frozenset(),
        **told: Any,
    ) -> Step:
        """Finish the step: deliveries and Provenance; it is added to the draft.

        Args:
            forward: the person whose message is forwarded as it came.
            protected: security labels of that message.
            told: `control_id`, `occurred`, `mapping`, `unmapped` for the Provenance.
        """
        step, draft, hub = self.step, self.draft, self.hub
        if self.deleted or len(self.changes) > 1:
            # The draft holds others' charts, too, whose own steps are still to come.
            for chart in [draft.charts[pk] for pk in self.changes]:
                if chart.into is None and chart.margin.retired:
                    self.mend(chart)
        if not self.history:
            step.deliveries.extend(self._deliveries(forward, protected))
        if step.writes:
            told["history"] = self.history
            sign = partial(self._sign, tuple(step.writes), told)
            if step.cause.kind == "entry" and _is_plain(told.get("unmapped")):
                draft.unfinished.sign(sign)
            else:
                sign(check=True)
        # The store numbers the versions of registers, so Provenance cannot name them.
        step.writes[:0] = self.registers
        draft.steps.append(step)
        hub.stages.end("rows")
        return step

    def _sign(
        self, writes: Sequence[Write], told: Mapping[str, Any], *, check: bool = False
    ) -> None:
        """Add the Provenance of what the step writes."""
        draft, cause = self.draft, self.cause
        id_ = provenance_id(writes[0], draft.now)
        key = ResourceKey("Provenance", id_)
        if check:
            made = provenance(id_, cause, writes, draft.now, **told)
            draft.unfinished.check(self.hub.gate, made, key)
        targets = [f"{one.key.type}/{one.key.id}" for one in writes]
        body = provenance_text(id_, cause, targets, writes, draft.now, **told)
        digest = hash_of(body)
        found = provenance_terms(targets, body)
        signed = Write(key, draft.new_pk(), 1, "fold", body, digest, digest, found, None)
        self.step.writes.append(signed)

    def _deliveries(self, forward: Chart | None, protected: frozenset[str]) -> list[Delivery]:
        routes = self.hub.routes
        if not routes:
            return []
        deliveries: list[Delivery] = []
        lanes = dict(self.changes)
        if forward is not None:
            lanes.setdefault(forward.pk, [])
        for pk, changes in lanes.items():
            lane = self.draft.chart(pk).pk
            chart = self.draft.charts[lane]
            plan = None
            if (key := self.plans.get(pk)) is not None and key in chart.heads:
                plan = Plan(key, chart.heads[key].version, self.plan_labels.get(pk, _HUB))
            deliveries += fan_out(
                changes,
                routes,
                self.cause,
                lane,
                plan=plan,
                ended=[
                    Plan(key, chart.heads[key].version, kept)
                    for key, kept in self.ended.get(pk, {}).items()
                    if key in chart.heads
                ],
                forward=self.cause.ref if forward is not None and forward.pk == pk else None,
                labels=protected,
                after=tuple(sorted(self.after.get(lane, ()))),
            )
        return deliveries


def _is_internal(resource: Resource, *, hub_made: bool) -> bool:
    """Whether it is the hub's own bookkeeping, or a draft that ends before it was asked for."""
    match resource["resourceType"]:
        case "Task":
            if resource.get("owner", {}).get("reference") == _OWNER:
                return True
            ended = (resource.get("intent"), resource.get("status")) == ("plan", "cancelled")
            return hub_made and ended
        case "DetectedIssue":
            return hub_made
        case _:
            return False


def _is_plain(texts: Mapping[str, str] | None) -> bool:
    """Whether a Provenance with these extensions is valid by the way it is made."""
    return texts is None or all(text.isprintable() for text in texts.values())


def register(hub: Hub, because: str, resources: Iterable[Mapping[str, Any]]) -> None:
    """Write whole resources that belong to nobody, in a step of their own; nobody is told.

    Args:
        hub: the engine.
        because: what they are owed to, as the step's cause names it.
        resources: each with its id; those that are stored as they are stay.
    """
    fragments = [
        Fragment(
            one["resourceType"],
            one["id"],
            "directory",
            {name: value for name, value in one.items() if name not in {"resourceType", "id"}},
        )
        for one in resources
    ]

    def compute(draft: Draft) -> None:
        recorder = Recorder(draft, Step(Cause("steward", because)), history=True)
        recorder.directory(fragments, (draft.now, ""))
        if recorder.registers:
            recorder.close()

    if fragments:
        transact(hub, compute)
