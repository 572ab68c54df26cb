"""Persons in memory: what is needed to fold the next fact without reading the rest.

A chart is only a copy of what is stored. It may be out of date: the commit checks the
person's revision, and a chart that lost is dropped and read again.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec

from segue.care.person_view import Views, person_view
from segue.care.states import PersonState, VisitState
from segue.care.view import CareSetting, Person
from segue.model.changes import Head
from segue.model.identity import ResourceKey
from segue.store import packing

CHARTS = 2_000
DIRECTORY_ROWS = 50_000
DAY_US = 86_400_000_000

Register = tuple[dict[str, Any], tuple[int, str]]
"""Elements of a directory resource, and (recorded µs, control id) that orders them."""


@dataclass(frozen=True, slots=True)
class Margin:
    """What the pipeline notes beside a person's folded state.

    Attributes:
        seen: hash of the care view that `care` was computed from.
        wake: when time alone changes the care resources, microseconds UTC.
        care: references of the care resources in force.
        retired: references of what was ended because the fold yields it no more.
        absorbed: pks of the persons that were merged into this one; resources that
            have not changed since still name them as owner.
        kin: identities of other persons that facts were shared with: those that were
            parted from this one, or that a visit was moved from or to.
        ended: references of the stored Tasks that have ended for good, see
            `segue.care.retraction.is_provisional`.
        renewed: reference of such a Task to the one that has taken its place, see
            `segue.pipeline.renewal`.
        shared: reference of each Account that others are a subject of, too, to an
            identity of each of them.
    """

    seen: bytes = b""
    wake: int | None = None
    care: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    absorbed: tuple[int, ...] = ()
    kin: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    renewed: dict[str, str] = field(default_factory=dict)
    shared: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def others(self) -> Iterable[str]:
        """Identities of persons with whom this one has something in common."""
        return chain(self.kin, *self.shared.values()) if self.kin or self.shared else ()


def both(
    one: Mapping[str, tuple[str, ...]], other: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """`Margin.shared` of two persons together.

    >>> both({"Account/a": ("A|1",)}, {"Account/a": ("A|2", "A|1")})
    {'Account/a': ('A|1', 'A|2')}
    """
    return {
        name: tuple(sorted({*one.get(name, ()), *other.get(name, ())}))
        for name in (*one, *(name for name in other if name not in one))
    }


@dataclass(slots=True)
class Chart:
    """One person: folded states, the heads of their resources, and what changed.

    Attributes:
        revision: the stored revision that this is a copy of; 0: not stored yet.
        identities: all identity keys that lead here.
        alarm: the timer as stored.
        touched: whether the person must be written.
        numbers: further visit numbers that nobody else may begin a visit with unnoticed:
            they lead to one of the visits, or what was said under them waits.
        changed: keys of visits, or numbers, that must be written.
        gone: those that must be deleted, with the pk of the person who had them.
        claimed: identities that lead here from now on.
        into: the person that this one was merged into.
        views: what protocols see of visits, as they were looked at before.
        sight: the person's state, and what protocols see of the person in it.
        episodes: the EpisodeOfCare that the stored Encounter of each visit names; None:
            not known here.
    """

    pk: int
    key: str
    revision: int
    person: PersonState
    visits: dict[str, VisitState]
    heads: dict[ResourceKey, Head]
    margin: Margin
    identities: set[str] = field(default_factory=set)
    alarm: int | None = None
    touched: bool = False
    changed: set[str] = field(default_factory=set)
    gone: set[tuple[str, int]] = field(default_factory=set)
    claimed: set[str] = field(default_factory=set)
    into: int | None = None
    views: Views = field(default_factory=dict)
    sight: tuple[PersonState, Person] | None = None
    episodes: Mapping[str, str] | None = None
    numbers: set[str] = field(default_factory=set)

    def hold(self, numbers: Iterable[str]) -> None:
        """Have these further visit numbers, and no others."""
        wanted = set(numbers) - self.visits.keys()
        self.gone |= {(number, self.pk) for number in self.numbers - wanted}
        self.changed |= wanted - self.numbers
        self.numbers = wanted

    def has_number(self, number: str) -> bool:
        """Whether a visit number is one of this person's."""
        return number in self.visits or number in self.numbers

    def names(self, reference: str) -> bool:
        """Whether anything that is said of the person is about this resource."""
        return any(reference in told.resources for told in self.person.sources.values())

    def view(self, setting: CareSetting) -> Person:
        """The person as protocols see them; made once for each state of the person.

        Every fact makes a new state of the person, and every change of a visit comes
        with a fact; so the state stands for its visits too.
        """
        if self.sight is None or self.sight[0] is not self.person:
            view = person_view(self.person, self.visits, setting, self.views)
            self.sight = (self.person, view)
        return self.sight[1]

    def copy(self) -> "Chart":
        """A copy that can be changed without the original noticing.

        States are values: folding replaces them and never changes them in place. The
        views are shared, for each goes with the state that it was made of.
        """
        return Chart(
            self.pk,
            self.key,
            self.revision,
            self.person,
            dict(self.visits),
            dict(self.heads),
            self.margin,
            set(self.identities),
            self.alarm,
            self.touched,
            set(self.changed),
            set(self.gone),
            set(self.claimed),
            self.into,
            self.views,
            self.sight,
            self.episodes,
            set(self.numbers),
        )

    def committed(self) -> "Chart":
        """The chart as it stands once its changes are stored."""
        self.revision += 1
        self.alarm = self.margin.wake
        self.touched = False
        self.changed, self.gone, self.claimed = set(), set(), set()
        return self


