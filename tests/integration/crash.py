"""`kill -9` of the engine under load, again and again: what was promised must hold.

Sixteen senders retry until each message is acknowledged, while the engine's parent is
killed at random points and started anew. At the end

- what the MLLP destination holds, repeats of a control id dropped, is exactly what was
  acknowledged, and each patient's messages came in their order;
- the FHIR destination, repeats of an idempotency key dropped, saw each visit grow in order
  and end as it ended;
- the journal holds each message once, and each Encounter has one version for each
  message that changed it: nothing happened twice;
- every tenth patient was merged with another one: of each pair one Patient is active.

As a command: `python -m tests.integration.crash --rounds 50 [--database postgresql]`.
A kill of a process proves nothing about fsync: that is asserted in the store's tests.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread
from typing import Any

from tests.peers.fhir import FhirPeer
from tests.peers.hospital import Hospital
from tests.peers.mllp import MllpSink
from tests.stories.background import Background
from tests.stories.engine import ROOT, Engine, free_port

CONFIG = """\
version: 1
data_dir: ./data
http: {{listen: "127.0.0.1:{{http}}"}}
sites:
  hospa: {{authority: HOSPA, zone: America/New_York}}
  hie: {{authority: HIE}}
  lab: {{authority: LAB}}
feeds:
  adt: {{kind: mllp, listen: "127.0.0.1:{mllp}", site: hospa}}
destinations:
  hie:
    kind: fhir_rest
    url: {fhir}
    site: hie
    send: [Encounter]
    bed_moves: true
    retry: {{first: 100ms, factor: 2, ceiling: 1s, give_up: 1h}}
  lab:
    kind: mllp
    address: 127.0.0.1:{sink}
    site: lab
    send: [adt]
    retry: {{first: 100ms, factor: 2, ceiling: 1s, give_up: 1h}}
