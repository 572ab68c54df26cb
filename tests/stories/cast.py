"""The cast of the stories: two hospitals, a practice and a payer around one engine.

Hospitals speak MLLP and are sent care plans over MLLP (MDM^T02). The practice (PCPB)
and the payer (PAYX) are FHIR servers; the practice, and hospital A's case management,
also post to the engine as clients of their own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.peers.faults import Fault
from tests.peers.fhir import FhirPeer
from tests.peers.mllp import MllpSink
from tests.stories.background import Background
from tests.stories.engine import Answer, Engine, free_port, send, token_line

TOKENS = {
    "pcpb": "practice-token",
    "pcpb-history": "practice-history-token",
    "hospa-cm": "case-management-token",
    "demo": "demo-token",
}

CONFIG = """\
version: 1
data_dir: ./data
http:
  listen: 127.0.0.1:{http}
  tokens: ./tokens
sites:
  hospa:
    name: Hospital A
    authority: HOSPA
    zone: America/New_York
    practices: {{PCPB: pcpb}}
    control_id_reuse: {reuse}
  hospb:
    name: Hospital B
    authority: HOSPB
    zone: America/New_York
    practices: {{PCPB: pcpb}}
  pcpb: {{name: Primary Care B, authority: PCPB, zone: America/New_York}}
  payx: {{name: Payer X, authority: PAYX, zone: America/New_York}}
feeds:
  hospa-adt: {{kind: mllp, listen: "127.0.0.1:{hospa}", site: hospa}}
  hospb-adt: {{kind: mllp, listen: "127.0.0.1:{hospb}", site: hospb}}
  hospa-cm: {{kind: fhir, client: hospa-cm, site: hospa}}
  pcpb-fhir: {{kind: fhir, client: pcpb, site: pcpb}}
  pcpb-history: {{kind: fhir, client: pcpb-history, site: pcpb, history: true}}
  {part2}
destinations:
  pcpb:
    kind: fhir_rest
    url: {pcpb_url}
    site: pcpb
    send: [Encounter, CarePlan, Task, DocumentReference]
    receipt: record
    retry: {{first: 500ms, factor: 2, ceiling: 5s, give_up: 1h}}
  payx:
    kind: fhir_rest
    url: {payx_url}
    site: payx
    send: [Encounter, CarePlan, Task]
  hospa-mdm: {{kind: mllp, address: "127.0.0.1:{hospa_sink}", site: hospa, send: [careplan]}}
  hospb-mdm: {{kind: mllp, address: "127.0.0.1:{hospb_sink}", site: hospb, send: [careplan]}}
"""


@dataclass
class Cast:
    """A running engine with its peers.

    Attributes:
        ports: MLLP port of each hospital's feed.
    """

    engine: Engine
    pcpb: FhirPeer
    payx: FhirPeer
    hospa: MllpSink
    hospb: MllpSink
    ports: dict[str, int]
    counter: int = 0
    marks: dict[str, int] = field(default_factory=dict)

    def hl7(self, message: str, hospital: str = "HOSPA", *, settle: bool = True) -> str:
        """A hospital sends a message; its acknowledgement code, after all has settled."""
        answer = send(self.ports[hospital], message)
        if settle:
            self.engine.settle()
        return answer.split("\rMSA|")[1][:2]

    def post(self, client: str, resources: list[dict[str, Any]], *, settle: bool = True) -> Answer:
        """A client posts a transaction: resources with an id are updates of the hub's."""
        entries = []
        for resource in resources:
            if "id" in resource:
                url = f"{resource['resourceType']}/{resource['id']}"
                request = {"method": "PUT", "url": url}
            else:
                request = {"method": "POST", "url": resource["resourceType"]}
            self.counter += 1
            entries.append(
                {
                    "fullUrl": resource.pop(
                        "_fullUrl", f"urn:uuid:00000000-0000-4000-8000-{self.counter:012d}"
                    ),
                    "resource": resource,
                    "request": request,
                }
            )
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = self.engine.call("POST", "/fhir", bundle, token=TOKENS[client])
        assert answer.status == 200, answer.body
        if settle:
            self.engine.settle()
        return answer

    def find(self, type_: str, **parameters: str) -> list[dict[str, Any]]:
        """Resources of the engine, as the story's observer reads them."""
        return self.engine.search(type_, TOKENS["demo"], **parameters)

    def read(self, reference: str) -> dict[str, Any]:
        """One resource of the engine."""
        answer = self.engine.call("GET", f"/fhir/{reference}", token=TOKENS["demo"])
        assert answer.status == 200, answer.body
        body: dict[str, Any] = answer.body
        return body

    def mark(self) -> None:
        """Remember how many deliveries each peer has had."""
        self.marks = self._counts()

    def delivered(self) -> dict[str, int]:
        """Deliveries that each peer has had since the mark."""
        return {name: n - self.marks.get(name, 0) for name, n in self._counts().items()}

    def _counts(self) -> dict[str, int]:
        return {
            "PCPB": len({write.request for write in list(self.pcpb.writes)}),
            "PAYX": len({write.request for write in list(self.payx.writes)}),
            "HOSPA": self.hospa.count,
            "HOSPB": self.hospb.count,
        }

    def pcpb_hold(self) -> None:
        """The practice's server is busy: 503 until it is released."""
        self.pcpb.faults.add(Fault("status", times=-1, status=503))

    def pcpb_release(self) -> None:
        """The practice's server accepts again."""
        self.pcpb.faults.clear()


@contextmanager
def cast(
    directory: Path,
    clock: str,
    *,
    database: str | None = None,
    reuse: str = "process",
    part2: str = "",
    protocols: str = "",
) -> Iterator[Cast]:
    """Start the peers and the engine; stop them all at the end.

    Args:
        clock: SEGUE_CLOCK. reuse: `control_id_reuse` of hospital A.
        part2: a further feed, as a line of YAML.
        protocols: those that are in force, `[PD-00, PD-01]`, instead of the default.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokens").write_text(
        "\n".join(
            token_line(name, "reader" if name == "demo" else "client", token)
            for name, token in TOKENS.items()
        )
        + "\n",
        encoding="utf-8",
    )
    ports = {"HOSPA": free_port(), "HOSPB": free_port()}
    with Background() as background:
        pcpb = background.do(FhirPeer().start())
        payx = background.do(FhirPeer().start())
        hospa = background.do(MllpSink().start())
        hospb = background.do(MllpSink().start())
        config = CONFIG.format(
            http="{http}",
            hospa=ports["HOSPA"],
            hospb=ports["HOSPB"],
            pcpb_url=pcpb.url,
            payx_url=payx.url,
            hospa_sink=hospa.port,
            hospb_sink=hospb.port,
            reuse=reuse,
            part2=part2,
        )
        if protocols:
            config += f"protocols: {protocols}\n"
        engine = Engine(directory, config, clock, database)
        try:
            engine.start()
            yield Cast(engine, pcpb, payx, hospa, hospb, ports)
        finally:
            engine.stop()
            for peer in (pcpb, payx, hospa, hospb):
                background.do(peer.stop())
