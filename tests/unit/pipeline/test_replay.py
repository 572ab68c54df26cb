"""The difference between two contents, as operations."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from segue.pipeline.replay import operations

json = st.recursive(
    st.integers() | st.text(max_size=5) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab/~", max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


def applied(document: Any, patch: list[dict[str, Any]]) -> Any:
    """RFC 6902, as far as `operations` makes use of it."""
    document = copy.deepcopy(document)
    for one in patch:
        names = [n.replace("~1", "/").replace("~0", "~") for n in one["path"].split("/")[1:]]
        if not names:
            document = one["value"]
            continue
        target = document
        for name in names[:-1]:
            target = target[int(name)] if isinstance(target, list) else target[name]
        last: Any = names[-1]
        if isinstance(target, list):
            if last == "-":
                target.append(one["value"])
                continue
            last = int(last)
        if one["op"] == "remove":
            del target[last]
        else:
            target[last] = one["value"]
    return document


@given(json, json)
def test_the_operations_make_the_new_of_the_old(old: Any, new: Any) -> None:
    assert applied(old, list(operations(old, new))) == new


@given(json)
def test_equal_contents_need_no_operation(value: Any) -> None:
    assert list(operations(value, copy.deepcopy(value))) == []
