"""A commit writes everything or nothing, in one order, on both databases."""

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segue.model.changes import Head, SearchTerms
from segue.model.identity import ResourceKey
from segue.model.issues import Issue
from segue.store.records import Commit, CursorMove, RevisionConflict, VisitRow
from segue.store.store import Store
from tests.support.rows import NOW_US, commit_one, fact, opened, person, step, write

Where = str | Path


def terms_in_store(store: Store) -> set[tuple[object, ...]]:
    with store.read() as reader:
        found: set[tuple[object, ...]] = set()
        for table in ("search_token", "search_date", "search_string"):
            found |= {(table, *row) for row in reader.session.rows(f"SELECT * FROM {table}")}
        return found


def test_positions_are_dense_and_instants_rise_though_the_clock_stands_still(where: Where) -> None:
    with opened(where) as store:
        made = [store.commit(Commit(steps=[step(n)])) for n in range(1, 4)]
        assert [one.position for one in made] == [1, 2, 3]
        assert [one.at for one in made] == [NOW_US, NOW_US + 1, NOW_US + 2]


def test_a_person_comes_back_with_everything_that_is_theirs(where: Where) -> None:
    with opened(where) as store:
        (pk,) = store.new_pk(1)
        encounter = write(store, "Encounter/e", '{"a":"é\\\\n\\"x"}', owner=pk)
        committed = store.commit(
            Commit(
                persons=[person(pk, "HOSPA|1")],
                visits=[VisitRow("HOSPA|V1", pk, b"\x00visit")],
                identities=[("HOSPA|1", pk), ("LAB|9", pk)],
                timers={pk: NOW_US + 5},
                steps=[step(1, encounter, facts=[fact("f1", 1, "HOSPA|1", "HOSPA|V1")])],
            )
        )
        with store.read() as reader:
            row = reader.people.by_identity(["LAB|9", "LAB|none"])["LAB|9"]
            assert (row.pk, row.key, row.revision, row.state) == (pk, "HOSPA|1", 1, b"state")
            assert reader.people.by_pk([pk])[pk] == row
            assert reader.people.identities_of([pk]) == {pk: ["HOSPA|1", "LAB|9"]}
            assert reader.people.visits_of([pk])[pk]["HOSPA|V1"].state == b"\x00visit"
            assert reader.heads_of([pk, 999])[pk] == committed.heads
            assert reader.heads_of([999]) == {999: {}}
            assert reader.bodies([encounter.key])[encounter.key].body == encounter.body
            assert reader.people.facts_of(["HOSPA|1"]) == [fact("f1", 1, "HOSPA|1", "HOSPA|V1")]
            assert reader.people.facts_of_entries([1]) == reader.people.facts_of(["HOSPA|1"])
            assert reader.people.due(NOW_US + 5) == [(pk, NOW_US + 5)]
            assert reader.people.due(NOW_US + 4) == []


def test_a_stale_revision_is_refused_and_leaves_no_trace(where: Where) -> None:
    with opened(where) as store:
        a, b = store.new_pk(2)
        store.commit(Commit(persons=[person(a, "A"), person(b, "B")]))
        store.commit(Commit(persons=[person(a, "A", 1, b"newer")]))
        late = Commit(
            persons=[person(a, "A", 1, b"late"), person(b, "B", 1, b"late")],
            identities=[("A", a)],
            steps=[step(1, write(store, "Task/t"), facts=[fact("f", 1, "A")])],
        )
        with pytest.raises(RevisionConflict) as conflict:
            store.commit(late)
        assert conflict.value.persons == {a}
        with store.read() as reader:
            states = {pk: row.state for pk, row in reader.people.by_pk([a, b]).items()}
            assert states == {a: b"newer", b: b"state"}
            assert reader.read("Task", "t") is None
            assert reader.people.facts_of(["A"]) == []
            assert reader.head_position()[0] == 2


def test_two_who_create_the_same_person_meet_at_the_identity(where: Where) -> None:
    with opened(where) as store:
        a, b = store.new_pk(2)
        store.commit(Commit(persons=[person(a, "A")], identities=[("A", a)]))
        with pytest.raises(RevisionConflict) as conflict:
            store.commit(Commit(persons=[person(b, "B")], identities=[("A", b)]))
        assert conflict.value.persons == {a}


