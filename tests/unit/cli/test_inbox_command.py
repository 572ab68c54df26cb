"""`segue inbox discard`: what is given up is named, with a reason."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from segue.cli.inbox import app
from segue.cli.output import Failure
from segue.model.changes import Cause
from segue.model.issues import Issue
from segue.store.records import Commit, Step
from tests.support.rows import entry, opened, opened_journal

CONFIG = "version: 1\ndata_dir: ./segue-data\nsites: {hospa: {authority: HOSPA}}\n"
CUT = Issue("error", "truncated", "PID", "cut off")
runner = CliRunner()


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration whose inbox has a message that was cut off, and one that was not."""
    file = tmp_path / "segue.yaml"
    file.write_text(CONFIG)
    data = tmp_path / "segue-data"
    data.mkdir()
    with opened(data) as store, opened_journal(data) as journal:
        half = entry("MSH|^~\\&|ADT|HOSPA\rPID|", "1")
        half = replace(half, envelope=replace(half.envelope, quarantined="truncated"), ack_code="")
        journal.append([half, entry("MSH|^~\\&|ADT|HOSPA|||1||ADT^A99|2|P|2.5\r", "2")])
        step = Step(Cause("entry", "1", "hospa"), state="quarantined", issues=[CUT])
        store.commit(Commit(steps=[step]))
    return str(file)


def ask(config: str, *words: str) -> Any:
    result = runner.invoke(app, [*words, "--json", "--config", config], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def states(config: str) -> list[tuple[str, str, str]]:
    items = ask(config, "list")["items"]
    return [(one["id"], one["state"], one["reason"]) for one in items]


@pytest.mark.parametrize("words", [(), ("1", "--state", "quarantined"), ("--state", "parked")])
def test_what_is_given_up_must_be_named_and_be_held(config: str, words: tuple[str, ...]) -> None:
    with pytest.raises(Failure) as refused:
        ask(config, "discard", *words, "--because", "a slip of the finger")
    assert refused.value.code == 2
    assert states(config)[-1] == ("1", "quarantined", "truncated")


def test_what_is_given_up_stays_in_the_list_with_the_reason(config: str) -> None:
    word = ("discard", "--state", "quarantined", "--feed", "hospa-adt", "--because", "came whole")
    assert ask(config, *word) == {"discarded": 1}
    assert states(config)[-1] == ("1", "discarded", "truncated")
    assert [one["text"] for one in ask(config, "show", "1")["issues"]] == ["cut off", "came whole"]
    assert [one["id"] for one in ask(config, "list", "--state", "discarded")["items"]] == ["1"]
    again = runner.invoke(app, ["discard", "1", "2", "--because", "twice", "--config", config])
    assert (again.exit_code, again.stdout) == (1, "0 discarded\n")
