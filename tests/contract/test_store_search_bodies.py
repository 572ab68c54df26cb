"""What the index cannot tell is read from the bodies: the same matches on both databases."""

import itertools
import json
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from segue.fhir.outcomes import FhirError
from segue.fhir.search.compartments import compartment_condition
from segue.fhir.search.query import parse
from segue.fhir.search.values import terms
from segue.model.changes import Head
from segue.model.identity import ResourceKey
from segue.store import search, search_chains, search_walk
from segue.store.records import Commit
from segue.store.search import Searcher
from segue.store.search_include import included
from segue.store.store import Store
from tests.contract.test_store_search import Where, ask, ids, put
from tests.support.rows import opened, step, write


def patient(id_: str, family: str, **other: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, "name": [{"family": family}], **other}


def encounter(id_: str, patient_: str, status: str, **other: Any) -> dict[str, Any]:
    subject = {"reference": f"Patient/{patient_}"}
    return {"resourceType": "Encounter", "id": id_, "status": status, "subject": subject, **other}


def observation(id_: str, patient_: str, value: float | None, **other: Any) -> dict[str, Any]:
    found = {
        "resourceType": "Observation",
        "id": id_,
        "subject": {"reference": f"Patient/{patient_}"},
        **other,
    }
    return found if value is None else {**found, "valueQuantity": {"value": value, "unit": "mg"}}


def fill(store: Store) -> None:
    """Two patients, their doctor and ward, stays and values."""
    put(store, {"resourceType": "Practitioner", "id": "d", "name": [{"family": "Weiss"}]})
    put(store, {"resourceType": "Location", "id": "w", "name": "4 West"})
    put(store, {"resourceType": "Location", "id": "b", "name": "Bed", "partOf": at("Location/w")})
    put(store, patient("p", "Núñez", gender="female", generalPractitioner=[at("Practitioner/d")]))
    put(store, patient("q", "Ode", gender="male"))
    put(store, encounter("e", "p", "finished", location=[{"location": at("Location/b")}]))
    put(store, encounter("f", "q", "in-progress", partOf=at("Encounter/e")))
    put(store, observation("1", "p", 5.5, encounter=at("Encounter/e"), performer=[at("Patient/p")]))
    put(store, observation("2", "q", 7, encounter=at("Encounter/f")))
    put(store, observation("3", "p", None, performer=[at("Patient/q"), at("Practitioner/d")]))


def at(reference: str) -> dict[str, str]:
    return {"reference": reference}


SEARCHES = [
    ("Observation", "value-quantity=gt6", "2"),
    ("Observation", "value-quantity=gt5&patient=p", "1"),
    ("Observation", "value-quantity:missing=true", "3"),
    ("Observation", "performer=Patient/q", "3"),
    ("Observation", "performer=d", "3"),
    ("Observation", "patient=p&performer:Patient=p", "1"),
    ("Observation", "patient.name=nun", "1 3"),
    ("Observation", "subject:Patient.gender=male", "2"),
    ("Observation", "subject.gender=male", "2"),
    ("Observation", "patient.general-practitioner.name=weiss", "1 3"),
    ("Observation", "performer.family=weiss", "3"),
    ("Observation", "performer:Patient.name:exact=Ode", "3"),
    ("Observation", "encounter.location.partof.name=4", "1"),
    ("Observation", "patient._id=q", "2"),
    ("Observation", "patient.name=nobody", ""),
    ("Observation", "patient._has:Encounter:patient:status=finished", "1 3"),
    ("Patient", "_has:Encounter:patient:status=finished", "p"),
    ("Patient", "_has:Encounter:patient:status=planned", ""),
    ("Patient", "_has:Observation:patient:value-quantity=gt5", "p q"),
    ("Patient", "_has:Observation:performer:value-quantity=gt5", "p"),
    ("Patient", "_has:Observation:patient:encounter.status=finished", "p"),
    ("Patient", "_has:Encounter:patient:_has:Observation:encounter:value-quantity=7", "q"),
    ("Patient", "name:contains=une", "p"),
    ("Patient", "name:exact=Ode", "q"),
    ("Patient", "name:exact=ode", ""),
    ("Patient", "gender:not=male", "p"),
    ("Patient", "_content=weiss", ""),
    ("Encounter", "part-of:missing=true", "e"),
    ("Encounter", "part-of.patient.name=nun", "f"),
]


@pytest.fixture
def filled(where: Where) -> Any:
    with opened(where) as store:
        fill(store)
        yield store


def pairs(query: str) -> list[tuple[str, str]]:
    return [tuple(one.split("=", 1)) for one in query.split("&")]  # type: ignore[misc]


def found(store: Store, type_: str, query: str) -> list[str]:
    return ids(ask(store, type_, *pairs(query)))