def test_a_merge_moves_identities_and_visits_of_persons_that_it_holds(where: Where) -> None:
    with opened(where) as store:
        a, b = store.new_pk(2)
        store.commit(
            Commit(
                persons=[person(a, "A"), person(b, "B")],
                identities=[("A", a), ("B", b)],
                visits=[VisitRow("V", b, b"1"), VisitRow("W", b, b"1")],
                timers={b: 7},
            )
        )
        store.commit(
            Commit(
                persons=[person(a, "A", 1), person(b, "B", 1)],
                identities=[("B", a)],
                visits=[VisitRow("V", a, b"2")],
                gone_visits=[("V", b), ("W", b), ("U", b)],
                timers={b: None},
            )
        )
        with store.read() as reader:
            assert reader.people.by_identity(["B"])["B"].pk == a
            assert reader.people.visits_of([a, b]) == {a: {"V": VisitRow("V", a, b"2")}, b: {}}
            assert reader.people.due(10) == []


def test_a_visit_number_that_another_person_has_is_refused(where: Where) -> None:
    with opened(where) as store:
        a, b = store.new_pk(2)
        store.commit(Commit(persons=[person(a, "A")], visits=[VisitRow("V", a, b"")]))
        taking = [VisitRow("U", b, b"2"), VisitRow("V", b, b"2")]
        with pytest.raises(RevisionConflict) as conflict:
            store.commit(Commit(persons=[person(b, "B")], visits=taking))
        assert conflict.value.visits == {"U", "V"}
        with store.read() as reader:
            assert reader.people.visits(["U", "V"]) == {"V": VisitRow("V", a, b"")}


def test_a_head_that_moved_is_refused(where: Where) -> None:
    with opened(where) as store:
        first = commit_one(store, write(store, "Task/t", "{1}"))
        other = commit_one(store, write(store, "Task/u", "{1}"))
        commit_one(store, write(store, "Task/t", "{2}", base=first))
        with pytest.raises(RevisionConflict) as conflict:
            store.commit(
                Commit(
                    steps=[
                        step(
                            3,
                            write(store, "Task/t", "{3}", base=first),
                            write(store, "Task/u", "{3}", base=other),
                        )
                    ]
                )
            )
        assert ResourceKey("Task", "t") in conflict.value.resources
        with store.read() as reader:
            now = {
                key.id: one.body
                for key, one in reader.bodies([first_key("t"), first_key("u")]).items()
            }
            assert now == {"t": "{2}", "u": "{1}"}


def first_key(id_: str) -> ResourceKey:
    return ResourceKey("Task", id_)


def test_a_resource_that_is_there_is_not_created_again(where: Where) -> None:
    with opened(where) as store:
        commit_one(store, write(store, "Task/t"))
        with pytest.raises(RevisionConflict) as conflict:
            commit_one(store, write(store, "Task/t"))
        assert conflict.value.resources == {ResourceKey("Task", "t")}


def test_two_steps_of_one_commit_keep_their_own_versions(where: Where) -> None:
    with opened(where) as store:
        one = write(store, "Task/t", "{1}", terms=SearchTerms((1, 2)))
        two = write(store, "Task/t", "{2}", base=one.head(), terms=SearchTerms((2, 3)))
        gone = write(store, "Task/t", None, base=two.head())
        committed = store.commit(Commit(steps=[step(1, one), step(2, two), step(3, gone)]))
        with store.read() as reader:
            page = reader.history.page("Task", "t")
            assert [(v.version, v.body, v.at) for v in page.items] == [
                (3, None, committed.at),
                (2, "{2}", committed.at),
                (1, "{1}", committed.at),
            ]
            assert reader.vread("Task", "t", 2) == page.items[1]
            assert reader.vread("Task", "t", 4) is None
            (head,) = reader.heads([ResourceKey("Task", "t")]).values()
        assert head == gone.head()
        assert terms_in_store(store) == set()


def test_versions_that_do_not_follow_one_another_are_a_mistake(where: Where) -> None:
    with opened(where) as store:
        one = write(store, "Task/t")
        two = write(store, "Task/t", base=one.head())
        with pytest.raises(ValueError, match="does not follow"):
            store.commit(Commit(steps=[step(1, two), step(2, one)]))


def test_the_newest_statement_about_a_directory_resource_stands(where: Where) -> None:
    with opened(where) as store:

        def say(name: str, recorded: int, control_id: str) -> dict[ResourceKey, Head]:
            said = write(
                store,
                "Organization/o",
                name,
                kind="directory",
                recorded=(recorded, control_id),
                terms=SearchTerms((hash(name) % 1000,), strings=((1, name),)),
            )
            return store.commit(Commit(steps=[step(1, said)])).heads

        assert say("b", 20, "2")[ResourceKey("Organization", "o")].version == 1
        assert say("a", 10, "9") == {}
        assert say("b", 40, "1") == {}
        assert say("c", 30, "1") == {}, "the newest one said b"
        head = say("d", 50, "1")[ResourceKey("Organization", "o")]
        assert head.version == 2
        with store.read() as reader:
            now = reader.read("Organization", "o")
            assert now is not None
            assert (now.body, now.version, reader.history.page("Organization", "o").total) == (
                "d",
                2,
                2,
            )
        assert ("search_string", 1, "d", head.pk) in terms_in_store(store)
        assert len(terms_in_store(store)) == 2


