"""Clients that people really use, against a running engine: one engine for all of them.

fhirpy and fhirclient are Python's; fhir-kit-client and fhirclient of npm are installed into
tests/clients by the test, where Node and npm's registry are there.
"""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fhirclient.client
import fhirpy
import httpx
import pytest
from fhirclient.models import bundle as smart_bundle
from fhirclient.models import observation
from fhirclient.models import patient as smart_patient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

from tests.peers.fhir import FhirPeer
from tests.stories.background import Background
from tests.stories.engine import ROOT, Engine
from tests.stories.messages import adt

NODE = ROOT / "tests" / "clients"
CONFIG = """\
version: 1
data_dir: ./data
workers: 1
http: {listen: 127.0.0.1:{http}}
sites:
  pcpb: {name: Primary Care B, authority: PCPB, zone: America/New_York}
  hospa: {name: Hospital A, authority: HOSPA, zone: America/New_York}
feeds:
  adt: {kind: http, site: hospa}
destinations:
  hie: {kind: message_bundle, url: "{hie}", send: [alerts]}
"""


@pytest.fixture(scope="module")
def hie() -> Iterator[FhirPeer]:
    """A receiver of notifications."""
    with Background() as background:
        peer = background.do(FhirPeer().start())
        yield peer
        background.do(peer.stop())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, hie: FhirPeer) -> Iterator[str]:
    """FHIR base of a running engine."""
    engine = Engine(tmp_path_factory.mktemp("clients"), CONFIG.replace("{hie}", hie.url))
    engine.start()
    try:
        yield f"{engine.base}/fhir"
    finally:
        assert engine.stop() == 0


def patient(family: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": family, "given": ["Ann"]}], **more}


def transaction(family: str, count: int) -> dict[str, Any]:
    """A mother and her observations, by urn:uuid."""
    link = "urn:uuid:7c9f5b1e-8a54-4f5e-9a0b-2f0d3b1c4d5e"
    entries = [
        {"fullUrl": link, "resource": patient(family),
         "request": {"method": "POST", "url": "Patient"}},
    ]  # fmt: skip
    for number in range(count):
        resource = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "weight"},
            "subject": {"reference": link},
            "valueQuantity": {"value": 60 + number, "unit": "kg"},
        }
        entries.append({"resource": resource, "request": {"method": "POST", "url": "Observation"}})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


# --- fhirpy -------------------------------------------------------------------------------


def test_fhirpy_creates_reads_changes_patches_and_deletes(base: str) -> None:
    client = fhirpy.SyncFHIRClient(base)
    sent = patient("Fhirpy", birthDate="1950-01-01")
    made = client.resource(sent.pop("resourceType"), **sent)
    made.save()
    assert made["meta"]["versionId"] == "1"
    made["gender"] = "female"
    made.save()
    read = client.reference("Patient", made["id"]).to_resource()
    assert (read["gender"], read["meta"]["versionId"]) == ("female", "2")
    read.patch(birthDate="1950-01-02")
    assert client.get("Patient", made["id"])["birthDate"] == "1950-01-02"
    read.delete()
    with pytest.raises((ResourceNotFound, OperationOutcome)):
        client.get("Patient", made["id"])


def test_fhirpy_searches_counts_and_walks_all_pages(base: str) -> None:
    client = fhirpy.SyncFHIRClient(base)
    client.execute("", "POST", data=transaction("Pages", 23))
    (found,) = client.resources("Patient").search(family="Pages").fetch()
    weights = client.resources("Observation").search(patient=found["id"])
    assert weights.count() == 23
    everything = weights.limit(5).fetch_all()
    assert len({one["id"] for one in everything}) == 23
    first = client.resources("Observation").search(patient=found["id"]).sort("_id").first()
    assert first is not None
    included = (
        client.resources("Observation")
        .search(patient=found["id"])
        .include("Observation", "subject")
    )
    assert [e["resource"]["resourceType"] for e in included.fetch_raw()["entry"]].count(
        "Patient"
    ) == 1


def test_fhirpy_gets_or_creates_once_and_updates_by_condition(base: str) -> None:
    client = fhirpy.SyncFHIRClient(base)
    number = {"system": "urn:example:goals", "value": "g1"}
    goal = {"lifecycleStatus": "active", "description": {"text": "walk"},
            "subject": {"display": "somebody"}, "identifier": [number]}  # fmt: skip
    asked = client.resources("Goal").search(identifier="urn:example:goals|g1")
    _, created = asked.get_or_create(client.resource("Goal", **goal))
    again, second = asked.get_or_create(client.resource("Goal", **goal))
    assert (created, second) == (True, False)
    changed, _ = asked.update(client.resource("Goal", **{**goal, "lifecycleStatus": "completed"}))
    assert (changed["id"], changed["lifecycleStatus"]) == (again["id"], "completed")
    asked.patch(lifecycleStatus="cancelled")
    assert client.get("Goal", again["id"])["lifecycleStatus"] == "cancelled"


