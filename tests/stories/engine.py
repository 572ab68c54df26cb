"""A running engine, started as a user would start it, with a simulated clock."""

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START, END = b"\x0b", b"\x1c\r"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, nor is given to who only connects."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass
class Engine:
    """`segue run` in a directory of its own.

    Attributes:
        config: text of segue.yaml; `{http}` stands for the HTTP port.
        clock: SEGUE_CLOCK, None for the system's time.
    """

    directory: Path
    config: str
    clock: str | None = None
    database: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    http_port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self, timeout: float = 60.0) -> float:
        """Start and wait until it is ready; the seconds that took."""
        self.directory.mkdir(parents=True, exist_ok=True)
        file = self.directory / "segue.yaml"
        file.write_text(self.config.replace("{http}", str(self.http_port)), encoding="utf-8")
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SEGUE_")},
            **self.environment,
        }
        if self.clock:
            environment["SEGUE_CLOCK"] = self.clock
        if self.database:
            environment["SEGUE_DATABASE_URL"] = self.database
        begin = time.monotonic()
        log = (self.directory / "engine.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "segue", "run", "--config", str(file)],
            cwd=self.directory,
            env={**environment, "PYTHONPATH": str(ROOT / "engine")},
            stdout=log,
            stderr=log,
        )
        log.close()
        while time.monotonic() - begin < timeout:
            if self.process.poll() is not None:
                break
            try:
                health = self.call("GET", "/health")
                # After a kill, the processes of the engine before may still answer.
                if health.status == 200 and health.body["pid"] == self.process.pid:
                    return time.monotonic() - begin
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"the engine did not start:\n{self.log()[-4000:]}")

    def log(self) -> str:
        return (self.directory / "engine.log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """SIGTERM, and the exit code after the drain."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else 0
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """`kill -9` of the parent alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One HTTP request; JSON both ways where the content is JSON."""
        sent = dict(headers or {})
        data: bytes | None = None
        if isinstance(body, bytes):
            data = body
        elif body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/fhir+json")
        if token:
            sent["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.base + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return _answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return _answer(error.code, error.headers, error.read())

    def search(
        self, type_: str, token: str | None = None, **parameters: str
    ) -> list[dict[str, Any]]:
        """All resources that a search finds."""
        query = urllib.parse.urlencode(
            {k.replace("__", "-"): v for k, v in parameters.items()} | {"_count": "500"}
        )
        answer = self.call("GET", f"/fhir/{type_}?{query}", token=token)
        assert answer.status == 200, answer.body
        return [entry["resource"] for entry in answer.body.get("entry", [])]

    def state(self) -> dict[str, Any]:
        """The state of each part, as /health shows it."""
        body: dict[str, Any] = self.call("GET", "/health").body
        return body

    def settle(self, timeout: float = 90.0, *, delayed: bool = False) -> None:
        """Wait until every message is processed and every delivery that can be sent is.

        Args:
            timeout: seconds in which nothing goes on.
            delayed: wait for those, too, that a peer has refused for now.
        """
        deadline = time.monotonic() + timeout
        quiet, least = 0, None
        while time.monotonic() < deadline:
            state = self.state()
            outbox = state["outbox"]
            busy = state["inbox"]["waiting"] + outbox["waiting"]
            if delayed:
                busy += outbox["delayed"] + outbox["blocked"]
            quiet = quiet + 1 if busy == 0 else 0
            if quiet >= 3:
                return
            if least is None or busy < least:
                least, deadline = busy, time.monotonic() + timeout
            time.sleep(0.03)
        raise AssertionError(f"nothing settled within {timeout} s: {self.state()}")

    def advance(self, instant: str) -> None:
        """Move the simulated clock; timers that are due have fired when it returns."""
        answer = self.call("POST", "/-/clock", {"advance_to": instant})
        assert answer.status == 200, answer.body


def _answer(status: int, headers: Any, data: bytes) -> Answer:
    kind = headers.get("Content-Type") or ""
    body: Any = data
    if "json" in kind and data:
        body = json.loads(data)
    elif kind.startswith("text/"):
        body = data.decode()
    return Answer(status, dict(headers.items()), body)


def send(port: int, message: str) -> str:
    """Send one message over MLLP and give the acknowledgement's text."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(START + message.encode() + END)
        data = b""
        while not data.endswith(END):
            chunk = connection.recv(65536)
            if not chunk:
                raise ConnectionError("closed before an acknowledgement came")
            data += chunk
    return data[1:-2].decode()


def token_line(name: str, role: str, token: str) -> str:
    """A line of the tokens file."""
    return f"{name} {role} {hashlib.sha256(token.encode()).hexdigest()}"
