"""What newcomers and tools are told: the page at `/`, OpenAPI, and that both are true."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.api.fhir import INTERACTIONS
from tests.support.api import BASE, Api, running

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    where: Path = tmp_path_factory.mktemp("front")
    with running(where / "data", where) as started:
        yield started


def test_the_page_tells_what_this_is_and_its_links_lead_somewhere(api: Api) -> None:
    answer = api.call("GET", "/", client="", headers=BROWSER)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "FHIR-native integration engine" in answer.text
    assert "Patient/[id]/$everything" in answer.text
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text)
    links = re.findall(r'href="([^"]+)"', answer.text)
    assert len(links) >= 4
    for link in links:
        # This face has no parts whose health could be told: that the path is there is enough.
        assert link == "/health" or api.call("GET", link, headers=BROWSER).status_code == 200, link


def test_its_examples_are_answered(api: Api) -> None:
    text = api.call("GET", "/").text.replace("&amp;", "&").replace("&#x27;", "'")
    asked = re.findall(rf"'{re.escape(BASE)}/([^']+)'", text)
    assert len(asked) >= 4
    for path in asked:
        strict = {"Prefer": "handling=strict"}
        assert api.call("GET", f"/fhir/{path}", headers=strict).status_code == 200, path


def test_the_description_names_every_route_and_its_references_resolve(api: Api) -> None:
    found = api.call("GET", "/openapi.json", client="").json()
    assert found["openapi"].startswith("3.")
    for one in INTERACTIONS:
        if not one.path.endswith("/"):
            described = found["paths"][one.path][one.method.lower()]
            assert described["summary"]
            names = {p["name"] for p in described["parameters"] if p["in"] == "path"}
            assert names == set(re.findall(r"\{(\w+)\}", one.path))
    assert {"/health", "/metrics", "/hl7v2/{feed}", "/fhir/metadata"} <= found["paths"].keys()
    ids = [o["operationId"] for path in found["paths"].values() for o in path.values()]
    assert len(ids) == len(set(ids))
    for reference in re.findall(r"#/components/schemas/(\w+)", str(found)):
        assert reference in found["components"]["schemas"]
    everything = found["paths"]["/fhir/{type}/{id}/${name}"]["get"]["description"]
    assert "Patient/[id]/$everything" in everything
