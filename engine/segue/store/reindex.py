"""Rows for search parameters that a site has added: of what was stored before, too.

A parameter's mark stands in `counter` from the start of an engine that knows it, with the
number of the next resource to look at; once all have been, with `DONE`, and searches use
the index. It goes when an engine starts without the parameter, as rows are then no longer
written. See docs/searching.md.
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Callable, Collection
from typing import Any

from segue.fhir.canonical import loads
from segue.fhir.search.values import terms as terms_of
from segue.store.database import Database
from segue.store.dialects import Session
from segue.store.packing import unpack
from segue.store.search_walk import DONE
from segue.store.terms import TermRows, pack
from segue.store.terms import unpack as unpack_terms

BATCH = 100
"""Resources that are indexed anew in one transaction: writers wait that long."""

_MARKS = "SELECT name, next FROM counter WHERE substr(name, 1, 6) = 'index:'"


def note(database: Database, marks: Collection[str]) -> None:
    """Note which parameters the engine that starts writes rows for."""
    with database.write() as session:
        known: dict[str, int] = dict(session.rows(_MARKS))
        gone = [(name,) for name in known if name not in marks]
        if gone:
            session.delete("counter", ("name",), gone)
        fresh = sorted(set(marks) - known.keys())
        if fresh:
            empty = session.row("SELECT pk FROM resource LIMIT 1") is None
            rows = [(name, DONE if empty else 0) for name in fresh]
            session.insert("counter", ("name", "next"), rows)


def states(database: Database) -> dict[str, int]:
    """Mark to the next resource to look at, `DONE` once there is none."""
    with database.read() as session:
        return dict(session.rows(_MARKS))


def reindex(
    database: Database,
    marks: Collection[str],
    total: Callable[[int], Any],
    advance: Callable[[int], Any],
) -> int:
    """Make the rows of all marks that are not done; how many resources were looked at.

    May run beside the engine, and be stopped and started again at any time.

    Args:
        marks: of the parameters, as `note` knows them: `index:<Type>:<code>:<digest>`.
        total: is told how many resources there are to look at.
        advance: is told how many more are done.
    """
    looked = 0
    for mark in sorted(marks):
        type_ = mark.split(":")[1]
        with database.read() as session:
            place = _next(session, mark)
            left = session.row(
                "SELECT count(*) FROM resource WHERE type = ? AND pk >= ?", (type_, place)
            )
        total(looked + (left[0] if left and place < DONE else 0))
        while place < DONE:
            with database.write() as session:
                count = _batch(session, mark, type_, place)
                place = _next(session, mark)
            looked += count
            advance(count)
    return looked


def _next(session: Session, mark: str) -> int:
    row = session.row("SELECT next FROM counter WHERE name = ?", (mark,))
    return row[0] if row else DONE


def _batch(session: Session, mark: str, type_: str, place: int) -> int:
    """Index the next resources anew, all else being locked out of them."""
    chosen = session.rows(
        "SELECT pk, owner FROM resource WHERE type = ? AND pk >= ? ORDER BY pk LIMIT ?",
        (type_, place, BATCH),
    )
    following = chosen[-1][0] + 1 if len(chosen) == BATCH else DONE
    if chosen:
        _guard(session, sorted({(owner,) for _, owner in chosen if owner is not None}))
        pks = [(pk,) for pk, _ in chosen]
        session.lock("resource", ("pk",), pks)
        where, params = session.among(("r.pk",), pks)
        rows = TermRows()
        packed: list[tuple[Any, ...]] = []
        for pk, stored, body in session.rows(
            "SELECT r.pk, r.terms, v.body FROM resource r JOIN version v "
            f"ON v.resource = r.pk AND v.version = r.version WHERE {where} ORDER BY r.pk",
            params,
        ):
            if body is None:
                continue
            before, after = unpack_terms(stored), terms_of(loads(unpack(body)))
            if before != after:
                rows.change(pk, before, after)
                packed.append((pk, pack(after)))
        rows.write(session)
        if packed:
            session.update("resource", ("pk",), ("terms",), packed)
    session.update("counter", ("name",), ("next",), [(mark, following)])
    return len(chosen)


def _guard(session: Session, owners: list[tuple[int]]) -> None:
    """Whoever computed from these persons' resources must compute again."""
    if owners:
        session.lock("person", ("pk",), owners)
        where, params = session.among(("pk",), owners)
        session.run(f"UPDATE person SET revision = revision + 1 WHERE {where}", params)
