"""Searches as clients send them: parameters, pages, totals, what comes along.

Source: https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segue.pipeline.steward import unmerge
from tests.stories.messages import adt
from tests.stories.s01 import HF
from tests.support.api import BASE, Api, running

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A person with a finished stay, its tasks, and 25 calls."""
    directory: Path = tmp_path_factory.mktemp("search")
    with running(directory / "data", directory, clock="2026-07-10T14:31:00-04:00") as started:
        started.hl7(
            adt("A01", "2026-07-05 13:42", "1", place="4W^412^1", diagnoses=[HF],
                admitted="2026-07-05 13:40")
        )  # fmt: skip
        started.hl7(
            adt("A03", "2026-07-10 14:05", "2", place="4W^412^1", diagnoses=[HF],
                disposition="01", discharged="2026-07-10 14:05")
        )  # fmt: skip
        (patient,) = started.find("Patient")
        for n in range(25):
            made = started.call(
                "POST",
                "/fhir/Communication",
                {
                    "resourceType": "Communication",
                    "identifier": [{"system": "urn:calls", "value": f"c{n:02d}"}],
                    "status": "completed" if n % 2 else "not-done",
                    "subject": {"reference": f"Patient/{patient['id']}"},
                    "sent": f"2026-06-{n + 1:02d}T10:00:00-04:00",
                },
            )
            assert made.status_code == 201
        yield started


def patient(api: Api) -> str:
    return str(api.find("Patient")[0]["id"])


def test_the_parameters_of_the_spine_find_what_they_should(api: Api) -> None:
    (encounter,) = api.find("Encounter")
    tasks = api.find("Task")
    contact = next(t for t in tasks if t["code"]["coding"][0]["code"] == "contact")
    id_ = patient(api)
    for type_, query, expected in (
        ("Patient", f"_id={id_}", 1),
        ("Patient", "identifier=urn:segue:authority:HOSPA|100234", 1),
        ("Patient", "identifier=100234", 1),
        ("Patient", "identifier=urn:segue:authority:HOSPB|100234", 0),
        ("Encounter", f"patient={id_}", 1),
        ("Encounter", f"subject=Patient/{id_}", 1),
        ("Encounter", f"patient={BASE}/Patient/{id_}", 1),
        ("Encounter", "status=finished", 1),
        ("Encounter", "status=in-progress,finished", 1),
        ("Encounter", "status=in-progress", 0),
        ("Encounter", f"class={ACT}|IMP", 1),
        ("Encounter", "date=ge2026-07-06", 1),
        ("Encounter", "date=gt2026-07-11", 0),
        ("Encounter", "identifier=V78421", 1),
        ("Task", "code=contact", 1),
        ("Task", f"encounter=Encounter/{encounter['id']}", len(tasks)),
        ("Task", f"based-on={contact['basedOn'][0]['reference']}", len(tasks)),
        ("Task", f"owner={contact['owner']['reference']}&code=contact", 1),
        ("Task", f"patient={id_}&status=requested", len(tasks) - 1),
        ("Communication", "_lastUpdated=ge2026-07-10", 25),
        ("Communication", "_lastUpdated=gt2026-07-11", 0),
    ):
        found = api.get(f"{type_}?{query}")
        assert found["total"] == expected == len(found.get("entry", [])), query


def test_self_names_only_what_was_used_and_unknown_names_are_left_out(api: Api) -> None:
    found = api.get("Communication?status=completed&colour=red&_count=3")
    assert found["total"] == 12
    links = {link["relation"]: link["url"] for link in found["link"]}
    assert links["self"] == f"{BASE}/Communication?status=completed&_count=3"
    strict = api.call(
        "GET", "/fhir/Communication?colour=red", headers={"Prefer": "handling=strict"}
    )
    assert strict.status_code == 400
    assert strict.json()["resourceType"] == "OperationOutcome"


