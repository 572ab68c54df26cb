"""Which processes of this engine live: each touches a small file once a second.

The files hold the part's own figures as well, so that whoever serves `/metrics` and
`/health` can show all processes of a data directory. Nothing in them is patient data.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

STALE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """One process.

    Attributes:
        name: `front`, `worker-0`, `sender`. age: seconds since it last reported.
        figures: metric name with labels to value, as Prometheus writes them.
    """

    name: str
    pid: int
    age: float
    figures: Mapping[str, float]

    @property
    def alive(self) -> bool:
        """Whether it reported lately."""
        return self.age < STALE_SECONDS


class Pulse:
    """Reports that a part is alive, with its figures."""

    def __init__(self, directory: Path, name: str, figures: Callable[[], Mapping[str, float]]):
        directory.mkdir(parents=True, exist_ok=True)
        self._file = directory / f"{name}.json"
        self._figures = figures

    def beat(self) -> None:
        """Write the file anew, in one step."""
        text = json.dumps({"pid": os.getpid(), "figures": dict(self._figures())})
        draft = self._file.with_suffix(".new")
        draft.write_text(text)
        draft.replace(self._file)

    def stop(self) -> None:
        """The part ends in order."""
        self._file.unlink(missing_ok=True)


def parts(directory: Path) -> list[Part]:
    """All parts that have reported and not ended in order, by name."""
    found = []
    now = time.time()
    for file in sorted(directory.glob("*.json")):
        try:
            value = json.loads(file.read_text())
            age = now - file.stat().st_mtime
        except (OSError, ValueError):
            continue
        found.append(Part(file.stem, value["pid"], age, value["figures"]))
    return found


def outlive(directory: Path, seconds: float) -> None:
    """Wait for the parts of an engine that did not end in order, then forget them.

    Their parent is gone, so they are about to end; until then they hold its ports.
    """
    end = time.monotonic() + seconds
    for part in parts(directory):
        while part.alive and _runs(part.pid) and time.monotonic() < end:
            time.sleep(0.05)  # noqa: TID251
    for file in directory.glob("*.json"):
        file.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
