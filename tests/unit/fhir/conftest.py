import pytest

from segue.fhir.profiles import definitions
from segue.fhir.validate import Gate


@pytest.fixture(scope="session")
def gate() -> Gate:
    return Gate(definitions())
