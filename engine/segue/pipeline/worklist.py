"""Tasks for those who keep the engine's picture right: a steward, an analyst.

They are of no person's plan, are sent nowhere, and are found by `Task?code=…`. Their id
follows from what they ask, so that the same question is asked once, however often and in
how many processes it comes up.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from segue.care.parties import HUB_REFERENCE
from segue.fhir.canonical import content_hash
from segue.model.changes import Cause
from segue.model.identity import ResourceKey, stable_id
from segue.model.instants import rfc3339
from segue.pipeline.compare import Resource, check, write
from segue.pipeline.record import Recorder
from segue.pipeline.transact import Draft
from segue.store.records import Step

NEED = "urn:segue:need"
"""System of what a Task asks for."""


def question(
    code: str,
    about: Sequence[str],
    *,
    title: str,
    role: str,
    now: int,
    focus: str | None = None,
    told: Sequence[tuple[str, Mapping[str, Any]]] = (),
) -> Resource:
    """A Task that asks a person to decide something.

    Args:
        code: what is asked, such as `match-review`.
        about: what makes this question differ from others of its code; in any order.
        title: the question in a sentence; without patient data.
        role: who decides, for people.
        now: µs.
        focus: `Type/id` of what it is about.
        told: the evidence as (name, `{"valueString": …}`).
    """
    key = "|".join(sorted(about))
    id_ = stable_id("Task", code, key)
    task: Resource = {
        "resourceType": "Task",
        "id": id_,
        "identifier": [{"system": NEED, "value": f"{code}|{key}"}],
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": NEED, "code": code}]},
        "description": title,
        "authoredOn": rfc3339(now),
        "requester": HUB_REFERENCE,
        "performerType": [{"text": role}],
    }
    if focus is not None:
        task["focus"] = {"reference": focus}
    if told:
        task["input"] = [{"type": {"text": name}, **value} for name, value in told]
    return task


def ask(draft: Draft, task: Resource) -> bool:
    """Store a question, unless it was asked before; whether it was not."""
    key = ResourceKey("Task", task["id"])
    if draft.reader.heads([key]):
        return False
    _put(draft, task)
    return True


def answer(draft: Draft, id_: str, reason: str) -> bool:
    """Close a question; whether it was open.

    Args:
        draft: a draft of its own.
        id_: of the Task.
        reason: what was decided.
    """
    key = ResourceKey("Task", id_)
    task = draft.bodies([key]).get(key)
    if task is None or task["status"] != "requested":
        return False
    _put(
        draft,
        {
            **task,
            "status": "completed",
            "lastModified": rfc3339(draft.now),
            "output": [{"type": {"text": "decision"}, "valueString": reason}],
        },
    )
    return True


def _put(draft: Draft, task: Resource) -> None:
    key = ResourceKey("Task", task["id"])
    check(draft.hub.gate, task, key)
    head = draft.reader.heads([key]).get(key)
    recorder = Recorder(draft, Step(Cause("steward", task["id"])))
    made = write(task, key, content_hash(task), head, draft.new_pk, kind="client")
    draft.unfinished.index(made, None, task)
    recorder.step.writes.append(made)
    recorder.close()
