"""PATCH: three formats, alone and in Bundles, by id and by condition.

Source: https://hl7.org/fhir/R4/http.html#patch
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stories.messages import adt
from tests.support.api import Api, running

JSON_PATCH = {"Content-Type": "application/json-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
FHIR = {"Content-Type": "application/fhir+json"}

NOTE = {
    "resourceType": "Communication",
    "status": "in-progress",
    "identifier": [{"system": "urn:x", "value": "1"}],
    "payload": [{"contentString": "called"}],
}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path) as started:
        yield started


def made(api: Api, **more: Any) -> str:
    return str(api.call("POST", "/fhir/Communication", {**NOTE, **more}).json()["id"])


def patch(api: Api, path: str, change: Any, kind: dict[str, str], **headers: str) -> Any:
    sent = {**kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return api.call("PATCH", f"/fhir/{path}", json.dumps(change), headers=sent)


def parameters(*operations: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": name, **(value if isinstance(value, dict) else {"valueString": value})}
                    for name, value in one.items()
                ],
            }
            for one in operations
        ],
    }


DONE = {"type": "replace", "path": "Communication.status", "value": {"valueCode": "completed"}}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (JSON_PATCH, [{"op": "replace", "path": "/status", "value": "completed"}]),
        (MERGE, {"status": "completed"}),
        (FHIR, parameters(DONE)),
        ({"Content-Type": "application/json"}, {"status": "completed"}),
    ],
)
def test_a_patch_changes_what_it_names_and_nothing_else(
    api: Api, kind: dict[str, str], change: Any
) -> None:
    id_ = made(api)
    answer = patch(api, f"Communication/{id_}", change, kind)
    assert answer.status_code == 200, answer.text
    assert answer.headers["etag"] == 'W/"2"'
    assert answer.headers["location"].endswith(f"Communication/{id_}/_history/2")
    body = answer.json()
    assert body["status"] == "completed"
    assert body["payload"] == NOTE["payload"]
    again = patch(api, f"Communication/{id_}", change, kind)
    assert (again.status_code, again.headers["etag"]) == (200, 'W/"2"')


def test_a_patch_in_xml_is_a_parameters_resource(api: Api) -> None:
    id_ = made(api)
    part = '<part><name value="{}"/><{} value="{}"/></part>'
    parts = "".join(
        part.format(*one)
        for one in (
            ("type", "valueCode", "replace"),
            ("path", "valueString", "Communication.status"),
            ("value", "valueCode", "completed"),
        )
    )
    body = (
        '<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/>'
        f"{parts}</parameter></Parameters>"
    )
    answer = api.call(
        "PATCH",
        f"/fhir/Communication/{id_}",
        body,
        headers={"Content-Type": "application/fhir+xml"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "completed"


def test_a_json_patch_sees_the_version_that_a_read_shows(api: Api) -> None:
    id_ = made(api)
    change = [
        {"op": "test", "path": "/meta/versionId", "value": "1"},
        {"op": "add", "path": "/note", "value": [{"text": "a"}]},
        {"op": "add", "path": "/note/-", "value": {"text": "b"}},
    ]
    answer = patch(api, f"Communication/{id_}", change, JSON_PATCH)
    assert [one["text"] for one in answer.json()["note"]] == ["a", "b"]
    assert patch(api, f"Communication/{id_}", change, JSON_PATCH).status_code == 422


@pytest.mark.parametrize(
    ("kind", "change", "status"),
    [
        (JSON_PATCH, {"op": "add"}, 400),
        (JSON_PATCH, [{"op": "bend", "path": "/status"}], 400),
        (JSON_PATCH, [{"op": "add", "path": "/status"}], 400),
        (JSON_PATCH, [{"op": "test", "path": "/status", "value": "completed"}], 422),
        (JSON_PATCH, [{"op": "remove", "path": "/none"}], 422),
        (JSON_PATCH, [{"op": "replace", "path": "/id", "value": "other"}], 422),
        (JSON_PATCH, [{"op": "replace", "path": "", "value": []}], 422),
        (JSON_PATCH, [{"op": "remove", "path": "/status"}], 422),
        (JSON_PATCH, [{"op": "add", "path": "/colour", "value": "red"}], 422),
        (JSON_PATCH, [{"op": "copy", "from": "", "path": "/payload/-"}] * 40, 422),
        (JSON_PATCH, [{"op": "test", "path": "/status", "value": "x"}] * 501, 400),
        (MERGE, [], 400),
        (MERGE, {"status": None}, 422),
        (MERGE, {"resourceType": "Task"}, 422),
        (FHIR, parameters({**DONE, "path": "Communication.note"}), 422),
        (FHIR, parameters({**DONE, "path": "Communication.colour"}), 400),
        (FHIR, parameters({**DONE, "path": "Communication.repeat(status)"}), 400),
        (FHIR, parameters({**DONE, "path": "Communication.payload.where("}), 400),
        (FHIR, parameters({**DONE, "type": "bend"}), 400),
        ({"Content-Type": "text/plain"}, {}, 415),
    ],
)
def test_a_patch_that_does_not_fit_is_refused_and_changes_nothing(
    api: Api, kind: dict[str, str], change: Any, status: int
) -> None:
    id_ = made(api)
    answer = patch(api, f"Communication/{id_}", change, kind)
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert api.get(f"Communication/{id_}/_history")["total"] == 1


def test_a_patch_is_guarded_by_the_version_that_it_was_made_for(api: Api) -> None:
    path = f"Communication/{made(api)}"
    done = {"status": "completed"}
    assert patch(api, path, done, MERGE, If_Match='W/"2"').status_code == 412
    assert patch(api, path, done, MERGE, If_None_Match="*").status_code == 412
    assert patch(api, path, done, MERGE, If_Match='W/"1", W/"7"').status_code == 200
    assert patch(api, path, done, MERGE, If_Match='W/"1"').status_code == 412


def test_a_patch_needs_something_to_change(api: Api) -> None:
    path = f"Communication/{made(api)}"
    assert patch(api, "Communication/none", {}, MERGE).status_code == 404
    api.call("DELETE", f"/fhir/{path}")
    assert patch(api, path, {}, MERGE).status_code == 410


def test_a_conditional_patch_changes_the_one_that_it_finds(api: Api) -> None:
    path = "Communication?identifier=urn:x|1"
    done = {"status": "completed"}
    assert patch(api, path, done, MERGE).status_code == 404
    id_ = made(api)
    answer = patch(api, path, done, MERGE)
    assert (answer.status_code, answer.json()["id"]) == (200, id_)
    made(api)
    assert patch(api, path, done, MERGE).status_code == 412
    assert patch(api, "Communication", done, MERGE).status_code == 400


def binary(kind: str, change: Any) -> dict[str, str]:
    data = b64encode(json.dumps(change).encode()).decode()
    return {"resourceType": "Binary", "contentType": kind, "data": data}


def test_patches_of_a_transaction_are_binaries_or_parameters(api: Api) -> None:
    ids = [made(api, identifier=[{"system": "urn:x", "value": str(n)}]) for n in range(3)]
    changes = [
        (f"Communication/{ids[0]}", parameters(DONE)),
        (
            f"Communication/{ids[1]}",
            binary(
                JSON_PATCH["Content-Type"],
                [{"op": "add", "path": "/recipient", "value": [{"reference": "urn:uuid:1"}]}],
            ),
        ),
        ("Communication?identifier=urn:x|2", binary(MERGE["Content-Type"], {"status": "stopped"})),
    ]
    entries: list[dict[str, Any]] = [
        {"resource": resource, "request": {"method": "PATCH", "url": url}}
        for url, resource in changes
    ]
    entries.append(
        {
            "fullUrl": "urn:uuid:1",
            "resource": {"resourceType": "Organization", "name": "Practice"},
            "request": {"method": "POST", "url": "Organization"},
        }
    )
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = api.call("POST", "/fhir", bundle)
    assert answer.status_code == 200, answer.text
    assert [e["response"]["status"][:3] for e in answer.json()["entry"]] == ["200"] * 3 + ["201"]
    assert api.get(f"Communication/{ids[0]}")["status"] == "completed"
    (who,) = api.get(f"Communication/{ids[1]}")["recipient"]
    assert who["reference"] == "Organization/" + api.find("Organization")[0]["id"]
    assert api.get(f"Communication/{ids[2]}")["status"] == "stopped"


def test_a_patch_that_fails_undoes_its_transaction_and_spoils_no_batch(api: Api) -> None:
    id_ = made(api)
    entries = [
        {"resource": NOTE, "request": {"method": "POST", "url": "Communication"}},
        {
            "resource": binary(JSON_PATCH["Content-Type"], [{"op": "remove", "path": "/none"}]),
            "request": {"method": "PATCH", "url": f"Communication/{id_}"},
        },
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = api.call("POST", "/fhir", bundle)
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"][0].startswith("Bundle.entry[1]")
    assert api.get("Communication")["total"] == 1
    found = api.call("POST", "/fhir", {**bundle, "type": "batch"}).json()["entry"]
    assert [one["response"]["status"][:3] for one in found] == ["201", "422"]


def test_a_patch_of_what_the_engine_computes_is_a_statement(api: Api) -> None:
    api.hl7(adt("A01", "2026-07-09 10:00", "1", place="4W^1^1"))
    (encounter,) = api.find("Encounter")
    answer = patch(api, f"Encounter/{encounter['id']}", {"status": "cancelled"}, MERGE)
    assert answer.status_code == 422
    assert "decided by" in answer.json()["issue"][0]["diagnostics"]
    same = patch(api, f"Encounter/{encounter['id']}", {"status": encounter["status"]}, MERGE)
    assert same.status_code == 200
    assert api.get(f"Encounter/{encounter['id']}")["meta"] == encounter["meta"]
