"""Persons and directory resources in memory."""

from segue.care.states import PersonState
from segue.model.identity import ResourceKey
from segue.pipeline.charts import (
    DAY_US,
    Chart,
    Charts,
    Directory,
    Margin,
    pack_person,
    unpack_person,
)

HEART = ResourceKey("Practitioner", "p1")


def chart(pk: int, *identities: str) -> Chart:
    return Chart(pk, identities[0], 1, PersonState(), {}, {}, Margin(), set(identities))


def test_a_person_is_found_by_every_identity() -> None:
    charts = Charts()
    charts.keep([chart(1, "A|1", "X|9")])
    assert charts.find("X|9") == 1
    charts.forget([1])
    assert (charts.find("A|1"), charts.get(1)) == (None, None)


def test_the_one_used_longest_ago_goes_first() -> None:
    charts = Charts(limit=2)
    charts.keep([chart(1, "A|1"), chart(2, "A|2")])
    charts.get(1)
    charts.keep([chart(3, "A|3")])
    assert [charts.find(f"A|{n}") for n in (1, 2, 3)] == [1, None, 3]


def test_an_identity_that_moved_to_another_person_stays_there() -> None:
    charts = Charts()
    old = chart(1, "A|1", "X|9")
    charts.keep([old])
    charts.keep([chart(2, "X|9")])
    charts.forget([1])
    assert charts.find("X|9") == 2


def test_a_copy_leaves_the_original_as_it_is() -> None:
    original = chart(1, "A|1")
    copy = original.copy()
    copy.identities.add("A|2")
    copy.changed.add("V|1")
    copy.touched = True
    assert (original.identities, original.changed, original.touched) == ({"A|1"}, set(), False)


def test_state_and_margin_survive_storing() -> None:
    one = chart(1, "A|1")
    one.margin = Margin(b"seen", 5, ("Task/1",), ("Task/2",), (7,))
    assert unpack_person(pack_person(one)) == (one.person, one.margin)


def test_a_register_is_news_when_it_says_something_else_and_is_newer() -> None:
    directory = Directory()
    first = ({"name": "Amy"}, (10, "a"))
    assert directory.is_news(HEART, first, {})
    directory.learn({HEART: first})
    assert not directory.is_news(HEART, ({"name": "Amy"}, (11, "b")), {})
    assert not directory.is_news(HEART, ({"name": "Bea"}, (9, "b")), {})
    assert directory.is_news(HEART, ({"name": "Bea"}, (11, "b")), {})
    assert not directory.is_news(
        HEART, ({"name": "Bea"}, (12, "c")), {HEART: ({"name": "Bea"}, (11, "b"))}
    )
    assert directory.is_news(HEART, ({"name": "Amy"}, (11 + DAY_US, "b")), {})