"""
EVENTS = ("A01", "A02", "A02", "A08", "A02", "A03", "A40")
"""The last one only for every tenth patient, into whom the next one is merged."""

VISIT = len(EVENTS) - 1
"""Messages that change the visit."""


def expected(patients: int) -> list[tuple[int, int]]:
    """(patient, step) of every message, each step of all before the next."""
    return [(p, s) for s in range(VISIT) for p in range(patients)] + [
        (p, VISIT) for p in range(0, patients - 1, 10)
    ]


def message(patient: int, step: int) -> bytes:
    """Message `step` of a patient; its control id says both."""
    event = EVENTS[step]
    at = f"202607{10 + step:02d}080000-0400"
    lines = [
        f"MSH|^~\\&|ADT|HOSPA|HUB|HIE|{at}||ADT^{event}|C{patient:05d}.{step}|P|2.5.1",
        f"EVN|{event}|{at}",
        f"PID|1||{patient:06d}^^^HOSPA^MR||DOE^P{patient}||19550214|F",
        f"MRG|{patient + 1:06d}^^^HOSPA^MR"
        if event == "A40"
        else f"PV1|1|I|W{step}^1^1^HOSPA|E|||||||||||||||V{patient:06d}^^^HOSPA^VN"
        + ("|" * 17 + "01" + "|" * 9 + at if event == "A03" else ""),
    ]
    return ("\r".join(lines) + "\r").encode()


def crash(
    directory: Path, rounds: int, database: str | None, seed: int = 1, patients: int = 0
) -> dict[str, Any]:
    """Run the crash test; the figures of the run.

    Raises:
        AssertionError: a promise was broken.
    """
    chance = random.Random(seed)
    patients = patients or 300 * rounds
    port = free_port()
    with Background() as background:
        fhir = background.do(FhirPeer(strict=False).start())
        sink = background.do(MllpSink().start())
        config = CONFIG.format(mllp=port, fhir=fhir.url, sink=sink.port)
        engine = Engine(directory, config, None, database)
        engine.start()
        hospital = Hospital(port, connections=16, timeout=5.0, retry_pause=0.1, give_up=1800)
        order = expected(patients)
        bodies = [message(p, s) for p, s in order]
        done: list[BaseException | None] = []

        def send() -> None:
            try:
                background_send.do(hospital.send(bodies, [p for p, _ in order]))
                done.append(None)
            except BaseException as error:
                done.append(error)

        with Background() as background_send:
            background_send.do = _patient(background_send)  # type: ignore[method-assign]
            sender = Thread(target=send)
            sender.start()
            kills = 0
            for _ in range(rounds):
                time.sleep(chance.uniform(0.05, 1.2))
                engine.kill()
                kills += 1
                engine.start(180)
            sender.join(1800)
            assert done == [None], done
        engine.settle(300, delayed=True)
        try:
            return {"kills": kills, "messages": len(bodies)} | verify(
                engine, hospital, sink, fhir, patients
            )
        finally:
            engine.stop()
            background.do(fhir.stop())
            background.do(sink.stop())


def _patient(background: Background) -> Any:
    import asyncio

    loop = background._loop
    return lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(1800)


def verify(
    engine: Engine, hospital: Hospital, sink: MllpSink, fhir: FhirPeer, patients: int
) -> dict[str, Any]:
    """Hold the promises against what the peers and the engine have."""
    everything = {f"C{p:05d}.{s}" for p, s in expected(patients)}
    assert set(hospital.accepted) == everything
    first: dict[str, int] = {}
    for place, received in enumerate(sink.received):
        first.setdefault(received.control_id, place)
    assert set(first) == everything, sorted(everything ^ set(first))[:5]
    for patient in range(patients):
        places = [
            first[name] for s in range(len(EVENTS)) if (name := f"C{patient:05d}.{s}") in first
        ]
        assert places == sorted(places), f"patient {patient} out of order"
    repeats = len(sink.received) - len(first)

    seen: set[tuple[str, int]] = set()
    by_visit: dict[str, list[dict[str, Any]]] = {}
    for write in fhir.writes:
        if write.resource["resourceType"] != "Encounter":
            # The Patients of a merge go to all who get anything of the person.
            continue
        number = next(
            i["value"] for i in write.resource["identifier"] if i["value"].startswith("V")
        )
        content = json.dumps(
            {k: v for k, v in write.resource.items() if k not in ("meta", "id")}, sort_keys=True
        )
        key = (number, hash(content))
        if key not in seen:
            seen.add(key)
            by_visit.setdefault(number, []).append(write.resource)
    assert set(by_visit) == {f"V{p:06d}" for p in range(patients)}
    for number, states in by_visit.items():
        places = [len(state.get("location", [])) for state in states]
        assert places == sorted(places), f"visit {number} went back: {places}"
        assert states[-1]["status"] == "finished", number

    answer = engine.call("GET", "/fhir/Encounter?_summary=count")
    assert answer.body["total"] == patients
    merged = {p + 1 for p, step in expected(patients) if step == VISIT}
    gone = engine.call("GET", "/fhir/Patient?active=false&_summary=count").body["total"]
    assert gone == len(merged), "each merge leaves one Patient inactive"
    offset = 0
    url: str | None = "/fhir/Encounter?_count=500"
    while url:
        page = engine.call("GET", url).body
        for entry in page.get("entry", []):
            version = int(entry["resource"]["meta"]["versionId"])
            number = next(
                i["value"] for i in entry["resource"]["identifier"] if i["value"].startswith("V")
            )
            # A merge gives the Encounter another subject; also where it came before the end.
            wanted = VISIT + (int(number[1:]) in merged)
            assert version == wanted, f"{entry['fullUrl']} has {version} versions, not {wanted}"
            offset += 1
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        url = following[0].removeprefix(engine.base) if following else None
    assert offset == patients
    resent = sum(answer.attempts - 1 for answer in hospital.answers)
    assert resent, "no kill met a message under way: the test has shown nothing"
    listed = subprocess.run(
        [sys.executable, "-m", "segue", "inbox", "list", "--json", "--limit", "1", "--config",
         str(engine.directory / "segue.yaml")],
        capture_output=True, text=True, check=True, cwd=engine.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "engine"),
             **({"SEGUE_DATABASE_URL": engine.database} if engine.database else {})},
    )  # fmt: skip
    assert json.loads(listed.stdout)["total"] == len(everything)
    return {
        "acknowledged": len(everything),
        "delivered": len(first),
        "resent_by_hospital": resent,
        "repeats_at_sink": repeats,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--patients", type=int, default=0, help="default: 300 a round")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    from tests.support.databases import postgres_server

    if options.database in ("sqlite", "both"):
        with tempfile.TemporaryDirectory(prefix="segue-crash-") as folder:
            figures = crash(Path(folder), options.rounds, None, options.seed, options.patients)
            print("sqlite", figures, flush=True)
    if options.database in ("postgresql", "both"):
        with (
            tempfile.TemporaryDirectory(prefix="segue-crash-") as folder,
            postgres_server() as server,
        ):
            url, rounds = server.upgraded(), options.rounds
            figures = crash(Path(folder), rounds, url, options.seed, options.patients)
            print("postgresql", figures, flush=True)
    print("every promise held")


if __name__ == "__main__":
    main()
