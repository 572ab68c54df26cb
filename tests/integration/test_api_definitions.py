"""The definitions that the engine works by are read and searched, and not written."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue.care.protocols import Protocols, name_of
from segue.fhir.validation.validator import Validator
from segue.pipeline.charts import Charts, Directory
from segue.pipeline.definitions import own, register_definitions
from tests.support.api import Api, running

PROFILE = {
    "resourceType": "StructureDefinition",
    "id": "our-goal",
    "url": "http://example.org/StructureDefinition/our-goal",
    "name": "OurGoal",
    "status": "active",
    "kind": "resource",
    "abstract": False,
    "type": "Goal",
    "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Goal",
    "derivation": "constraint",
    "differential": {"element": [{"id": "Goal.note", "path": "Goal.note", "min": 1}]},
}
CODES = {
    "resourceType": "ValueSet",
    "url": "http://example.org/ValueSet/colours",
    "status": "active",
    "compose": {"include": [{"system": "urn:colours", "concept": [{"code": "red"}]}]},
}


@pytest.fixture
def api(where: Path | str, tmp_path: Path) -> Iterator[Api]:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "goal.json").write_text(json.dumps(PROFILE), encoding="utf-8")
    (folder / "colours.json").write_text(json.dumps(CODES), encoding="utf-8")
    with running(where, tmp_path) as started:
        hub = started.bench.hub
        site = replace(hub, validator=Validator(hub.gate, (folder,)))
        register_definitions(site)
        yield started
        before = started.get("_history?_summary=count")["total"]
        register_definitions(site)
        assert started.get("_history?_summary=count")["total"] == before


def test_they_are_read_and_searched_as_other_resources(api: Api) -> None:
    plan = api.get("PlanDefinition/pd-01-tcm")
    assert plan["url"] == "urn:segue:PlanDefinition:tcm"
    (found,) = api.find("PlanDefinition", f"url={plan['url']}&status=active")
    assert found["id"] == "pd-01-tcm"
    (idle,) = api.find("PlanDefinition", "status=draft")
    assert idle["id"] == "pd-00-core-coordination", "not in force"
    assert len(api.find("ActivityDefinition")) == len(
        list(own(api.bench.hub, "ActivityDefinition"))
    )
    assert api.get("ActivityDefinition/tcm-contact/_history")["total"] == 1
    table = api.get("ConceptMap/HL70112-DischargeDisposition")
    assert table["url"] == "urn:segue:ConceptMap:HL70112-DischargeDisposition"
    assert api.get("StructureDefinition/our-goal")["type"] == "Goal"
    (colours,) = api.find("ValueSet", f"url={CODES['url']}")
    expanded = api.get(f"ValueSet/{colours['id']}/$expand")["expansion"]
    assert [one["code"] for one in expanded["contains"]] == ["red"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_they_are_not_written_by_clients(api: Api, method: str) -> None:
    plan = api.get("PlanDefinition/pd-01-tcm")
    body = {"PUT": {**plan, "title": "Other"}, "PATCH": {"title": "Other"}}.get(method)
    kind = "application/merge-patch+json" if method == "PATCH" else "application/fhir+json"
    data = json.dumps(body) if body else None
    answer = api.call(
        method, "/fhir/PlanDefinition/pd-01-tcm", data, headers={"Content-Type": kind}
    )
    assert answer.status_code == 422, answer.text
    text = answer.json()["issue"][0]["diagnostics"]
    assert "PlanDefinition" in text
    assert "store" in text
    assert api.get("PlanDefinition/pd-01-tcm") == plan


def test_what_a_client_stored_first_stays(where: Path | str, tmp_path: Path) -> None:
    with running(where, tmp_path) as api:
        mine = {"resourceType": "ActivityDefinition", "id": "engage", "status": "draft"}
        assert api.call("PUT", "/fhir/ActivityDefinition/engage", mine).status_code == 201
        register_definitions(api.bench.hub)
        assert api.get("ActivityDefinition/engage")["status"] == "draft"
        assert api.get("ActivityDefinition/find-pcp")["status"] == "active"


def test_a_protocol_is_shown_as_a_draft_until_it_is_put_in_force(
    where: Path | str, tmp_path: Path
) -> None:
    with running(where, tmp_path) as api:
        hub = api.bench.hub
        shown = []
        for names in (["PD-01"], ["PD-00"], ["PD-01"]):
            register_definitions(replace(hub, protocols=hub.protocols.in_force(names)))
            shown.append(api.get("PlanDefinition/pd-00-core-coordination")["status"])
        assert shown == ["draft", "active", "draft"]


def test_a_protocol_whose_file_is_gone_is_retired_and_comes_back_with_it(
    where: Path | str, tmp_path: Path
) -> None:
    with running(where, tmp_path) as api:
        bench, whole = api.bench, api.bench.hub
        register_definitions(whole)
        bench.process(adt("A01", 6), adt("A03", 8))
        asked = [one for one in api.find("Task", "status=requested") if of_pd_05(one)]
        assert asked
        parts = whole.protocols
        without = Protocols(
            [one for one in parts.actions.values() if one.protocol != "PD-05"],
            parts.clocks,
            [one for one in parts.definitions if name_of(one) != "PD-05"],
            activities=parts.activities,
        )
        shown = []
        for protocols in (without, without, parts):
            # As after a start: nothing of before is remembered.
            hub = replace(
                whole,
                protocols=protocols,
                rules_digest=b"",
                charts=Charts(),
                directory=Directory(),
            )
            register_definitions(hub)
            found = api.get("PlanDefinition/pd-05-surveillance")
            shown.append((found["status"], found["meta"]["versionId"]))
            if protocols is without:
                bench.hub = hub
                bench.process(adt("A03", 9))
                for task in asked:
                    assert api.get(f"Task/{task['id']}")["status"] == "cancelled"
                others = [one for one in api.find("Task") if not of_pd_05(one)]
                assert "requested" in {one["status"] for one in others}
        assert shown == [("retired", "2"), ("retired", "2"), ("active", "3")]


def of_pd_05(task: dict[str, Any]) -> bool:
    return "surveillance" in json.dumps(task.get("instantiatesCanonical", ""))


def adt(event: str, day: int) -> str:
    """A stay that began on 6 July and ends, from its A03 on, on the 8th."""
    at = f"202607{day:02}120000-0400"
    end = ("01" if day == 8 else "06") + "|" * 9 + "20260708120000-0400" if day >= 8 else ""
    return "\r".join(
        (
            f"MSH|^~\\&|EPIC|HOSPA|HUB|HIE|{at}||ADT^{event}|{day}|P|2.5.1",
            f"EVN|{event}|{at}",
            "PID|1||100^^^HOSPA^MR||DOE^JANE||19500101|F",
            "PV1|1|I|4W^1^A" + "|" * 16 + "V1" + "|" * 17 + end,
        )
    )
