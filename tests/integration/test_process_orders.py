"""Whatever the order in which the messages of a stay arrive: one state."""

from itertools import permutations
from pathlib import Path

import pytest

from segue.model.instants import rfc3339
from segue.pipeline.process import process
from segue.pipeline.routes import Route
from tests.stories.reading import summary
from tests.stories.s01 import DISCHARGE
from tests.stories.s11 import CORRECTED, INSTANT, correction, messages
from tests.support.hub import Bench, TestClock, hub

ROUTES = (
    Route("pcpb", "pcpb", frozenset({"Encounter", "CarePlan", "Task"})),
    Route("payx", "payx", frozenset({"Encounter", "CarePlan", "Task"})),
    Route("hospa-mdm", "hospa", frozenset({"careplan"})),
)
S11 = messages()
ORDERS = list(permutations(S11))


def play(folder: Path, order: tuple[str, ...], *, batch: int, twice: bool = False) -> bytes:
    """Process in this order, in batches; the canonical state."""
    with hub(folder, TestClock.at(INSTANT), ROUTES) as bench:
        entries = [bench.entry(S11[name]) for name in order]
        if twice:
            # Beyond the horizon of duplicate detection: an entry of its own, the same bytes.
            entries += [bench.entry(S11[name]) for name in reversed(order)]
        for start in range(0, len(entries), batch):
            outcome = process(bench.hub, entries[start : start + batch])
            assert outcome.states == {}
        return bench.state()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return play(tmp_path_factory.mktemp("in-order"), tuple(S11), batch=1)


@pytest.mark.parametrize("order", ORDERS[::7], ids="-".join)
def test_every_order_gives_one_state(
    tmp_path: Path, expected: bytes, order: tuple[str, ...]
) -> None:
    assert play(tmp_path, order, batch=5) == expected


@pytest.mark.parametrize("order", ORDERS[3::29], ids="-".join)
def test_messages_that_come_twice_change_nothing(
    tmp_path: Path, expected: bytes, order: tuple[str, ...]
) -> None:
    assert play(tmp_path, order, batch=3, twice=True) == expected


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_all_120_orders_give_one_state(
    tmp_path: Path, expected: bytes, order: tuple[str, ...]
) -> None:
    assert play(tmp_path / "once", order, batch=1) == expected
    assert play(tmp_path / "twice", order, batch=4, twice=True) == expected


def tasks(bench: Bench) -> list[str]:
    """Open tasks without the one of the admission."""
    found = bench.resources("Task")
    return sorted(line for line in summary(found) if not line.startswith("notify-admit"))


def test_a_discharge_that_comes_first_starts_the_care_at_once(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at(INSTANT), ROUTES) as bench:
        bench.process(S11["A03"])
        assert tasks(bench) == DISCHARGE
        for name in ("A04", "A06", "A02", "A08"):
            bench.process(S11[name])
        assert tasks(bench) == DISCHARGE


def test_a_corrected_discharge_moves_the_dues_and_is_told_once(tmp_path: Path) -> None:
    clock = TestClock.at(INSTANT)
    with hub(tmp_path, clock, ROUTES) as bench:
        bench.process(*S11.values())
        before = {task["id"] for task in bench.resources("Task")}
        told = len(bench.deliveries())
        clock.set("2026-07-10T16:05:00-04:00")
        bench.process(correction())
        assert tasks(bench) == CORRECTED
        assert {task["id"] for task in bench.resources("Task")} == before
        new = bench.deliveries()[told:]
        assert len({delivery[4] for delivery in new}) == 1
        assert [d[1] for d in new if d[0] == "hospa-mdm"] == ["careplan"]
        assert len(new) == len(set(new)), rfc3339(clock.us)