def test_a_search_may_be_posted_as_a_form(api: Api) -> None:
    answer = api.call(
        "POST",
        "/fhir/Communication/_search?_count=5",
        "status=not-done",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    body = answer.json()
    assert (answer.status_code, body["total"], len(body["entry"])) == (200, 13, 5)
    refused = api.call("POST", "/fhir/Communication/_search", {"status": "x"})
    assert refused.status_code == 415


def test_only_the_number_is_told_where_only_it_is_asked_for(api: Api) -> None:
    found = api.get("Communication?status=not-done&_summary=count")
    assert (found["total"], "entry" in found) == (13, False)


def pages(api: Api, query: str, between: Any = None) -> list[str]:
    """Identifiers of a walk over all pages."""
    seen: list[str] = []
    url = f"Communication?{query}"
    while url:
        bundle = api.get(url)
        seen += [e["resource"]["identifier"][0]["value"] for e in bundle.get("entry", [])]
        assert all(e["search"]["mode"] == "match" for e in bundle.get("entry", []))
        assert all(
            e["fullUrl"] == f"{BASE}/Communication/{e['resource']['id']}" for e in bundle["entry"]
        )
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        url = links.get("next", "").removeprefix(f"{BASE}/")
        if between and url:
            between()
    return seen


def test_a_walk_over_the_pages_meets_everything_once(api: Api) -> None:
    expected = [f"c{n:02d}" for n in range(25)]
    assert pages(api, "_count=4") == expected
    assert pages(api, "_count=4&_sort=-sent") == expected[::-1]
    assert pages(api, "_count=7&_sort=sent&status=completed") == expected[1::2]


def test_writes_between_the_pages_do_not_disturb_the_walk(tmp_path: Path) -> None:
    with running(tmp_path / "data", tmp_path) as api:

        def create(name: str) -> None:
            api.call(
                "POST",
                "/fhir/Communication",
                {
                    "resourceType": "Communication",
                    "status": "completed",
                    "identifier": [{"value": name}],
                },
            )

        for n in range(9):
            create(f"c{n}")
        first = api.find("Communication")[0]
        extra = iter(range(100))

        def between() -> None:
            create(f"new{next(extra)}")
            path = f"/fhir/Communication/{first['id']}"
            changed = {**first, "payload": [{"contentString": str(next(extra))}]}
            assert api.call("PUT", path, changed).status_code == 200

        seen = pages(api, "_count=2", between)
        assert [name for name in seen if name.startswith("c")] == [f"c{n}" for n in range(9)]
        assert len(seen) == len(set(seen))


def test_what_a_match_refers_to_comes_along(api: Api) -> None:
    found = api.get("Encounter?_include=Encounter:patient")
    modes = [(e["resource"]["resourceType"], e["search"]["mode"]) for e in found["entry"]]
    assert modes == [("Encounter", "match"), ("Patient", "include")]
    assert found["total"] == 1
    found = api.get("Task?code=contact&_include=Task:based-on&_revinclude=Provenance:target")
    kinds = {e["resource"]["resourceType"] for e in found["entry"]}
    assert kinds == {"Task", "CarePlan", "Provenance"}


def test_elements_cut_the_answer_and_say_so(api: Api) -> None:
    found = api.get("Task?code=contact&_elements=status")
    (task,) = [e["resource"] for e in found["entry"]]
    assert task["status"] == "requested"
    assert "input" not in task
    assert task["meta"]["tag"][0]["code"] == "SUBSETTED"


@pytest.mark.parametrize(
    "query",
    [
        "_cursor=nonsense",
        "date=soon",
        "_count=many",
        "_include=Encounter:nothing",
        "status.name=x",
        "status:in=http://example.org/nowhere",
        "_filter=status eq finished",
    ],
)
def test_what_cannot_be_honoured_is_refused_and_not_ignored(api: Api, query: str) -> None:
    answer = api.call("GET", f"/fhir/Encounter?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_what_was_said_of_a_merged_patient_is_found_under_the_survivor(
    where: str | Path, tmp_path: Path
) -> None:
    with running(where, tmp_path) as api:
        api.hl7(
            adt("A01", "2026-07-09 10:00", "1", mrn="1", visit="V1", place="4W^1^1", shared=False)
        )
        api.hl7(
            adt("A01", "2026-07-09 11:00", "2", mrn="2", visit="V2", place="4W^2^1", shared=False)
        )
        first, second = (
            api.find("Patient", f"identifier=urn:segue:authority:HOSPA|{n}")[0]["id"]
            for n in (1, 2)
        )
        api.post(
            [
                {
                    "resourceType": "Communication",
                    "status": "completed",
                    "subject": {"reference": f"Patient/{second}"},
                }
            ]
        )
        assert api.get(f"Communication?patient={first}")["total"] == 0
        by_number = "identifier=urn:segue:authority:HOSPA|"
        assert len(api.find("Communication", f"patient.{by_number}1")) == 0
        merge = adt(
            "A40", "2026-07-09 12:00", "3", mrn="1", visit="", shared=False,
            extra=["MRG|2^^^HOSPA^MR"],
        )  # fmt: skip
        merge = "\r".join(s for s in merge.split("\r") if not s.startswith("PV1"))
        api.hl7(merge)
        (stays,) = [p["id"] for p in api.find("Patient") if p.get("active", True)]
        assert stays == first
        found = api.get(f"Communication?patient=Patient/{first}")
        assert found["total"] == 1
        assert found["link"][0]["url"] == f"{BASE}/Communication?patient=Patient/{first}"
        told = found["entry"][0]["resource"]
        assert told["subject"]["reference"] == f"Patient/{second}"

        def ids(type_: str, query: str) -> list[str]:
            return [one["id"] for one in api.find(type_, query)]

        for chain in (f"patient.{by_number}1", "subject:Patient.active=true",
                      "patient.name=doe", f"patient.{by_number}2"):  # fmt: skip
            assert ids("Communication", chain) == [told["id"]], chain
        assert ids("Patient", "_has:Communication:patient:status=completed") == [first]
        assert ids("Patient", "active=true&_has:Communication:subject:status=completed") == [first]
        included = api.get(f"Patient?_id={first}&_revinclude=Communication:patient")["entry"]
        assert [one["resource"]["id"] for one in included] == [first, told["id"]]
        assert len(ids("Encounter", f"patient.{by_number}1")) == 2
        assert len(ids("Encounter", f"patient.{by_number}2")) == 2, "its old number"
        unmerge(api.bench.hub, "HOSPA|2", None, "two people")
        assert ids("Communication", f"patient.{by_number}1") == []
        assert ids("Communication", f"patient.{by_number}2") == [told["id"]]
        assert ids("Patient", "_has:Communication:patient:status=completed") == [second]
        assert len(ids("Encounter", f"patient.{by_number}1")) == 1


@pytest.mark.parametrize("linked", [0, 1000])
def test_a_chain_over_a_merge_is_the_same_from_either_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: int
) -> None:
    monkeypatch.setattr("segue.store.search_chains.LINKED", linked)
    test_what_was_said_of_a_merged_patient_is_found_under_the_survivor(tmp_path / "data", tmp_path)


def test_a_compartment_holds_what_is_a_patients(api: Api) -> None:
    api.hl7(adt("A01", "2026-07-09 10:00", "1", place="4W^1^1"))
    (patient,) = api.find("Patient")
    (encounter,) = api.find("Encounter")
    place = f"Patient/{patient['id']}/Encounter"
    found = api.get(f"{place}?status={encounter['status']}")
    assert [one["resource"]["id"] for one in found["entry"]] == [encounter["id"]]
    assert found["link"][0]["url"] == f"{BASE}/{place}?status={encounter['status']}"
    assert api.get("Patient/other/Encounter")["total"] == 0
    assert api.get(f"{place}?status=planned")["total"] == 0
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    posted = api.call("POST", f"/fhir/{place}/_search", "_summary=count", headers=form)
    assert posted.json()["total"] == 1
    assert api.call("GET", f"/fhir/Patient/{patient['id']}/Organization").status_code == 404
    entry = {"request": {"method": "GET", "url": place}}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    (answered,) = api.call("POST", "/fhir", bundle).json()["entry"]
    assert answered["resource"]["total"] == 1
