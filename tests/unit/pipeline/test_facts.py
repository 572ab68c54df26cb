"""Facts as rows."""

from hypothesis import given
from hypothesis import strategies as st

from segue.model.facts import Fact, Fragment
from segue.model.instants import Moment
from segue.pipeline.facts import pack, unpack, unpack_person, unpack_stay

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)
fragments = st.lists(
    st.builds(
        Fragment,
        st.sampled_from(["Patient", "Encounter"]),
        st.text(max_size=10),
        st.just("person"),
        st.dictionaries(st.text(max_size=10), values, max_size=4),
    ),
    max_size=3,
)
moments = st.builds(Moment, st.just("2026-07-05T13:42:00-04:00"), st.integers(0, 2**52))
facts = st.builds(
    Fact,
    id=st.text(min_size=1, max_size=32),
    site=st.just("hospa"),
    authority=st.just("HOSPA"),
    control_id=st.text(max_size=20),
    digest=st.just("d" * 64),
    event=st.sampled_from(["A01", "A13"]),
    occurred=moments,
    recorded=moments,
    sent=moments,
    received=st.integers(0, 2**52),
    identity=st.just("HOSPA|1"),
    links=st.lists(st.text(max_size=9), max_size=3),
    targets=st.none() | moments,
    prior=st.none() | st.text(max_size=9),
    visit=st.none() | st.text(min_size=1, max_size=9),
    about_visit=st.just(True),
    person=fragments,
    stay=fragments,
    details=st.fixed_dictionaries({"class": st.text(max_size=2)}, optional={"admitted": moments}),
    history=st.booleans(),
    labels=st.lists(st.sampled_from(["R", "42CFRPart2"]), max_size=2),
    mapping=st.just("m"),
    rules=st.lists(st.integers(0, 500), max_size=5),
)


@given(facts)
def test_what_is_packed_comes_back(fact: Fact) -> None:
    assert unpack(pack(fact, 7)) == fact


@given(facts)
def test_the_visit_part_needs_nothing_of_the_person_part(fact: Fact) -> None:
    row = pack(fact, 7)
    stay = unpack_stay(row)
    assert stay is not None
    assert (stay.stay, stay.details, stay.occurred, stay.visit) == (
        fact.stay,
        fact.details,
        fact.occurred,
        fact.visit,
    )
    assert stay.person == []
    assert unpack_person(row).stay == []
