"""How operations are asked: levels, parameters, rights, batches, and what is told of them.

Source: https://hl7.org/fhir/R4/operations.html
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.api.operations import Invocation, Operation, Operations, Result
from tests.support.api import Api, running


def echo(asked: Invocation) -> dict[str, Any]:
    """Tell what was asked."""
    said = [asked.level, asked.type, asked.id, *(str(one) for one in asked.values("word"))]
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "said", "valueString": " ".join(filter(None, said))}],
    }


def accepted(asked: Invocation) -> Result:
    return Result(None, 202, {"Content-Location": f"{asked.root}/{asked.value('word', '')}"})


OFFERED = Operations(
    (
        Operation("echo", "urn:test:echo", frozenset({"system", "type", "instance"}), echo),
        Operation(
            "accept",
            "urn:test:accept",
            frozenset({"type"}),
            accepted,
            types=frozenset({"Task"}),
            writes=True,
            documentation="Takes anything.",
        ),
    )
)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path, operations=OFFERED) as started:
        yield started


def said(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["parameter"][0]["valueString"])


def test_an_operation_is_asked_of_the_system_a_type_or_a_resource(api: Api) -> None:
    assert said(api.call("GET", "/fhir/$echo?word=a&word=b")) == "system a b"
    assert said(api.call("GET", "/fhir/Task/$echo?word=a")) == "type Task a"
    assert said(api.call("GET", "/fhir/Task/1/%24echo")) == "instance Task 1"


def test_parameters_come_from_the_body_too(api: Api) -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "word", "valueCode": "a"}, {"name": "other", "valueCode": "b"}],
    }
    assert said(api.call("POST", "/fhir/Task/$echo", body)) == "type Task a"
    assert said(api.call("POST", "/fhir/Task/$echo")) == "type Task"


@pytest.mark.parametrize(
    ("method", "path", "client", "status"),
    [
        ("GET", "$nothing", "pcpb", 404),
        ("POST", "Patient/$accept", "pcpb", 404),
        ("POST", "Quux/$echo", "pcpb", 404),
        ("GET", "Task/$accept", "pcpb", 405),
        ("POST", "Task/$accept", "demo", 403),
        ("POST", "Task/$echo", "demo", 200),
        ("POST", "Task/$accept?word=a&word=b", "pcpb", 400),
    ],
)
def test_what_is_not_offered_is_refused(
    api: Api, method: str, path: str, client: str, status: int
) -> None:
    answer = api.call(method, f"/fhir/{path}", client=client)
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == ("Parameters" if status == 200 else "OperationOutcome")


def test_an_operation_may_answer_with_status_and_headers(api: Api) -> None:
    answer = api.call("POST", "/fhir/Task/$accept?word=job")
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["content-location"] == "http://testserver/fhir/job"


@pytest.mark.parametrize("client", ["pcpb", "demo"])
def test_a_batch_does_operations(api: Api, client: str) -> None:
    entries = [
        {"request": {"method": "GET", "url": "$echo?word=a"}},
        {"request": {"method": "GET", "url": "Task/7/$echo"}},
        {"request": {"method": "POST", "url": "Task/$accept"}},
        {"request": {"method": "GET", "url": "Task/$nothing"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    answer = api.call("POST", "/fhir", bundle, client=client)
    found = answer.json()["entry"]
    assert [one["response"]["status"][:3] for one in found] == [
        "200",
        "200",
        "202" if client == "pcpb" else "403",
        "404",
    ]
    assert found[1]["resource"]["parameter"][0]["valueString"] == "instance Task 7"


def test_the_capability_statement_names_the_operations(api: Api) -> None:
    (rest,) = api.get("metadata")["rest"]
    assert rest["operation"] == [{"name": "echo", "definition": "urn:test:echo"}]
    kinds = {one["type"]: one.get("operation", []) for one in rest["resource"]}
    assert [one["name"] for one in kinds["Patient"]] == ["echo"]
    assert kinds["Task"][1]["documentation"] == "Takes anything."
