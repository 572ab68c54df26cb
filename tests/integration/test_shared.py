"""Several engines over one PostgreSQL: they share the work, a patient's order holds."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.crash import CONFIG, VISIT, message
from tests.peers.fhir import FhirPeer
from tests.peers.hospital import Hospital
from tests.peers.mllp import MllpSink
from tests.stories.background import Background
from tests.stories.engine import ROOT, Engine, free_port
from tests.support.databases import PostgresServer

PATIENTS = 150


def test_two_engines_share_the_work_and_keep_each_patients_order(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.upgraded()
    port = free_port()
    with Background() as background:
        fhir = background.do(FhirPeer(strict=False).start())
        sink = background.do(MllpSink().start())
        config = CONFIG.format(mllp=port, fhir=fhir.url, sink=sink.port)
        first = Engine(tmp_path / "first", config, None, url)
        first.start()
        # The second one only works and sends; it must not listen, nor mind who does.
        second_dir = tmp_path / "second"
        second_dir.mkdir()
        (second_dir / "segue.yaml").write_text(config.replace("{http}", str(first.http_port)))
        second = subprocess.Popen(
            [sys.executable, "-m", "segue", "run", "--roles", "worker,sender"],
            cwd=second_dir,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(ROOT / "engine"),
                "SEGUE_DATABASE_URL": url,
            },
        )
        try:
            run = second_dir / "data" / "run"
            for _ in range(800):
                if len(list(run.glob("worker-*.json"))) and (run / "sender.json").exists():
                    break
                time.sleep(0.1)
            time.sleep(4)  # lanes are shared out anew every few seconds
            order = [(p, s) for s in range(VISIT) for p in range(PATIENTS)]
            hospital = Hospital(port, connections=8)
            with Background() as sending:
                import asyncio

                asyncio.run_coroutine_threadsafe(
                    hospital.send([message(p, s) for p, s in order], [p for p, _ in order]),
                    sending._loop,
                ).result(120)
            first.settle(120)
            processed = {
                part.parent.parent.parent.name: sum(
                    value
                    for name, value in figures(part).items()
                    if name == "segue_processed_messages_total"
                )
                for part in [
                    *run.glob("worker-0.json"),
                    *(tmp_path / "first").rglob("worker-0.json"),
                ]
            }
            places: dict[str, int] = {}
            for place, received in enumerate(sink.received):
                places.setdefault(received.control_id, place)
            assert len(places) == PATIENTS * VISIT
            for patient in range(PATIENTS):
                own = [places[f"C{patient:05d}.{step}"] for step in range(VISIT)]
                assert own == sorted(own), f"patient {patient} out of order"
            encounters = first.search("Encounter")
            assert len(encounters) == PATIENTS
            assert {e["status"] for e in encounters} == {"finished"}
            assert {e["meta"]["versionId"] for e in encounters} == {str(VISIT)}
            assert all(count > 0 for count in processed.values()), processed
            assert len(processed) == 2
        finally:
            second.send_signal(signal.SIGTERM)
            second.wait(30)
            first.stop()
            background.do(fhir.stop())
            background.do(sink.stop())


def figures(part: Path) -> dict[str, float]:
    """The figures that a part reports."""
    import json

    for _ in range(20):
        try:
            found: dict[str, float] = json.loads(part.read_text())["figures"]
        except (OSError, ValueError):
            time.sleep(0.1)
        else:
            return found
    return {}
