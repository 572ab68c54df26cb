"""`segue run` as an operator knows it: start, refuse, stop, and come back."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stories.engine import ROOT, Engine, free_port, send
from tests.stories.messages import adt

CONFIG = """\
version: 1
data_dir: ./data
http: {{listen: "127.0.0.1:{{http}}"}}
sites: {{hospa: {{authority: HOSPA, zone: America/New_York}}}}
feeds:
  adt: {{kind: mllp, listen: "127.0.0.1:{mllp}", site: hospa}}
  web: {{kind: http, site: hospa}}
  drop: {{kind: folder, path: ./drop, site: hospa}}
"""


@pytest.fixture
def mllp() -> int:
    return free_port()


@pytest.fixture
def engine(tmp_path: Path, mllp: int) -> Iterator[Engine]:
    (tmp_path / "drop").mkdir()
    made = Engine(tmp_path, CONFIG.format(mllp=mllp))
    yield made
    made.stop()


def segue(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "segue", *arguments], capture_output=True, text=True, cwd=cwd,
        check=False, timeout=90, env={**os.environ, "PYTHONPATH": str(ROOT / "engine"),
                                      **environment},
    )  # fmt: skip


def test_without_a_configuration_it_starts_and_takes_messages(tmp_path: Path) -> None:
    mllp, http = free_port(), free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "segue", "run"], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "engine"), "SEGUE_MLLP_PORT": str(mllp),
             "SEGUE_HTTP_PORT": str(http)},
    )  # fmt: skip
    probe = Engine(tmp_path / "probe", "", http_port=http)
    try:
        for _ in range(800):
            try:
                if probe.call("GET", "/health").status == 200:
                    break
            except OSError:
                pass
            time.sleep(0.05)
        assert "MSA|AA|1" in send(mllp, adt("A01", "2026-07-05 10:00", "1", place="4W^1^1"))
        probe.settle()
        (encounter,) = probe.search("Encounter")
        assert encounter["status"] == "in-progress"
        assert (tmp_path / "segue-data" / "journal.db").exists()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_every_way_in_leads_to_the_same_record(engine: Engine, mllp: int) -> None:
    engine.start()
    message = adt("A01", "2026-07-05 10:00", "1", place="4W^1^1")
    assert "MSA|AA|1" in send(mllp, message)
    answer = engine.call(
        "POST", "/hl7v2/web", adt("A02", "2026-07-05 11:00", "2", place="CCU^1^1").encode(),
        headers={"Content-Type": "x-application/hl7-v2+er7"},
    )  # fmt: skip
    assert answer.status == 200
    assert b"MSA|AA|2" in answer.body
    dropped = adt("A08", "2026-07-05 12:00", "3", place="CCU^1^1", pid="DOE^JO||19550214|F")
    (engine.directory / "drop" / "one.hl7").write_text(dropped.replace("\r", "\n"))
    for _ in range(100):
        if any((engine.directory / "drop" / "done").glob("one.hl7*")):
            break
        time.sleep(0.1)
    engine.settle()
    (encounter,) = engine.search("Encounter")
    assert len(encounter["location"]) == 2
    (patient,) = engine.search("Patient")
    assert patient["name"][0]["given"] == ["JO"]
    assert engine.call("POST", "/hl7v2/nobody", b"MSH|").status == 404


def test_a_port_in_use_is_one_line_and_exit_code_2(engine: Engine, mllp: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", mllp))
        other.listen()
        with pytest.raises(RuntimeError, match="did not start"):
            engine.start()
    assert engine.process is not None
    assert engine.process.returncode == 2
    log = engine.log().strip()
    listens = f'listen: "127.0.0.1:{mllp}"'
    lines = (engine.directory / "segue.yaml").read_text().splitlines()
    (line,) = [number for number, text in enumerate(lines, 1) if listens in text]
    assert f"segue.yaml:{line}  feeds." in log
    assert f"127.0.0.1:{mllp} cannot be listened on" in log
    assert len(log.splitlines()) == 1


def test_an_unknown_key_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "segue.yaml").write_text("version: 1\nsitess: {}\n")
    done = segue("run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "segue.yaml:2  sitess: unknown key. Did you mean 'sites'?\n"


def test_an_embedded_engine_is_not_spread_over_hosts(tmp_path: Path) -> None:
    done = segue("run", "--roles", "front", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("--roles front: the embedded store is one engine's")
    assert len(done.stderr.splitlines()) == 1


def test_a_second_engine_in_one_data_directory_is_refused(engine: Engine) -> None:
    engine.start()
    other = engine.directory / "other.yaml"
    other.write_text(
        (engine.directory / "segue.yaml")
        .read_text()
        .replace(str(engine.http_port), str(free_port()))
        .split("feeds:")[0]
        + "feeds: {web: {kind: http, site: hospa}}\n"
    )
    done = segue("run", "--config", "other.yaml", cwd=engine.directory)
    assert done.returncode == 3
    assert "another engine runs here" in done.stderr


def test_sigterm_drains_and_a_restart_goes_on(engine: Engine, mllp: int) -> None:
    engine.start()
    for n in range(20):
        send(mllp, adt("A01", "2026-07-05 10:00", str(n), mrn=str(n), visit=f"V{n}", shared=False))
    assert engine.stop() == 0
    engine.start()
    engine.settle()
    assert len(engine.search("Encounter")) == 20


def test_a_kill_of_the_parent_alone_frees_the_ports_and_the_next_start_recovers(
    engine: Engine, mllp: int
) -> None:
    engine.start()
    for n in range(20):
        send(mllp, adt("A01", "2026-07-05 10:00", str(n), mrn=str(n), visit=f"V{n}", shared=False))
    engine.kill()
    seconds = engine.start()
    assert seconds < 45
    engine.settle()
    assert len(engine.search("Encounter")) == 20


def test_the_commands_look_inside_a_running_engine(engine: Engine, mllp: int) -> None:
    engine.start()
    send(mllp, adt("A01", "2026-07-05 10:00", "HA1", place="4W^1^1"))
    engine.settle()
    listed = segue("inbox", "list", cwd=engine.directory)
    assert listed.returncode == 0
    assert "HA1" in listed.stdout
    shown = segue("inbox", "show", "1", "--json", cwd=engine.directory)
    assert '"state": "processed"' in shown.stdout
    replayed = segue("inbox", "replay", "1", "--dry-run", "--json", cwd=engine.directory)
    assert '"changed": 0' in replayed.stdout, replayed.stdout + replayed.stderr
    assert segue("outbox", "list", "--json", cwd=engine.directory).returncode == 0
    assert segue("inbox", "show", "99", cwd=engine.directory).returncode == 1


def test_commands_without_a_store_say_so_with_exit_code_3(tmp_path: Path) -> None:
    done = segue("inbox", "list", cwd=tmp_path)
    assert done.returncode == 3
    assert "no store here" in done.stderr
