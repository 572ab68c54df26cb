"""Whatever is sent, there is a judgement and no exception; what is refused is an error."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from segue.fhir.profiles import definitions
from segue.fhir.validate import Gate
from segue.fhir.validation.validator import Validator
from tests.unit.fhir.examples import EXAMPLES
from tests.unit.fhir.validation.samples import SAMPLES

VALIDATOR = Validator(Gate(definitions()))
RESOURCES = {**EXAMPLES, **SAMPLES}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=3),  # noqa: E501
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "extension", "url", "value", "coding", "code", "system", "reference",
                 "resourceType", "contained", "item", "entry", "fullUrl", "text", "start", "type"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(item, (dict, list)):
            yield from _places(item, (*path, key))
        else:
            yield (*path, key)


PLACES = [(name, path) for name, resource in RESOURCES.items() for path in _places(resource)]
NEW = ["extension", "contained", "meta", "_id", "identifier", "link", "item", "period", "text"]


@settings(max_examples=200, deadline=None)
@given(
    place=st.sampled_from(PLACES),
    value=JSON | st.sampled_from(list(RESOURCES.values())),
    new=st.none() | st.sampled_from(NEW),
)
def test_anything_is_judged(
    place: tuple[str, tuple[Any, ...]], value: Any, new: str | None
) -> None:
    name, path = place
    resource = deepcopy(RESOURCES[name])
    spot: Any = resource
    for step in path[:-1]:
        spot = spot[step]
    if new is not None and isinstance(spot, dict):
        spot[new] = value
    else:
        spot[path[-1]] = value
    refused = VALIDATOR.refusals(resource)
    errors = [i for i in VALIDATOR.issues(resource) if i.severity == "error"]
    assert {(i.where, i.code) for i in refused} <= {(i.where, i.code) for i in errors}


@given(value=JSON)
def test_what_is_no_resource_is_judged(value: Any) -> None:
    assert VALIDATOR.refusals(value)
    assert VALIDATOR.issues(value)
