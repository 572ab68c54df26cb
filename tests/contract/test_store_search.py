"""Searches answer what a plain look at every resource would, on both databases."""

import json
from collections.abc import Callable
from functools import cmp_to_key
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segue.fhir.outcomes import FhirError
from segue.fhir.search.conditions import (
    Condition,
    DateCondition,
    IdCondition,
    Include,
    Interval,
    LastUpdatedCondition,
    Query,
    ReverseInclude,
    Sort,
    StringCondition,
    TokenCondition,
)
from segue.fhir.search.query import parse
from segue.fhir.search.values import terms
from segue.model.changes import Head, SearchTerms
from segue.store import search_plan
from segue.store.records import Commit, StoredVersion
from segue.store.search import Searcher, SearchPage
from segue.store.search_include import included
from segue.store.store import Store
from tests.support.rows import NOW_US, commit_one, opened, step, write

Where = str | Path


def put(store: Store, resource: dict[str, Any], base: Head | None = None) -> Head:
    """Store a resource with the terms that it really has."""
    reference = f"{resource['resourceType']}/{resource['id']}"
    found = terms(resource)
    return commit_one(store, write(store, reference, json.dumps(resource), base=base, terms=found))


def ask(store: Store, type_: str, *pairs: tuple[str, str]) -> SearchPage:
    with store.read() as reader:
        return Searcher(reader.session).page(parse(type_, pairs))


def ids(page: SearchPage) -> list[str]:
    return [one.key.id for one in page.items]


def task(id_: str, status: str, authored: str, patient: str = "p") -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "id": id_,
        "status": status,
        "intent": "order",
        "for": {"reference": f"Patient/{patient}"},
        "authoredOn": authored,
    }


def test_the_parameters_of_a_url_find_what_they_should(where: Where) -> None:
    with opened(where) as store:
        put(store, {"resourceType": "Patient", "id": "p", "name": [{"family": "Núñez"}]})
        put(store, task("a", "requested", "2026-07-01"))
        b = put(store, task("b", "completed", "2026-07-02"))
        put(store, task("c", "requested", "2026-07-03", patient="q"))
        assert ids(ask(store, "Task")) == ["a", "b", "c"]
        assert ids(ask(store, "Task", ("status", "requested"))) == ["a", "c"]
        assert ids(ask(store, "Task", ("status", "requested"), ("patient", "p"))) == ["a"]
        assert ids(ask(store, "Task", ("status:not", "requested"))) == ["b"]
        assert ids(ask(store, "Task", ("_id", "c,a,zzz"))) == ["a", "c"]
        assert ids(ask(store, "Task", ("authored-on", "ge2026-07-02"))) == ["b", "c"]
        assert ids(ask(store, "Task", ("_sort", "-authored-on"))) == ["c", "b", "a"]
        assert ids(ask(store, "Task", ("_lastUpdated", "gt2027"))) == []
        assert ids(ask(store, "Patient", ("family", "nun"))) == ["p"]
        assert ids(ask(store, "Patient", ("family", "unez"))) == []
        counted = ask(store, "Task", ("_summary", "count"), ("status", "requested"))
        assert (counted.items, counted.total, counted.next) == ([], 2, None)
        assert ask(store, "Task", ("_total", "none")).total is None
        put(store, task("b", "requested", "2026-07-02"), b)
        assert ids(ask(store, "Task", ("status", "requested"))) == ["a", "b", "c"]


def test_a_deleted_resource_is_found_no_more(where: Where) -> None:
    with opened(where) as store:
        head = put(store, task("a", "requested", "2026-07-01"))
        commit_one(store, write(store, "Task/a", None, base=head))
        assert ask(store, "Task").total == 0
        assert ask(store, "Task", ("status", "requested")).total == 0
        assert ask(store, "Task", ("_id", "a")).total == 0


def test_a_total_counts_what_is_there_and_is_of_the_type(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_plan, "FEW", 4)
    with opened(where) as store:
        many = [put(store, task(f"t{n}", "requested", "2026-07-01")) for n in range(7)]
        put(store, task("b", "completed", "2026-07-01"))
        put(store, {"resourceType": "Appointment", "id": "x", "status": "requested"})
        commit_one(store, write(store, "Task/t2", None, base=many[2]))
        for more in ((), (("_summary", "count"),), (("patient", "p"),)):
            asked = (("status", "requested"), ("_count", "1"), *more)
            assert ask(store, "Task", *asked).total == 6


def test_a_part_of_an_address_is_looked_up_as_the_address(where: Where) -> None:
    with opened(where) as store:
        for name, address in (
            ("a", {"city": "Springfield", "state": "MA"}),
            ("b", {"line": ["1 Springfield Road"], "city": "Salem"}),
            ("c", {"city": "North Springfield"}),
        ):
            put(store, {"resourceType": "Location", "id": name, "address": address})
        assert ids(ask(store, "Location", ("address-city", "springf"))) == ["a"]
        assert ids(ask(store, "Location", ("address-city:contains", "springf"))) == ["a", "c"]
        assert ids(ask(store, "Location", ("address-city:exact", "Springfield"))) == ["a"]
        assert ids(ask(store, "Location", ("address-city:exact", "springfield"))) == []
        assert ids(ask(store, "Location", ("address-state", "Spring"))) == []


