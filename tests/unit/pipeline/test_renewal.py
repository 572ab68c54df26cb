"""Tasks that have ended and are wanted again."""

from typing import Any

from segue.care.tasks import need_key
from segue.fhir.canonical import canonical_state
from segue.pipeline.renewal import ended_of, renew


def task(status: str) -> dict[str, Any]:
    id_, need = need_key("HOSPA|V1", "contact", 1)
    identifier = [
        {"system": "urn:segue", "value": id_},
        {"system": "urn:segue:need", "value": need},
    ]
    return {"resourceType": "Task", "id": id_, "status": status, "identifier": identifier}


def plan(task_id: str) -> dict[str, Any]:
    reference = {"reference": {"reference": f"Task/{task_id}"}}
    return {"resourceType": "CarePlan", "id": "p", "activity": [reference]}


def test_what_has_ended_stays_and_a_new_task_takes_its_place() -> None:
    first = task("cancelled")
    ended = ended_of([first])
    wanted = [task("requested"), plan(first["id"])]
    assert renew(wanted, (), {}) == (wanted, {})
    (new, shown), places = renew(wanted, ended, {})
    assert new["id"] != first["id"]
    assert shown["activity"][0]["reference"]["reference"] == f"Task/{new['id']}"
    assert new["identifier"][0]["value"] == new["id"]
    assert new["identifier"][1] == first["identifier"][1]
    again, same = renew(wanted, ended, places)
    assert (again[0]["id"], same) == (new["id"], places)
    third, _ = renew(wanted, {*ended, f"Task/{new['id']}"}, places)
    assert third[0]["id"] not in (first["id"], new["id"])
    done, _ = renew([task("completed")], ended, places)
    assert done[0]["id"] == new["id"], "it goes on where it is"


def test_two_states_are_equal_whether_a_task_was_renewed_or_never_ended() -> None:
    first = task("cancelled")
    wanted = [task("requested"), plan(first["id"])]
    made, _ = renew(wanted, ended_of([first]), {})
    assert canonical_state([first, *made]) == canonical_state(wanted)
