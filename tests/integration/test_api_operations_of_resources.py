"""$everything and $meta, as clients ask them.

Sources: https://hl7.org/fhir/R4/patient-operation-everything.html and
https://hl7.org/fhir/R4/resource-operation-meta.html
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_api_statements import discharged
from tests.stories import s01
from tests.support.api import Api, running

TAG = {"system": "urn:example:tags", "code": "reviewed"}


CLOCK = "2026-07-05T08:00:00-04:00"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path, clock=CLOCK) as started:
        yield started


@pytest.fixture
def anywhere(where: Path | str, tmp_path: Path) -> Iterator[Api]:
    with running(where, tmp_path, clock=CLOCK) as started:
        yield started


def primed(api: Api) -> str:
    """A person of hospital and practice with a stay, and a stranger."""
    stranger = {"resourceType": "Patient", "name": [{"family": "Other"}]}
    other = api.call("POST", "/fhir/Patient", stranger).json()["id"]
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "weight"},
        "subject": {"reference": f"Patient/{other}"},
    }
    assert api.call("POST", "/fhir/Observation", observation).status_code == 201
    api.post([s01.patient()])
    discharged(api)
    (patient,) = [p for p in api.find("Patient", "identifier=100234") if p.get("active", True)]
    return str(patient["id"])


def keys(bundle: dict[str, Any], mode: str | None = None) -> list[str]:
    return [
        f"{one['resource']['resourceType']}/{one['resource']['id']}"
        for one in bundle.get("entry", [])
        if mode in (None, one["search"]["mode"])
    ]


def test_everything_is_the_persons_and_what_that_refers_to(api: Api) -> None:
    id_ = primed(api)
    found = api.get(f"Patient/{id_}/$everything")
    types = {one.partition("/")[0] for one in keys(found, "match")}
    assert types >= {
        "Patient",
        "Encounter",
        "CarePlan",
        "CareTeam",
        "Task",
        "Goal",
        "EpisodeOfCare",
    }
    included = {one.partition("/")[0] for one in keys(found, "include")}
    assert included >= {"Organization", "Location"}
    assert not included & types
    assert found["total"] == len(keys(found, "match"))
    assert len(keys(found)) == len(set(keys(found)))
    assert all("Other" not in str(one["resource"]) for one in found["entry"])
    assert all(one["resource"]["meta"]["versionId"] for one in found["entry"])
    mine = {f"Patient/{p['id']}" for p in api.find("Patient", "identifier=100234")}
    assert len([one for one in keys(found, "match") if one.startswith("Patient/")]) == 2
    assert mine <= set(keys(found, "match"))


def test_pages_of_everything_have_each_resource_once(anywhere: Api) -> None:
    api = anywhere
    id_ = primed(api)
    whole = set(keys(api.get(f"Patient/{id_}/$everything"), "match"))
    path, seen = f"Patient/{id_}/$everything?_count=7", []
    while path:
        page = api.get(path)
        assert page["total"] == len(whole)
        seen += keys(page, "match")
        (path,) = [
            one["url"].partition("/fhir/")[2] for one in page["link"] if one["relation"] == "next"
        ] or [""]
    assert sorted(seen) == sorted(whole)
    assert len(keys(api.get(f"Patient/{id_}/$everything?_count=7"), "match")) == 7


def test_everything_of_some_types(api: Api) -> None:
    id_ = primed(api)
    found = api.get(f"Patient/{id_}/$everything?_type=Task,Organization")
    assert {one.partition("/")[0] for one in keys(found, "match")} == {"Task"}
    assert {one.partition("/")[0] for one in keys(found, "include")} == {"Organization"}
    body = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueCode": "Goal"}]}
    posted = api.call("POST", f"/fhir/Patient/{id_}/$everything", body).json()
    assert {one.partition("/")[0] for one in keys(posted)} == {"Goal"}


def test_everything_since_an_instant_is_what_was_written_then(anywhere: Api) -> None:
    api = anywhere
    id_ = primed(api)
    api.at("2026-07-11T09:00:00-04:00")
    goal = {
        "resourceType": "Goal",
        "lifecycleStatus": "completed",
        "description": {"text": "Walks"},
        "subject": {"reference": f"Patient/{id_}"},
    }
    made = api.call("POST", "/fhir/Goal", goal).json()
    found = api.get(f"Patient/{id_}/$everything?_since=2026-07-11T08:00:00-04:00")
    assert f"Goal/{made['id']}" in keys(found, "match")
    assert {one.partition("/")[0] for one in keys(found, "match")} <= {"Goal", "Task"}
    assert api.get(f"Patient/{id_}/$everything?_since=2026-07-12")["total"] == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("Patient/nobody/$everything", 404),
        ("Patient/{}/$everything?_since=yesterday", 400),
        ("Patient/{}/$everything?_count=few", 400),
        ("Patient/{}/$everything?_type=Quux", 400),
        ("Patient/{}/$everything?begin=2026", 400),
        ("Task/1/$everything", 404),
    ],
)
def test_what_cannot_be_answered_is_refused(api: Api, path: str, status: int) -> None:
    patient = {"resourceType": "Patient", "active": True}
    id_ = api.call("POST", "/fhir/Patient", patient).json()["id"]
    answer = api.call("GET", "/fhir/" + path.format(id_))
    assert answer.status_code == status, answer.text


def meta_of(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found = answer.json()["parameter"]
    return dict(found[0]["valueMeta"]) if found else {}


def parameters(meta: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}],
    }  # fmt: skip


def test_meta_of_a_resource_of_a_type_and_of_all(anywhere: Api) -> None:
    api = anywhere
    secret = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    tagged = {"resourceType": "Basic", "meta": {"tag": [TAG]}, "code": {"text": "a"}}
    labelled = {"resourceType": "Basic", "meta": {"security": [secret]}, "code": {"text": "b"}}
    plain = {"resourceType": "Practitioner", "meta": {"profile": ["urn:example:doctor"]}}
    for resource in (tagged, labelled, plain):
        made = api.call("POST", f"/fhir/{resource['resourceType']}", resource).json()
    one = meta_of(api.call("GET", f"/fhir/Practitioner/{made['id']}/$meta"))
    assert one["versionId"] == "1"
    assert one["profile"] == ["urn:example:doctor"]
    assert meta_of(api.call("GET", "/fhir/Basic/$meta")) == {"tag": [TAG], "security": [secret]}
    whole = meta_of(api.call("GET", "/fhir/$meta"))
    assert whole == {
        "tag": [TAG], "security": [secret], "profile": ["urn:example:doctor"],
    }  # fmt: skip
    assert meta_of(api.call("GET", "/fhir/Appointment/$meta")) == {}


def test_meta_is_added_and_taken_away(api: Api) -> None:
    made = api.call("POST", "/fhir/Basic", {"resourceType": "Basic", "code": {"text": "a"}}).json()
    path = f"/fhir/Basic/{made['id']}"
    added = meta_of(api.call("POST", f"{path}/$meta-add", parameters({"tag": [TAG]})))
    assert (added["tag"], added["versionId"]) == ([TAG], "2")
    again = meta_of(api.call("POST", f"{path}/$meta-add", parameters({"tag": [TAG]})))
    assert again["versionId"] == "2"
    gone = meta_of(api.call("POST", f"{path}/$meta-delete", parameters({"tag": [TAG]})))
    assert "tag" not in gone
    assert api.call("POST", f"{path}/$meta-add", parameters({}), client="payx").status_code == 200
    other = api.call("POST", f"{path}/$meta-add", parameters({"tag": [TAG]}), client="payx")
    assert other.status_code == 403
    assert api.call("POST", f"{path}/$meta-add").status_code == 400
    assert api.call("GET", f"{path}/$meta-add").status_code == 405


def test_everything_of_a_time_is_the_care_of_it_and_what_has_no_time(anywhere: Api) -> None:
    api = anywhere
    id_ = primed(api)
    whole = keys(api.get(f"Patient/{id_}/$everything"), "match")
    before = keys(api.get(f"Patient/{id_}/$everything?end=2020-12-31"), "match")
    during = keys(api.get(f"Patient/{id_}/$everything?start=2026-07-01&end=2026-07-31"), "match")
    assert {"Patient"} <= {one.partition("/")[0] for one in before}
    assert not any(one.startswith(("Encounter/", "Task/", "EpisodeOfCare/")) for one in before)
    assert set(before) < set(during) <= set(whole)
    assert any(one.startswith("Encounter/") for one in during)
    paged, path = [], f"Patient/{id_}/$everything?start=2026-07-01&end=2026-07-31&_count=5"
    while path:
        bundle = api.get(path)
        paged += keys(bundle, "match")
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        path = links.get("next", "").partition("/fhir/")[2]
    assert sorted(paged) == sorted(during)
    assert api.call("GET", f"/fhir/Patient/{id_}/$everything?start=soon").status_code == 400


LOINC = "http://loinc.org"


def document(api: Api, patient: str, code: str, day: str, **more: Any) -> str:
    sent = {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        "date": "2026-07-04T10:00:00Z",
        "context": {"period": {"start": day, "end": day}},
        "content": [{"attachment": {"contentType": "text/plain", "data": "dGV4dA=="}}],
    }
    sent = {name: value for name, value in {**sent, **more}.items() if value}
    answer = api.call("POST", "/fhir/DocumentReference", sent)
    assert answer.status_code == 201, answer.text
    return f"DocumentReference/{answer.json()['id']}"


def test_the_documents_of_a_patient_are_found_by_type_and_time_of_care(anywhere: Api) -> None:
    api = anywhere
    patient, other = (
        api.call("POST", "/fhir/Patient", {"resourceType": "Patient"}).json()["id"] for _ in "ab"
    )
    old = document(api, patient, "34133-9", "2025-03-01", status="superseded")
    ccd = document(api, patient, "34133-9", "2026-03-01")
    note = document(api, patient, "11506-3", "2026-05-01")
    document(api, patient, "11506-3", "2026-05-01", status="entered-in-error")
    loose = document(api, patient, "18842-5", "2026-05-01", context={})
    document(api, other, "34133-9", "2026-03-01")

    def found(query: str) -> set[str]:
        bundle = api.get(f"DocumentReference/$docref?patient={patient}{query}")
        assert bundle["type"] == "searchset"
        assert bundle["total"] == len(keys(bundle))
        return set(keys(bundle))

    assert found("") == {ccd, note, loose}
    assert found("&start=2026-01-01") == {ccd, note, loose}
    assert found("&start=2025-01-01&end=2025-12-31") == {old}
    assert found("&end=2026-04-01T00:00:00Z") == {old, ccd}
    assert found(f"&type={LOINC}|34133-9") == {ccd}
    assert found("&type=11506-3&type=18842-5") == {note, loose}
    assert found("&on-demand=true") == set()
    assert found("&on-demand=false&profile=urn:none") == set()
    asked = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "patient", "valueId": patient},
            {"name": "type", "valueCoding": {"system": LOINC, "code": "34133-9"}},
            {"name": "on-demand", "valueBoolean": False},
        ],
    }
    answer = api.call("POST", "/fhir/DocumentReference/$docref", asked)
    assert set(keys(answer.json())) == {ccd}
    assert "entry" not in api.get("DocumentReference/$docref?patient=nobody")


@pytest.mark.parametrize(
    "query", ["", "patient=x&on-demand=perhaps", "patient=x&start=today", "patient=x&what=1"]
)
def test_documents_that_are_asked_for_wrongly_are_refused(api: Api, query: str) -> None:
    answer = api.call("GET", f"/fhir/DocumentReference/$docref?{query}")
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"
