from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.fhir.canonical import loads
from segue.fhir.resources import ModelError, fast_dump, to_model
from segue.fhir.validate import Gate
from tests.unit.fhir.examples import EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_the_gate_accepts_the_typed_models_accept(name: str) -> None:
    assert to_model(EXAMPLES[name]).get_resource_type() == EXAMPLES[name]["resourceType"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_dumped_model_is_valid_and_holds_the_same_elements(gate: Gate, name: str) -> None:
    dumped = fast_dump(to_model(EXAMPLES[name]))
    assert gate.issues(dumped) == []
    assert _shape(dumped) == _shape(EXAMPLES[name])


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return value is None


def test_a_refused_resource_names_places_and_no_values() -> None:
    with pytest.raises(ModelError) as caught:
        to_model({"resourceType": "Patient", "birthDate": "secret"})
    assert "birthDate" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_unknown_type_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="Nonsense"):
        to_model({"resourceType": "Nonsense"})


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.rglob("*.json")):
        content = loads(path.read_bytes())
        if isinstance(content, dict) and content.get("resourceType", "Bundle") != "Bundle":
            yield content


def test_what_the_gate_accepts_of_others_the_typed_models_accept(
    gate: Gate, shared_data: Path
) -> None:
    seen = 0
    for resource in _entries(shared_data / "fhir" / "us_core_610_package_examples"):
        if gate.is_valid(resource):
            to_model(resource)
            seen += 1
    assert seen > 100