class Charts:
    """The charts of recently used persons, by pk and by identity."""

    def __init__(self, limit: int = CHARTS) -> None:
        self._limit = limit
        self._by_pk: OrderedDict[int, Chart] = OrderedDict()
        self._of: dict[str, int] = {}

    def find(self, identity: str) -> int | None:
        """The pk that an identity leads to, as far as is known here."""
        return self._of.get(identity)

    def get(self, pk: int) -> Chart | None:
        """The chart, marked as used."""
        chart = self._by_pk.get(pk)
        if chart is not None:
            self._by_pk.move_to_end(pk)
        return chart

    def keep(self, charts: Iterable[Chart]) -> None:
        """Remember charts as they were just read or committed."""
        for chart in charts:
            self._by_pk[chart.pk] = chart
            self._by_pk.move_to_end(chart.pk)
            for identity in chart.identities:
                self._of[identity] = chart.pk
        while len(self._by_pk) > self._limit:
            _, old = self._by_pk.popitem(last=False)
            self._drop(old)

    def forget(self, pks: Iterable[int]) -> None:
        """Drop charts that somebody else has overtaken."""
        for pk in pks:
            old = self._by_pk.pop(pk, None)
            if old is not None:
                self._drop(old)

    def clear(self) -> None:
        """Drop all."""
        self._by_pk.clear()
        self._of.clear()

    def _drop(self, chart: Chart) -> None:
        for identity in chart.identities:
            if self._of.get(identity) == chart.pk:
                del self._of[identity]


class Directory:
    """Directory resources as this process last knew them: (elements, order key).

    A register that says the same, or is older, need not be offered to the store again;
    once a day it is, for another process may have written it meanwhile.
    """

    def __init__(self, limit: int = DIRECTORY_ROWS) -> None:
        self._limit = limit
        self._rows: OrderedDict[ResourceKey, Register] = OrderedDict()

    def is_news(
        self, key: ResourceKey, register: Register, draft: dict[ResourceKey, Register]
    ) -> bool:
        """Whether the store may have to learn of this.

        Args:
            key: of the resource.
            register: what is said of it now.
            draft: what is about to be committed.
        """
        known = draft.get(key) or self._rows.get(key)
        if known is None:
            return True
        elements, recorded = known
        if register[1] <= recorded:
            return False
        same = register[0] is elements or register[0] == elements
        return not same or register[1][0] - recorded[0] > DAY_US

    def learn(self, rows: dict[ResourceKey, Register]) -> None:
        """Note what was committed."""
        for key, register in rows.items():
            self._rows[key] = register
            self._rows.move_to_end(key)
        while len(self._rows) > self._limit:
            self._rows.popitem(last=False)


_ENCODER = msgspec.msgpack.Encoder(decimal_format="number")
_PERSON = msgspec.msgpack.Decoder(tuple[PersonState, Margin])
_VISIT = msgspec.msgpack.Decoder(VisitState)


def pack_person(chart: Chart) -> bytes:
    """The stored form of the person's state and margin."""
    return packing.pack(_ENCODER.encode((chart.person, chart.margin)))


def unpack_person(state: bytes) -> tuple[PersonState, Margin]:
    """The reverse of `pack_person`."""
    return _PERSON.decode(packing.unpack(state))


def pack_visit(state: VisitState) -> bytes:
    """The stored form of a visit's state."""
    return packing.pack(_ENCODER.encode(state))


def unpack_visit(state: bytes) -> VisitState:
    """The reverse of `pack_visit`."""
    return _VISIT.decode(packing.unpack(state))
