"""`segue map`: what it prints and how it ends."""

import json

import pytest
from typer.testing import CliRunner

from segue.cli.map import app
from segue.cli.output import Failure
from segue.mapping.differences import differences
from segue.mapping.load import load, shipped
from tests.unit.mapping.samples import PID, PV1, message

runner = CliRunner()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.hl7"
    path.write_text(message("A06", PID, PV1, "ZPD|1||secret"))
    return path


def test_apply_prints_one_line_of_json_for_each_message(file):
    file.write_text(file.read_text() + "\r" + message("A08", control_id="HA2"))
    result = runner.invoke(app, ["apply", str(file), "--format", "ndjson"])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [(line["index"], line["control_id"], line["event"]) for line in lines] == [
        (0, "HA1", "A06"),
        (1, "HA2", "A08"),
    ]
    first = lines[0]
    assert set(first) == {
        *("file", "index", "control_id", "event", "structure", "resources", "issues", "unmapped")
    }
    assert first["unmapped"] == ["ZPD-1", "ZPD-3"]
    assert "secret" not in result.stdout
    encounter = next(r for r in first["resources"] if r["resourceType"] == "Encounter")
    assert encounter["status"] == "in-progress"


def test_unreadable_input_is_a_line_too_and_ends_with_one(tmp_path):
    path = tmp_path / "b.hl7"
    path.write_text("nothing of HL7")
    result = runner.invoke(app, ["apply", str(path), "--format", "ndjson"])
    (line,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert (line["control_id"], line["event"], line["resources"]) == (None, None, [])
    assert line["issues"][0]["severity"] == "error"


def test_explain_names_rule_layer_table_and_result(file):
    result = runner.invoke(app, ["explain", str(file), "PV1-2"])
    assert result.exit_code == 0
    assert "core/PV1_Encounter.class  through HL70004_ActCode" in result.stdout
    assert "mappings/core/tables/HL70004_ActCode.yaml:" in result.stdout
    assert "IMP" in result.stdout


def test_explain_says_that_no_rule_reads_a_field(file):
    result = runner.invoke(app, ["explain", str(file), "ZPD-3"])
    assert "no rule reads it" in result.stdout


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("pid-3(2).4", "patient "),
        ("MSH-10", "MSH-10  read by the engine itself"),
        ("PV1-52", "PV1-52  empty in this message"),
    ],
)
def test_explain_takes_any_path_into_a_field(file, field, says):
    result = runner.invoke(app, ["explain", str(file), field])
    assert result.exit_code == 0
    assert says in result.stdout


def test_explain_says_how_a_path_is_written(file):
    result = runner.invoke(app, ["explain", str(file), "PV1"])
    assert isinstance(result.exception, Failure)
    assert result.exception.code == 2
    assert "Write SEG-field" in str(result.exception)


def test_explain_as_json_lists_the_steps(file):
    result = runner.invoke(app, ["explain", str(file), "PV1-19", "--json"])
    steps = json.loads(result.stdout)["steps"]
    assert {step["rule"] for step in steps} == {
        "identity.yaml",
        "core/PV1_Encounter.visit-number",
    }


def test_an_unknown_site_is_a_usage_error(file):
    result = runner.invoke(app, ["apply", str(file), "--site", "nowhere"])
    assert isinstance(result.exception, Failure)
    assert result.exception.code == 2


def test_a_failing_case_is_told_with_its_line(tmp_path):
    cases = tmp_path / "core" / "cases"
    cases.mkdir(parents=True)
    text = "\n".join("  " + line for line in message().split("\r"))
    (cases / "wrong.yaml").write_text(
        f"message: |\n{text}\nexpect:\n  - \"%patient.gender = 'male'\"\n"
    )
    from segue.cli.map_test import run_cases
    from segue.mapping.load import load
    from tests.unit.mapping.samples import MAPPINGS

    (tmp_path / "core" / "x").mkdir()
    assert load(MAPPINGS / "core").layers == ["core"]
    for folder in ("segments", "tables", "messages"):
        (tmp_path / "core" / folder).symlink_to(MAPPINGS / "core" / folder)
    (tmp_path / "core" / "identity.yaml").symlink_to(MAPPINGS / "core" / "identity.yaml")
    (result,) = run_cases([cases / "wrong.yaml"], tmp_path)
    assert [str(failure) for failure in result.failures] == [
        "mappings/core/cases/wrong.yaml:7  does not hold: %patient.gender = 'male'"
    ]


def test_diff_shows_what_a_site_has_otherwise_and_why():
    result = runner.invoke(app, ["diff", "example-cerner", "--json"])
    items = json.loads(result.stdout)["items"]
    found = {(one["what"], one["name"]): one for one in items}
    rule = found["rule", "PID_Patient.marital-status"]
    assert rule["change"] == "changed"
    assert rule["after"].endswith("null keep")
    assert "not asked" in rule["because"]
    assert rule["where"].endswith("segments/PID_Patient.yaml:3")
    assert found["code", "HL70004_ActCode.OBSERVATION"]["change"] == "added"
    assert found["identity", "visit"]["before"].startswith("PV1-19")
    assert found["snapshot", "AL1"]["after"] == "all of them"
    assert len(items) == len(found) == 11


def test_diff_of_a_site_that_is_the_core_is_nothing():
    found = differences(load(shipped() / "core"), load(shipped() / "core"))
    assert found == []


def test_every_file_of_the_example_sites_is_short_and_says_why():
    for site in ("example-epic", "example-cerner"):
        files = list((shipped() / "sites" / site).rglob("*.yaml"))
        assert len(files) >= 5
        for file in files:
            if file.parent.name == "cases":
                continue
            text = file.read_text()
            assert len(text.splitlines()) <= 10, file
            assert "because:" in text or file.parent.name == "messages", file
