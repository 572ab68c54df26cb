import pytest

from segue.fhir.validate import Gate
from segue.fhir.validation.validator import Validator


@pytest.fixture(scope="session")
def validator(gate: Gate) -> Validator:
    return Validator(gate)
