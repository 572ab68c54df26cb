"""`segue outbox`: what it prints, what it refuses and what it decides."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from segue.cli.outbox import app
from segue.cli.output import Failure
from segue.store.records import Commit
from tests.support.rows import deliver, opened, opened_journal, step

CONFIG = """\
version: 1
data_dir: ./segue-data
sites: {hospa: {authority: HOSPA}}
destinations:
  lab: {kind: mllp, address: "127.0.0.1:2601", send: [adt]}
"""
runner = CliRunner()


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration whose store has three deliveries for the lab."""
    file = tmp_path / "segue.yaml"
    file.write_text(CONFIG)
    data = tmp_path / "segue-data"
    data.mkdir()
    with opened(data) as store, opened_journal(data):
        store.commit(Commit(steps=[step(1, deliveries=[deliver("lab", n) for n in (1, 2, 3)])]))
    return str(file)


def ask(config: str, *words: str) -> str:
    result = runner.invoke(app, [*words, "--config", config], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def states(config: str) -> list[str]:
    return [one["state"] for one in json.loads(ask(config, "list", "--json"))["items"]]


@pytest.mark.parametrize("word", ["drop", "retry"])
def test_a_decision_that_names_no_delivery_is_refused_and_decides_nothing(
    config: str, word: str
) -> None:
    with pytest.raises(Failure, match="which deliveries") as refused:
        ask(config, word, "--because", "a slip of the finger")
    assert refused.value.code == 2
    assert states(config) == ["waiting"] * 3


def test_what_is_named_is_dropped_and_can_be_tried_again(config: str) -> None:
    first = json.loads(ask(config, "list", "--json"))["items"][-1]["id"]
    assert ask(config, "drop", first, "--because", "by hand") == "1 dropped\n"
    assert states(config) == ["waiting", "waiting", "dropped"]
    shown = ask(config, "show", first)
    assert "state        dropped\n" in shown
    assert "receipt      –\n" in shown
    assert json.loads(ask(config, "show", first, "--json"))["because"] == "by hand"
    assert ask(config, "retry", "--state", "dropped", "--because", "after all") == "1 retried\n"
    assert states(config) == ["waiting", "waiting", "delayed"]


def test_a_list_that_is_piped_has_a_line_for_each_delivery(config: str) -> None:
    heading, *rows, total = ask(config, "list").splitlines()
    items = json.loads(ask(config, "list", "--json"))["items"]
    assert [row.split()[:4] for row in rows] == [
        [one["id"], one["created"], "lab", one["what"]] for one in items
    ]
    assert (heading.split()[:2], total) == (["id", "created"], "3 of 3")


def test_a_destination_is_paused_with_a_reason_and_resumed(config: str) -> None:
    assert "lab is paused" in ask(config, "pause", "lab", "--because", "they move house")
    (item,) = json.loads(ask(config, "paused", "--json"))["items"]
    assert (item["destination"], item["because"]) == ("lab", "they move house")
    ask(config, "resume", "lab")
    assert ask(config, "paused") == "no destination is paused\n"
    assert json.loads(ask(config, "paused", "--json"))["total"] == 0
    with pytest.raises(Failure, match="not paused"):
        ask(config, "resume", "lab")


def test_a_destination_that_nobody_configured_is_not_paused(config: str) -> None:
    with pytest.raises(Failure, match=r"no destination 'lap'\. Did you mean 'lab'"):
        ask(config, "pause", "lap", "--because", "x")
