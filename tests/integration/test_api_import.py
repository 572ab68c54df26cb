"""What others have made is taken in over REST, care follows from it, and nothing is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.fhir.canonical import loads
from tests.support.api import Api, running

JSON = {"Content-Type": "application/fhir+json"}


@pytest.fixture(scope="module", params=["anonymous", "site"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    where = tmp_path_factory.mktemp("import")
    anonymous = request.param == "anonymous"
    with running(where / "data", where, open_to_all=anonymous) as started:
        yield started


def files(folder: Path) -> list[tuple[str, bytes, dict[str, Any]]]:
    read = [(path.name, path.read_bytes()) for path in sorted(folder.rglob("*.json"))]
    return [(name, data, loads(data)) for name, data in read]


def test_the_charts_of_synthea_are_imported_as_transactions(api: Api, shared_data: Path) -> None:
    bundles = files(shared_data / "fhir" / "synthea")
    assert bundles
    for name, data, bundle in bundles:
        answer = api.call("POST", "/fhir", data, headers=JSON)
        assert answer.status_code == 200, (name, answer.text[:500])
        stored = [one["response"]["status"][:3] for one in answer.json()["entry"]]
        assert len(stored) == len(bundle["entry"])
        assert set(stored) <= {"200", "201"}, name


def test_the_examples_of_us_core_are_stored(api: Api, shared_data: Path) -> None:
    examples = files(shared_data / "fhir" / "us_core_610_package_examples")
    assert examples
    for name, data, example in examples:
        if "id" not in example:
            continue
        path = f"/fhir/{example['resourceType']}/{example['id']}"
        answer = api.call("PUT", path, data, headers=JSON)
        assert answer.status_code in (200, 201), (name, answer.text[:500])
