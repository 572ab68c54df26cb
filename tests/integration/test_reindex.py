"""`segue db reindex`: from a file to the index, as a person does it."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from segue.bootstrap.start import prepare
from segue.bootstrap.stores import opened
from segue.cli import app
from segue.fhir.search.custom import install
from segue.settings.load import load
from tests.contract.test_store_reindex import COLOUR, found, patient
from tests.contract.test_store_search import put

RUNNER = CliRunner()


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = tmp_path / "segue.yaml"
    file.write_text(
        f"version: 1\ndata_dir: {tmp_path}/data\nprofiles: [./profiles]\n"
        f"http: {{listen: '127.0.0.1:{port}'}}\nfeeds: {{}}\n"
    )
    yield file
    install([])


def write(config: Path, parameter: object) -> None:
    folder = config.parent / "profiles" / "search_parameters"
    folder.mkdir(parents=True)
    (folder / "colour.json").write_text(json.dumps(parameter))


def test_a_file_and_one_command_make_an_index(config: Path) -> None:
    settings = load(config, {})
    with prepare(settings), opened(settings) as parts:
        for n in range(5):
            put(parts.store, patient(str(n), "red" if n % 2 else "blue"))
    write(config, COLOUR)
    early = RUNNER.invoke(app, ["db", "reindex", "--config", str(config)])
    assert early.exit_code == 1
    assert "start the engine anew" in str(early.exception)
    with prepare(settings), opened(settings) as parts:
        # The engine runs: it is right already, and the command works beside it.
        assert found(parts.store, "red") == ["1", "3"]
        done = RUNNER.invoke(app, ["db", "reindex", "--config", str(config), "--json"])
        assert json.loads(done.stdout) == {"parameters": 1, "resources": 5}
        assert found(parts.store, "red") == ["1", "3"]
    again = RUNNER.invoke(app, ["db", "reindex", "--config", str(config)])
    assert again.stdout.strip().endswith("1 parameters in the index, 0 resources read")


def test_a_file_with_a_fault_is_told_before_anything_runs(config: Path) -> None:
    write(config, {**COLOUR, "type": "colour"})
    checked = RUNNER.invoke(app, ["check", "--config", str(config), "--json"])
    problems = json.loads(checked.stdout)["profiles"]
    assert checked.exit_code == 1
    assert "colour.json: type: expected one of token" in problems[0]["text"]
