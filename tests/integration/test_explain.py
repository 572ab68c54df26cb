"""Each element of a stored resource leads back to message, field and rule."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from segue.cli import app
from segue.model.identity import ResourceKey
from segue.pipeline.lineage import Lineage, NotExplainedError, lineage
from tests.stories.s11 import messages
from tests.support.hub import Bench, hub

S11 = messages()


def told(bench: Bench, kind: str, id_: str) -> dict[str, Lineage]:
    return {one.element: one for one in lineage(bench.hub, ResourceKey(kind, id_))}


def test_an_encounters_elements_lead_to_the_newest_message_that_said_them(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        bench.work(S11["A04"], S11["A06"])
        (encounter,) = bench.resources("Encounter")
        found = told(bench, "Encounter", encounter["id"])
        origin = found["class"].origins[0]
        assert (origin.event, origin.step.field) == ("A06", "PV1-2")
        assert origin.step.rule == "core/PV1_Encounter.class"
        assert origin.current
        assert [one.event for one in found["class"].origins if one.step.field == "PV1-2"][
            -1
        ] == "A04"
        assert "A04" in found["classHistory"].made
        assert "A06" in found["classHistory"].made
        unexplained = [name for name, one in found.items() if not one.origins and not one.made]
        assert unexplained == []


def test_a_patients_name_leads_to_pid_5(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        bench.work(S11["A04"])
        (patient,) = [p for p in bench.resources("Patient") if p.get("active") is not False]
        assert told(bench, "Patient", patient["id"])["name"].origins[0].step.field == "PID-5"


def test_a_task_is_the_hubs(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        bench.work(*S11.values())
        task = bench.resources("Task")[0]
        assert "hub" in told(bench, "Task", task["id"])["status"].made


def test_what_is_not_stored_says_so(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        bench.work(S11["A04"])
        with pytest.raises(NotExplainedError, match="not stored"):
            told(bench, "Encounter", "nobody")
        (place, *_) = bench.resources("Location")
        with pytest.raises(NotExplainedError, match="Provenance"):
            told(bench, "Location", place["id"])


def test_the_command_prints_one_element(tmp_path: Path) -> None:
    with hub(tmp_path / "data") as bench:
        bench.work(S11["A04"])
        (encounter,) = bench.resources("Encounter")
    config = tmp_path / "segue.yaml"
    config.write_text(
        "version: 1\ndata_dir: ./data\nsites:\n  hospa:\n    authority: HOSPA\n"
        "    zone: America/New_York\n"
    )
    asked = ["explain", f"Encounter/{encounter['id']}", "class", "--config", str(config)]
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0, shown.output
    assert "PV1-2" in shown.output
    (element,) = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)["elements"]
    assert element["value"]["code"] == "EMER"
    assert element["origins"][0]["rule"] == "core/PV1_Encounter.class"
