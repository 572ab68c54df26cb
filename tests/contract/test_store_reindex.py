"""A site's search parameter: right from its first moment, in the index after `reindex`."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.fhir.profiles import definitions
from segue.fhir.search.custom import SearchParameterError, install, read
from segue.fhir.search.parameters import installed
from segue.fhir.search.values import terms
from segue.model.changes import Head
from segue.store import reindex as indexing
from segue.store.records import Commit, RevisionConflict
from segue.store.reindex import note, reindex, states
from segue.store.search_walk import DONE
from segue.store.store import Store
from tests.contract.test_store_search import Where, ask, ids, put
from tests.support.rows import commit_one, opened, person, step, write

COLOUR = {
    "resourceType": "SearchParameter",
    "code": "colour",
    "base": ["Patient"],
    "type": "token",
    "expression": "Patient.extension.where(url='urn:colour').value.ofType(string)",
}


@pytest.fixture(autouse=True)
def _nothing_installed_after() -> Iterator[None]:
    yield
    install([])


def use(folder: Path, *parameters: dict[str, Any]) -> list[str]:
    """Install parameters from files, as an engine does that starts; their marks."""
    place = folder / "search_parameters"
    place.mkdir(parents=True, exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    for n, one in enumerate(parameters):
        (place / f"{n}.json").write_text(json.dumps(one))
    install(read(definitions(), [folder]))
    return [one.mark for one in installed() if one.mark]


def patient(id_: str, colour: str) -> dict[str, Any]:
    extension = [{"url": "urn:colour", "valueString": colour}, {"url": "urn:x"}]
    return {"resourceType": "Patient", "id": id_, "extension": extension}


def found(store: Store, colour: str) -> list[str]:
    return ids(ask(store, "Patient", ("colour", colour)))


def rows(store: Store) -> set[tuple[int, int]]:
    """All token rows, as they are in the table."""
    with store.read() as reader:
        return set(reader.session.rows("SELECT hash, resource FROM search_token"))


def promised(store: Store) -> set[tuple[int, int]]:
    """The token rows that the stored bodies should have."""
    with store.read() as reader:
        pks = reader.session.rows("SELECT type, id, pk FROM resource WHERE deleted = 0")
        return {
            (token, pk)
            for type_, id_, pk in pks
            for token in terms(json.loads(reader.read(type_, id_).body or "")).tokens  # type: ignore[union-attr]
        }


def test_a_parameter_is_right_before_while_and_after_it_is_indexed(
    where: Where, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "BATCH", 3)
    with opened(where) as store:
        for n in range(10):
            put(store, patient(str(n), "red" if n % 2 else "blue"))
        marks = use(tmp_path, COLOUR)
        note(store.database, marks)
        assert states(store.database) == {marks[0]: 0}
        assert found(store, "red") == ["1", "3", "5", "7", "9"]
        assert rows(store) < promised(store)

        def stop(_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            reindex(store.database, marks, lambda _: None, stop)
        assert 0 < states(store.database)[marks[0]] < DONE
        assert found(store, "red") == ["1", "3", "5", "7", "9"]
        done: list[int] = []
        assert reindex(store.database, marks, lambda _: None, done.append) == 7 == sum(done)
        assert states(store.database) == {marks[0]: DONE}
        assert rows(store) == promised(store)
        assert found(store, "red") == ["1", "3", "5", "7", "9"]
        with store.read() as reader:
            reader.session.rows("SELECT 1")
        # The rows alone answer now: without them nothing is found.
        with store.database.write() as session:
            session.run("DELETE FROM search_token")
        assert found(store, "red") == []


def test_a_parameter_that_was_away_is_indexed_anew(where: Where, tmp_path: Path) -> None:
    with opened(where) as store:
        marks = use(tmp_path, COLOUR)
        note(store.database, marks)
        assert states(store.database) == {marks[0]: DONE}  # nothing was stored before
        put(store, patient("a", "red"))
        note(store.database, use(tmp_path))
        assert states(store.database) == {}
        put(store, patient("b", "red"))
        note(store.database, use(tmp_path, COLOUR))
        assert states(store.database) == {marks[0]: 0}
        assert found(store, "red") == ["a", "b"]
        reindex(store.database, marks, lambda _: None, lambda _: None)
        assert found(store, "red") == ["a", "b"]
        assert rows(store) == promised(store)


def test_who_computed_before_the_index_was_made_computes_again(
    where: Where, tmp_path: Path
) -> None:
    with opened(where) as store:
        (pk,) = store.new_pk(1)
        own = write(store, "Patient/a", json.dumps(patient("a", "red")), owner=pk)
        store.commit(Commit(persons=[person(pk, "k")], steps=[step(1, own)]))
        free = put(store, patient("b", "red"))
        marks = use(tmp_path, COLOUR)
        note(store.database, marks)
        reindex(store.database, marks, lambda _: None, lambda _: None)

        def later(id_: str, base: Head, owner: int | None) -> Any:
            body = patient(id_, "blue")
            return write(
                store, f"Patient/{id_}", json.dumps(body), base=base, owner=owner, terms=terms(body)
            )

        # Both were computed from heads without the new rows.
        stale = Commit(persons=[person(pk, "k", 1)], steps=[step(2, later("a", own.head(), pk))])
        with pytest.raises(RevisionConflict):
            store.commit(stale)
        commit_one(store, later("b", free, None))
        assert found(store, "blue") == ["b"]
        assert found(store, "red") == ["a"]


def test_rows_are_exact_after_writers_ran_beside_the_indexing(
    where: Where, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "BATCH", 2)
    with opened(where) as store:
        heads = {str(n): put(store, patient(str(n), "red")) for n in range(60)}
        marks = use(tmp_path, COLOUR)
        note(store.database, marks)
        stop = threading.Event()

        def rewrite() -> None:
            turn = 0
            while not stop.is_set():
                name = str(turn % 60)
                heads[name] = put(store, patient(name, f"c{turn % 7}"), heads[name])
                turn += 1

        writer = threading.Thread(target=rewrite)
        writer.start()
        try:
            reindex(store.database, marks, lambda _: None, lambda _: None)
        finally:
            stop.set()
            writer.join()
        assert rows(store) == promised(store)


def test_an_expression_beyond_a_path_is_read_from_the_bodies(where: Where, tmp_path: Path) -> None:
    young = {**COLOUR, "code": "kin", "expression": "Patient.contact.where(name.exists()).gender"}
    count = {
        **COLOUR,
        "code": "names",
        "type": "number",
        "expression": "Patient.name.given.count()",
    }
    with opened(where) as store:
        assert use(tmp_path, young, count) == []
        named = {"resourceType": "Patient", "id": "a", "name": [{"given": ["A", "B"]}]}
        put(store, {**named, "contact": [{"name": {"family": "X"}, "gender": "female"}]})
        put(store, {"resourceType": "Patient", "id": "b", "contact": [{"gender": "female"}]})
        assert ids(ask(store, "Patient", ("kin", "female"))) == ["a"]
        assert ids(ask(store, "Patient", ("names", "ge2"))) == ["a"]
        assert ids(ask(store, "Patient", ("names", "0"))) == ["b"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"resourceType": "Patient"}, "not a SearchParameter"),
        ({"code": "a.b"}, "code"),
        ({"code": "_x"}, "code"),
        ({"type": "composite"}, "type"),
        ({"base": ["Dog"]}, "Dog"),
        ({"base": []}, "base"),
        ({"expression": ""}, "expression"),
        ({"expression": "Patient.name.where("}, "FHIRPath"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    with pytest.raises(SearchParameterError, match=word) as caught:
        use(tmp_path, {**COLOUR, **change})
    assert "0.json" in str(caught.value)
