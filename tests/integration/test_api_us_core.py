"""Every search that US Core 6.1 asks for, by URL and by form: what it means, and no more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, running
from tests.support.us_core import INCLUDES, Resource, chart, combinations, place, query, values

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Two charts: person 0, who died, and person 1, of another place."""
    directory: Path = tmp_path_factory.mktemp("us-core")
    with running(directory / "data", directory) as started:
        whole: list[Resource] = [*place(0), *place(1), *chart(0, 2), *chart(1, 2)]
        bundle = {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "resource": one,
                    "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"},
                }
                for one in whole
            ],
        }
        stored = started.call("POST", "/fhir", bundle)
        assert stored.status_code == 200, stored.text
        yield started


def matches(bundle: Any) -> list[str]:
    return [
        f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        for entry in bundle.get("entry", [])
        if entry["search"]["mode"] == "match"
    ]


@pytest.mark.parametrize(("type_", "parameters"), combinations())
def test_a_search_of_us_core_finds_the_chart_and_nobody_elses(
    api: Api, type_: str, parameters: tuple[str, ...]
) -> None:
    for n in (0, 1) if "death-date" not in parameters else (0,):
        given = values(n, 2)[type_]
        asked = query(parameters, given)
        found = api.get(f"{type_}?{asked}")
        wanted = f"{type_}/{given['_id']}"
        assert wanted in matches(found), asked
        if "patient" in parameters or type_ in ("Patient", "Location", "Practitioner"):
            assert len(matches(found)) == found["total"] == 1, asked
        links = {link["relation"]: link["url"] for link in found["link"]}
        assert all(f"{name}=" in links["self"] for name in parameters)
        posted = api.call("POST", f"/fhir/{type_}/_search", asked, headers=FORM)
        assert (posted.status_code, matches(posted.json())) == (200, matches(found))
        for name in parameters:
            # Each parameter counts: with a value that nothing has, nothing is found.
            other = {**given, name: "1800-01-01" if given[name][:2] in ("ge", "le") else "1900"}
            if name in ("patient", "encounter", "location", "practitioner"):
                other[name] = given[name].split("/")[0] + "/nobody"
            if name in ("target-date", "death-date") or given[name].startswith("le"):
                other[name] = "lt1801"
            assert matches(api.get(f"{type_}?{query(parameters, other)}")) == [], (asked, name)


@pytest.mark.parametrize("include", INCLUDES)
def test_what_us_core_includes_comes_along(api: Api, include: str) -> None:
    source, name, *target = include.split(":")
    bundle = api.get(f"{source}?_include={include}&_count=100")
    added = {
        entry["resource"]["resourceType"]
        for entry in bundle["entry"]
        if entry["search"]["mode"] == "include"
    }
    kinds = {"medication": "Medication", "endpoint": "Endpoint", "practitioner": "Practitioner"}
    wanted = target[0] if target else kinds[name]
    # Nobody's kin is on a team of these charts.
    assert added == (set() if wanted == "RelatedPerson" else {wanted})


def test_who_made_a_resource_comes_along(api: Api) -> None:
    goal = values(0, 2)["Goal"]["_id"]
    made = api.call(
        "POST",
        "/fhir/Provenance",
        {
            "resourceType": "Provenance",
            "target": [{"reference": f"Goal/{goal}"}],
            "recorded": "2026-07-10T12:00:00Z",
            "agent": [{"who": {"reference": "Practitioner/doc0"}}],
        },
    )
    assert made.status_code == 201
    bundle = api.get("Goal?patient=Patient/pat0&_revinclude=Provenance:target")
    modes = [(e["resource"]["resourceType"], e["search"]["mode"]) for e in bundle["entry"]]
    assert ("Goal", "match") in modes
    assert ("Provenance", "include") in modes
    assert bundle["total"] == 1
