"""batch and transaction.

Source: https://hl7.org/fhir/R4/http.html#transaction
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import BASE, Api, running

PATIENT = {
    "resourceType": "Patient",
    "identifier": [{"system": "urn:segue:authority:PCPB", "value": "77"}],
    "name": [{"family": "DOE", "given": ["JANE"]}],
}
LINK = "urn:uuid:11111111-1111-4111-8111-111111111111"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path) as started:
        yield started


def call(subject: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Communication",
        "status": "completed",
        "subject": {"reference": subject},
        **more,
    }


def entry(method: str, url: str, resource: Any = None, **more: Any) -> dict[str, Any]:
    full_url = more.pop("fullUrl", None)
    made: dict[str, Any] = {"request": {"method": method, "url": url, **more}}
    if resource is not None:
        made["resource"] = resource
    if full_url:
        made["fullUrl"] = full_url
    return made


def send(api: Api, entries: list[dict[str, Any]], kind: str = "transaction", **kwargs: Any) -> Any:
    bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
    return api.call("POST", "/fhir", bundle, **kwargs)


def statuses(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [e["response"]["status"] for e in answer.json()["entry"]]


def test_references_within_a_transaction_are_resolved_whatever_their_order(api: Api) -> None:
    answer = send(
        api,
        [
            entry("POST", "Communication", call(LINK, recipient=[{"reference": LINK}])),
            entry("POST", "Patient", PATIENT, fullUrl=LINK),
        ],
    )
    assert statuses(answer) == ["201 Created", "201 Created"]
    assert answer.json()["type"] == "transaction-response"
    (patient,) = api.find("Patient")
    (made,) = api.find("Communication")
    assert made["subject"]["reference"] == f"Patient/{patient['id']}"
    assert made["recipient"][0]["reference"] == f"Patient/{patient['id']}"
    response = answer.json()["entry"][0]["response"]
    assert response["location"] == f"{BASE}/Communication/{made['id']}/_history/1"
    assert response["etag"] == 'W/"1"'
    assert response["lastModified"] == made["meta"]["lastUpdated"]


def test_a_transaction_has_one_provenance_for_all_that_it_wrote(api: Api) -> None:
    send(
        api,
        [
            entry("POST", "Patient", PATIENT, fullUrl=LINK),
            entry("POST", "Communication", call(LINK)),
        ],
    )
    (found,) = api.find("Provenance")
    targets = sorted(one["reference"].partition("/")[0] for one in found["target"])
    assert targets == ["Communication", "Patient"]
    assert found["agent"][0]["who"]["identifier"]["value"] == "pcpb"


def test_links_in_narratives_and_uris_follow_too(api: Api) -> None:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{LINK}">x</a></div>'
    answer = send(
        api,
        [
            entry("POST", "Patient", PATIENT, fullUrl=LINK),
            entry(
                "POST",
                "Communication",
                call(
                    LINK,
                    text={"status": "additional", "div": div},
                    instantiatesUri=[LINK],
                    identifier=[{"system": "urn:ietf:rfc:3986", "value": LINK}],
                    extension=[{"url": "urn:x", "valueUuid": LINK}],
                ),
            ),
        ],
    )
    assert answer.status_code == 200
    (made,) = api.find("Communication")
    target = made["subject"]["reference"]
    assert f'href="{target}"' in made["text"]["div"]
    assert made["instantiatesUri"] == [target]
    assert made["identifier"][0]["value"] == LINK


def test_absolute_references_to_this_server_become_relative(api: Api) -> None:
    send(api, [entry("POST", "Patient", PATIENT)])
    (patient,) = api.find("Patient")
    absolute = f"{BASE}/Patient/{patient['id']}"
    answer = send(
        api,
        [
            entry("POST", "Communication", call(absolute)),
            entry("POST", "Communication", call("http://elsewhere.test/fhir/Patient/1")),
        ],
    )
    assert answer.status_code == 200
    subjects = {one["subject"]["reference"] for one in api.find("Communication")}
    assert subjects == {f"Patient/{patient['id']}", "http://elsewhere.test/fhir/Patient/1"}
    assert api.get(f"Communication?patient={patient['id']}")["total"] == 1


def test_a_bundle_of_another_server_keeps_its_references_among_its_entries(api: Api) -> None:
    theirs = "http://elsewhere.test/fhir"
    answer = send(
        api,
        [
            entry(
                "POST",
                "Communication",
                call("Patient/p1", recipient=[{"reference": f"{theirs}/Patient/p1"}]),
                fullUrl=f"{theirs}/Communication/c1",
            ),
            entry("POST", "Patient", {**PATIENT, "id": "p1"}, fullUrl=f"{theirs}/Patient/p1"),
        ],
    )
    assert answer.status_code == 200, answer.text
    (patient,) = api.find("Patient")
    (made,) = api.find("Communication")
    assert made["subject"]["reference"] == f"Patient/{patient['id']}"
    assert made["recipient"][0]["reference"] == f"Patient/{patient['id']}"


def test_a_conditional_reference_finds_exactly_one_or_nothing_is_written(api: Api) -> None:
    send(api, [entry("POST", "Patient", PATIENT)])
    (patient,) = api.find("Patient")
    known = "Patient?identifier=urn:segue:authority:PCPB|77"
    assert statuses(send(api, [entry("POST", "Communication", call(known))])) == ["201 Created"]
    (made,) = api.find("Communication")
    assert made["subject"]["reference"] == f"Patient/{patient['id']}"
    unknown = "Patient?identifier=urn:segue:authority:PCPB|78"
    answer = send(
        api,
        [
            entry("POST", "Communication", call(known)),
            entry("POST", "Communication", call(unknown)),
        ],
    )
    assert answer.status_code == 412
    assert "Bundle.entry[1]" in answer.json()["issue"][0]["expression"][0]
    assert api.get("Communication")["total"] == 1


def test_a_conditional_reference_finds_what_the_same_transaction_creates(api: Api) -> None:
    known = "Patient?identifier=urn:segue:authority:PCPB|77"
    answer = send(
        api,
        [entry("POST", "Communication", call(known)), entry("POST", "Patient", PATIENT)],
    )
    assert statuses(answer) == ["201 Created"] * 2
    (patient,), (made,) = api.find("Patient"), api.find("Communication")
    assert made["subject"]["reference"] == f"Patient/{patient['id']}"
    again = send(
        api,
        [entry("POST", "Communication", call(known)), entry("POST", "Patient", PATIENT)],
    )
    assert statuses(again) == ["201 Created", "200 OK"], "the stored one and this are the same"


def test_a_conditional_reference_sees_what_is_stored_as_the_transaction_leaves_it(
    api: Api,
) -> None:
    def place(id_: str, value: str) -> dict[str, Any]:
        known = [{"system": "urn:a", "value": value}]
        return {"resourceType": "Location", "id": id_, "status": "active", "identifier": known}

    def seen(value: str) -> dict[str, Any]:
        where = {"reference": f"Location?identifier=urn:a|{value}"}
        return entry(
            "POST",
            "Appointment",
            {
                "resourceType": "Appointment",
                "status": "booked",
                "start": "2026-07-05T10:00:00Z",
                "end": "2026-07-05T11:00:00Z",
                "participant": [{"status": "accepted", "actor": where}],
            },
        )

    def put(id_: str, value: str) -> dict[str, Any]:
        return entry("PUT", f"Location/{id_}", place(id_, value))

    assert statuses(send(api, [put("one", "1"), put("two", "2")])) == ["201 Created"] * 2
    both = send(api, [seen("3"), put("three", "3"), put("four", "3")])
    assert both.status_code == 412
    assert "more than one" in both.json()["issue"][0]["diagnostics"]
    assert send(api, [seen("1"), put("one", "5")]).status_code == 412, "it has another value now"
    gone = [seen("2"), entry("DELETE", "Location/two")]
    assert send(api, gone).status_code == 412
    moved = [seen("2"), put("one", "2"), entry("DELETE", "Location/two")]
    assert statuses(send(api, moved)) == ["201 Created", "200 OK", "204 No Content"]
    (made,) = api.find("Appointment")
    assert made["participant"][0]["actor"]["reference"] == "Location/one"


def test_a_transaction_is_all_or_nothing_and_names_the_culprit(api: Api) -> None:
    answer = send(
        api,
        [
            entry("POST", "Patient", PATIENT),
            entry("POST", "Communication", {"resourceType": "Communication"}),
        ],
    )
    assert answer.status_code == 400
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    assert body["issue"][0]["expression"][0].startswith("Bundle.entry[1]")
    assert api.get("Patient")["total"] == 0
    assert api.get("_history")["total"] == 0


def test_deletes_come_first_and_reads_last_and_answers_in_the_order_of_the_request(
    api: Api,
) -> None:
    made = api.call("POST", "/fhir/Communication", call("Patient/x")).json()
    kept = api.call("POST", "/fhir/Communication", call("Patient/x")).json()
    answer = send(
        api,
        [
            entry("GET", "Communication?subject=Patient/x"),
            entry("GET", f"Communication/{kept['id']}"),
            entry("PUT", f"Communication/{kept['id']}", {**kept, "status": "stopped"}),
            entry("POST", "Communication", call("Patient/x", status="preparation")),
            entry("DELETE", f"Communication/{made['id']}"),
            entry("GET", f"Communication/{made['id']}"),
        ],
    )
    assert statuses(answer) == [
        "200 OK",
        "200 OK",
        "200 OK",
        "201 Created",
        "204 No Content",
        "410 Gone",
    ]
    found, read, *_ = (e.get("resource") for e in answer.json()["entry"])
    assert sorted(e["resource"]["status"] for e in found["entry"]) == ["preparation", "stopped"]
    assert read["status"] == "stopped"


def test_conditional_entries_and_versions_are_honoured(api: Api) -> None:
    once = {"ifNoneExist": "identifier=urn:x|1"}
    named = call("Patient/x", identifier=[{"system": "urn:x", "value": "1"}])
    assert statuses(send(api, [entry("POST", "Communication", named, **once)])) == ["201 Created"]
    (made,) = api.find("Communication")
    answer = send(
        api,
        [
            entry("POST", "Communication", named, fullUrl=LINK, **once),
            entry("POST", "Communication", call("Patient/x", inResponseTo=[{"reference": LINK}])),
        ],
    )
    assert statuses(answer) == ["200 OK", "201 Created"]
    reply = next(c for c in api.find("Communication") if "inResponseTo" in c)
    assert reply["inResponseTo"][0]["reference"] == f"Communication/{made['id']}"
    url = f"Communication/{made['id']}"
    stale = send(api, [entry("PUT", url, {**made, "status": "stopped"}, ifMatch='W/"9"')])
    assert stale.status_code == 412
    fresh = send(api, [entry("PUT", url, {**made, "status": "stopped"}, ifMatch='W/"1"')])
    assert statuses(fresh) == ["200 OK"]


def test_the_same_condition_twice_in_a_transaction_creates_once(api: Api) -> None:
    once = {"ifNoneExist": "identifier=urn:x|1"}
    named = call("Patient/x", identifier=[{"system": "urn:x", "value": "1"}])
    answer = send(api, [entry("POST", "Communication", named, **once) for _ in range(2)])
    assert statuses(answer) == ["201 Created", "200 OK"]
    assert api.get("Communication")["total"] == 1


@pytest.mark.parametrize(
    "entries",
    [
        [
            entry("PUT", "Communication/a", call("Patient/x", id="a")),
            entry("DELETE", "Communication/a"),
        ],
        [entry("POST", "Patient", PATIENT), entry("POST", "Patient", PATIENT)],
    ],
)
def test_a_transaction_touches_each_resource_once(api: Api, entries: Any) -> None:
    answer = send(api, entries)
    assert answer.status_code == 400
    assert "Bundle.entry[1]" in answer.json()["issue"][0]["expression"][0]
    assert api.get("_history")["total"] == 0


@pytest.mark.parametrize(
    ("bundle", "status"),
    [
        ({"resourceType": "Bundle", "type": "collection"}, 400),
        ({"resourceType": "Patient"}, 400),
        ({"resourceType": "Bundle", "type": "transaction", "entry": {}}, 400),
        ({"resourceType": "Bundle", "type": "transaction", "entry": [1]}, 400),
        ({"resourceType": "Bundle", "type": "transaction", "entry": [{"request": []}]}, 400),
        ({"resourceType": "Bundle", "type": "transaction", "entry": [{}]}, 400),
        (
            {
                "resourceType": "Bundle",
                "type": "transaction",
                "entry": [{"request": {"method": "POST", "url": 1}}],
            },
            400,
        ),
        (
            {
                "resourceType": "Bundle",
                "type": "transaction",
                "entry": [{"request": {"method": "POST", "url": "Quux"}, "resource": {}}],
            },
            404,
        ),
        (
            {
                "resourceType": "Bundle",
                "type": "transaction",
                "entry": [{"request": {"method": "PUT", "url": "Basic/1"}, "resource": 5}],
            },
            400,
        ),
        (
            {
                "resourceType": "Bundle",
                "type": "transaction",
                "entry": [{"request": {"method": "PATCH", "url": "Basic/1"}, "resource": {}}],
            },
            400,
        ),
    ],
)
def test_a_bundle_that_is_no_request_is_refused(api: Api, bundle: Any, status: int) -> None:
    answer = api.call("POST", "/fhir", bundle)
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_an_empty_transaction_does_nothing(api: Api) -> None:
    answer = send(api, [])
    assert answer.status_code == 200
    assert answer.json() == {"resourceType": "Bundle", "type": "transaction-response"}


def test_entries_of_a_batch_stand_alone(api: Api) -> None:
    answer = send(
        api,
        [
            entry("POST", "Communication", call("Patient/x")),
            entry("POST", "Communication", {"resourceType": "Communication"}),
            entry("GET", "Communication/none"),
            entry("GET", "Communication?subject=Patient/x"),
            entry("DELETE", "Communication/none"),
            entry("GET", "Quux"),
            entry("GET", "not a url"),
            entry("PUT", "Communication/x"),
        ],
        "batch",
    )
    assert answer.json()["type"] == "batch-response"
    found = [s[:3] for s in statuses(answer)]
    assert found == ["201", "400", "404", "200", "204", "404", "400", "400"]
    failed = answer.json()["entry"][1]["response"]
    assert failed["outcome"]["resourceType"] == "OperationOutcome"
    assert answer.json()["entry"][3]["resource"]["total"] == 1


def test_a_bundle_may_ask_what_the_server_can(api: Api) -> None:
    for kind in ("batch", "transaction"):
        answer = send(api, [entry("GET", "metadata"), entry("GET", "_history?_count=1")], kind)
        assert statuses(answer) == ["200 OK"] * 2
        stated = answer.json()["entry"][0]["resource"]
        assert stated == api.get("metadata")
    refused = send(api, [entry("POST", "metadata", PATIENT), entry("GET", "metadata/1")], "batch")
    assert [one[:3] for one in statuses(refused)] == ["404", "400"]


def test_a_reader_may_batch_reads(api: Api) -> None:
    sent = [entry("GET", "Communication"), entry("POST", "Communication", call("Patient/x"))]
    answer = send(api, sent, "batch", client="demo")
    assert statuses(answer) == ["200 OK", "403 Forbidden"]
    assert send(api, sent, client="demo").status_code == 403


def test_prefer_representation_puts_the_resources_into_the_answer(api: Api) -> None:
    answer = send(
        api,
        [entry("POST", "Patient", PATIENT)],
        headers={"Prefer": "return=representation"},
    )
    assert answer.json()["entry"][0]["resource"]["resourceType"] == "Patient"
    answer = send(api, [entry("POST", "Communication", call("Patient/x"))])
    assert "resource" not in answer.json()["entry"][0]