def test_fhirpy_is_told_what_is_wrong(base: str) -> None:
    client = fhirpy.SyncFHIRClient(base)
    wrong = client.resource("Task", status="quux", intent="order")
    with pytest.raises(OperationOutcome) as caught:
        wrong.save()
    assert "Task.status" in str(caught.value)


def test_fhirpy_works_asynchronously_too(base: str) -> None:
    async def work() -> int:
        client = fhirpy.AsyncFHIRClient(base)
        await client.execute("", "POST", data=transaction("Async", 3))
        (found,) = await client.resources("Patient").search(family="Async").fetch()
        bundle = await client.execute(f"Patient/{found['id']}/$everything", "GET")
        return len(bundle["entry"])

    assert asyncio.run(work()) == 4


# --- fhirclient (SMART) -------------------------------------------------------------------


def smart(base: str) -> Any:
    return fhirclient.client.FHIRClient(settings={"app_id": "tests", "api_base": base})


def test_fhirclient_creates_reads_changes_and_deletes(base: str) -> None:
    client = smart(base)
    assert client.prepare()
    made = smart_patient.Patient(patient("Smart", birthDate="1950-01-01"))
    answer = made.create(client.server)
    read = smart_patient.Patient.read(answer["id"], client.server)
    assert read.name[0].family == "Smart"
    assert read.birthDate.as_json() == "1950-01-01"
    read.gender = "female"
    read.update(client.server)
    assert smart_patient.Patient.read(answer["id"], client.server).gender == "female"
    read.delete(client.server)
    with pytest.raises(Exception, match=r"410|Gone"):
        smart_patient.Patient.read(answer["id"], client.server)


def test_fhirclient_searches_through_all_pages_and_posts_transactions(base: str) -> None:
    client = smart(base)
    sent = smart_bundle.Bundle(transaction("SmartPages", 12))
    answer = client.server.post_json("", sent.as_json()).json()
    assert {e["response"]["status"] for e in answer["entry"]} == {"201 Created"}
    who = smart_patient.Patient.where(struct={"family": "SmartPages"})
    (found,) = who.perform_resources_iter(client.server)
    search = observation.Observation.where(struct={"patient": found.id, "_count": "5"})
    pages = list(search.perform_iter(client.server))
    assert [len(page.entry) for page in pages] == [5, 5, 2]
    assert len({one.id for one in search.perform_resources_iter(client.server)}) == 12


# --- a receiver of notifications -----------------------------------------------------------


def test_an_admission_is_notified_to_a_receiver(base: str, hie: FhirPeer) -> None:
    message = adt("A01", "2026-07-05 13:42", "1", place="4W^412^1", admitted="2026-07-05 13:40")
    url = base.removesuffix("/fhir") + "/hl7v2/adt"
    answer = httpx.post(url, content=message, timeout=30)
    assert "MSA|AA|1" in answer.text
    deadline = time.monotonic() + 60
    while not hie.writes and time.monotonic() < deadline:
        time.sleep(0.05)
    (told,) = hie.writes
    header, encounter = (entry["resource"] for entry in told.resource["entry"][:2])
    assert header["eventCoding"]["code"] == "notification-admit"
    assert (encounter["status"], encounter["class"]["code"]) == ("in-progress", "IMP")


# --- Node's -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node() -> str:
    """Node, with the packages of tests/clients/package-lock.json."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        pytest.skip("Node is not here: the clients of npm are not tried")
    if not (NODE / "node_modules").is_dir():
        try:
            done = subprocess.run(
                [npm, "ci"], cwd=NODE, capture_output=True, text=True, timeout=90, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm ci in tests/clients takes too long: the clients of npm are not tried")
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            pytest.skip(f"npm ci in tests/clients: {last}: the clients of npm are not tried")
    return program


def test_the_clients_of_node_do_the_same(base: str, node: str) -> None:
    done = subprocess.run(
        [node, "--test", "--test-reporter=tap", "clients.test.mjs"],
        cwd=NODE,
        env={"SEGUE_BASE": base, "PATH": str(Path(node).parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "# fail 0" in done.stdout
