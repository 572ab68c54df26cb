"""`$validate` as clients ask it, and what a write with profiles is refused for.

Source: https://hl7.org/fhir/R4/resource-operation-validate.html
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, running
from tests.unit.fhir.validation.samples import SAMPLES, US

CALL = {"resourceType": "Communication", "status": "completed"}
PROFILE = US + "us-core-patient"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder: Path = tmp_path_factory.mktemp("validate")
    with running(folder / "data", folder) as started:
        yield started


def asked(answer: Any) -> list[tuple[str, str]]:
    """Severity and place of each issue."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    return [(i["severity"], *i.get("expression", [""])) for i in body["issue"]]


def parameters(**given: Any) -> dict[str, Any]:
    rows = [
        {"name": name, ("resource" if name == "resource" else "valueCode"): value}
        for name, value in given.items()
        if name != "profile"
    ]
    rows += [{"name": "profile", "valueUri": given["profile"]}] if "profile" in given else []
    return {"resourceType": "Parameters", "parameter": rows}


def test_a_raw_resource_and_parameters_are_judged_alike(api: Api) -> None:
    wrong = {**CALL, "status": "sent", "colour": 1}
    raw = asked(api.call("POST", "/fhir/Communication/$validate", wrong))
    assert raw == asked(
        api.call("POST", "/fhir/Communication/$validate", parameters(resource=wrong))
    )
    assert {("error", "Communication.status"), ("error", "Communication.colour")} <= set(raw)
    assert asked(api.call("POST", "/fhir/$validate", wrong)) == raw
    assert api.get("Communication")["total"] == 0


def test_what_is_right_is_called_right(api: Api) -> None:
    answer = api.call("POST", "/fhir/Communication/$validate", CALL)
    assert [severity for severity, _ in asked(answer)] == ["information"]


def test_a_sentence_says_what_would_be_right(api: Api) -> None:
    answer = api.call("POST", "/fhir/Communication/$validate", {**CALL, "sentt": "2026"})
    [issue] = answer.json()["issue"]
    assert issue["code"] == "structure"
    assert issue["details"]["text"].endswith("did you mean sent?")


def test_another_type_than_the_urls_is_an_error(api: Api) -> None:
    found = asked(api.call("POST", "/fhir/Patient/$validate", CALL))
    assert found[0][0] == "error"


def test_what_is_stored_is_judged_where_nothing_is_sent(api: Api) -> None:
    sent = {"resourceType": "Organization", "id": "o1", "name": "A"}
    assert api.call("PUT", "/fhir/Organization/o1", sent).status_code == 201
    assert [s for s, _ in asked(api.call("GET", "/fhir/Organization/o1/$validate"))] == [
        "information"
    ]
    path = f"/fhir/Organization/o1/$validate?profile={US}us-core-organization"
    assert ("error", "Organization.active") in asked(api.call("GET", path))
    assert api.call("GET", "/fhir/Organization/none/$validate").status_code == 404


@pytest.mark.parametrize(
    ("id_", "severity"), [("o1", "information"), ("other", "error"), (None, "error")]
)
def test_an_update_is_judged_by_its_id(api: Api, id_: str | None, severity: str) -> None:
    resource = {"resourceType": "Organization", "name": "A", **({"id": id_} if id_ else {})}
    path = "/fhir/Organization/o1/$validate"
    found = asked(api.call("POST", path, parameters(mode="update", resource=resource)))
    assert found[0][0] == severity


def test_a_delete_is_judged_without_doing_it(api: Api) -> None:
    path = "/fhir/Organization/o2"
    api.call("PUT", path, {"resourceType": "Organization", "id": "o2", "name": "A"})
    assert asked(api.call("GET", f"{path}/$validate?mode=delete"))[0][0] == "information"
    assert api.call("GET", path).status_code == 200
    api.call("DELETE", path)
    assert api.call("GET", f"{path}/$validate?mode=delete").status_code == 410


@pytest.mark.parametrize(
    "question",
    [
        parameters(mode="guess", resource=CALL),
        parameters(mode="profile", resource=CALL),
        parameters(mode="delete"),
        parameters(mode="create"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(api: Api, question: dict[str, Any]) -> None:
    answer = api.call("POST", "/fhir/Communication/$validate", question)
    assert answer.status_code == 400, answer.text


def test_a_profile_that_is_asked_for_is_checked(api: Api) -> None:
    patient = {"resourceType": "Patient", "gender": "female"}
    question = parameters(mode="profile", resource=patient, profile=PROFILE)
    found = asked(api.call("POST", "/fhir/Patient/$validate", question))
    assert {("error", "Patient.name"), ("error", "Patient.identifier")} <= set(found)
    unknown = parameters(resource=patient, profile="http://example.org/none")
    found = asked(api.call("POST", "/fhir/Patient/$validate", unknown))
    assert [severity for severity, _ in found] == ["warning"]


def test_a_write_must_obey_the_profiles_that_it_names(api: Api) -> None:
    good = SAMPLES["us organization"]
    assert api.call("POST", "/fhir/Organization", good).status_code == 201
    bad = {k: v for k, v in good.items() if k != "active"}
    answer = api.call("POST", "/fhir/Organization", bad)
    assert answer.status_code == 422
    [issue] = answer.json()["issue"]
    assert issue["expression"] == ["Organization.active"]
    assert "us-core-organization" in issue["details"]["text"]
    bad["meta"] = {"profile": ["http://example.org/unknown"]}
    assert api.call("POST", "/fhir/Organization", bad).status_code == 201


def test_rules_of_rare_types_hold_for_writes_too(api: Api) -> None:
    questions = {**SAMPLES["questionnaire"], "item": [{"linkId": "1", "type": "group"}]}
    answer = api.call("POST", "/fhir/Questionnaire", questions)
    assert answer.status_code == 422
    assert "que-1" in answer.text
