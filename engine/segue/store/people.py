"""Persons as stored: their identities and visits, what was said of them, and their timers."""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Collection

from segue.store.dialects import Session
from segue.store.records import FactRow, PersonRow, VisitRow

_PERSON = "SELECT p.pk, p.key, p.revision, p.state, p.merged_into FROM person p"
_FACT = "SELECT f.id, f.entry, f.kind, f.identity, f.visit, f.person, f.stay FROM fact f"


class People:
    """Queries over one snapshot."""

    def __init__(self, session: Session) -> None:
        """Take a session with a reading transaction begun."""
        self._session = session

    def by_identity(self, keys: Collection[str]) -> dict[str, PersonRow]:
        """Identity key to its person; without the keys that nobody has."""
        if not keys:
            return {}
        where, params = self._session.among(("i.key",), [(key,) for key in keys])
        rows = self._session.rows(
            "SELECT i.key, p.pk, p.key, p.revision, p.state, p.merged_into "
            f"FROM identity i JOIN person p ON p.pk = i.person WHERE {where}",
            params,
        )
        return {row[0]: PersonRow(*row[1:]) for row in rows}

    def by_pk(self, pks: Collection[int]) -> dict[int, PersonRow]:
        """Persons by number; without those that are not there."""
        if not pks:
            return {}
        where, params = self._session.among(("p.pk",), [(pk,) for pk in pks])
        rows = self._session.rows(f"{_PERSON} WHERE {where}", params)
        return {row[0]: PersonRow(*row) for row in rows}

    def revisions(self, pks: Collection[int]) -> dict[int, int]:
        """The revision of each of these persons; without those that are not there."""
        if not pks:
            return {}
        where, params = self._session.among(("pk",), [(pk,) for pk in pks])
        return dict(self._session.rows(f"SELECT pk, revision FROM person WHERE {where}", params))

    def persons(self, after: int = 0, limit: int = 500) -> list[PersonRow]:
        """Persons in order of their numbers, those that were merged away too."""
        rows = self._session.rows(f"{_PERSON} WHERE p.pk > ? ORDER BY p.pk LIMIT ?", (after, limit))
        return [PersonRow(*row) for row in rows]

    def identities_of(self, pks: Collection[int]) -> dict[int, list[str]]:
        """Identity keys that point to each person, sorted."""
        found: dict[int, list[str]] = {pk: [] for pk in pks}
        if pks:
            where, params = self._session.among(("person",), [(pk,) for pk in pks])
            for key, pk in self._session.rows(
                f"SELECT key, person FROM identity WHERE {where} ORDER BY key",
                params,
            ):
                found[pk].append(key)
        return found

    def visits_of(self, pks: Collection[int]) -> dict[int, dict[str, VisitRow]]:
        """Visits of each person by visit key; every person asked for is in it."""
        found: dict[int, dict[str, VisitRow]] = {pk: {} for pk in pks}
        if pks:
            where, params = self._session.among(("owner",), [(pk,) for pk in pks])
            for row in self._session.rows(
                f"SELECT key, owner, state FROM visit WHERE {where}",
                params,
            ):
                found[row[1]][row[0]] = VisitRow(*row)
        return found

    def visits(self, keys: Collection[str]) -> dict[str, VisitRow]:
        """Visits by visit key, whoever owns them."""
        if not keys:
            return {}
        where, params = self._session.among(("key",), [(key,) for key in keys])
        rows = self._session.rows(f"SELECT key, owner, state FROM visit WHERE {where}", params)
        return {row[0]: VisitRow(*row) for row in rows}

    def visits_numbered(self, number: str) -> list[tuple[str, str]]:
        """(visit key, identity) of facts about a visit, by its key or its bare number.

        Reads all facts where no visit is kept under that number: for people who look,
        not for the hot path.
        """
        # A bare number has no authority before it; LIKE's own signs are looked for as such.
        tail = "%|" + number.replace("^", "^^").replace("%", "^%").replace("_", "^_")
        kept = self._session.rows(
            "SELECT key FROM visit WHERE key = ? OR key LIKE ? ESCAPE '^'", (number, tail)
        )
        keys = [row[0] for row in kept]
        where, params = "visit = ? OR visit LIKE ? ESCAPE '^'", [number, tail]
        if keys:
            where, params = self._session.among(("visit",), [(key,) for key in keys])
        rows = self._session.rows(
            f"SELECT DISTINCT visit, identity FROM fact WHERE {where} ORDER BY 1, 2", params
        )
        return [(row[0], row[1]) for row in rows]

    def facts_of(self, identities: Collection[str]) -> list[FactRow]:
        """All facts about these source identities, in order of entry and id."""
        return self._facts("f.identity", identities)

    def facts_of_entries(self, entries: Collection[int]) -> list[FactRow]:
        """The facts that these journal entries gave."""
        return self._facts("f.entry", entries)

    def facts_beside(self) -> list[FactRow]:
        """The facts that no journal entry gave: statements, receipts, acts; in no order."""
        return [FactRow(*row) for row in self._session.rows(f"{_FACT} WHERE f.entry = 0")]

    def _facts(self, column: str, values: Collection[str] | Collection[int]) -> list[FactRow]:
        if not values:
            return []
        where, params = self._session.among((column,), [(value,) for value in values])
        rows = self._session.rows(f"{_FACT} WHERE {where} ORDER BY f.entry, f.id", params)
        return [FactRow(*row) for row in rows]

    def due(self, now: int, limit: int = 200) -> list[tuple[int, int]]:
        """Persons whose care changes by time alone at or before `now`: (pk, due µs)."""
        rows = self._session.rows(
            "SELECT person, due FROM timer WHERE due <= ? ORDER BY due, person LIMIT ?",
            (now, limit),
        )
        return [(pk, due) for pk, due in rows]

    def next_due(self) -> int | None:
        """The earliest timer, microseconds UTC."""
        row = self._session.row("SELECT min(due) FROM timer")
        return row[0] if row else None
