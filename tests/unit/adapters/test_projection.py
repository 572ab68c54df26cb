"""How a stored resource's text becomes what a peer can take."""

from typing import Any

import pytest

from segue.adapters.destinations import projection
from segue.fhir.canonical import canonical_json, loads


def peer(target: str) -> str:
    if target == "Encounter/e":
        return projection.literal("urn:uuid:e")
    return projection.logical(target, {"system": "mrn", "value": 'a "b"'})


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
    found = loads(projection.rewritten(body, peer))
    assert found == {"resourceType": "Task", "focus": sent, "note": [{"text": "0.10"}]}


def test_only_the_identifier_of_the_resource_itself_is_marked() -> None:
    inside = {"resourceType": "Device", "id": "9c", "identifier": [{"value": "1"}]}
    body = canonical_json({"resourceType": "Task", "id": "9c", "contained": [inside]})
    once = projection.marked(body, "9c")
    own = [{"system": "urn:segue", "value": "9c"}]
    assert loads(once) == {"resourceType": "Task", "contained": [inside], "identifier": own}
    assert projection.marked(once, "9c") == once