def test_several_statements_about_a_directory_resource_in_one_commit(where: Where) -> None:
    with opened(where) as store:
        said = [
            write(store, "Location/l", name, kind="directory", recorded=(at, "1"))
            for name, at in (("a", 1), ("c", 3), ("b", 2))
        ]
        committed = store.commit(Commit(steps=[step(n, one) for n, one in enumerate(said, 1)]))
        assert committed.heads[ResourceKey("Location", "l")].version == 1
        with store.read() as reader:
            now = reader.read("Location", "l")
            assert now is not None
            assert now.body == "c"


def test_a_replay_replaces_the_facts_and_the_exception_of_its_entry(where: Where) -> None:
    with opened(where) as store:
        issue = Issue("error", "visit-unidentified", "PV1-19", "no visit number")
        store.commit(
            Commit(
                steps=[
                    step(1, facts=[fact("f1", 1, "A"), fact("f2", 1, "B")]),
                    step(2, state="parked", issues=[issue], facts=[fact("f3", 2, "A")]),
                ]
            )
        )
        store.commit(Commit(steps=[step(1, facts=[fact("f1", 1, "C")]), step(2)]))
        with store.read() as reader:
            assert [one.id for one in reader.people.facts_of(["A", "B", "C"])] == ["f1"]
            assert reader.session.rows("SELECT * FROM inbox_exception") == []


def test_of_two_steps_of_one_entry_the_last_word_about_it_holds(where: Where) -> None:
    issue = Issue("warning", "visit-unidentified", "PV1-19", "no visit number")
    with opened(where) as store:
        parked = {"state": "parked", "issues": [issue]}
        store.commit(Commit(steps=[step(1), step(1, **parked), step(2, **parked), step(2)]))
        with store.read() as reader:
            states = reader.session.rows("SELECT entry, state FROM inbox_exception")
            assert [row[0] for row in states] == [1]


def test_a_cursor_moves_only_from_where_the_reader_left_it(where: Where) -> None:
    with opened(where) as store:
        lease = store.leases("w1").hold("journal", ["7"])[0]
        move = CursorMove("journal", "7", lease.token, 0, 5)
        store.commit(Commit(moves=[move]))
        for stale in (move, CursorMove("journal", "7", lease.token - 1, 5, 6)):
            with pytest.raises(RevisionConflict) as conflict:
                store.commit(Commit(moves=[stale], steps=[step(1, write(store, "Task/t"))]))
            assert conflict.value.moves == {"7"}
        with store.read() as reader:
            assert reader.read("Task", "t") is None
        store.commit(Commit(moves=[CursorMove("journal", "7", lease.token, 5, 6)]))


def test_fresh_numbers_are_never_given_twice(where: Where) -> None:
    with opened(where) as one, opened(where) as other:
        taken = [*one.new_pk(3), *other.new_pk(2500), *one.new_pk(1200), *other.new_pk(1)]
        assert len(set(taken)) == len(taken)


def test_history_of_a_type_and_of_all_is_in_commit_order_page_by_page(where: Where) -> None:
    with opened(where) as store:
        head = commit_one(store, write(store, "Task/a", "{1}"))
        commit_one(store, write(store, "Flag/b", "{1}"))
        commit_one(store, write(store, "Task/a", "{2}", base=head))
        with store.read() as reader:
            page = reader.history.page(limit=2)
            assert [(v.key.id, v.version) for v in page.items] == [("a", 2), ("b", 1)]
            assert page.total == 3
            rest = reader.history.page(before=page.next)
            assert [(v.key.id, v.version) for v in rest.items] == [("a", 1)]
            assert rest.next is None
            assert [v.key.id for v in reader.history.page("Flag").items] == ["b"]
            assert reader.history.page(since=NOW_US + 2).total == 1


def test_changes_are_read_by_position_with_their_cause(where: Where) -> None:
    with opened(where) as store:
        a, b, c = (write(store, f"Task/{name}") for name in "abc")
        store.commit(Commit(steps=[step(41, a), step(42, b)]))
        store.commit(Commit(steps=[step(43, c)]))
        with store.read() as reader:
            found = reader.history.changes(0)
            assert [(one.stored.position, one.stored.key.id, one.ref) for one in found] == [
                (1, "a", "41"),
                (1, "b", "42"),
                (2, "c", "43"),
            ]
            assert [one.stored.key.id for one in reader.history.changes(1)] == ["c"]


