"""S11: one stay's messages in all 120 orders, each also with every message twice."""

import itertools
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.stories import s01, s11
from tests.stories.cast import Cast, cast
from tests.stories.engine import END, START
from tests.stories.reading import anchored, code_of, lace, score, summary, tasks_of, visit

ORDERS = list(itertools.permutations(s11.messages()))
_ID = re.compile(r"\b[0-9a-f]{32}\b")


def personalised(message: str, number: int) -> str:
    """The same message about another person and another visit."""
    return (
        message.replace("100234^", f"2{number:05d}^")
        .replace("900017^", f"8{number:05d}^")
        .replace("V78421^", f"W{number:04d}^")
        .replace("|S11-", f"|{number}-S11-")
    )


def stream(port: int, messages: list[str]) -> list[str]:
    """Send messages over one connection, one after the other; MSA-1 of each."""
    codes = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for message in messages:
            connection.sendall(START + message.encode() + END)
            data = b""
            while not data.endswith(END):
                data += connection.recv(65536)
            codes.append(data.split(b"\rMSA|")[1][:2].decode())
    return codes


def canonical(players: Cast, number: int) -> str:
    """Everything the hub made about a person, with neither ids nor numbers of it."""
    from segue.fhir.canonical import canonical_state

    (patient,) = players.find("Patient", identifier=f"2{number:05d}")
    reference = f"Patient/{patient['id']}"
    resources: list[dict[str, Any]] = [patient]
    for type_ in (
        "Encounter", "Condition", "EpisodeOfCare", "CarePlan", "CareTeam", "Goal",
        "RiskAssessment", "Observation", "Task",
    ):  # fmt: skip
        resources += players.find(type_, patient=reference)
    text = f"[{canonical_state(resources).decode().strip().replace(chr(10), ',')}]"
    text = text.replace(f"2{number:05d}", "MRN").replace(f"8{number:05d}", "HIE")
    text = text.replace(f"W{number:04d}", "VISIT")
    # Ids are hashes of the numbers: name them by what the resource says without ids.
    parsed = json.loads(text)
    blank = [(_ID.sub("", json.dumps(item, sort_keys=True)), item) for item in parsed]
    blank.sort(key=lambda pair: pair[0])
    names: dict[str, str] = {}
    for _, item in blank:
        names.setdefault(item["id"], f"{item['resourceType']}-{len(names)}")
    flat = json.dumps([item for _, item in blank])
    named = json.loads(_ID.sub(lambda match: names.get(match.group(), "elsewhere"), flat))
    return json.dumps(_by_name(named), sort_keys=True)


def _by_name(value: Any) -> Any:
    """Lists that the hub orders by id, ordered by name: each person's ids differ."""
    if isinstance(value, list):
        return [_by_name(item) for item in value]
    if isinstance(value, dict):
        return {
            key: sorted(map(_by_name, item), key=json.dumps)
            if key in ("addresses", "diagnosis")
            else _by_name(item)
            for key, item in value.items()
        }
    return value


