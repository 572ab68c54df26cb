"""SEKMET, another FHIR R4 server in Python, to measure ours beside it.

It comes from PyPI into an environment of its own, `.peers/sekmet`, that the benchmark makes:
it is no dependency of Segue. It runs as it comes, without its simulator of departments,
which would write on its own account.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.stories.engine import ROOT, free_port

PACKAGE = "sekmet-fhir==0.1.1"
SETTINGS = """\
base_url: http://127.0.0.1:{port}/fhir
host: 127.0.0.1
port: {port}
data_dir: {directory}
simulator: {{enabled: false}}
"""


class UnavailableError(Exception):
    """It cannot be installed here."""


def installed() -> Path:
    """The program, installed if it is not yet there.

    Raises:
        UnavailableError: the registry of Python packages cannot be reached, or refuses.
    """
    home = ROOT / ".peers" / "sekmet"
    program = home / "bin" / "sekmet"
    if program.exists():
        return program
    print(f"installing {PACKAGE} into {home.relative_to(ROOT)}", flush=True)
    for words in (
        [sys.executable, "-m", "venv", str(home)],
        [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", PACKAGE],
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UnavailableError(f"{PACKAGE} cannot be installed: {last}")
    return program


class Sekmet:
    """A running server over an empty store."""

    def __init__(self, directory: Path) -> None:
        self.program = installed()
        self.directory = directory
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 60.0) -> int:
        """Start and wait until it answers; its process id."""
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = self.directory / "settings.yaml"
        settings.write_text(SETTINGS.format(port=self.port, directory=self.directory / "data"))
        with (self.directory / "sekmet.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.program), "serve", "--config", str(settings)],
                cwd=self.directory,
                env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/fhir/metadata"):
                    return self.process.pid
            except OSError:
                time.sleep(0.2)
        self.stop()
        raise RuntimeError("SEKMET did not start: see " + str(self.directory / "sekmet.log"))

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)
