"""`segue stay` and `segue person` over a store that holds a story."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from segue.cli import app
from segue.cli.output import Failure
from tests.integration.test_unmerge import ADMISSIONS, CLOCK, MERGE, SINCE, active
from tests.support.hub import TestClock, hub

SITES = """\
version: 1
data_dir: ./data
sites:
  hospa: {name: Hospital A, authority: HOSPA, zone: America/New_York}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "segue.yaml"
    file.write_text(SITES, encoding="utf-8")
    return file


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_stay_is_told_and_drawn_and_a_person_parted(tmp_path: Path, config: Path) -> None:
    with hub(tmp_path / "data", TestClock.at(CLOCK)) as bench:
        bench.process(*ADMISSIONS, MERGE, *SINCE)
        both = active(bench)
        assert len(both) == 1
    picture = tmp_path / "stay.svg"
    told = json.loads(run("stay", "show", "W2", "--json", "--svg", str(picture), "-c", str(config)))
    assert (told["visit"], told["status"]) == ("HOSPA|W2", "finished")
    assert [one["event"] for one in told["told"]] == ["A01", "A03", "A08"]
    assert "disposition 01 → 03" in told["told"][2]["changed"]
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    words = run("stay", "show", "HOSPA|W2", "-c", str(config)).splitlines()
    assert words[1].endswith("times of America/New_York")
    (said,) = [line for line in words if "A03 Discharge (hospa, 3)" in line]
    assert said.split()[2:4] == ["2026-07-08", "09:00"]
    assert [line.strip() for line in words if "03" in line][-1] == "disposition 01 → 03"
    with pytest.raises(Failure, match="no message has told of this visit"):
        run("stay", "show", "W", "-c", str(config))

    words = ("person", "unmerge", "HOSPA|500002", "--because", "two people", "--json")
    parted = json.loads(run(*words, "-c", str(config)))
    assert len(parted["patients"]) == 2
    with pytest.raises(Failure, match=r"person of its own|two persons already"):
        run(*words, "-c", str(config))
    with hub(tmp_path / "data", TestClock.at(CLOCK)) as bench:
        assert active(bench) == sorted(parted["patients"])
