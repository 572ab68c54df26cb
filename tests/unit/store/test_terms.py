from hypothesis import given
from hypothesis import strategies as st

from segue.model.changes import SearchTerms
from segue.store.terms import pack, unpack

big = st.integers(-(2**63), 2**63 - 1)


@given(
    st.builds(
        SearchTerms,
        st.lists(big).map(tuple),
        st.lists(st.tuples(big, big, big)).map(tuple),
        st.lists(st.tuples(big, st.text())).map(tuple),
    )
)
def test_terms_come_back_as_they_were_packed(terms: SearchTerms) -> None:
    assert unpack(pack(terms)) == terms


def test_no_terms_take_no_room() -> None:
    assert pack(SearchTerms()) is None
