"""Takes in notifications of admissions, discharges and transfers, as intake does ADTs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from segue.fhir.outcomes import FhirError
from segue.model.changes import Cause
from segue.pipeline.alerts import Alert, Anyone, read_alert
from segue.pipeline.charts import Charts, Directory
from segue.pipeline.compare import InvalidError
from segue.pipeline.coordinate import coordinate_person
from segue.pipeline.facts import pack
from segue.pipeline.hub import Hub
from segue.pipeline.record import Recorder
from segue.pipeline.refold import add_fact, doubts, identities_of, project
from segue.pipeline.speaker import Speaker
from segue.pipeline.stages import Stages
from segue.pipeline.transact import Draft, transact
from segue.store.records import Step


def take_in(hub: Hub, speaker: Speaker, bundle: Mapping[str, Any]) -> Alert:
    """Fold what a message Bundle says into what is stored; one commit, one Provenance.

    The same message again changes nothing.

    Args:
        hub: the engine; speaker: who sends.
        bundle: as it came.

    Raises:
        FhirError: 400, 422; it cannot be used, and nothing was written.
    """
    if not hub.gate.is_valid(dict(bundle)):
        raise FhirError("unprocessable", hub.gate.issues(dict(bundle)))
    alert = read_alert(
        bundle,
        speaker.source,
        hub.site(speaker.site) if speaker.site else None,
        Anyone(hub.sites.values()),
        hub.mapping_for(speaker.site).identity.never,
        hub.now(),
        history=speaker.history,
    )
    own = replace(hub, charts=Charts(), directory=Directory(), stages=Stages())
    try:
        transact(own, lambda draft: _fold(draft, alert, speaker))
    except InvalidError as error:
        raise FhirError("unprocessable", error.issues) from None
    return alert


def _fold(draft: Draft, alert: Alert, speaker: Speaker) -> None:
    fact = alert.fact
    draft.load(identities_of([fact]))
    if any(row.id == fact.id for row in draft.reader.people.facts_of([fact.identity])):
        return
    step = Step(Cause("statement", fact.id, speaker.source))
    recorder = Recorder(draft, step, history=speaker.history)
    found = add_fact(draft, fact)
    step.facts.append(pack(fact, 0, "statement"))
    for affected in found:
        step.issues += doubts(affected, [fact])
        coordinate_person(recorder, affected.chart, stirred=project(recorder, affected))
    recorder.directory(alert.directory, (fact.recorded.us, fact.control_id))
    recorder.close(
        control_id=fact.control_id,
        occurred=fact.occurred.text or None,
        protected=frozenset(fact.labels),
    )
