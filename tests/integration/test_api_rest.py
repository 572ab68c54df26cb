"""read, create, update, delete and their headers, as clients check them.

Source: https://hl7.org/fhir/R4/http.html
"""

import json
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from segue.fhir.profiles import definitions
from segue.fhir.validate import Gate
from tests.support.api import BASE, Api, running

NOTE = {
    "resourceType": "Communication",
    "status": "completed",
    "payload": [{"contentString": "called"}],
}
FHIR = "application/fhir+json; charset=utf-8"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path / "data", tmp_path) as started:
        yield started


def create(api: Api, resource: dict[str, Any] = NOTE, **kwargs: Any) -> Any:
    return api.call("POST", f"/fhir/{resource['resourceType']}", resource, **kwargs)


def outcome_code(answer: Any) -> str:
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    assert answer.headers["content-type"] == FHIR
    return str(body["issue"][0]["code"])


# --- create -------------------------------------------------------------------------------


def test_a_create_answers_with_the_place_the_version_and_the_time(api: Api) -> None:
    answer = create(api)
    assert answer.status_code == 201
    body = answer.json()
    assert answer.headers["location"] == f"{BASE}/Communication/{body['id']}/_history/1"
    assert answer.headers["etag"] == 'W/"1"'
    assert parsedate_to_datetime(answer.headers["last-modified"]).year == 2026
    assert answer.headers["content-type"] == FHIR
    assert body["meta"]["versionId"] == "1"
    assert body["meta"]["lastUpdated"] == "2026-07-10T19:30:00.001000Z"


def test_what_is_read_is_what_was_written_plus_id_and_version(api: Api) -> None:
    sent = {
        **NOTE,
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
        "extension": [{"url": "urn:x", "valueDecimal": 1}],
    }
    text = json.dumps(sent).replace('"valueDecimal": 1', '"valueDecimal": 1.00')
    raw = api.call(
        "POST",
        "/fhir/Communication",
        text,
        headers={"Content-Type": "application/fhir+json"},
    )
    assert raw.status_code == 201
    assert '"valueDecimal":1.00' in raw.text
    body = raw.json()
    del body["meta"], body["id"]
    assert body == sent


def test_the_id_of_a_create_is_the_servers(api: Api) -> None:
    answer = create(api, {**NOTE, "id": "mine"})
    assert answer.status_code == 201
    assert answer.json()["id"] != "mine"