def test_bodies_and_chains_find_what_they_should(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for linked in (1000, 0):
        # Few resources meet the end of a chain, or many: the answer is the same.
        monkeypatch.setattr(search_chains, "LINKED", linked)
        for type_, query, expected in SEARCHES:
            page = ask(filled, type_, *pairs(query))
            assert ids(page) == expected.split(), (query, linked)
            assert page.total == len(page.items), query
            counted = ask(filled, type_, *pairs(query), ("_summary", "count"))
            assert counted.total == len(page.items), query


def test_what_values_tell_can_be_sorted_by(filled: Store) -> None:
    for type_, sort, expected in (
        ("Observation", "value-quantity", "1 2 3"),
        ("Observation", "-value-quantity", "2 1 3"),
        ("Patient", "-gender", "q p"),
        ("Patient", "gender,-name", "p q"),
        ("Observation", "patient,-_id", "3 1 2"),
        ("Observation", "-performer,_id", "3 1 2"),
    ):
        pages = []
        cursor: str | None = None
        while True:
            more = [("_cursor", cursor)] if cursor else []
            page = ask(filled, type_, ("_sort", sort), ("_count", "1"), *more)
            pages += ids(page)
            assert page.total == len(expected.split())
            cursor = page.next
            if cursor is None:
                break
        assert pages == expected.split(), sort


def test_pages_of_bodies_hold_each_match_once(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "SCANNED", 4)
    monkeypatch.setattr(search, "COUNTED", 10)
    monkeypatch.setattr(search_walk, "_BATCH", 3)
    with opened(where) as store:
        for n in range(20):
            put(store, observation(f"{n:02d}", "p", n % 4))
        asked = parse("Observation", [("value-quantity", "3"), ("_count", "2")])
        seen: list[str] = []
        cursors: list[str] = []
        with store.read() as reader:
            searcher = Searcher(reader.session)
            page = searcher.page(asked)
            assert page.total is None  # to count them would read all bodies
            while True:
                seen += ids(page)
                assert len(page.items) <= 2
                if page.next is None:
                    break
                cursors.append(page.next)
                again = parse(
                    "Observation",
                    [("value-quantity", "3"), ("_count", "2"), ("_cursor", page.next)],
                )
                page = searcher.page(again)
            assert seen == ["03", "07", "11", "15", "19"]
            assert len(set(cursors)) == len(cursors) == 3
            exact = parse("Observation", [("value-quantity", "3"), ("_total", "accurate")])
            assert searcher.page(exact).total == 5
            assert [key.id for key in searcher.walk.first(asked, 2)] == ["03", "07"]


def test_too_many_bodies_are_not_sorted(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SORTED", 2)
    with pytest.raises(FhirError) as caught:
        ask(filled, "Observation", ("_sort", "value-quantity"))
    assert (caught.value.status, caught.value.issues[0].code) == (400, "too-costly")
    assert found(filled, "Observation", "_sort=value-quantity&patient=p") == ["1", "3"]


def test_a_cursor_with_values_of_another_kind_is_refused(filled: Store) -> None:
    first = ask(filled, "Patient", ("_sort", "name"), ("_count", "1")).next
    assert first is not None
    with pytest.raises(FhirError):
        ask(filled, "Patient", ("_sort", "birthdate"), ("_count", "1"), ("_cursor", first))


def test_stars_and_parameters_without_index_are_included(filled: Store) -> None:
    def added(type_: str, query: str) -> list[str]:
        asked = parse(type_, pairs(query))
        with filled.read() as reader:
            searcher = Searcher(reader.session)
            page = searcher.page(asked)
            return sorted(one.key.reference for one in included(searcher.walk, asked, page.items))

    for type_, query, expected in (
        ("Observation", "_id=3&_include=*", "Patient/p Patient/q Practitioner/d"),
        ("Observation", "_id=3&_include=Observation:*", "Patient/p Patient/q Practitioner/d"),
        ("Observation", "_id=3&_include=Observation:performer:Patient", "Patient/q"),
        ("Observation", "_id=3&_include=Encounter:*", ""),
        ("Observation", "_id=1&_include=Observation:encounter", "Encounter/e"),
        (
            "Observation",
            "_id=1&_include=Observation:encounter&_include:iterate=Encounter:location"
            "&_include:iterate=Location:partof",
            "Encounter/e Location/b Location/w",
        ),
        ("Observation", "_id=2&_include:iterate=Encounter:part-of", ""),
        (
            "Observation",
            "_id=2&_include=Observation:encounter&_include:iterate=Encounter:part-of",
            "Encounter/e Encounter/f",
        ),
        ("Patient", "_id=p&_revinclude=Observation:performer", "Observation/1"),
        ("Patient", "_id=q&_revinclude=Encounter:patient", "Encounter/f"),
        # A star before the type asks the index only; that knows the compartment, too.
        ("Patient", "_id=q&_revinclude=*", "Encounter/f Observation/2 Observation/3"),
        ("Patient", "_id=q&_revinclude=Observation:*", "Observation/2 Observation/3"),
        (
            "Location",
            "_id=w&_revinclude=Location:partof&_revinclude:iterate=Encounter:location",
            "Encounter/e Location/b",
        ),
    ):
        assert added(type_, query) == expected.split(), query


def test_a_compartment_holds_what_names_the_patient(filled: Store) -> None:
    def held(owner: str, type_: str, *asked: tuple[str, str]) -> list[str]:
        key = ResourceKey(*owner.split("/"))
        with filled.read() as reader:
            query = parse(type_, asked)
            within = (compartment_condition(key, type_), *query.conditions)
            return ids(Searcher(reader.session).page(replace(query, conditions=within)))

    assert held("Patient/q", "Observation") == ["2", "3"]
    assert held("Patient/q", "Observation", ("value-quantity", "gt1")) == ["2"]
    assert held("Patient/p", "Encounter") == ["e"]
    assert held("Patient/p", "Patient") == []
    assert held("Practitioner/d", "Observation") == ["3"]
    assert held("Encounter/e", "Observation") == ["1"]
    assert held("Encounter/e", "Encounter") == ["e"]
    for owner, type_ in (("Patient/p", "Location"), ("Organization/o", "Patient")):
        with pytest.raises(FhirError) as caught:
            held(owner, type_)
        assert caught.value.status == 404


ENOUGH = 200
"""Writes a second beside which pages are walked, where the machine has room for them."""

AT_ONCE = 20
PAUSE_S = 0.05


@pytest.mark.parametrize("query", ["", "value-quantity=ge0", "_sort=_id", "_sort=-_lastUpdated"])
def test_a_walk_meets_each_match_once_while_writers_run(
    where: Where, query: str, record_property: Callable[[str, object], None]
) -> None:
    """What matched throughout is there exactly once, and nothing is there twice."""
    with opened(where) as store:
        known = put_all(store, {f"{n:03d}": None for n in range(150)}, 0)
        stop = threading.Event()
        written = [0, 0]
        faults: list[BaseException] = []

        def write(part: int) -> None:
            """Change half of what was there, and add as much, in commits of many."""
            own = [name for place, name in enumerate(known) if place % 2 == part]
            heads: dict[str, Head | None] = {name: known[name] for name in own}
            try:
                for n in itertools.count(1):
                    changed = [own[(n * AT_ONCE + k) % len(own)] for k in range(AT_ONCE // 2)]
                    batch = {name: heads[name] for name in changed}
                    batch |= {f"new-{part}-{n}-{k}": None for k in range(AT_ONCE // 2)}
                    heads |= put_all(store, batch, n)
                    written[part] += len(batch)
                    if stop.wait(PAUSE_S):
                        return
            except BaseException as fault:
                faults.append(fault)

        writers = [threading.Thread(target=write, args=(part,)) for part in (0, 1)]
        begin = time.monotonic()
        for one in writers:
            one.start()
        try:
            while sum(written) < 2 * ENOUGH and not faults:
                walked = walk(store, query)
                old = [name for name in walked if not name.startswith("new")]
                assert sorted(old) == sorted(known), query
                assert len(set(walked)) == len(walked), query
        finally:
            rate = sum(written) / (time.monotonic() - begin)
            stop.set()
            for one in writers:
                one.join()
        assert not faults
        record_property("writes_per_s", round(rate))
        if rate < ENOUGH:
            warnings.warn(f"walked beside {rate:.0f} writes/s: no room for more", stacklevel=1)


def put_all(
    store: Store, resources: Mapping[str, Head | None], value: float
) -> dict[str, Head | None]:
    """Write observations in one commit: by name, each with its last head."""
    made = []
    for name, base in resources.items():
        resource = observation(name, "p", value)
        body = json.dumps(resource)
        made.append(write(store, f"Observation/{name}", body, base=base, terms=terms(resource)))
    heads = store.commit(Commit(steps=[step(1, *made)])).heads
    return {key.id: head for key, head in heads.items()}


def walk(store: Store, query: str) -> list[str]:
    """All pages, each of a snapshot of its own."""
    seen: list[str] = []
    cursor: str | None = None
    while True:
        more = [("_cursor", cursor)] if cursor else []
        asked = [*(pairs(query) if query else []), ("_count", "20"), ("_total", "none"), *more]
        page = ask(store, "Observation", *asked)
        seen += ids(page)
        if page.next is None:
            return seen
        cursor = page.next