def test_what_matches_point_to_and_what_points_to_them_is_included_once(where: Where) -> None:
    with opened(where) as store:
        put(store, {"resourceType": "Patient", "id": "p"})
        put(store, {"resourceType": "Patient", "id": "q"})
        for name in "ab":
            put(store, task(name, "requested", "2026-07-01"))
        with store.read() as reader:
            searcher = Searcher(reader.session)

            def added(query: Query) -> list[str]:
                page = searcher.page(query)
                return sorted(
                    one.key.reference for one in included(searcher.walk, query, page.items)
                )

            forward = Query("Task", include=(Include("Task", "patient"),))
            assert added(forward) == ["Patient/p"]
            other = Query("Task", include=(Include("Task", "patient", "Group"),))
            assert added(other) == []
            back = Query("Patient", revinclude=(ReverseInclude("Task", "patient"),))
            assert added(back) == ["Task/a", "Task/b"]
            both = Query(
                "Task",
                (IdCondition(("a",)),),
                include=(Include("Task", "patient"),),
                revinclude=(ReverseInclude("Task", "patient", iterate=True),),
            )
            assert added(both) == ["Patient/p", "Task/b"]


def test_a_cursor_of_another_search_is_refused(where: Where) -> None:
    with opened(where) as store, store.read() as reader:
        searcher = Searcher(reader.session)
        for cursor in ("zzz", "", "bnVsbA", "WzEsMiwzXQ"):
            with pytest.raises(FhirError) as error:
                searcher.page(Query("Task", cursor=cursor))
            assert error.value.status == 400


# --- the law -----------------------------------------------------------------------------

few_numbers = st.integers(1, 3)
times = st.integers(0, 5)
spans = st.tuples(times, st.integers(1, 3)).map(lambda one: (one[0], one[0] + one[1]))
texts = st.sampled_from(["", "a", "ab", "abc", "b", "é", "a%", "a_"])


def tuples(rows: Any, most: int = 3) -> Any:
    return st.sets(rows, max_size=most).map(lambda found: tuple(sorted(found)))


resources = st.builds(
    SearchTerms,
    tuples(few_numbers),
    tuples(st.tuples(st.just(7), spans).map(lambda one: (one[0], *one[1])), 2),
    tuples(st.tuples(st.just(8), texts), 2),
)
intervals = st.builds(
    lambda prefix, span: Interval(prefix, *span),
    st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]),
    spans,
)
names = st.integers(0, 11).map(str)
conditions = st.one_of(
    st.builds(
        TokenCondition,
        st.sets(few_numbers, min_size=1, max_size=2).map(lambda found: tuple(sorted(found))),
        st.booleans(),
    ),
    st.builds(DateCondition, st.just(7), st.lists(intervals, min_size=1, max_size=2).map(tuple)),
    st.builds(StringCondition, st.just(8), st.lists(texts, min_size=1, max_size=2).map(tuple)),
    st.builds(IdCondition, st.lists(names, min_size=1, max_size=4).map(tuple)),
)
sorts = st.lists(
    st.one_of(
        st.builds(Sort, st.just("id"), st.just(0), st.booleans()),
        st.builds(Sort, st.just("lastUpdated"), st.just(0), st.booleans()),
        st.builds(Sort, st.just("date"), st.just(7), st.booleans()),
        st.builds(Sort, st.just("string"), st.just(8), st.booleans()),
    ),
    max_size=2,
).map(tuple)


def fits(one: Interval, low: int, high: int) -> bool:
    rules: dict[str, bool] = {
        "eq": low >= one.low and high <= one.high,
        "ne": low < one.low or high > one.high,
        "gt": high > one.high,
        "lt": low < one.low,
        "ge": high > one.high or low >= one.low,
        "le": low < one.low or high <= one.high,
        "sa": low >= one.high,
        "eb": high <= one.low,
        "ap": low < one.high and high > one.low,
    }
    return rules[one.prefix]


def meets(condition: Condition, name: str, found: SearchTerms, at: int) -> bool:
    match condition:
        case TokenCondition(any_of, negate):
            return bool(set(any_of) & set(found.tokens)) != negate
        case DateCondition(_, ranges):
            return any(fits(one, low, high) for one in ranges for _, low, high in found.dates)
        case StringCondition(_, prefixes):
            return any(text.startswith(one) for one in prefixes for _, text in found.strings)
        case IdCondition(wanted):
            return name in wanted
        case LastUpdatedCondition(ranges):
            return any(fits(one, at, at + 1) for one in ranges)


def value(sort: Sort, name: str, found: SearchTerms, at: int) -> Any:
    match sort.by:
        case "id":
            return name
        case "lastUpdated":
            return at
        case "date" if sort.descending:
            return max((high for _, _, high in found.dates), default=None)
        case "date":
            return min((low for _, low, _ in found.dates), default=None)
    pick: Callable[..., Any] = max if sort.descending else min
    return pick((text for _, text in found.strings), default=None)


