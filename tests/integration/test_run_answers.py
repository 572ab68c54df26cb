"""When a running engine answers: durable, mapped, delivered; here, or by a message of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from segue.hl7v2.ack import Acknowledgement, read_ack
from segue.hl7v2.parse import parse
from tests.peers.faults import Fault
from tests.peers.mllp import MllpSink
from tests.stories.background import Background
from tests.stories.engine import Engine, free_port
from tests.support.corpus import adt
from tests.support.hub import ROOT

CONFIG = """\
version: 1
data_dir: ./data
workers: 1
http: {{listen: "127.0.0.1:{{http}}"}}
sites:
  hospa: {{authority: HOSPA, zone: America/New_York, charset_fallback: [cp1250]}}
  lab: {{authority: LAB, zone: America/New_York}}
  strict: {{authority: STRICT, zone: America/New_York, unknown_visit: reject}}
feeds:
  durable: {{kind: mllp, listen: "127.0.0.1:{durable}", site: hospa, replies: returns}}
  mapped: {{kind: mllp, listen: "127.0.0.1:{mapped}", site: hospa, ack: mapped}}
  delivered:
    kind: mllp
    listen: "127.0.0.1:{delivered}"
    site: hospa
    ack: delivered
    accept: {{processing_ids: [P]}}
    limits: {{answer: 60s, bytes: 20000}}
  hasty:
    kind: mllp
    listen: "127.0.0.1:{hasty}"
    site: hospa
    ack: delivered
    limits: {{answer: 1s}}
  acks: {{kind: mllp, listen: "127.0.0.1:{acks}", site: lab}}
destinations:
  court:
    kind: mllp
    address: 127.0.0.1:{court}
    site: hospa
    send: [adt]
    asks: application
    returns: acks
    retry: {{first: 100ms, factor: 1, ceiling: 100ms, give_up: 1h}}
  lab:
    kind: mllp
    address: 127.0.0.1:{lab}
    site: lab
    send: [adt]
    retry: {{first: 100ms, factor: 1, ceiling: 100ms, give_up: 1h}}
  returns: {{kind: mllp, address: "127.0.0.1:{returns}", site: hospa, send: []}}