def test_a_reader_sees_one_snapshot(where: Where) -> None:
    with opened(where) as store:
        commit_one(store, write(store, "Task/a"))
        with store.read() as reader:
            assert reader.read("Task", "a") is not None
            thread = threading.Thread(target=commit_one, args=(store, write(store, "Task/b")))
            thread.start()
            thread.join()
            assert reader.read("Task", "b") is None
        with store.read() as reader:
            assert reader.read("Task", "b") is not None


def test_concurrent_writers_lose_no_update_and_leave_no_gap(where: Where) -> None:
    with opened(where) as store:
        (pk,) = store.new_pk(1)
        store.commit(Commit(persons=[person(pk, "A", 0, b"0")]))
        conflicts = []

        def count_up(name: str) -> None:
            for n in range(15):
                register = write(
                    store, "Organization/o", f"{name}{n}", kind="directory", recorded=(n, name)
                )
                while True:
                    with store.read() as reader:
                        row = reader.people.by_pk([pk])[pk]
                    state = str(int(row.state) + 1).encode()
                    own = write(store, f"Task/{name}{n}", owner=pk)
                    try:
                        store.commit(
                            Commit(
                                persons=[person(pk, "A", row.revision, state)],
                                steps=[step(1, own, register)],
                            )
                        )
                        break
                    except RevisionConflict as conflict:
                        conflicts.append(conflict)

        threads = [threading.Thread(target=count_up, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with store.read() as reader:
            row = reader.people.by_pk([pk])[pk]
            assert (row.state, row.revision) == (b"45", 46)
            assert reader.history.page("Task").total == 45
            positions = reader.session.rows("SELECT position, at FROM commits ORDER BY position")
            assert [p for p, _ in positions] == list(range(1, 47))
            assert [at for _, at in positions] == sorted({at for _, at in positions})
            register = reader.read("Organization", "o")
            assert register is not None
            assert register.body == "c14"


def test_who_holds_a_condition_can_look_and_then_create(where: Where) -> None:
    with opened(where) as store:
        created = []

        def create_once(name: str) -> None:
            with store.hold([77]):
                with store.read() as reader:
                    if reader.history.page("Task").total:
                        return
                store.commit(Commit(steps=[step(1, write(store, f"Task/{name}"))], conditions=[77]))
                created.append(name)

        threads = [threading.Thread(target=create_once, args=(str(n),)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(created) == 1


small = st.sets(st.integers(-3, 3), max_size=5).map(lambda found: tuple(sorted(found)))
term_sets = st.builds(
    SearchTerms,
    small,
    st.sets(st.tuples(st.integers(0, 1), st.integers(0, 3), st.just(9)), max_size=3).map(
        lambda found: tuple(sorted(found))
    ),
    st.sets(
        st.tuples(st.integers(0, 1), st.sampled_from(["", "smith", "o'neil", 'q"\\t'])), max_size=3
    ).map(lambda found: tuple(sorted(found))),
)


@pytest.mark.parametrize("batched", [False, True])
def test_index_rows_are_always_those_of_the_current_versions(where: Where, batched: bool) -> None:
    names = iter(range(10_000))

    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(st.tuples(st.integers(0, 2), term_sets), min_size=1, max_size=6))
    def law(drawn: list[tuple[int, SearchTerms]]) -> None:
        base = next(names)
        heads: dict[str, Head] = {}
        steps = []
        for which, terms in drawn:
            reference = f"Task/{base}-{which}"
            made = write(store, reference, base=heads.get(reference), terms=terms)
            heads[reference] = made.head()
            steps.append(step(1, made))
        for part in [steps] if batched else [[one] for one in steps]:
            store.commit(Commit(steps=part))
        expected = {
            (table, *row, head.pk)
            for head in heads.values()
            for table, rows in (
                ("search_token", [(token,) for token in head.terms.tokens]),
                ("search_date", head.terms.dates),
                ("search_string", head.terms.strings),
            )
            for row in rows
        }
        pks = {head.pk for head in heads.values()}
        assert {row for row in terms_in_store(store) if row[-1] in pks} == expected
        with store.read() as reader:
            assert reader.heads([ResourceKey("Task", r[5:]) for r in heads]) == {
                ResourceKey("Task", r[5:]): head for r, head in heads.items()
            }

    with opened(where) as store:
        law()
