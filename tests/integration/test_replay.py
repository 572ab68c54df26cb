"""Replay and rebuild as a user does them: of other people's messages, and beside an engine."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from segue.hl7v2.batch import split
from segue.pipeline import process as processing
from segue.pipeline.replay import replay
from segue.pipeline.routes import Route
from tests.integration.crash import CONFIG, VISIT, message
from tests.peers.fhir import FhirPeer
from tests.peers.hospital import Hospital
from tests.peers.mllp import MllpSink
from tests.stories.background import Background
from tests.stories.engine import ROOT, Engine, free_port
from tests.stories.s11 import messages
from tests.support.databases import PostgresServer
from tests.support.hub import hub

ROUTES = (
    Route("pcpb", "pcpb", frozenset({"Patient", "Encounter", "CarePlan", "Task"})),
    Route("lab", "lab", frozenset({"adt", "careplan"})),
)

FEW, MANY = 8, 24
"""Patients before the replay begins, and at its end."""


def corpus(shared_data: Path) -> list[bytes]:
    """Every message of other people's projects, as it lies there."""
    return [
        one
        for path in sorted((shared_data / "hl7v2").rglob("*"))
        if path.is_file() and not path.name.startswith("LICENSE")
        for one in split(path.read_bytes()).messages
    ]


def test_a_replay_of_other_peoples_messages_changes_and_sends_nothing(
    shared_data: Path, tmp_path: Path
) -> None:
    told = corpus(shared_data)
    with hub(tmp_path, routes=ROUTES) as bench:
        bench.work(*told)
        numbers = range(1, len(told) + 1)
        before = (bench.state(), bench.versions(), bench.deliveries(), bench.exceptions())
        for dry in (True, False):
            done = replay(bench.hub, numbers, dry_run=dry)
            assert done.entries == len(set(told)) > 200
            assert (done.changed, done.differences) == (0, [])
            after = (bench.state(), bench.versions(), bench.deliveries(), bench.exceptions())
            assert after == before, "nor does anything that waits for its visit stop waiting"


def test_other_peoples_messages_in_another_order_give_the_same_picture(
    shared_data: Path, tmp_path: Path
) -> None:
    told = corpus(shared_data)
    states = set()
    for n in range(2):
        with hub(tmp_path / str(n)) as bench:
            bench.work(*(Random(n).sample(told, len(told)) if n else told))
            states.add(bench.state())
    assert len(states) == 1


def test_what_a_replay_calls_changed_has_a_difference_and_directories_change_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(tmp_path, routes=ROUTES) as bench:
        bench.work(*messages().values())
        numbers = range(1, len(messages()) + 1)
        honest = processing.apply

        def other(*given: Any) -> Any:
            mapped = honest(*given)
            for one in mapped.directory:
                if one.type == "Location":
                    one.elements = {**one.elements, "description": "a bed"}
            return mapped

        monkeypatch.setattr(processing, "apply", other)
        dry = replay(bench.hub, numbers, dry_run=True)
        assert dry.changed > 0
        assert {one.resource.partition("/")[0] for one in dry.differences} == {"Location"}
        versions = bench.versions()
        applied = replay(bench.hub, numbers)
        assert {one.resource for one in applied.differences} == {
            one.resource for one in dry.differences
        }
        assert bench.versions() == versions + len(applied.differences)
        assert {one["description"] for one in bench.resources("Location")} == {"a bed"}
        assert replay(bench.hub, numbers).as_json()["diffs"] == []


def test_what_no_worker_has_come_to_yet_is_not_replayed(tmp_path: Path) -> None:
    with hub(tmp_path, routes=ROUTES) as bench:
        for one in messages().values():
            bench.append(one)
        assert replay(bench.hub, range(1, 6)).entries == 0
        bench.work()
        sent = Counter(one[2] for one in bench.deliveries() if one[1] == "hl7v2")
        assert set(sent.values()) <= {1}, "each message is forwarded once"
        assert replay(bench.hub, range(1, 6)).entries == 5


def test_on_postgresql_a_replay_beside_a_running_engine_changes_and_sends_nothing(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    port, url = free_port(), postgres.upgraded()
    with Background() as background:
        fhir = background.do(FhirPeer(strict=False).start())
        sink = background.do(MllpSink().start())
        config = CONFIG.format(mllp=port, fhir=fhir.url, sink=sink.port)
        engine = Engine(tmp_path / "engine", config, None, url)

        def segue(*arguments: str) -> dict[str, Any]:
            done = subprocess.run(
                [sys.executable, "-m", "segue", *arguments, "--json"],
                capture_output=True, text=True, cwd=engine.directory, check=False, timeout=120,
                env={**os.environ, "PYTHONPATH": str(ROOT / "engine"), "SEGUE_DATABASE_URL": url},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr + done.stdout
            told: dict[str, Any] = json.loads(done.stdout)
            return told

        def send(patients: range) -> Any:
            order = [(p, s) for s in range(VISIT) for p in patients]
            hospital = Hospital(port, connections=4)
            sending = hospital.send([message(p, s) for p, s in order], [p for p, _ in order])
            return asyncio.run_coroutine_threadsafe(sending, other._loop)

        try:
            engine.start()
            with Background() as other:
                send(range(FEW)).result(60)
                engine.settle(60)
                more = send(range(FEW, MANY))
                done = segue("inbox", "replay", "--all")
                assert done["entries"] >= FEW * VISIT
                assert (done["changed"], done["diffs"]) == (0, [])
                more.result(60)
            engine.settle(60)
            assert set(Counter(one.control_id for one in sink.received).values()) == {1}
            assert len(sink.received) == MANY * VISIT
            assert {one["meta"]["versionId"] for one in engine.search("Encounter")} == {str(VISIT)}
            rebuilt = segue("db", "rebuild")
            assert (rebuilt["entries"], rebuilt["different"]) == (MANY * VISIT, [])
        finally:
            engine.stop()
            background.do(fhir.stop())
            background.do(sink.stop())
