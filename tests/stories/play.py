"""`make demo`: a story through a running engine, shown live.

`python -m tests.stories.play S01` starts Segue on the embedded default and the four
peers around it, plays the story with its time compressed, shows what arrives, what is
decided and what is delivered, checks every step, and ends with a summary.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from tests.stories import s01, s05
from tests.stories.cast import Cast, cast
from tests.stories.reading import code_of, due_of, tasks_of

STORIES: dict[str, ModuleType] = {"S01": s01, "S05": s05}
STYLES = {"in": "bold cyan", "decided": "white", "delivered": "green", "story": "bold magenta"}


class Stage:
    """Prints what happens: messages in, decisions, deliveries with their receipts."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.begin = time.monotonic()
        self.lock = threading.Lock()

    def say(self, kind: str, text: str) -> None:
        """One line with the real seconds since the start."""
        seconds = time.monotonic() - self.begin
        with self.lock:
            self.console.print(
                f"[dim]{seconds:5.1f}s[/dim] [{STYLES[kind]}]{kind:>9}[/] {text}",
                highlight=False,
            )

    def tell(self, step: str, text: str) -> None:
        """What the story itself says of a step that held."""
        self.say("story", f"{step:10} {text}" if step else f"{'':10} {text}")


class Watcher(threading.Thread):
    """Watches the peers' servers and the engine's tasks, and shows what is new."""

    def __init__(self, players: Cast, stage: Stage) -> None:
        super().__init__(daemon=True)
        self.players = players
        self.stage = stage
        self.over = threading.Event()
        self.shown = {"PCPB": 0, "PAYX": 0, "HOSPA": 0, "HOSPB": 0}

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.look()

    def look(self) -> None:
        """Show deliveries that have come since the last look."""
        for name, peer in (("PCPB", self.players.pcpb), ("PAYX", self.players.payx)):
            writes = list(peer.writes)[self.shown[name] :]
            self.shown[name] += len(writes)
            requests: dict[int, list[Any]] = {}
            for write in writes:
                requests.setdefault(write.request, []).append(write)
            for group in requests.values():
                kinds: dict[str, int] = {}
                for write in group:
                    kind = write.reference.partition("/")[0]
                    kinds[kind] = kinds.get(kind, 0) + 1
                what = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
                self.stage.say("delivered", f"to {name}: transaction of {what} · 200 OK")
        for name, sink in (("HOSPA", self.players.hospa), ("HOSPB", self.players.hospb)):
            received = list(sink.received)[self.shown[name] :]
            self.shown[name] += len(received)
            for message in received:
                kind = message.body.split(b"|")[8].decode()
                self.stage.say("delivered", f"to {name}: {kind} {message.control_id} · MSA AA")


def narrate(players: Cast, stage: Stage) -> None:
    """Make the cast say what it sends and what the engine decided."""
    send, post = players.hl7, players.post
    known: dict[str, str] = {}

    def decisions() -> None:
        for encounter in players.find("Encounter"):
            line = f"{encounter['status']}, {encounter['class']['code']}"
            if known.get(encounter["id"]) != line:
                known[encounter["id"]] = line
                number = encounter["identifier"][0]["value"]
                stage.say("decided", f"Encounter {number}: {line}")
        for task in tasks_of(players):
            owner = task.get("owner", {}).get("display", "")
            reason = task.get("statusReason", {}).get("coding", [{}])[0].get("code", "")
            line = f"{task['status']}{f' ({reason})' if reason else ''}, due {due_of(task)}"
            if known.get(task["id"]) != line:
                known[task["id"]] = line
                why = task.get("description", "")
                stage.say("decided", f"Task {code_of(task):12} {line} · {owner} · {why}")

    def hl7(message: str, hospital: str = "HOSPA", *, settle: bool = True) -> str:
        header = message.split("\r")[0].split("|")
        stage.say("in", f"{hospital} → MLLP {header[8]} {header[9]} ({header[6]})")
        code = send(message, hospital, settle=settle)
        stage.say("in", f"{hospital} ← ACK {code}")
        decisions()
        return code

    def posted(client: str, resources: list[dict[str, Any]], *, settle: bool = True) -> Any:
        what = ", ".join(str(resource["resourceType"]) for resource in resources)
        stage.say("in", f"{client} → POST /fhir: {what}")
        answer = post(client, resources, settle=settle)
        if settle:
            decisions()
        return answer

    players.hl7 = hl7  # type: ignore[method-assign]
    players.post = posted  # type: ignore[method-assign]


def main() -> int:
    """Play a story; 0 if every step of it held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("story", nargs="?", default="S01", choices=sorted(STORIES))
    options = parser.parse_args()
    story = STORIES[options.story]
    console = Console(width=150 if not sys.stdout.isatty() else None)
    stage = Stage(console)
    title = (story.__doc__ or "").strip().splitlines()[0]
    console.rule(f"[bold]{title}")
    with tempfile.TemporaryDirectory(prefix="segue-demo-") as folder:
        stage.say("story", "starting Segue (SQLite), PCPB and PAYX (FHIR), HOSPA and HOSPB (MLLP)")
        with cast(Path(folder), story.CLOCK) as players:
            stage.say("story", f"ready: {players.engine.base}/fhir, time stands at {story.CLOCK}")
            watcher = Watcher(players, stage)
            watcher.start()
            narrate(players, stage)
            try:
                story.play(players, stage.tell)
            except AssertionError as failure:
                stage.say("story", f"[red]a step did not hold:[/] {failure}")
                console.print(players.engine.log()[-3000:])
                return 1
            watcher.over.set()
            watcher.look()
            summarise(players, stage, console)
    return 0


def summarise(players: Cast, stage: Stage, console: Console) -> None:
    """What came in, what was decided, what went out."""
    statuses: dict[str, int] = {}
    for task in tasks_of(players):
        statuses[task["status"]] = statuses.get(task["status"], 0) + 1
    counts = players._counts()
    console.rule("[bold]summary")
    plans = players.find("CarePlan")
    console.print(f"stays      {len(players.find('EpisodeOfCare'))}")
    console.print(f"plans      {sum(1 for p in plans if not p.get('partOf'))} coordinating, "
                  f"{sum(1 for p in plans if p.get('partOf'))} of episodes")  # fmt: skip
    told = ", ".join(f"{n} {status}" for status, n in sorted(statuses.items()))
    console.print(f"tasks      {sum(statuses.values())}: {told}")
    console.print("delivered  " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    console.print(f"seconds    {time.monotonic() - stage.begin:.1f}")
    console.print("[bold green]every step held")


if __name__ == "__main__":
    sys.exit(main())
