"""Whatever is sent, the answer is a 4xx with an OperationOutcome, and nothing is stored.

Requests are drawn by hypothesis and sent to the application in process.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api import Api, running

HARSH = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TYPES = ("Communication", "Patient", "Task", "Bundle", "Binary", "Quux", "Parameters", "")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    where: Path = tmp_path_factory.mktemp("hostile")
    with running(where / "data", where) as started:
        yield started


NAMES = (
    "id meta text div status identifier name subject reference extension url value system"
    " contained resourceType valueDecimal entry resource request method link type part"
    " parameter op path"
)
WORDS = (
    "Communication payload content status where( ) [0] [9] . ' = $this first() ofType(string)"
    " descendants() resolve() note % and + 1"
)
ANY = st.characters() | st.sampled_from("\x00\x01\ud800\ufffe%&=|,\\$/.:?#[]{}\"' \u2028")
TEXT = st.text(ANY, max_size=30).map(lambda text: text.encode("utf-8", "replace").decode())
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False).map(float)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
    | st.sampled_from(
        [
            float("nan"),
            "\ud800",
            "urn:uuid:1",
            "Patient/1",
            "Patient?identifier=x",
            "#a",
            "2026-02-30",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES.split()) | st.text(ANY, max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


def stored(api: Api) -> int:
    return int(api.get("_history?_summary=count")["total"])


def judge(api: Api, answer: Any, before: int) -> None:
    """A refusal says so properly and leaves nothing behind; a success is one."""
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.json()["resourceType"] == "OperationOutcome"
        assert answer.json()["issue"]
        assert stored(api) == before


@given(
    st.sampled_from(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")),
    st.lists(st.sampled_from(TYPES) | st.sampled_from(["_history", "$everything", "_search", "1"])
             | TEXT, max_size=4),
    st.lists(st.tuples(st.sampled_from(["_count", "_sort", "_include", "identifier", "status",
                                        "_lastUpdated", "_id", "_cursor", "_elements", "_summary",
                                        "_since", "_at", "_format", "subject", "name:exact",
                                        "_has:Task:subject:status", "conditionalDelete"]) | TEXT,
                       TEXT | st.sampled_from(["1", "a|b", "ge2026", "Patient/1", "xml"])),
             max_size=3),
    st.dictionaries(st.sampled_from(["If-Match", "If-None-Match", "If-None-Exist", "Prefer",
                                     "If-Modified-Since", "Accept", "Content-Type",
                                     "Content-Encoding"]),
                    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
                    max_size=3),
)  # fmt: skip
@HARSH
def test_no_url_and_no_header_breaks_anything(
    api: Api, method: str, path: list[str], query: Any, headers: dict[str, str]
) -> None:
    before = stored(api)
    url = "/fhir/" + "/".join(quote(part, safe="") for part in path)
    asked = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    answer = api.call(method, f"{url}?{asked}", headers=headers)
    assert answer.status_code < 500, (method, url, asked, headers, answer.text)
    if answer.status_code >= 400:
        assert stored(api) == before
        if method != "HEAD" and "xml" not in answer.headers["content-type"]:
            assert answer.json()["resourceType"] == "OperationOutcome"


def test_bytes_in_a_query_that_are_no_text_are_refused(api: Api) -> None:
    # No client library sends such a query.
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/fhir/Patient",
        "query_string": b"name=\xff",
        "headers": [(b"host", b"testserver"), (b"authorization", b"Bearer pcpb")],
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def nothing() -> Any:
        return {"type": "http.request"}

    asyncio.run(api.app(scope, nothing, send))
    assert sent[0]["status"] == 400
    assert b"UTF-8" in sent[1]["body"]


@given(st.sampled_from(TYPES), JSON)
@HARSH
def test_no_json_breaks_anything(api: Api, type_: str, value: Any) -> None:
    before = stored(api)
    if isinstance(value, dict) and type_:
        value = {"status": "completed", **value, "resourceType": type_}
    body = json.dumps(value).encode()
    headers = {"Content-Type": "application/fhir+json"}
    judge(api, api.call("POST", f"/fhir/{type_}", body, headers=headers), before)


ENTRY = st.fixed_dictionaries(
    {
        "request": st.fixed_dictionaries(
            {
                "method": st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "x"]),
                "url": TEXT
                | st.sampled_from(
                    ["Patient/1", "Patient", "Patient?name=x", "$meta", "_history", "Patient/$x"]
                ),
            },
            optional={
                "ifMatch": TEXT,
                "ifNoneMatch": TEXT,
                "ifNoneExist": TEXT,
                "ifModifiedSince": TEXT,
            },
        )
    },
    optional={
        "resource": JSON
        | JSON.map(lambda value: {"resourceType": "Patient", "name": value})
        | JSON.map(lambda value: {"resourceType": "Parameters", "parameter": value}),
        "fullUrl": TEXT | st.just("urn:uuid:1"),
    },
)


@given(st.sampled_from(["batch", "transaction"]), st.lists(ENTRY | JSON, max_size=4))
@HARSH
def test_no_bundle_breaks_anything(api: Api, kind: str, entries: list[Any]) -> None:
    before = stored(api)
    body = json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()
    headers = {"Content-Type": "application/fhir+json"}
    answer = api.call("POST", "/fhir", body, headers=headers)
    judge(api, answer, before)
    if answer.status_code == 200:
        for one in answer.json().get("entry", []):
            assert not one["response"]["status"].startswith("5"), one


PATCH = (
    st.lists(
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
                "path": TEXT | st.sampled_from(["", "/status", "/payload/-", "/payload/0", "/id"]),
            },
            optional={"value": JSON, "from": TEXT | st.sampled_from(["", "/payload", "/meta"])},
        ),
        max_size=4,
    )
    | JSON
)


@given(
    st.sampled_from(
        ["application/json-patch+json", "application/merge-patch+json", "application/fhir+json"]
    ),
    PATCH,
)
@HARSH
def test_no_patch_breaks_anything(api: Api, kind: str, change: Any) -> None:
    note = {"resourceType": "Communication", "id": "p", "status": "completed"}
    note["payload"] = [{"contentString": "a"}]  # type: ignore[assignment]
    api.call("PUT", "/fhir/Communication/p", note)
    before = stored(api)
    body = json.dumps(change).encode()
    answer = api.call("PATCH", "/fhir/Communication/p", body, headers={"Content-Type": kind})
    judge(api, answer, before)


PATHS = st.lists(
    st.sampled_from(WORDS.split()),
    max_size=8,
).map("".join)


@given(
    st.sampled_from(["add", "insert", "delete", "replace", "move", "x"]),
    PATHS,
    st.sampled_from(["status", "payload", "note", "x", ""]),
    JSON,
    st.integers(-1, 3),
)
@HARSH
def test_no_path_of_a_patch_breaks_anything(
    api: Api, kind: str, path: str, name: str, value: Any, index: int
) -> None:
    note = {"resourceType": "Communication", "id": "p", "status": "completed"}
    note["payload"] = [{"contentString": "a"}, {"contentString": "b"}]  # type: ignore[assignment]
    api.call("PUT", "/fhir/Communication/p", note)
    before = stored(api)
    parts = [
        {"name": "type", "valueCode": kind},
        {"name": "path", "valueString": path},
        {"name": "name", "valueString": name},
        {"name": "value", "valueString": value},
        *({"name": one, "valueInteger": index} for one in ("index", "source", "destination")),
    ]
    sent = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
    judge(api, api.call("PATCH", "/fhir/Communication/p", json.dumps(sent).encode(),
                        headers={"Content-Type": "application/fhir+json"}), before)  # fmt: skip


XML_PIECES = st.lists(
    st.sampled_from(
        [
            "<Patient xmlns='http://hl7.org/fhir'>", "</Patient>", "<name>", "</name>",
            "<given value='a'/>", "<active value='true'/>", "<!DOCTYPE x>", "&amp;", "&x;", "<?x?>",
            "<contained>", "</contained>", "<div xmlns='http://www.w3.org/1999/xhtml'>", "</div>",
            "<text>", "</text>", "<!-- -->", "<![CDATA[x]]>", "<extension url='u'/>", "\x00", "x",
        ]
    ),
    max_size=10,
).map("".join)  # fmt: skip


@given(XML_PIECES, st.booleans())
@HARSH
def test_no_xml_breaks_anything(api: Api, text: str, whole: bool) -> None:
    before = stored(api)
    body = f"<Patient xmlns='http://hl7.org/fhir'>{text}</Patient>" if whole else text
    headers = {"Content-Type": "application/fhir+xml"}
    judge(api, api.call("POST", "/fhir/Patient", body.encode(), headers=headers), before)