"""


@dataclass
class Running:
    engine: Engine
    ports: dict[str, int]
    lab: MllpSink
    returns: MllpSink
    court: MllpSink
    number: int = 0

    def message(self, event: str = "A01", **conditions: str) -> bytes:
        """A message with a control id and a patient that nobody has had."""
        self.number += 1
        n = self.number
        raw = adt(event, number=n).replace(b"|101^", b"|7%03d^" % n)
        raw = raw.replace(b"~991^", b"~8%03d^" % n).replace(b"|V1^", b"|W%03d^" % n)
        accept, application = conditions.get("accept", ""), conditions.get("application", "")
        if not conditions:
            return raw
        return raw.replace(b"|P|2.5.1\r", f"|P|2.5.1|||{accept}|{application}\r".encode(), 1)

    def listed(self, control_id: str) -> dict[str, Any]:
        """The message as `segue inbox list` shows it."""
        command = ["inbox", "list", "--control-id", control_id, "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "segue", *command],
            capture_output=True, cwd=self.engine.directory, check=True, timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT / "engine")},
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)["items"][0]
        return found

    def send(self, feed: str, *bodies: bytes, seconds: float = 60.0) -> list[Acknowledgement]:
        """Send over one connection and give the answers that come in time."""
        buffer, answers = b"", []
        deadline = time.monotonic() + seconds
        with socket.create_connection(("127.0.0.1", self.ports[feed])) as line:
            line.sendall(b"".join(b"\x0b" + body + b"\x1c\r" for body in bodies))
            while len(answers) < len(bodies) and time.monotonic() < deadline:
                line.settimeout(max(deadline - time.monotonic(), 0.01))
                try:
                    buffer += line.recv(65536)
                except TimeoutError:
                    break
                *frames, buffer = buffer.split(b"\x1c\r")
                answers += [read_ack(frame[1:]) for frame in frames]
        return answers


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    ports = {name: free_port() for name in ("durable", "mapped", "delivered", "hasty", "acks")}
    with Background() as background:
        lab = background.do(MllpSink().start())
        returns = background.do(MllpSink().start())
        court = background.do(MllpSink().start())
        config = CONFIG.format(**ports, lab=lab.port, returns=returns.port, court=court.port)
        engine = Engine(tmp_path_factory.mktemp("answers"), config)
        engine.start()
        try:
            yield Running(engine, ports, lab, returns, court)
        finally:
            engine.stop()
            background.do(lab.stop())
            background.do(returns.stop())
            background.do(court.stop())


def waited(condition: object, seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def test_a_merge_with_itself_is_ae_where_the_answer_waits_for_mapping(running: Running) -> None:
    raw = adt("A40", number=9000).replace(b"MRG|201", b"MRG|101").replace(b"MRG|203", b"MRG|103")
    (answer,) = running.send("mapped", raw)
    assert (answer.code, answer.error_codes) == ("AE", ("205",))
    (answer,) = running.send("durable", raw.replace(b"E09000", b"E09001"))
    assert answer.code == "AA"


def test_an_update_of_an_unknown_visit_is_ae_where_the_site_rejects_it(running: Running) -> None:
    early, start, late = (
        running.message(event).replace(b"|HOSPA|", b"|STRICT|", 1)
        for event in ("A08", "A01", "A08")
    )
    unknown = parse(early).get("PV1-19") or ""
    known = parse(start).get("PV1-19") or ""
    late = late.replace(str(parse(late).get("PV1-19")).encode(), known.encode())
    late = late.replace(parse(late).get("PID-3.1").encode(), parse(start).get("PID-3.1").encode())  # type: ignore[union-attr]
    assert unknown != known
    answers = running.send("mapped", early, start, late)
    assert [one.code for one in answers] == ["AE", "AA", "AA"]
    assert answers[0].error_codes == ("204",)
    assert answers[0].control_id == parse(early).control_id
    # The list says what was answered, not what was foreseen.
    found = [running.listed(parse(raw).control_id or "")["ack"] for raw in (early, start)]
    assert found == ["AE", "AA"]
    (again,) = running.send("delivered", early)
    assert (again.code, again.error_codes) == ("AE", ("204",))
    # Where the answer does not wait, it has left before anybody could know.
    other = running.message("A08").replace(b"|HOSPA|", b"|STRICT|", 1)
    (answer,) = running.send("durable", other)
    assert answer.code == "AA"
    asking = running.message("A08", accept="AL", application="AL")
    (commit,) = running.send("durable", asking.replace(b"|HOSPA|", b"|STRICT|", 1))
    assert commit.code == "CA"
    number = parse(asking).control_id
    assert waited(lambda: replies_to(running, number))
    (reply,) = replies_to(running, number)
    assert (read_ack(reply).code, read_ack(reply).error_codes) == ("AE", ("204",))


def test_an_answer_of_delivered_comes_after_the_delivery(running: Running) -> None:
    raw = running.message()
    control_id = parse(raw).control_id
    (answer,) = running.send("delivered", raw)
    assert answer.code == "AA"
    assert control_id in running.lab.seen
    # Sent again, it is answered again and done once.
    (again,) = running.send("delivered", raw)
    assert (again.code, again.control_id) == ("AA", control_id)
    assert running.lab.seen[control_id] == 1


def test_what_is_not_delivered_in_time_or_refused_is_ae(running: Running) -> None:
    slow = running.message()
    control_id = parse(slow).control_id.encode()
    running.lab.faults.add(Fault("ack", times=-1, match=control_id, code="AE", error="206"))
    (answer,) = running.send("hasty", slow)
    assert (answer.code, answer.error_codes) == ("AE", ("207",))
    running.lab.faults.clear()
    (answer,) = running.send("delivered", slow)
    assert answer.code == "AA"
    refused = running.message()
    control_id = parse(refused).control_id.encode()
    running.lab.faults.add(Fault("ack", times=-1, match=control_id, code="AE", error="101"))
    (answer,) = running.send("delivered", refused)
    assert (answer.code, answer.error_codes) == ("AE", ("207",))
    running.lab.faults.clear()


def test_answers_that_wait_keep_the_order_of_their_connection(running: Running) -> None:
    bodies = [running.message() for _ in range(6)]
    bodies[3] = bodies[3].replace(b"|P|2.5.1", b"|T|2.5.1", 1)
    answers = running.send("delivered", *bodies)
    assert [one.control_id for one in answers] == [parse(raw).control_id for raw in bodies]
    assert [one.code for one in answers] == ["AA", "AA", "AA", "AR", "AA", "AA"]


def test_a_commit_acknowledgement_does_not_wait(running: Running) -> None:
    (answer,) = running.send("delivered", running.message(accept="AL", application="NE"))
    assert answer.code == "CA"


def replies_to(running: Running, control_id: str) -> list[bytes]:
    return [r.body for r in running.returns.received if b"|" + control_id.encode() in r.body]


def test_an_application_acknowledgement_is_a_message_over_the_return_connection(
    running: Running,
) -> None:
    good = running.message(accept="AL", application="AL")
    bad = running.message(accept="AL", application="AL").replace(b"PID|1||", b"PID|1|||||", 1)
    quiet = running.message(accept="AL", application="ER")
    unwanted = running.message(accept="AL", application="NE")
    answers = running.send("durable", good, bad, quiet, unwanted)
    assert [one.code for one in answers] == ["CA", "CA", "CA", "CA"]
    first, second = parse(good).control_id, parse(bad).control_id
    assert waited(lambda: replies_to(running, first) and replies_to(running, second))
    (reply,) = replies_to(running, first)
    found = parse(reply)
    assert (read_ack(reply).code, read_ack(reply).control_id) == ("AA", first)
    assert (found.get("MSH-15"), found.get("MSH-16")) == ("AL", "NE")
    assert found.control_id.startswith("SEGUE-")
    (reply,) = replies_to(running, second)
    assert (read_ack(reply).code, read_ack(reply).error_codes) == ("AE", ("101",))
    running.engine.settle()
    for raw in (quiet, unwanted):
        assert replies_to(running, parse(raw).control_id) == []


def test_a_delivery_ends_with_the_application_acknowledgement_that_comes_back_by_a_feed(
    running: Running,
) -> None:
    running.court.faults.add(Fault("ack", times=-1, after=True, code="CA"))
    raw = running.message().replace(b"|HOSPA|", b"|LAB|", 1)
    control_id = parse(raw).control_id
    assert [one.code for one in running.send("acks", raw)] == ["AA"]
    assert waited(lambda: control_id in running.court.seen)
    (sent,) = [one.body for one in running.court.received if control_id.encode() in one.body]
    assert (parse(sent).get("MSH-15"), parse(sent).get("MSH-16")) == ("AL", "AL")

    def waiting() -> int:
        return int(running.engine.state()["outbox"]["destinations"]["court"]["waiting"])

    time.sleep(0.5)
    assert waiting() == 1
    said = b"MSH|^~\\&|COURT|LAB|ADT|LAB|2026||ACK^A01^ACK|C1|P|2.5.1|||AL|NE\r"
    (confirmed,) = running.send("acks", said + b"MSA|AA|" + control_id.encode() + b"\r")
    assert (confirmed.code, confirmed.control_id) == ("CA", "C1")
    assert waited(lambda: waiting() == 0)
    assert running.court.seen[control_id] == 1
    running.court.faults.clear()  # what is forwarded from here on waits for no such answer


def test_the_sites_character_set_is_tried_where_msh_18_does_not_hold(running: Running) -> None:
    raw = running.message().replace(b"DOE", "Dvo\u0159\u00e1k".encode("cp1250"))
    (answer,) = running.send("durable", raw)
    assert answer.code == "AA"
    running.engine.settle()
    names = [p["name"][0]["family"] for p in running.engine.search("Patient")]
    assert "Dvo\u0159\u00e1k" in names


def test_a_frame_over_the_feeds_limit_is_rejected(running: Running) -> None:
    (answer,) = running.send("delivered", running.message() + b"NTE|1||" + b"x" * 30_000)
    assert answer.code == "AR"


def test_a_mapping_is_changed_without_a_restart_or_a_broken_connection(running: Running) -> None:
    """A code that a person adds lets go what waited for it."""
    raw = running.message().replace(b"PV1|1|I|", b"PV1|1|DAYSURG|")
    number = parse(raw).get("PV1-19")
    with socket.create_connection(("127.0.0.1", running.ports["durable"])) as line:
        line.sendall(b"\x0b" + raw + b"\x1c\r")
        assert b"MSA|AA|" in line.recv(4096)
        running.engine.settle()
        (encounter,) = running.engine.search("Encounter", identifier=str(number))
        assert encounter["class"]["code"] == "UNK"
        folder = running.engine.directory / "mappings" / "sites" / "hospa" / "tables"
        folder.mkdir(parents=True)
        table = folder / "HL70004_ActCode.yaml"
        table.write_text("because: wrong\ncodes: [DAYSURG]\n")
        assert waited(lambda: "mapping.refused" in running.engine.log())
        table.write_text(
            "because: day surgery has a class of its own here\ncodes:\n"
            "  DAYSURG: { code: SS, "
            'system: "http://terminology.hl7.org/CodeSystem/v3-ActCode" }\n'
        )
        assert waited(
            lambda: (
                running.engine.search("Encounter", identifier=str(number))[0]["class"]["code"]
                == "SS"
            ),
            60,
        )
        line.sendall(b"\x0b" + running.message() + b"\x1c\r")
        assert b"MSA|AA|" in line.recv(4096)
    tasks = running.engine.search("Task", code="add-code")
    assert [task["status"] for task in tasks] == ["completed"]
