"""`segue check`: protocols that are in force, and those of a site that are wrong."""

import json
from pathlib import Path

from typer.testing import CliRunner

from segue.cli import app
from segue.fhir.profiles import shipped

runner = CliRunner()


def check(folder: Path, *lines: str) -> tuple[int, list[dict[str, str]]]:
    """The exit code, and what is said of protocols."""
    file = folder / "segue.yaml"
    file.write_text("\n".join(["version: 1", *lines, ""]), encoding="utf-8")
    done = runner.invoke(app, ["check", "--config", str(file), "--json"])
    return done.exit_code, json.loads(done.stdout)["protocols"]


def test_it_says_which_protocols_are_in_force(tmp_path: Path) -> None:
    told = "in force: PD-00, PD-05; not in force: PD-01, PD-02, PD-03, PD-04"
    assert check(tmp_path, "protocols: [PD-00, PD-05]") == (
        0,
        [{"severity": "information", "text": told}],
    )


def test_a_sites_protocol_is_tried_with_its_vectors_and_as_a_resource(tmp_path: Path) -> None:
    own = tmp_path / "own" / "plan_definitions"
    own.mkdir(parents=True)
    text = (shipped() / "plan_definitions" / "pd-03-trc-discharge-information.json").read_text()
    changed = {**json.loads(text.replace("2026-07-04", "2026-07-05")), "topic": []}
    (own / "three.json").write_text(json.dumps(changed), encoding="utf-8")
    code, found = check(tmp_path, "profiles: [./own]")
    assert code == 1
    said = {level: [one["text"] for one in found if one["severity"] == level]
            for level in ("error", "warning")}  # fmt: skip
    assert said["error"]
    assert {text.partition(":")[0] for text in said["error"]} == {"PD-03"}
    (unfit,) = said["warning"]
    assert unfit.endswith("it cannot be shown over FHIR: an empty list says nothing: leave it out")
