"""$unmerge, $link, $distinct and $timeline: what stewards decide, and how a visit was learnt."""

from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx

from tests.integration.test_unmerge import ADMISSIONS, MERGE, active, references
from tests.support.api import Api, running

CLOCK = "2026-07-10T15:30:00-04:00"


def asks(api: Api, path: str, client: str = "office", **values: object) -> httpx.Response:
    """POST an operation with its parameters: texts, and references as given."""
    parameter: list[dict[str, Any]] = []
    for name, value in values.items():
        kind = "valueString" if isinstance(value, str) else "valueReference"
        parameter.append({"name": name.rstrip("_"), kind: value})
    body = {"resourceType": "Parameters", "parameter": parameter}
    return api.call("POST", f"/fhir/{path}", body, client=client)


def patients(api: Api) -> tuple[str, str]:
    """Ids of the one that stays and the one that goes."""
    kept, gone = (
        api.find("Patient", f"identifier=urn:segue:authority:HOSPA|{number}")[0]["id"]
        for number in ("500001", "500002")
    )
    return kept, gone


def test_a_steward_parts_two_over_http_and_joins_them_again(
    where: str | Path, tmp_path: Path
) -> None:
    with running(where, tmp_path, clock=CLOCK) as api:
        for message in ADMISSIONS:
            api.hl7(message)
        kept, gone = patients(api)
        before = api.bench.state()
        both = active(api.bench)
        refused = asks(api, f"Patient/{gone}/$unmerge", because="two people")
        assert refused.status_code == 422
        assert "person of its own" in refused.text
        api.hl7(MERGE)
        assert active(api.bench) == [kept]

        done = asks(api, f"Patient/{gone}/$unmerge", because="two people of one name")
        assert done.status_code == 200, done.text
        told = done.json()["parameter"]
        assert {one["valueReference"]["reference"] for one in told[:2]} == {
            f"Patient/{kept}", f"Patient/{gone}",
        }  # fmt: skip
        assert told[2]["valueInteger"] > 0
        assert (active(api.bench), api.bench.state()) == (both, before)
        assert api.bench.rebuilt(tmp_path / "anew").different == []

        other = {"reference": f"Patient/{gone}"}
        joined = asks(api, f"Patient/{kept}/$link", other=other, because="one after all")
        assert joined.json()["parameter"] == [{"name": "changed", "valueBoolean": True}]
        assert len(active(api.bench)) == 1
        again = asks(api, f"Patient/{kept}/$link", other=other, because="one after all")
        assert again.json()["parameter"] == [{"name": "changed", "valueBoolean": False}]
        one = asks(api, f"Patient/{gone}/$distinct", other="HOSPA|500001", because="no")
        assert one.status_code == 422
        parted = asks(api, f"Patient/{gone}/$unmerge", because="no", from_=f"Patient/{kept}")
        assert parted.status_code == 200, parted.text
        assert active(api.bench) == both
        kept_apart = asks(
            api, f"Patient/{gone}/$distinct", other=f"Patient/{kept}", because="twins"
        )
        assert kept_apart.status_code == 200
        references(api.bench)


def test_who_is_who_is_for_stewards_and_wants_a_reason(tmp_path: Path) -> None:
    with running(tmp_path / "data", tmp_path, clock=CLOCK) as api:
        for message in (*ADMISSIONS, MERGE):
            api.hl7(message)
        _, gone = patients(api)
        (gone,) = (p["id"] for p in api.find("Patient", "active=false"))
        path = f"Patient/{gone}/$unmerge"
        for client in ("pcpb", "demo", "nobody"):
            assert asks(api, path, client, because="mine").status_code == 403, client
        assert asks(api, path).status_code == 400
        assert asks(api, path, because=" ").status_code == 400
        assert asks(api, path, because="x", from_="somebody").status_code == 400
        assert asks(api, "Patient/none/$unmerge", because="x").status_code == 404
        assert api.call("GET", f"/fhir/{path}?because=x", client="office").status_code == 405
        assert asks(api, f"Patient/{gone}/$link", because="x").status_code == 400
        assert asks(api, f"Patient/{gone}/$link", because="x", other="A|9").status_code == 422
        assert len(active(api.bench)) == 1


def test_a_visit_tells_how_it_came_to_be_known(tmp_path: Path) -> None:
    with running(tmp_path / "data", tmp_path, clock=CLOCK) as api:
        for message in ADMISSIONS:
            api.hl7(message)
        (stay,) = api.find("Encounter", "status=finished")
        told = api.get(f"Encounter/{stay['id']}/$timeline")["parameter"]
        assert {"name": "visit", "valueString": "HOSPA|W2"} in told
        parts = [
            [
                (part["name"], next(v for k, v in part.items() if k != "name"))
                for part in one["part"]
            ]
            for one in told
            if one["name"] == "told"
        ]
        assert [dict(one)["event"] for one in parts] == ["A01", "A03"]
        assert ("occurred", "2026-07-08T09:00:00-04:00") in parts[1]
        assert any(name == "changed" and "finished" in text for name, text in parts[1])
        drawn = api.get(f"Encounter/{stay['id']}/$timeline?as=picture")
        assert drawn["contentType"] == "image/svg+xml"
        assert b64decode(drawn["data"]).startswith(b"<svg ")
        assert api.call("GET", f"/fhir/Encounter/{stay['id']}/$timeline?as=film").status_code == 400
        assert api.call("GET", "/fhir/Encounter/none/$timeline").status_code == 404
        own = api.call("POST", "/fhir/Encounter", {
            "resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"},
        }).json()["id"]  # fmt: skip
        assert api.call("GET", f"/fhir/Encounter/{own}/$timeline").status_code == 404
