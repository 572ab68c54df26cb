"""Reads the history of a visit out of the store."""

from collections.abc import Container

from segue.care.parting import at_home, part
from segue.care.timeline import Timeline, timeline
from segue.model.identity import ResourceKey
from segue.pipeline.charts import Chart
from segue.pipeline.hub import Hub
from segue.pipeline.recall import Recall, numbers_of
from segue.pipeline.transact import Draft


class AmbiguousError(Exception):
    """Several visits have that number; the text names them."""


def history_of(hub: Hub, number: str) -> Timeline | None:
    """The history of a visit, None where nothing is known of it.

    Args:
        hub: over an open store; nothing is written.
        number: visit key `HOSPA|V78421`, or the bare number.

    Raises:
        AmbiguousError: more than one authority gave that number.
    """
    with hub.store.read() as reader:
        found = reader.people.visits_numbered(number)
        if not found:
            return None
        keys = sorted({key for key, _ in found})
        draft = Draft(hub, reader, hub.now())
        draft.load([identity for _, identity in found])
        charts = {
            chart.pk: chart
            for _, identity in found
            if (chart := draft.person(identity)) is not None
        }
        for chart in charts.values():
            numbers = numbers_of(chart.person)
            wanted = {numbers.get(key, key) for key in keys} & chart.visits.keys()
            if len(wanted) > 1 or (wanted and len(keys) > 1 and not numbers):
                raise AmbiguousError(f"{number}: several visits: {', '.join(keys)}; name one")
            for key in wanted:
                return _timeline(draft, chart, key)
    return None


def history_of_encounter(hub: Hub, id_: str) -> Timeline | None:
    """The history of the visit that an Encounter stands for.

    Args:
        hub: over an open store; nothing is written.
        id_: logical id of the Encounter.

    Returns:
        None where no message has told of it: a client's own, say.
    """
    key = ResourceKey("Encounter", id_)
    with hub.store.read() as reader:
        head = reader.heads([key]).get(key)
        if head is None or head.owner is None:
            return None
        draft = Draft(hub, reader, hub.now())
        draft.load(pks=[head.owner])
        chart = draft.chart(head.owner)
        found = next((key for key, one in chart.visits.items() if one.encounter == id_), None)
        return None if found is None else _timeline(draft, chart, found)


def _timeline(draft: Draft, chart: Chart, key: str) -> Timeline:
    facts = Recall(draft, sorted(chart.identities | set(chart.margin.kin)))
    home, numbers = chart.visits[key].identity, numbers_of(chart.person)
    astray: Container[str] = ()
    if chart.margin.kin:
        parting = part(facts.said())
        numbers, astray = dict(parting.numbers), parting.astray
    about = facts.about(key, chart.visits[key].loose, numbers)
    told = (at_home(fact, chart.identities, home) for fact in about if fact.id not in astray)
    return timeline(told, key)