@pytest.mark.parametrize(
    ("prefer", "kind"),
    [("minimal", None), ("representation", "Communication"), ("OperationOutcome",) * 2],
)
def test_prefer_return_decides_what_the_answer_holds(
    api: Api, prefer: str, kind: str | None
) -> None:
    answer = create(api, headers={"Prefer": f"return={prefer}"})
    assert answer.status_code == 201
    assert answer.headers["location"]
    assert (answer.json()["resourceType"] if answer.content else None) == kind


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{", "application/fhir+json", 400, "structure"),
        (b"[]", "application/fhir+json", 400, "structure"),
        (b"\xff", "application/fhir+json", 400, "structure"),
        (b"{}", "application/fhir+json", 400, "invalid"),
        (b'{"resourceType":"Patient"}', "application/fhir+json", 400, "invalid"),
        (b"<Communication/>", "application/fhir+xml", 400, "structure"),
        (b"{}", "application/fhir+turtle", 415, "not-supported"),
        (b"{}", "application/fhir+json; fhirVersion=5.0", 415, "not-supported"),
        (b"{}", "text/plain", 415, "not-supported"),
        (
            b'{"resourceType":"Communication","status":"x"}',
            "application/json",
            400,
            "code-invalid",
        ),
        (
            b'{"resourceType":"Communication","status":"completed","colour":1}',
            "text/json",
            400,
            "structure",
        ),
        (
            b'{"resourceType":"Communication","status":"completed","sent":"2026-01-01",'
            b'"payload":[{"contentAttachment":{"data":"QQ=="}}]}',
            "application/json",
            422,
            "invariant",
        ),
    ],
)
def test_a_body_that_cannot_be_stored_is_refused(
    api: Api, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = api.call("POST", "/fhir/Communication", body, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert outcome_code(answer) == code
    assert api.get("Communication")["total"] == 0


def test_a_body_that_is_too_large_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segue.api.negotiation.MAX_BODY", 100)
    answer = create(api, {**NOTE, "payload": [{"contentString": "x" * 200}]})
    assert answer.status_code == 413
    assert outcome_code(answer) == "too-long"


# --- read ---------------------------------------------------------------------------------


def test_a_read_bears_version_and_time(api: Api) -> None:
    id_ = create(api).json()["id"]
    answer = api.call("GET", f"/fhir/Communication/{id_}", client="demo")
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"1"'
    assert "last-modified" in answer.headers


def test_a_read_of_what_is_known_needs_no_answer(api: Api) -> None:
    made = create(api)
    path = f"/fhir/Communication/{made.json()['id']}"
    for headers, status in (
        ({"If-None-Match": 'W/"1"'}, 304),
        ({"If-None-Match": 'W/"2"'}, 200),
        ({"If-Modified-Since": made.headers["last-modified"]}, 304),
        ({"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
    ):
        answer = api.call("GET", path, headers=headers)
        assert answer.status_code == status, headers
        assert answer.headers["etag"] == 'W/"1"'


@pytest.mark.parametrize(
    "path",
    [
        "Communication/none",
        "Communication/none/_history",
        "Communication/none/_history/1",
        "Quux",
        "Quux/1",
        "Quux/1/_history",
        "Communication/a/b/c/d",
    ],
)
def test_what_is_not_there_is_not_found(api: Api, path: str) -> None:
    answer = api.call("GET", f"/fhir/{path}")
    assert answer.status_code == 404
    assert outcome_code(answer) in ("not-found", "not-supported")


def test_a_head_request_has_the_headers_and_no_body(api: Api) -> None:
    id_ = create(api).json()["id"]
    answer = api.call("HEAD", f"/fhir/Communication/{id_}")
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"1"')


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/fhir+json", 200),
        ("application/json;q=0.9, text/html", 200),
        ("*/*", 200),
        ("application/fhir+json; fhirVersion=4.0", 200),
        ("application/fhir+json; fhirVersion=3.0", 406),
        ("application/fhir+xml;q=0, text/turtle", 406),
        ("text/html", 406),
    ],
)
def test_json_is_spoken(api: Api, accept: str, status: int) -> None:
    answer = api.call("GET", "/fhir/Communication", headers={"Accept": accept})
    assert answer.status_code == status
    assert answer.headers["content-type"] == FHIR


def test_format_overrules_accept(api: Api) -> None:
    path = "/fhir/Communication?_format="
    xml = {"Accept": "application/fhir+xml"}
    for name in ("json", "application/fhir+json"):
        answer = api.call("GET", path + name, headers=xml)
        assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR)
    assert api.call("GET", path + "xml").text.startswith("<?xml")
    assert api.call("GET", path + "ttl").status_code == 406


# --- update -------------------------------------------------------------------------------


def test_an_update_makes_a_new_version_and_the_old_one_stays(api: Api) -> None:
    made = create(api).json()
    path = f"/fhir/Communication/{made['id']}"
    answer = api.call("PUT", path, {**made, "status": "entered-in-error"})
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"2"'
    assert answer.headers["location"] == f"{BASE}/Communication/{made['id']}/_history/2"
    assert api.call("GET", f"{path}/_history/1").json()["status"] == "completed"
    assert api.call("GET", f"{path}/_history/2").json()["status"] == "entered-in-error"
    assert api.call("GET", f"{path}/_history/3").status_code == 404


def test_identical_content_makes_no_version(api: Api) -> None:
    made = create(api).json()
    path = f"/fhir/Communication/{made['id']}"
    again = api.call("PUT", path, dict(reversed(made.items())))
    assert (again.status_code, again.headers["etag"]) == (200, 'W/"1"')
    assert api.get(f"Communication/{made['id']}/_history")["total"] == 1
    assert api.get(f"Provenance?target=Communication/{made['id']}")["total"] == 1


def test_a_new_narrative_is_kept(api: Api) -> None:
    made = create(api).json()
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">new</div>'}
    answer = api.call("PUT", f"/fhir/Communication/{made['id']}", {**made, "text": text})
    assert answer.headers["etag"] == 'W/"2"'
    assert answer.json()["text"] == text


def test_an_update_of_nothing_creates_under_that_id(api: Api) -> None:
    answer = api.call("PUT", "/fhir/Communication/mine.1", {**NOTE, "id": "mine.1"})
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{BASE}/Communication/mine.1/_history/1"
    assert api.get("Communication/mine.1")["status"] == "completed"


@pytest.mark.parametrize(
    ("id_", "body"),
    [
        ("a", {**NOTE, "id": "b"}),
        ("a", NOTE),
        ("a_b", {**NOTE, "id": "a_b"}),
        ("a", {**NOTE, "id": 1}),
    ],
)
def test_an_update_whose_ids_do_not_fit_is_refused(api: Api, id_: str, body: Any) -> None:
    answer = api.call("PUT", f"/fhir/Communication/{id_}", body)
    assert answer.status_code == 400
    assert api.get("Communication")["total"] == 0


def test_if_match_guards_against_lost_updates(api: Api) -> None:
    made = create(api).json()
    path = f"/fhir/Communication/{made['id']}"
    changed = {**made, "status": "in-progress"}
    assert api.call("PUT", path, changed, headers={"If-Match": 'W/"1"'}).status_code == 200
    stale = api.call("PUT", path, made, headers={"If-Match": 'W/"1"'})
    assert stale.status_code == 412
    assert "version is 2" in stale.json()["issue"][0]["diagnostics"]
    assert api.call("PUT", path, made, headers={"If-Match": "nonsense"}).status_code == 400
    absent = {**NOTE, "id": "absent"}
    answer = api.call("PUT", "/fhir/Communication/absent", absent, headers={"If-Match": 'W/"1"'})
    assert answer.status_code == 412


def test_if_none_match_star_only_creates(api: Api) -> None:
    body = {**NOTE, "id": "once"}
    star = {"If-None-Match": "*"}
    assert api.call("PUT", "/fhir/Communication/once", body, headers=star).status_code == 201
    again = api.call("PUT", "/fhir/Communication/once", body, headers=star)
    assert again.status_code == 412


# --- delete -------------------------------------------------------------------------------


def test_what_was_deleted_is_gone_and_its_history_stays(api: Api) -> None:
    made = create(api).json()
    path = f"/fhir/Communication/{made['id']}"
    deleted = api.call("DELETE", path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert deleted.headers["etag"] == 'W/"2"'
    gone = api.call("GET", path)
    assert gone.status_code == 410
    assert outcome_code(gone) == "deleted"
    assert gone.headers["etag"] == 'W/"2"'
    assert api.call("GET", f"{path}/_history/1").status_code == 200
    assert api.call("GET", f"{path}/_history/2").status_code == 410
    assert api.get("Communication")["total"] == 0
    newest, oldest = api.get(f"Communication/{made['id']}/_history")["entry"]
    assert newest["request"] == {"method": "DELETE", "url": f"Communication/{made['id']}"}
    assert newest["response"]["status"] == "204 No Content"
    assert "resource" not in newest
    assert oldest["request"]["method"] == "POST"


def test_deleting_again_or_nothing_is_no_error(api: Api) -> None:
    made = create(api).json()
    path = f"/fhir/Communication/{made['id']}"
    assert [api.call("DELETE", path).status_code for _ in range(2)] == [204, 204]
    assert api.get(f"Communication/{made['id']}/_history")["total"] == 2
    assert api.call("DELETE", "/fhir/Communication/never").status_code == 204


def test_an_update_brings_back_what_was_deleted(api: Api) -> None:
    made = create(api).json()
    path = f"/fhir/Communication/{made['id']}"
    api.call("DELETE", path)
    answer = api.call("PUT", path, made)
    assert (answer.status_code, answer.headers["etag"]) == (201, 'W/"3"')
    assert api.call("GET", path).status_code == 200


def test_a_delete_of_another_version_is_refused(api: Api) -> None:
    made = create(api).json()
    path = f"/fhir/Communication/{made['id']}"
    assert api.call("DELETE", path, headers={"If-Match": 'W/"7"'}).status_code == 412
    assert api.call("GET", path).status_code == 200


# --- conditional --------------------------------------------------------------------------


def named(value: str, **more: Any) -> dict[str, Any]:
    return {**NOTE, "identifier": [{"system": "urn:x", "value": value}], **more}


def test_a_conditional_create_finds_what_is_there(api: Api) -> None:
    once = {"If-None-Exist": "identifier=urn:x|1"}
    first = create(api, named("1"), headers=once)
    again = create(api, named("1", status="stopped"), headers=once)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["location"] == first.headers["location"]
    assert again.json()["status"] == "completed"
    create(api, named("1"))
    assert create(api, named("1"), headers=once).status_code == 412


@pytest.mark.parametrize("query", ["", "colour=red", "_count=1"])
def test_a_condition_that_selects_nothing_is_refused(api: Api, query: str) -> None:
    answer = create(api, headers={"If-None-Exist": query})
    assert answer.status_code in (400, 412)
    assert api.get("Communication")["total"] == 0


def test_a_conditional_update_creates_updates_or_refuses(api: Api) -> None:
    path = "/fhir/Communication?identifier=urn:x|1"
    made = api.call("PUT", path, named("1"))
    assert made.status_code == 201
    same = api.call("PUT", path, named("1"))
    assert (same.status_code, same.headers["etag"]) == (200, 'W/"1"')
    changed = api.call("PUT", path, named("1", status="stopped"))
    assert (changed.status_code, changed.headers["etag"]) == (200, 'W/"2"')
    assert changed.json()["id"] == made.json()["id"]
    assert api.call("PUT", path, named("1", id="other")).status_code == 400
    create(api, named("1"))
    assert api.call("PUT", path, named("1")).status_code == 412
    assert api.call("PUT", "/fhir/Communication", named("1")).status_code == 400


def test_a_conditional_update_of_nothing_takes_the_clients_id(api: Api) -> None:
    answer = api.call("PUT", "/fhir/Communication?identifier=urn:x|9", named("9", id="nine"))
    assert answer.status_code == 201
    assert api.get("Communication/nine")["id"] == "nine"


def test_a_conditional_delete_deletes_one_and_never_many(api: Api) -> None:
    path = "/fhir/Communication?identifier=urn:x|1"
    assert api.call("DELETE", path).status_code == 204
    first = create(api, named("1")).json()["id"]
    assert api.call("DELETE", path).status_code == 204
    assert api.call("GET", f"/fhir/Communication/{first}").status_code == 410
    create(api, named("1"))
    create(api, named("1"))
    assert api.call("DELETE", path).status_code == 412
    assert api.get("Communication")["total"] == 2
    assert api.call("DELETE", "/fhir/Communication").status_code == 400


# --- history ------------------------------------------------------------------------------


def test_a_history_is_newest_first_and_pages(api: Api) -> None:
    made = create(api).json()
    path = f"/fhir/Communication/{made['id']}"
    for n in range(4):
        api.call("PUT", path, {**NOTE, "id": made["id"], "payload": [{"contentString": str(n)}]})
    seen = []
    url = f"Communication/{made['id']}/_history?_count=2"
    while url:
        bundle = api.get(url)
        assert (bundle["type"], bundle["total"]) == ("history", 5)
        seen += [entry["resource"]["meta"]["versionId"] for entry in bundle["entry"]]
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        url = links.get("next", "").removeprefix(f"{BASE}/")
    assert seen == ["5", "4", "3", "2", "1"]


def test_a_version_after_a_deletion_was_created(api: Api) -> None:
    path = "/fhir/Communication/again"
    sent = {"resourceType": "Communication", "id": "again", "status": "completed"}
    assert [api.call("PUT", path, sent).status_code for _ in "ab"] == [201, 200]
    assert api.call("DELETE", path).status_code == 204
    assert api.call("PUT", path, sent).status_code == 201
    api.call("PUT", path, sent | {"status": "entered-in-error"})
    entries = api.get("Communication/again/_history")["entry"]
    assert [(one["request"]["method"], one["response"]["status"][:3]) for one in entries] == [
        ("PUT", "200"), ("PUT", "201"), ("DELETE", "204"), ("POST", "201")]  # fmt: skip
    whole = {one["response"]["status"] for one in api.get("Communication/_history")["entry"]}
    assert whole == {"200 OK", "201 Created", "204 No Content"}


def test_a_type_has_a_history_and_so_has_the_whole_store(api: Api) -> None:
    first = create(api).json()["id"]
    second = create(api).json()["id"]
    api.call("DELETE", f"/fhir/Communication/{first}")
    entries = api.get("Communication/_history")["entry"]
    assert [e["fullUrl"].rpartition("/")[2] for e in entries] == [first, second, first]
    everything = api.get("_history")
    assert everything["total"] == 6, "three versions, each with its Provenance"


def test_since_leaves_out_what_is_older(api: Api) -> None:
    create(api)
    api.at("2026-07-11T10:00:00-04:00")
    newer = create(api).json()["id"]
    bundle = api.get("Communication/_history?_since=2026-07-11T00:00:00-04:00")
    assert [e["resource"]["id"] for e in bundle["entry"]] == [newer]
    assert api.call("GET", "/fhir/Communication/_history?_since=soon").status_code == 400
    assert api.call("GET", "/fhir/Communication/_history?_count=x").status_code == 400


def test_histories_and_searches_are_valid_bundles(api: Api) -> None:
    made = create(api).json()
    api.call("DELETE", f"/fhir/Communication/{made['id']}")
    create(api)
    gate = Gate(definitions())
    for path in ("Communication/_history", "Communication", "_history", "metadata"):
        assert gate.issues(api.get(path)) == []


# --- who ----------------------------------------------------------------------------------


def test_without_a_token_nothing_is_told_but_what_the_server_is(api: Api) -> None:
    answer = api.call("GET", "/fhir/Communication", client="")
    assert answer.status_code == 401
    assert outcome_code(answer) == "login"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert api.call("GET", "/fhir/Communication", client="stranger").status_code == 401
    assert api.call("GET", "/fhir/metadata", client="").status_code == 200


def test_a_reader_reads_and_does_not_write(api: Api) -> None:
    made = create(api).json()
    path = f"/fhir/Communication/{made['id']}"
    assert create(api, client="demo").status_code == 403
    assert api.call("PUT", path, made, client="demo").status_code == 403
    assert api.call("DELETE", path, client="demo").status_code == 403
    assert api.post([NOTE], client="demo").status_code == 403
    found = api.call(
        "POST",
        "/fhir/Communication/_search",
        "status=completed",
        client="demo",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert found.status_code == 200


def test_on_loopback_without_tokens_everybody_may(tmp_path: Path) -> None:
    with running(tmp_path / "data", tmp_path, open_to_all=True) as api:
        assert create(api, client="").status_code == 201


def test_a_method_that_is_not_there_says_which_are(api: Api) -> None:
    answer = api.call("DELETE", "/fhir")
    assert answer.status_code == 405
    assert outcome_code(answer) == "not-supported"
    assert answer.headers["allow"] == "OPTIONS, POST"
    options = api.call("OPTIONS", "/fhir/Communication/1", client="")
    assert options.status_code == 204
    assert options.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"
    assert api.call("PUT", "/fhir/a/b/c/d/e").status_code == 404
    assert api.call("OPTIONS", "/fhir/a/b/c/d/e").status_code == 404


def test_what_breaks_answers_without_telling_what_it_held(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("SMITH^JOHN")

    monkeypatch.setattr("segue.api.read.current", broken)
    answer = api.call("GET", "/fhir/Communication/1")
    assert answer.status_code == 500
    assert outcome_code(answer) == "exception"
    assert "SMITH" not in answer.text


# --- metadata -----------------------------------------------------------------------------


def test_the_capability_statement_says_what_is_there(api: Api) -> None:
    statement = api.get("metadata")
    assert statement["fhirVersion"] == "4.0.1"
    (rest,) = statement["rest"]
    kinds = {one["type"]: one for one in rest["resource"]}
    task = kinds["Task"]
    codes = {one["code"] for one in task["interaction"]}
    assert {"read", "vread", "create", "update", "delete", "search-type"} <= codes
    assert "patch" in codes
    offered = {one["name"] for one in task["searchParam"]}
    assert {"_id", "_lastUpdated", "identifier", "patient", "status", "owner"} <= offered
    values = {"token": "x", "reference": "Patient/x", "date": "2026", "string": "x", "uri": "x"}
    for one in task["searchParam"]:
        path = f"/fhir/Task?{one['name']}={values[one['type']]}"
        answer = api.call("GET", path, headers={"Prefer": "handling=strict"})
        assert answer.status_code == 200, path
    assert {one["code"] for one in rest["interaction"]} >= {"transaction", "batch"}
    assert "Parameters" not in kinds
    us_core = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"
    assert us_core in kinds["Patient"]["supportedProfile"]
    assert "http://hl7.org/fhir/CompartmentDefinition/patient" in rest["compartment"]
    assert {"application/json-patch+json", "application/merge-patch+json"} <= set(
        statement["patchFormat"]
    )
    gate = Gate(definitions())
    assert gate.issues(statement) == []
