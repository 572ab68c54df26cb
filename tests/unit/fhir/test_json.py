"""JSON that means different things to different readers is not taken."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.fhir.json import MOST_DEPTH, MOST_REPETITIONS, JsonError, read_json


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "line 1"),
        (b"{", "line 1"),
        (b"{}{}", "Extra data"),
        (b"\xff", "UTF-8"),
        (b'{"a":1,"b":{"c":1,"c":1}}', "twice"),
        (b'{"a":1,"\\u0061":2}', "twice"),
        (b"NaN", "range"),
        (b'{"a":-Infinity}', "range"),
        (b'{"a":1e999}', "range"),
        (b'{"a":' + b"9" * 40 + b"}", "range"),
        (b'{"a":0.' + b"9" * 90 + b"}", "range"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"\\udc00":1}', "surrogate"),
        (b"[" * 100_000, "deep"),
        (b"[" * (MOST_DEPTH + 2) + b"]" * (MOST_DEPTH + 2), "deep"),
        (b"[" + b"0," * MOST_REPETITIONS + b"0]", "limited"),
    ],
)
def test_what_is_ambiguous_or_harmful_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(JsonError, match=said):
        read_json(data)


def test_digits_are_kept() -> None:
    assert str(read_json(b'{"a":1.50}')["a"]) == "1.50"
    assert read_json(b'\xef\xbb\xbf{"a":1E-3}')["a"] == Decimal("0.001")
    assert read_json(b'["\\ud83d\\ude00"]') == ["\U0001f600"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_everything_else_is_read_as_it_is(value: object) -> None:
    assert read_json(json.dumps(value, ensure_ascii=False).encode("utf-8")) == value
