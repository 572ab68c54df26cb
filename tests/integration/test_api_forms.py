"""Forms of requests and answers: XML, packed bodies, parts, pretty, histories, preferences.

Source: https://hl7.org/fhir/R4/http.html
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.api import BASE, Api, running

NOTE: dict[str, Any] = {
    "resourceType": "Communication",
    "status": "completed",
    "identifier": [{"system": "urn:x", "value": "1"}],
    "payload": [{"contentString": "called"}],
    "sent": "2026-07-10T12:00:00Z",
}
XML = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}
TIMES = [f"2026-07-10T15:{minute}:00-04:00" for minute in (30, 40, 50)]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path) as started:
        yield started


def create(api: Api, **more: Any) -> Any:
    return api.call("POST", "/fhir/Communication", {**NOTE, **more}).json()


# --- XML ----------------------------------------------------------------------------------


def test_xml_goes_in_and_comes_out_and_json_says_the_same(api: Api) -> None:
    body = (
        '<Observation xmlns="http://hl7.org/fhir"><status value="final"/>'
        '<code><text value="weight &lt; 100"/></code>'
        '<valueQuantity><value value="71.50"/><unit value="kg"/></valueQuantity></Observation>'
    )
    made = api.call("POST", "/fhir/Observation", body, headers=XML)
    assert made.status_code == 201, made.text
    assert made.headers["content-type"] == "application/fhir+xml; charset=utf-8"
    assert made.headers["etag"] == 'W/"1"'
    root = ElementTree.fromstring(made.content)
    id_ = root.find("{http://hl7.org/fhir}id")
    assert id_ is not None
    path = f"/fhir/Observation/{id_.get('value')}"
    assert '"value":71.50' in api.call("GET", path).text
    for asked in ("xml", "text/xml", "application/fhir%2Bxml"):
        answer = api.call("GET", f"{path}?_format={asked}&_pretty=true")
        assert '\n  <status value="final"/>' in answer.text
    found = api.call("GET", "/fhir/Observation", headers=XML)
    assert ElementTree.fromstring(found.content).tag == "{http://hl7.org/fhir}Bundle"
    assert api.call("GET", "/fhir/metadata?_format=xml").text.startswith("<?xml")


def test_errors_are_told_in_xml_too(api: Api) -> None:
    for answer, status in (
        (api.call("GET", "/fhir/Communication/none", headers=XML), 404),
        (api.call("POST", "/fhir/Communication", "<Communication", headers=XML), 400),
        (api.call("GET", "/fhir/Communication", headers=XML, client=""), 401),
    ):
        assert answer.status_code == status
        root = ElementTree.fromstring(answer.content)
        assert root.tag == "{http://hl7.org/fhir}OperationOutcome"


@pytest.mark.parametrize("depth", [60, 120, 250, 5000])
def test_xml_that_is_nested_too_deeply_is_refused(api: Api, depth: int) -> None:
    inner = '<extension url="u">' * depth + "</extension>" * depth
    body = f'<Basic xmlns="http://hl7.org/fhir">{inner}</Basic>'
    answer = api.call("POST", "/fhir/Basic", body, headers=XML)
    assert answer.status_code == 400
    assert "deep" in answer.text or "well-formed" in answer.text


def test_a_transaction_may_be_xml(api: Api) -> None:
    body = (
        '<Bundle xmlns="http://hl7.org/fhir"><type value="transaction"/><entry><resource>'
        '<Basic><code><text value="x"/></code></Basic></resource>'
        '<request><method value="POST"/><url value="Basic"/></request></entry></Bundle>'
    )
    answer = api.call("POST", "/fhir", body, headers=XML)
    assert answer.status_code == 200, answer.text
    assert '<status value="201 Created"/>' in answer.text


# --- parts and looks ----------------------------------------------------------------------


def test_parts_of_a_resource_can_be_asked_for_and_say_so(api: Api) -> None:
    id_ = create(api)["id"]
    for path in (f"Communication/{id_}", f"Communication/{id_}/_history/1"):
        body = api.get(f"{path}?_elements=sent")
        assert set(body) == {"resourceType", "id", "meta", "status", "sent"}
        assert body["meta"]["tag"][0]["code"] == "SUBSETTED"
        assert "payload" not in api.get(f"{path}?_summary=true")
        assert "tag" not in api.get(f"{path}?_summary=false")["meta"]
    for path in ("Communication?_summary=true", "Communication/_history?_summary=true"):
        (entry,) = api.get(path)["entry"]
        assert "payload" not in entry["resource"]
        assert entry["resource"]["meta"]["tag"][0]["code"] == "SUBSETTED"
    counted = api.get("Communication/_history?_summary=count")
    assert (counted["total"], counted.get("entry")) == (1, None)
    assert api.call("GET", "/fhir/Communication?_summary=short").status_code == 400


def test_pretty_is_for_people_and_says_the_same(api: Api) -> None:
    id_ = create(api)["id"]
    plain = api.call("GET", f"/fhir/Communication/{id_}")
    pretty = api.call("GET", f"/fhir/Communication/{id_}?_pretty=true")
    assert "\n  " in pretty.text
    assert "\n" not in plain.text
    assert pretty.json() == plain.json()
    assert pretty.headers["etag"] == plain.headers["etag"]


# --- histories ----------------------------------------------------------------------------


def test_a_history_shows_what_was_current_at_a_time(api: Api) -> None:
    api.at(TIMES[0])
    body = create(api)
    path = f"Communication/{body['id']}"
    for time, status in zip(TIMES[1:], ("on-hold", "stopped"), strict=True):
        api.at(time)
        api.call("PUT", f"/fhir/{path}", {**body, "status": status})

    def versions(query: str, place: str = path) -> list[str]:
        found = api.get(f"{place}/_history?{query}").get("entry", [])
        return [one["resource"]["meta"]["versionId"] for one in found]

    assert versions("_at=2026-07-10T15:35:00-04:00") == ["1"]
    assert versions("_at=2026-07-10T15:45:00-04:00") == ["2"]
    assert versions("_at=2026-07-10") == ["3", "2", "1"]
    assert versions("_at=2026-07-11") == ["3"]
    assert versions("_at=2026-07-09") == []
    assert versions("_since=2026-07-10T15:45:00-04:00", "Communication") == ["3"]
    assert versions("_count=1") == ["3"]
    assert api.call("GET", f"/fhir/{path}/_history?_at=soon").status_code == 400
    strict = {"Prefer": "handling=strict"}
    assert api.call("GET", f"/fhir/{path}/_history?colour=red", headers=strict).status_code == 400


def test_a_walk_over_the_pages_of_a_history_meets_every_version_once(api: Api) -> None:
    for _ in range(7):
        create(api)
    seen: list[str] = []
    url = f"{BASE}/_history?_count=3"
    while url:
        page = api.get(url.removeprefix(f"{BASE}/"))
        assert page["total"] >= 7
        for entry in page["entry"]:
            assert entry["request"]["method"] == "POST"
            assert entry["response"]["status"] == "201 Created"
            seen.append(entry["fullUrl"])
        links = {link["relation"]: link["url"] for link in page["link"]}
        url = links.get("next", "")
    assert len(seen) == len(set(seen)) == page["total"]


# --- deletes ------------------------------------------------------------------------------


def test_a_conditional_delete_deletes_many_when_told_so(api: Api) -> None:
    for _ in range(3):
        create(api)
    kept = create(api, identifier=[{"system": "urn:x", "value": "2"}])
    path = "/fhir/Communication?identifier=urn:x|1"
    assert api.call("DELETE", path).status_code == 412
    assert api.call("DELETE", f"{path}&conditionalDelete=multiple").status_code == 204
    assert [one["id"] for one in api.find("Communication")] == [kept["id"]]
    assert api.call("DELETE", f"{path}&conditionalDelete=multiple").status_code == 204
    assert api.call("DELETE", "/fhir/Communication?conditionalDelete=multiple").status_code == 400


def test_what_others_refer_to_is_not_deleted(api: Api) -> None:
    part = create(api)
    whole = create(api, basedOn=[{"reference": f"Communication/{part['id']}"}])
    refused = api.call("DELETE", f"/fhir/Communication/{part['id']}")
    assert refused.status_code == 409
    assert f"Communication/{whole['id']}" in refused.json()["issue"][0]["diagnostics"]
    entries = [
        {"request": {"method": "DELETE", "url": f"Communication/{one['id']}"}}
        for one in (part, whole)
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert api.call("POST", "/fhir", bundle).status_code == 200
    assert api.get("Communication")["total"] == 0


def test_what_others_refer_to_is_deleted_where_the_configuration_says_so(api: Api) -> None:
    api.bench.hub.delete_referenced = True
    part = create(api)
    create(api, basedOn=[{"reference": f"Communication/{part['id']}"}])
    assert api.call("DELETE", f"/fhir/Communication/{part['id']}").status_code == 204


def test_a_delete_tells_what_it_did_when_asked(api: Api) -> None:
    id_ = create(api)["id"]
    told = {"Prefer": "return=OperationOutcome"}
    answer = api.call("DELETE", f"/fhir/Communication/{id_}", headers=told)
    assert (answer.status_code, answer.json()["resourceType"]) == (200, "OperationOutcome")
    stale = {"If-Match": 'W/"1"'}
    assert api.call("DELETE", "/fhir/Communication/never", headers=stale).status_code == 412


# --- bodies -------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_body_is_unpacked(api: Api, name: str, pack: Any) -> None:
    headers = {"Content-Type": "application/fhir+json", "Content-Encoding": name}
    body = pack(json.dumps(NOTE).encode())
    assert api.call("POST", "/fhir/Communication", body, headers=headers).status_code == 201
    cut = api.call("POST", "/fhir/Communication", body[:-9], headers=headers)
    assert cut.status_code == 400
    wrong = api.call("POST", "/fhir/Communication", b"{}", headers=headers)
    assert wrong.status_code == 400
    unknown = {**headers, "Content-Encoding": "br"}
    assert api.call("POST", "/fhir/Communication", body, headers=unknown).status_code == 415


def test_a_body_that_unpacks_to_too_much_is_refused_early(api: Api) -> None:
    bomb = gzip.compress(b" " * (40 * 1024 * 1024))
    assert len(bomb) < 50_000
    headers = {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}
    answer = api.call("POST", "/fhir/Communication", bomb, headers=headers)
    assert answer.status_code == 413
    assert api.get("Communication")["total"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"Basic","code":{"text":"a"},"code":{"text":"b"}}',
        b'{"resourceType":"Basic","code":{"text":"\\ud800"}}',
        b'{"resourceType":"Basic","code":{"text":NaN}}',
        b'{"resourceType":"Basic","extension":' + b'[{"a":' * 200 + b"[]" + b"}]" * 200 + b"}",
    ],
)  # fmt: skip
def test_json_that_is_ambiguous_or_harmful_is_refused(api: Api, body: bytes) -> None:
    headers = {"Content-Type": "application/fhir+json"}
    answer = api.call("POST", "/fhir/Basic", body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["code"] == "structure"


def test_a_bundle_of_too_many_entries_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.api.together.MOST_ENTRIES", 2)
    entry = {"request": {"method": "GET", "url": "Patient"}}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry] * 3}
    assert api.call("POST", "/fhir", bundle).status_code == 413


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("Communication?" + "&".join(f"a{n}=1" for n in range(501)), 400),
        ("Communication?status=" + "x" * 17_000, 400),
        ("Communication?identifier=%00", 400),
        ("Communication/%00", 404),
        ("Communication/%2e%2e%2f%2e%2e/etc", 404),
        ("Communication/a/_history/99999999999999999999", 404),
        ("Communication/_history?_count=-1", 400),
        ("Communication/_history?_before=99999999999999999999", 400),
        ("Communication?_cursor=%F0%9F", 400),
        ("..%2fmetadata", 404),
    ],
)
def test_tricks_with_urls_are_refused(api: Api, path: str, status: int) -> None:
    answer = api.call("GET", f"/fhir/{path}")
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_nul_in_a_condition_is_refused(api: Api) -> None:
    for url in ("Communication?identifier=\u0000", "Communication?identifier=%00"):
        entry = {"resource": NOTE, "request": {"method": "PUT", "url": url}}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        assert api.call("POST", "/fhir", bundle).status_code == 400
    sent = {**NOTE, "partOf": [{"reference": "Communication?identifier=%00"}]}
    entry = {"resource": sent, "request": {"method": "POST", "url": "Communication"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert api.call("POST", "/fhir", bundle).status_code in (400, 412, 422)
    assert create(api)["id"]
    once = {"If-None-Exist": "identifier=%00"}
    assert api.call("POST", "/fhir/Communication", NOTE, headers=once).status_code == 400
