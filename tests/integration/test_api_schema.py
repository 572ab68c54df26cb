"""schemathesis asks everything that the OpenAPI description offers, in process.

`make fuzz-api` asks far more often.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    response_schema_conformance,
    status_code_conformance,
)

from segue.api.fhir import INTERACTIONS
from tests.support.api import running

EXAMPLES = int(os.environ.get("API_EXAMPLES", "3"))


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    where: Path = tmp_path_factory.mktemp("schema")
    with running(where / "data", where) as api:
        yield schemathesis.openapi.from_asgi("/openapi.json", api.app)


ASKED = sorted({(one.method, one.path) for one in INTERACTIONS if not one.path.endswith("/")})


@pytest.mark.parametrize(("method", "path"), ASKED)
def test_what_is_described_is_what_is_answered(described: Any, method: str, path: str) -> None:
    @given(case=described[path][method].as_strategy())
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    def ask(case: Any) -> None:
        answer = case.call(headers={"Authorization": "Bearer pcpb"})
        checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
        case.validate_response(answer, checks=checks)

    ask()