@pytest.fixture(scope="module")
def players(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with cast(tmp_path_factory.mktemp("s11"), s11.INSTANT) as started:
        yield started


def test_every_order_and_every_duplication_ends_in_the_same_canonical_bytes(
    players: Cast,
) -> None:
    messages = s11.messages()
    sent: list[str] = []
    for number, order in enumerate(ORDERS):
        for name in order:
            sent.append(personalised(messages[name], number))
        twice = number + len(ORDERS)
        for name in order:
            sent += [personalised(messages[name], twice)] * 2
    assert set(stream(players.ports["HOSPA"], sent)) == {"AA"}
    players.engine.settle(120)
    numbers = range(2 * len(ORDERS))
    states: dict[str, list[int]] = {}
    for number in numbers:
        states.setdefault(canonical(players, number), []).append(number)
    assert len(states) == 1, [group[:3] for group in states.values()]


def test_the_stay_that_all_orders_tell(players: Cast) -> None:
    number = 500
    for name, message in s11.messages().items():
        assert players.hl7(personalised(message, number), settle=False) == "AA", name
    players.engine.settle()
    stay = visit(players, f"W{number:04d}")
    assert stay["status"] == "finished"
    assert stay["location"][-1]["location"]["display"].startswith("CCU")
    tasks = anchored(tasks_of(players, encounter=f"Encounter/{stay['id']}"), stay)
    (notify,) = [t for t in tasks if code_of(t) == "notify-admit"]
    assert notify["restriction"]["period"]["end"].startswith("2026-07-07T23:59:59")
    rest = [t for t in tasks if code_of(t) != "notify-admit"]
    assert summary(rest) == s01.DISCHARGE


def test_a_discharge_that_comes_first_starts_the_work_at_once(tmp_path: Path) -> None:
    messages = s11.messages()
    with cast(tmp_path, s11.INSTANT) as players:
        s01.prime(players)
        players.hl7(messages["A03"])
        stay = visit(players, "V78421")
        assert stay["status"] == "finished"
        assert score(players, lace(players, stay)) == (12, 12)

        def discharge_tasks() -> list[str]:
            tasks = anchored(tasks_of(players), visit(players, "V78421"))
            return summary([t for t in tasks if code_of(t) != "notify-admit"])

        assert discharge_tasks() == s01.DISCHARGE
        for name in ("A04", "A06", "A02", "A08"):
            players.hl7(messages[name])
        assert discharge_tasks() == s01.DISCHARGE
        before = {t["id"] for t in tasks_of(players)}

        players.engine.advance("2026-07-10T16:05:00-04:00")
        players.mark()
        players.hl7(s11.correction())
        assert {t["id"] for t in tasks_of(players)} == before
        assert discharge_tasks() == s11.CORRECTED
        assert score(players, lace(players, visit(players, "V78421"))) == (12, 12)
        delivered = players.delivered()
        assert (delivered["PCPB"], delivered["PAYX"], delivered["HOSPA"]) == (1, 1, 1)


def test_the_same_control_id_with_other_bytes_is_processed_with_a_warning(tmp_path: Path) -> None:
    first = s11.messages()["A04"]
    with cast(tmp_path, s11.INSTANT) as players:
        assert players.hl7(first) == "AA"
        assert players.hl7(first) == "AA"
        listed = inbox(players)
        assert [(e["state"], e["duplicates"]) for e in listed] == [("processed", 1)]
        assert players.hl7(first.replace("DOE^JANE", "DOE^JANET")) == "AA"
        states = [(e["state"], e["issues"]) for e in inbox(players)]
        assert [state for state, _ in states] == ["processed", "processed"]
        assert max(issues for _, issues in states) >= 1
        (patient,) = [p for p in players.find("Patient") if p.get("active", True)]
        assert patient["name"][0]["given"] == ["JANET"]


def test_with_quarantine_the_other_bytes_are_held(tmp_path: Path) -> None:
    first = s11.messages()["A04"]
    with cast(tmp_path, s11.INSTANT, reuse="quarantine") as players:
        assert players.hl7(first) == "AA"
        assert players.hl7(first.replace("DOE^JANE", "DOE^JANET")) == "AA"
        assert sorted(e["state"] for e in inbox(players)) == ["processed", "quarantined"]
        (patient,) = [p for p in players.find("Patient") if p.get("active", True)]
        assert patient["name"][0]["given"] == ["JANE"]


def inbox(players: Cast) -> list[dict[str, Any]]:
    """`segue inbox list --json` of the running engine."""
    import os
    import subprocess
    import sys

    from tests.stories.engine import ROOT

    done = subprocess.run(
        [sys.executable, "-m", "segue", "inbox", "list", "--json", "--config",
         str(players.engine.directory / "segue.yaml")],
        capture_output=True, text=True, check=True, cwd=players.engine.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "engine")},
    )  # fmt: skip
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return items
