"""Care that changes by time alone: a window opens, a due passes, a plan ends."""

from collections.abc import Sequence

from segue.model.changes import Cause
from segue.model.instants import rfc3339
from segue.pipeline.coordinate import coordinate_person
from segue.pipeline.hub import Hub
from segue.pipeline.record import Recorder
from segue.pipeline.transact import Draft, transact
from segue.store.records import Step

BATCH = 50
"""Persons per commit."""


def fire_due(hub: Hub) -> int:
    """Bring everybody's care up to date whose timer is due; how many that were.

    What a timer changes is a function of the person's facts and of the instant, so it
    does no harm if it fires late, twice, or in two processes at once.
    """
    fired = 0
    tried: set[int] = set()
    while True:
        with hub.store.read() as reader:
            due = [
                pk for pk, _ in reader.people.due(hub.now(), BATCH + len(tried)) if pk not in tried
            ]
        due = due[:BATCH]
        if not due:
            return fired
        tried.update(due)
        fired += len(due)
        bring_up_to_date(hub, due)


def bring_up_to_date(hub: Hub, persons: Sequence[int]) -> None:
    """Make these persons' care what it should be at this instant; one commit.

    Args:
        hub: the engine.
        persons: pks.
    """

    def compute(draft: Draft) -> None:
        draft.load(pks=persons)
        for pk in persons:
            chart = draft.charts.get(pk)
            if chart is None:
                continue
            if chart.into is not None:
                # Merged away: the survivor has a timer of its own.
                chart.touched = True
                continue
            wake = chart.margin.wake
            step = Step(Cause("timer", f"{pk}@{rfc3339(wake or draft.now)}"))
            recorder = Recorder(draft, step)
            coordinate_person(recorder, chart)
            if step.writes or recorder.changes:
                recorder.close()

    transact(hub, compute)
