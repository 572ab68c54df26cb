"""Many clients at once, on both databases: nothing is made twice, nothing is lost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stories.messages import adt
from tests.support.api import Api, listening, running
from tests.support.databases import postgres_server, postgres_url, where

__all__ = ["postgres_server", "postgres_url", "where"]

FHIR = {"Content-Type": "application/fhir+json"}


@pytest.fixture
def api(where: Path | str, tmp_path: Path) -> Iterator[Api]:
    with running(where, tmp_path) as started:
        yield started


def together(api: Api, requests: list[tuple[str, str, Any, dict[str, str]]]) -> list[Any]:
    token = {"Authorization": "Bearer pcpb"}
    return api.http.together(
        [
            ((method, f"/fhir/{path}"), {"json": body, "headers": {**token, **FHIR, **headers}})
            for method, path, body, headers in requests
        ]
    )


def numbered(n: int) -> dict[str, Any]:
    return {
        "resourceType": "Communication",
        "status": "completed",
        "identifier": [{"system": "urn:x", "value": "1"}],
        "payload": [{"contentString": str(n)}],
    }


def test_of_64_conditional_creates_at_once_one_creates(api: Api) -> None:
    once = {"If-None-Exist": "identifier=urn:x|1"}
    answers = together(api, [("POST", "Communication", numbered(n), once) for n in range(64)])
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 63 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert api.get("Communication")["total"] == 1


def test_of_64_conditional_creates_over_64_connections_one_creates(api: Api) -> None:
    async def race(url: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=64)
        headers = {"Authorization": "Bearer pcpb", **FHIR, "If-None-Exist": "identifier=urn:x|1"}
        async with httpx.AsyncClient(limits=limits, timeout=60, headers=headers) as client:
            asked = [client.post(f"{url}/Communication", json=numbered(n)) for n in range(64)]
            return list(await asyncio.gather(*asked))

    with listening(api) as url:
        answers = asyncio.run(race(url))
        found = httpx.get(
            f"{url}/Communication", params={"_summary": "count"},
            headers={"Authorization": "Bearer pcpb"},
        ).json()  # fmt: skip
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 63 + [201]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert answers[0].headers["location"].startswith(url)
    assert found["total"] == 1


def test_of_many_patches_at_once_all_count(api: Api) -> None:
    made = api.call("POST", "/fhir/Communication", numbered(0)).json()
    path = f"Communication/{made['id']}"
    change = [{"op": "add", "path": "/payload/-", "value": {"contentString": "more"}}]
    json_patch = {"Content-Type": "application/json-patch+json"}
    answers = together(api, [("PATCH", path, change, json_patch)] * 16)
    assert {answer.status_code for answer in answers} == {200}
    assert len(api.get(path)["payload"]) == 17


def test_of_many_conditional_deletes_and_creates_none_goes_wrong(api: Api) -> None:
    once = {"If-None-Exist": "identifier=urn:x|1"}
    path = "Communication?identifier=urn:x|1"
    requests: list[tuple[str, str, Any, dict[str, str]]] = []
    for n in range(12):
        requests += [("POST", "Communication", numbered(n), once), ("DELETE", path, None, {})]
    answers = together(api, requests)
    assert {answer.status_code for answer in answers} <= {200, 201, 204}
    assert api.get("Communication")["total"] <= 1


def test_of_many_conditional_updates_at_once_one_creates_and_all_count(api: Api) -> None:
    path = "Communication?identifier=urn:x|1"
    answers = together(api, [("PUT", path, numbered(n), {}) for n in range(16)])
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 15 + [201]
    (made,) = api.find("Communication")
    assert made["meta"]["versionId"] == "16"


def test_of_many_creates_of_one_identity_at_once_one_creates(api: Api) -> None:
    patient = {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:segue:authority:PCPB", "value": "77"}],
    }
    answers = together(api, [("POST", "Patient", patient, {}) for _ in range(16)])
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 15 + [201]
    assert api.get("Patient")["total"] == 1


def test_of_many_updates_of_one_version_one_wins(api: Api) -> None:
    made = api.call("POST", "/fhir/Communication", numbered(0)).json()
    path = f"Communication/{made['id']}"
    updates = [
        ("PUT", path, {**numbered(n), "id": made["id"]}, {"If-Match": 'W/"1"'})
        for n in range(1, 17)
    ]
    codes = sorted(answer.status_code for answer in together(api, updates))
    assert codes == [200] + [412] * 15
    assert api.get(path)["meta"]["versionId"] == "2"


def test_what_is_said_of_one_person_at_once_is_all_kept(api: Api) -> None:
    api.hl7(adt("A01", "2026-07-09 10:00", "1", place="4W^1^1"))
    (patient,) = api.find("Patient")
    calls = [
        {
            **numbered(n),
            "subject": {"reference": f"Patient/{patient['id']}"},
            "identifier": [{"system": "urn:x", "value": str(n)}],
        }
        for n in range(24)
    ]
    answers = together(api, [("POST", "Communication", one, {}) for one in calls])
    assert {answer.status_code for answer in answers} == {201}
    assert api.get(f"Communication?patient={patient['id']}")["total"] == 24
    hub = api.bench.hub
    with hub.store.read() as reader:
        from segue.pipeline.charts import unpack_person

        row = reader.people.by_identity(["HOSPA|100234"])["HOSPA|100234"]
        person, _ = unpack_person(row.state)
    assert len(person.evidence) == 24


def test_transactions_that_meet_on_the_same_resources_do_not_lock_each_other_out(
    api: Api,
) -> None:
    ids = [api.call("POST", "/fhir/Communication", numbered(n)).json()["id"] for n in range(4)]
    bundles = []
    for n in range(16):
        order = ids if n % 2 else ids[::-1]
        entries = [
            {
                "resource": {**numbered(100 + n), "id": id_},
                "request": {"method": "PUT", "url": f"Communication/{id_}"},
            }
            for id_ in order
        ]
        bundles.append({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    answers = together(api, [("POST", "", bundle, {}) for bundle in bundles])
    assert {answer.status_code for answer in answers} == {200}
    texts = {c["payload"][0]["contentString"] for c in api.find("Communication")}
    assert len(texts) == 1
    versions = {c["meta"]["versionId"] for c in api.find("Communication")}
    assert versions == {"17"}
