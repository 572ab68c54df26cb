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
from segue.mapping.apply import apply
from segue.pipeline import process as processing
from segue.pipeline import replay as replaying
from segue.pipeline.replay import Replayed, replay
from segue.pipeline.routes import Route
from tests.integration.crash import CONFIG, VISIT, message
from tests.peers.fhir import FhirPeer
from tests.peers.hospital import Hospital
from tests.peers.mllp import MllpSink
from tests.stories.background import Background
from tests.stories.engine import ROOT, Engine, free_port
from tests.stories.s11 import messages
from tests.support.databases import PostgresServer
from tests.support.hub import Bench, hub

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


PEOPLE = range(4)


def stays_and_merges() -> list[bytes]:
    """Of four patients, two of whom turn out to be one in the end."""
    return [*(message(n, step) for step in range(VISIT) for n in PEOPLE), message(0, VISIT)]


def short_stays(honest: Any) -> Any:
    """A mapping by which an inpatient's stay is a short one."""

    def other(*given: Any) -> Any:
        mapped = honest(*given)
        for fact in mapped.facts:
            for one in fact.stay:
                if one.elements.get("class", {}).get("code") == "IMP":
                    one.elements = {
                        **one.elements,
                        "class": {**one.elements["class"], "code": "SS", "display": "short stay"},
                    }
        return mapped

    return other


def test_another_mapping_is_written_and_sent_once_for_each_resource_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = stays_and_merges()
    numbers = range(1, len(told) + 1)
    states = set()
    for n, size in enumerate((20, 2)):
        monkeypatch.setattr(processing, "apply", apply)
        monkeypatch.setattr(replaying, "CHUNK", size)
        with hub(tmp_path / str(n), routes=ROUTES) as bench:
            bench.work(*told)
            before = Counter(one[2] for one in bench.deliveries())
            monkeypatch.setattr(processing, "apply", short_stays(apply))
            dry = replay(bench.hub, numbers, dry_run=True)
            assert dry.changed == len(told) - 1, "all but the merge, which says no class"
            versions = Counter(of_resource(bench))
            applied = replay(bench.hub, numbers)
            assert in_order(applied) == in_order(dry)
            names = [one.resource for one in applied.differences]
            assert len(names) == len(set(names)) > len(PEOPLE)
            assert Counter(of_resource(bench)) - versions == Counter(names)
            sent = Counter(one[2] for one in bench.deliveries() if one[1] == "fhir")
            assert max((sent - before).values()) == 1
            assert not any(one[1] == "hl7v2" for one in bench.deliveries()[before.total() :])
            assert replay(bench.hub, numbers).as_json()["diffs"] == []
            assert bench.rebuilt(tmp_path / f"{n} anew").different == []
            activities = [one["activity"]["text"] for one in bench.resources("Provenance")]
            why = bench.resources("Provenance")[activities.index("replay")]
            assert len([one for one in why["entity"] if "entry" in str(one)]) > 5
            states.add(bench.state())
    with hub(tmp_path / "new") as bench:
        bench.work(*told)
        states.add(bench.state())
    assert len(states) == 1


def in_order(replayed: Replayed) -> dict[str, Any]:
    """The result, in an order that does not depend on who was taken first."""
    told = replayed.as_json()
    return told | {"diffs": sorted(told["diffs"], key=lambda one: one["resource"])}


def of_resource(bench: Bench) -> list[str]:
    """The resource of each version, without Provenance."""
    with bench.hub.store.read() as reader:
        found = reader.session.rows(
            "SELECT r.type, r.id FROM version v JOIN resource r ON r.pk = v.resource"
        )
    return [f"{kind}/{id_}" for kind, id_ in found if kind != "Provenance"]


def test_what_the_mapping_cannot_read_any_more_keeps_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = stays_and_merges()
    numbers = range(1, len(told) + 1)
    with hub(tmp_path / "live", routes=ROUTES) as bench:
        bench.work(*told)
        before = (bench.state(), bench.versions(), bench.exceptions())

        def broken(rules: Any, said: Any, context: Any) -> Any:
            if said.event == "A02":
                raise ZeroDivisionError
            return apply(rules, said, context)

        monkeypatch.setattr(processing, "apply", broken)
        for dry in (True, False):
            done = replay(bench.hub, numbers, dry_run=dry)
            assert (done.changed, done.differences) == (0, [])
            assert done.failed == sum(b"ADT^A02" in one for one in told) > 0
            assert {code for _, code in done.failures} == {"processing-failed"}
            assert (bench.state(), bench.versions(), bench.exceptions()) == before
        monkeypatch.setattr(processing, "apply", apply)
        late = message(0, 3).replace(b"ADT^A08", b"ADT^A31").replace(b"|0-3", b"|late")
        bench.work(late)
        assert bench.rebuilt(tmp_path / "anew").different == [], "the places are there yet"


def test_a_replay_that_was_cut_off_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = stays_and_merges()
    numbers = range(1, len(told) + 1)
    monkeypatch.setattr(replaying, "CHUNK", 1)
    with hub(tmp_path, routes=ROUTES) as bench:
        bench.work(*told)
        monkeypatch.setattr(processing, "apply", short_stays(apply))
        dry = replay(bench.hub, numbers, dry_run=True)

        def cut(_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            replay(bench.hub, numbers, advance=cut)
        rest = replay(bench.hub, numbers)
        assert 0 < len(rest.differences) < len(dry.differences)
        assert replay(bench.hub, numbers).differences == []
        assert {one["class"]["code"] for one in bench.resources("Encounter")} == {"SS"}


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
