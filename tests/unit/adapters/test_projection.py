"""How a stored resource's text becomes what a peer can take."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.adapters.destinations import projection
from segue.fhir.canonical import canonical_json, loads


def peer(target: str) -> str:
    if target == "Encounter/e":
        return projection.literal("urn:uuid:e")
    return projection.logical(target, {"system": "mrn", "value": 'a "b"'})


def said_of(parts: list[str]) -> dict[str, str]:
    targets = {reference: projection.relative(reference) for reference in parts[1::2]}
    return {
        reference: peer(target) if target else projection.unchanged(reference)
        for reference, target in targets.items()
    }


MRN = {"type": "Patient", "identifier": {"system": "mrn", "value": 'a "b"'}}


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ({"reference": "Encounter/e"}, {"reference": "urn:uuid:e"}),
        ({"reference": "Encounter/e/_history/3"}, {"reference": "urn:uuid:e"}),
        ({"reference": "Patient/p"}, MRN),
        ({"reference": "Patient/p", "display": 'O"N\\'}, {"display": 'O"N\\'} | MRN),
        ({"reference": "Patient/p", "type": "Person"}, MRN | {"type": "Person"}),
        ({"reference": "Patient/p", "identifier": {"value": "old"}}, MRN),
        (
            {"reference": "Patient/p", "extension": [{"url": "x"}]},
            MRN | {"extension": [{"url": "x"}]},
        ),
        ({"reference": "#inside"}, {"reference": "#inside"}),
        ({"reference": "http://elsewhere/Patient/p"}, {"reference": "http://elsewhere/Patient/p"}),
        ({"reference": {"reference": "Encounter/e"}}, {"reference": {"reference": "urn:uuid:e"}}),
        ({"display": '{"reference":"Patient/p"}'}, {"display": '{"reference":"Patient/p"}'}),
    ],
)  # fmt: skip
def test_a_reference_is_rewritten_however_it_looks(
    stored: dict[str, Any], sent: dict[str, Any]
) -> None:
    body = canonical_json({"resourceType": "Task", "focus": stored, "note": [{"text": "0.10"}]})
    parts = projection.apart(body)
    found = loads(projection.rewritten(parts, said_of(parts)))
    assert found == {"resourceType": "Task", "focus": sent, "note": [{"text": "0.10"}]}


def test_only_the_identifier_of_the_resource_itself_is_marked() -> None:
    inside = {"resourceType": "Device", "id": "9c", "identifier": [{"value": "1"}]}
    body = canonical_json({"resourceType": "Task", "id": "9c", "contained": [inside]})
    once = projection.marked(body, "9c")
    own = [{"system": "urn:segue", "value": "9c"}]
    assert loads(once) == {"resourceType": "Task", "contained": [inside], "identifier": own}
    bearing = canonical_json({"resourceType": "Task", "id": "9c", "contained": [inside]} | {
        "identifier": own})  # fmt: skip
    assert loads(projection.marked(bearing, "9c")) == loads(once)


# --- the text against the resource ---------------------------------------------------------

SAID = st.sampled_from(
    ["x", 'O"N\\', '","reference":"Patient/1"}', '{"reference":"Patient/1"}', "identifier", "é"]
)
TARGETS = st.sampled_from(
    ["Encounter/e", "Patient/1", "Patient/1/_history/2", "#a", "http://a/Patient/1", "urn:uuid:1",
     'Patient/a"}', "Patient/a\\"]
)  # fmt: skip
REFERENCES = st.fixed_dictionaries(
    {"reference": TARGETS},
    optional={"display": SAID, "type": SAID, "identifier": st.just({"value": "1"}), "id": SAID},
)
VALUES = st.recursive(
    SAID | REFERENCES | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "display", "id", "reference", "z"]), inner)
    ),
    max_leaves=12,
)
IDENTIFIERS = st.lists(
    st.fixed_dictionaries(
        {"value": st.sampled_from(["9c", "1", "]"])},
        optional={"system": st.sampled_from(["urn:segue", "urn:x"]), "type": VALUES},
    ),
    max_size=3,
)
RESOURCES = st.fixed_dictionaries(
    {"resourceType": st.just("Task"), "id": st.just("9c")},
    optional={
        "meta": st.just({"tag": [{"code": "a"}]}),
        "contained": st.lists(
            st.fixed_dictionaries(
                {"id": st.sampled_from(["9c", "2"])}, optional={"identifier": IDENTIFIERS}
            )
        ),
        "identifier": IDENTIFIERS,
        "focus": VALUES,
        "input": VALUES,
    },
)


def replaced(value: Any) -> Any:
    """What a reader of the resource, not of its text, would make of its references."""
    if isinstance(value, list):
        return [replaced(item) for item in value]
    if not isinstance(value, dict):
        return value
    rest = {name: replaced(item) for name, item in value.items() if name != "reference"}
    target = value.get("reference")
    if not isinstance(target, str):
        return rest | ({"reference": replaced(target)} if "reference" in value else {})
    relative = projection.relative(target)
    if not relative:
        return rest | {"reference": target}
    said = loads(f"{{{peer(relative)}}}")
    return rest | said | ({"type": rest["type"]} if "type" in rest else {})


@given(RESOURCES)
def test_a_text_is_rewritten_and_marked_as_its_resource_would_be(resource: dict[str, Any]) -> None:
    parts = projection.apart(canonical_json(resource))
    assert projection.together(parts) == canonical_json(resource)
    expected = replaced(resource)
    identifiers = expected.get("identifier", [])
    own = {"system": "urn:segue", "value": "9c"}
    if not any(item.items() >= own.items() for item in identifiers):
        identifiers = [*identifiers, own]
    del expected["id"]
    text = projection.marked(projection.rewritten(parts, said_of(parts)), "9c")
    assert loads(text) == expected | {"identifier": identifiers}
