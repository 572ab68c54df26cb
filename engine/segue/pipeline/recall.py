"""The facts of persons, stored ones and those of this draft, read only if asked for."""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence

from segue.care.fold import fold_visit
from segue.care.numbers import resolve_numbers
from segue.care.parting import at_home
from segue.care.person import carry_over, fold_person
from segue.care.states import PersonState, VisitState
from segue.model.facts import Fact
from segue.pipeline.charts import Chart
from segue.pipeline.facts import unpack_person, unpack_stay
from segue.pipeline.transact import Draft
from segue.store.records import FactRow

FOLDED = frozenset({"message", "statement", "steward"})
"""Kinds of facts that a person is folded from."""


def numbers_of(person: PersonState) -> dict[str, str]:
    """Each number of a visit of the person that leads to another one, to that one."""
    return resolve_numbers(person.renamed) if person.renamed else {}


class Recall:
    """The facts about some identities.

    Args:
        draft: its own facts count too, and stored ones that it replaces do not.
        identities: source identities.
        stored: whether there can be stored facts at all.
    """

    def __init__(self, draft: Draft, identities: Collection[str], *, stored: bool = True) -> None:
        self._draft = draft
        self._identities = identities
        self._rows: list[FactRow] | None = None if stored else []

    @classmethod
    def of(cls, draft: Draft, chart: Chart) -> "Recall":
        """Of all identities of one person."""
        stored = bool(chart.revision or chart.margin.absorbed)
        return cls(draft, chart.identities, stored=stored)

    def rows(self) -> list[FactRow]:
        """Stored facts; without those that this draft replaces."""
        if self._rows is None:
            void = self._draft.replaced
            self._rows = [
                row
                for row in self._draft.reader.people.facts_of(self._identities)
                if row.entry not in void and row.kind in FOLDED
            ]
        return self._rows

    def fresh(self) -> list[Fact]:
        """Facts of this draft."""
        fresh = self._draft.fresh
        return [fact for identity in self._identities for fact in fresh.get(identity, ())]

    def said(self) -> list[Fact]:
        """The person parts of all facts."""
        return [*map(unpack_person, self.rows()), *self.fresh()]

    def person(self, chart: Chart, rank: Sequence[str]) -> PersonState:
        """The person folded anew; what protocols see beside the fold stays."""
        return carry_over(fold_person(self.said(), rank, chart.visits.values()), [chart.person])

    def visit(
        self,
        key: str,
        loose: Iterable[str],
        numbers: Mapping[str, str] | None = None,
        at: tuple[Collection[str], str] | None = None,
        without: Container[str] = (),
    ) -> VisitState:
        """One visit folded anew.

        Args:
            key, loose, numbers: see `about`.
            at: identities of the person whose visit it is, and the visit's own, where
                other persons spoke of it too.
            without: ids of facts that do not count, see `Parting.astray`.
        """
        facts = self.about(key, loose, numbers)
        if without:
            facts = [fact for fact in facts if fact.id not in without]
        if at is not None:
            facts = [at_home(fact, *at) for fact in facts]
        return fold_visit(facts, key)

    def about(
        self, key: str, loose: Iterable[str], numbers: Mapping[str, str] | None = None
    ) -> list[Fact]:
        """The visit parts of the facts about a visit.

        Args:
            key: the number that it is kept under.
            loose: ids of facts without a visit number that belong to it.
            numbers: see `numbers_of`.
        """
        also, known = set(loose), numbers or {}

        def is_meant(visit: str | None, fact: str) -> bool:
            return (visit is not None and known.get(visit, visit) == key) or fact in also

        facts = [
            fact
            for row in self.rows()
            if is_meant(row.visit, row.id) and (fact := unpack_stay(row)) is not None
        ]
        return facts + [fact for fact in self.fresh() if is_meant(fact.visit, fact.id)]

    def may_know(self, key: str) -> bool:
        """Whether facts of a visit may be stored though its state is not."""
        return any(fact.visit == key for fact in self.fresh()[:-1])

    def visit_keys(self, numbers: dict[str, str]) -> set[str]:
        """Keys of all visits that the facts speak of."""
        keys = {row.visit for row in self.rows() if row.visit}
        keys |= {fact.visit for fact in self.fresh() if fact.visit and fact.about_visit}
        return {numbers.get(key, key) for key in keys}
