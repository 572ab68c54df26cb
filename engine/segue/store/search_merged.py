"""Patients that were merged: who points to the one that went, points to the survivor.

What clients stored stays as they wrote it, so after a merge it may name a Patient that
is inactive now. Chains, `_has` and `_revinclude` take such a reference for one to the
Patient that took the place, and again for what it says once they are parted.
"""

# ruff: noqa: S608 - names of tables and columns are our own, values are parameters

from collections.abc import Collection, Iterable

from segue.fhir.canonical import loads
from segue.fhir.search.hashes import reference_hash
from segue.model.identity import ResourceKey
from segue.store.dialects import Session
from segue.store.reader import Reader

PATIENT = "Patient/"
_AT_ONCE = 500


def merged(session: Session, references: Iterable[str]) -> dict[str, str]:
    """Patients that went, to those that replaced them; both as `Patient/id`.

    Args:
        session: with a reading transaction begun.
        references: to any resources; the answer is about the Patients among them.
    """
    patients = {one for one in references if one.startswith(PATIENT)}
    found: dict[str, str] = {}
    for key, body in _linked(session, patients):
        for link in loads(body).get("link", ()):
            other = link.get("other", {}).get("reference", "")
            if other not in patients:
                continue
            if link.get("type") == "replaced-by":
                found[key.reference] = other
            elif link.get("type") == "replaces":
                found[other] = key.reference
    return found


def with_gone(session: Session, references: Collection[str]) -> set[str]:
    """The references, and those to the Patients that one of them replaced."""
    pairs = merged(session, references).items()
    return {*references, *(gone for gone, kept in pairs if kept in references)}


def _linked(session: Session, patients: Iterable[str]) -> list[tuple[ResourceKey, str]]:
    """The Patients whose links name one of these."""
    hashes = sorted(reference_hash("Patient", "link", one) for one in patients)
    keys: list[ResourceKey] = []
    for start in range(0, len(hashes), _AT_ONCE):
        numbers = [(number,) for number in hashes[start : start + _AT_ONCE]]
        where, params = session.among(("t.hash",), numbers)
        rows = session.rows(
            "SELECT r.type, r.id FROM search_token t JOIN resource r ON r.pk = t.resource "
            f"WHERE {where} AND r.deleted = 0",
            params,
        )
        keys += [ResourceKey(*row) for row in rows]
    bodies = Reader(session).bodies(keys) if keys else {}
    return [(key, one.body) for key, one in bodies.items() if one.body is not None]