Known = dict[str, tuple[int, SearchTerms, int]]


def expected(query: Query, known: Known) -> list[str]:
    def compare(one: str, other: str) -> int:
        for sort in query.sort:
            a, b = (value(sort, name, *known[name][1:]) for name in (one, other))
            if a == b:
                continue
            if a is None or b is None:
                return 1 if a is None else -1
            return (1 if a > b else -1) * (-1 if sort.descending else 1)
        return known[one][0] - known[other][0]

    matching = [
        name
        for name, (_, found, at) in known.items()
        if all(meets(condition, name, found, at) for condition in query.conditions)
    ]
    return sorted(matching, key=cmp_to_key(compare))


def all_pages(
    store: Store, query: Query, between: Callable[[], None] = lambda: None
) -> tuple[list[StoredVersion], int | None]:
    items: list[StoredVersion] = []
    cursor = None
    while True:
        asked = Query(query.type, query.conditions, query.sort, query.count, cursor=cursor)
        with store.read() as reader:
            page = Searcher(reader.session).page(asked)
        assert len(page.items) <= query.count
        items += page.items
        if page.next is None:
            return items, page.total
        cursor = page.next
        between()


@pytest.mark.parametrize("few", [0, 3, 2000])
def test_pages_hold_exactly_the_matches_in_order(
    where: Where, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_plan, "FEW", few)

    @settings(
        max_examples=60,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(conditions, max_size=3).map(tuple), sorts, st.integers(1, 5))
    def law(drawn: tuple[Condition, ...], order: tuple[Sort, ...], count: int) -> None:
        query = Query("Basic", drawn, order, count)
        items, total = all_pages(store, query)
        assert [one.key.id for one in items] == expected(query, known)
        assert total == len(items)

    with opened(where) as store:
        known = fill(store)
        law()


def fill(store: Store) -> Known:
    """Twelve resources with few values, so that many are equal."""
    known: Known = {}
    for n in range(12):
        found = SearchTerms(
            tuple(sorted({1 + n % 3, 1 + n % 2})),
            ((7, n % 4, n % 4 + 2),) if n % 5 else (),
            ((8, ["a", "ab", "b", "é", "a%"][n % 5]),) if n % 3 else (),
        )
        # The hash of a token depends on the type, too.
        other = SearchTerms(tuple(one + 10 for one in found.tokens), found.dates, found.strings)
        made = write(store, f"Basic/{n}", terms=found)
        committed = store.commit(
            Commit(steps=[step(1, made, write(store, f"Flag/{n}", terms=other))])
        )
        known[str(n)] = (made.pk, found, committed.at)
    return known


def test_last_updated_is_the_instant_of_the_commit(where: Where) -> None:
    with opened(where) as store:
        known = fill(store)
        for prefix in ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"):
            interval = Interval(prefix, NOW_US + 3, NOW_US + 6)  # type: ignore[arg-type]
            query = Query("Basic", (LastUpdatedCondition((interval,)),))
            items, _ = all_pages(store, query)
            assert [one.key.id for one in items] == expected(query, known), prefix


@pytest.mark.parametrize("by", ["id", "lastUpdated", "date", "string", None])
@pytest.mark.parametrize("descending", [False, True])
def test_writes_between_pages_show_nothing_twice_and_hide_nothing(
    where: Where, by: str | None, descending: bool
) -> None:
    number = {"date": "birthdate", "string": "family"}.get(by or "")
    sort = "" if by is None else ("-" if descending else "") + (number or f"_{by}")
    with opened(where) as store:
        heads = {}
        for n in range(9):
            heads[n] = put(store, patient(n, n))
        moves = iter([(0, 50), (8, -50), (4, 100), (5, -7), (2, 60), (7, 3), (1, 4), (6, 5)])

        def change() -> None:
            for _ in range(2):
                n, place = next(moves)
                heads[n] = put(store, patient(n, place), heads[n])

        query = parse("Patient", [("_count", "2"), *([("_sort", sort)] if sort else [])])
        items, _ = all_pages(store, query, change)
        order = [str(n) for n in range(9)]
        if descending and by is not None:
            order.reverse()
        assert [one.key.id for one in items] == order
        with store.read() as reader:
            for one in items[-1:]:
                assert one.body == reader.read("Patient", one.key.id).body  # type: ignore[union-attr]


def patient(n: int, place: int) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": str(n),
        "birthDate": f"{1900 + place}-01-01",
        "name": [{"family": f"N{1900 + place}"}],
    }


def test_a_walk_finds_each_match_once_while_others_are_created(where: Where) -> None:
    with opened(where) as store:
        for n in range(6):
            put(store, task(str(n), "requested", "2026-07-01"))
        extra = iter(range(100, 120))

        def create() -> None:
            put(store, task(str(next(extra)), "requested", "2026-07-01"))

        found = ids_of(all_pages(store, parse("Task", [("_count", "4")]), create))
        assert found[:6] == [str(n) for n in range(6)]
        assert len(set(found)) == len(found)


def ids_of(found: tuple[list[StoredVersion], int | None]) -> list[str]:
    return [one.key.id for one in found[0]]
