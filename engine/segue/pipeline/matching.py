"""Links Patients of different authorities that are one person, or asks whether they are.

It follows the log of commits, so that no Patient is missed whoever wrote it and in which
process; one matcher at a time, by a lease. What a rule is certain of becomes a fact, like
a link that a feed states, and can be undone like one. What is only likely becomes a Task
for a steward (docs/operations.md, "Who is who").
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import structlog

from segue.care.matching.grade import Match, MatchingRules
from segue.care.matching.traits import Traits, traits_of
from segue.fhir.canonical import loads
from segue.fhir.search import query as queries
from segue.model.identity import ResourceKey
from segue.model.memo import Recent
from segue.pipeline.candidates import Candidate, candidates
from segue.pipeline.compare import Resource
from segue.pipeline.hub import Hub
from segue.pipeline.steward import CannotLinkError, find, link
from segue.pipeline.transact import Draft, transact
from segue.pipeline.worklist import NEED, answer, ask, question
from segue.store.reader import Reader
from segue.store.records import CursorMove, Lease, RevisionConflict
from segue.store.search import Searcher

BATCH = 200
"""Commits that are looked through at once."""

LEASE_SECONDS = 3.0
SLICE_SECONDS = 0.03
"""How long a worker does nothing else."""

REMEMBERED = 20_000
"""Patients whose traits are remembered: most that is written of them changes none."""

LOG: Literal["changes"] = "changes"
PARTITION = "matching"
REVIEW = "match-review"
"""Code of the Task that asks a steward."""

Mode = Literal["link", "review", "off"]

log = structlog.get_logger(__name__)


class Matcher:
    """Looks at every Patient that was written, in commit order.

    Args:
        hub: the engine.
        holder: a name that no other living process uses.
        rules: when two are one.
        mode: `link` links what is certain; `review` only asks.
    """

    def __init__(self, hub: Hub, holder: str, rules: MatchingRules, mode: Mode) -> None:
        self._hub = hub
        self._leases = hub.store.leases(f"{holder}/{PARTITION}")
        self._rules = rules
        self._mode = mode
        self._lease: Lease | None = None
        self._leased_at = float("-inf")
        self._waiting: deque[ResourceKey] = deque()
        self._read_to = 0
        self._known: Recent[str, Traits] = Recent(REMEMBERED)
        self.linked = self.asked = 0

    def step(self) -> int:
        """Look, for a little while, at what was written; how many Patients that were."""
        hub = self._hub
        begin = time.monotonic()
        if begin - self._leased_at >= LEASE_SECONDS:
            self._leased_at = begin
            held = next(iter(self._leases.hold(LOG, [PARTITION])), None)
            if held is None or self._lease is None or held.token != self._lease.token:
                self._waiting.clear()
                self._read_to = held.cursor if held is not None else 0
            self._lease = held
        lease = self._lease
        if lease is None:
            return 0
        if not self._waiting:
            with hub.store.read() as reader:
                self._read_to, found = reader.history.written("Patient", lease.cursor, BATCH)
            self._waiting.extend(found)
        looked = 0
        while self._waiting and time.monotonic() - begin < SLICE_SECONDS:
            # It is done with once it was looked at: what fails is looked at again.
            self._look_at(self._waiting[0])
            self._waiting.popleft()
            looked += 1
        if not self._waiting and self._read_to > lease.cursor:
            move = CursorMove(LOG, PARTITION, lease.token, lease.cursor, self._read_to)
            try:
                transact(hub, lambda _: None, [move])
            except RevisionConflict:
                # Another one has taken over, and looks at these again.
                self._lease, self._leased_at = None, float("-inf")
                return looked
            self._lease = replace(lease, cursor=self._read_to)
        return looked

    @property
    def waiting(self) -> int:
        """How many Patients were read and not looked at yet."""
        return len(self._waiting)

    def figures(self) -> dict[str, float]:
        """Counters for /metrics."""
        return {
            "segue_patients_linked_total": float(self.linked),
            "segue_patients_to_review_total": float(self.asked),
        }

    def release(self) -> None:
        """Let another process go on."""
        self._leases.release(LOG)

    def _look_at(self, key: ResourceKey) -> None:
        hub = self._hub
        with hub.store.read() as reader:
            stored = reader.read(key.type, key.id)
            if stored is None or stored.body is None:
                return
            patient = loads(stored.body)
            if patient.get("active") is False:
                return
            traits = traits_of(patient)
            if self._known.get(key.id) == traits:
                return
            own = frozenset({key.id})
            found = candidates(reader, patient, self._rules, without=own, now=hub.now())
        for one in found:
            if one.match.grade == "certain" and self._mode == "link":
                self._link(patient, one)
            elif one.match.grade in {"certain", "probable"}:
                self._ask(patient, one)
        self._known.put(key.id, traits)

    def _link(self, patient: Resource, other: Candidate) -> None:
        rule = other.match.rule or ""
        try:
            done = link(
                self._hub,
                f"Patient/{patient['id']}",
                f"Patient/{other.patient['id']}",
                f"matching: {rule}",
            )
        except CannotLinkError:
            # A steward has decided that they are two.
            return
        if done:
            self.linked += 1
            log.info("patients.linked", rule=rule)

    def _ask(self, patient: Resource, other: Candidate) -> None:
        task = review(patient["id"], other.patient["id"], other.match, self._hub.now())
        asked = False

        def compute(draft: Draft) -> None:
            nonlocal asked
            asked = ask(draft, task)

        transact(self._hub, compute)
        if asked:
            self.asked += 1
            log.info("patients.to_review", bits=round(other.match.bits, 1))


def review(one: str, other: str, match: Match, now: int) -> Resource:
    """The Task that asks whether two Patients are one person.

    Args:
        one, other: ids of the Patients.
        match: the evidence: how far each element agrees; without the elements.
        now: µs.
    """
    first, second = sorted((one, other))
    agreement = ", ".join(f"{field} {level}" for field, level in match.agreement.items())
    told: list[tuple[str, dict[str, object]]] = [
        ("candidate", {"valueReference": {"reference": f"Patient/{second}"}}),
        ("probability", {"valueString": f"{match.score:.4f}"}),
        ("agreement", {"valueString": agreement}),
    ]
    if match.against:
        told.append(("against", {"valueString": ", ".join(match.against)}))
    return question(
        REVIEW,
        (first, second),
        title="Are these two Patients one person? Link them, or say that they are two.",
        role="Health information management",
        now=now,
        focus=f"Patient/{first}",
        told=told,
    )


def reviews(reader: Reader) -> list[Resource]:
    """The open questions, oldest first."""
    found: list[Resource] = []
    asked = [("code", f"{NEED}|{REVIEW}"), ("status", "requested"), ("_count", "500")]
    cursor: str | None = None
    while True:
        pairs = [*asked, ("_cursor", cursor)] if cursor else asked
        page = Searcher(reader.session).page(queries.parse("Task", pairs))
        found += [loads(stored.body) for stored in page.items if stored.body is not None]
        cursor = page.next
        if cursor is None:
            return found


def closing(hub: Hub, one: str, other: str, decision: str) -> Callable[[], None]:
    """What closes the questions about two persons, to be called once it is decided.

    Args:
        hub: the engine.
        one, other: identities or `Patient/id`; who they are is looked up now.
        decision: noted on the Tasks.

    Raises:
        CannotLinkError: one of them is not known.
    """
    with hub.store.read() as reader:
        draft = Draft(hub, reader, hub.now())
        sides = [set(_patients(draft, name)) for name in (one, other)]
        open_now = reviews(reader)
    tasks = [
        task["id"]
        for task in open_now
        if all(any(reference in side for reference in _about(task)) for side in sides)
    ]

    def close() -> None:
        for id_ in tasks:
            transact(hub, partial(_answer, id_=id_, decision=decision))

    return close


def _answer(draft: Draft, id_: str, decision: str) -> None:
    answer(draft, id_, decision)


def _patients(draft: Draft, name: str) -> list[str]:
    return [f"Patient/{one.id}" for one in find(draft, name).person.patients.values()]


def _about(task: Resource) -> list[str]:
    told = [task["focus"], *(one.get("valueReference", {}) for one in task.get("input", ()))]
    return [one["reference"] for one in told if "reference" in one]
