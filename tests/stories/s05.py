"""S05: a discharge is entered, cancelled, and happens four days later.

The work that the first discharge started must vanish without a trace on anybody's list,
and the real discharge must start it anew, with dates of its own.
"""

from tests.stories.cast import Cast
from tests.stories.messages import adt
from tests.stories.reading import (
    anchored,
    code_of,
    due_of,
    inputs,
    lace,
    score,
    summary,
    tasks_of,
    visit,
)
from tests.stories.s01 import HF, Tell, prime

CLOCK = "2026-06-29T09:00:00-04:00"
VISIT = "V79001"
DRAFTS = {"bill-tcm"}
"""Needs whose Tasks are drafts, which nobody is sent."""

FIRST = [
    "bill-tcm 2026-08-01 draft",
    "contact 2026-07-07 requested",
    "med-rec 2026-07-09 requested",
    "send-dc-info 2026-07-04 requested",
    "surveillance 2026-07-05 requested",
    "surveillance 2026-07-09 requested",
    "surveillance 2026-07-16 requested",
    "surveillance 2026-07-23 requested",
    "surveillance 2026-08-01 requested",
    "tcm-records 2026-07-07 requested",
    "visit 2026-07-09 requested",
]
SECOND = [
    "bill-tcm 2026-08-05 draft",
    "contact 2026-07-08 requested",
    "med-rec 2026-07-13 requested",
    "send-dc-info 2026-07-08 requested",
    "surveillance 2026-07-09 requested",
    "surveillance 2026-07-13 requested",
    "surveillance 2026-07-20 requested",
    "surveillance 2026-07-27 requested",
    "surveillance 2026-08-05 requested",
    "tcm-records 2026-07-08 requested",
    "visit 2026-07-13 requested",
]


def admit(cast: Cast) -> None:
    """Monday 06-29, as an emergency."""
    prime(cast)
    cast.engine.advance("2026-06-29T10:00:30-04:00")
    message = adt("A01", "2026-06-29 10:00", "5", visit=VISIT, place="4W^1^1", diagnoses=[HF])
    assert cast.hl7(message) == "AA"


def discharge_message(control_id: str = "999", at: str = "2026-07-02 14:00") -> str:
    """The A03 of that instant."""
    return adt(
        "A03", at, control_id, visit=VISIT, place="4W^1^1", diagnoses=[HF], disposition="01",
        discharged=at, occurred=at,
    )  # fmt: skip


def cancel_message(control_id: str = "998") -> str:
    """The A13: EVN-6 names the discharge; the discharge fields are still filled."""
    return adt(
        "A13", "2026-07-02 17:38", control_id, visit=VISIT, place="4W^1^1", diagnoses=[HF],
        disposition="01", discharged="2026-07-02 14:00", occurred="2026-07-02 14:00",
    )  # fmt: skip


def episodes(cast: Cast) -> list[dict[str, object]]:
    """The CarePlan of the stay."""
    stay = f"Encounter/{visit(cast, VISIT)['id']}"
    plans = cast.find("CarePlan")
    return [p for p in plans if p.get("partOf") and p["encounter"]["reference"] == stay]


def follow_up_tasks(cast: Cast) -> list[dict[str, object]]:
    """Tasks of the stay apart from the admission notice."""
    return [t for t in anchored(tasks_of(cast), visit(cast, VISIT)) if code_of(t) != "notify-admit"]


def play(cast: Cast, tell: Tell) -> None:
    """Play S05 and assert every step."""
    admit(cast)
    cast.engine.advance("2026-07-02T14:01:00-04:00")
    assert cast.hl7(discharge_message()) == "AA"
    stay = visit(cast, VISIT)
    assert score(cast, lace(cast, stay)) == (11, 11)
    assert summary(follow_up_tasks(cast)) == FIRST
    tell("A03", "Thursday 14:00, home: LACE 11, 11 tasks.")

    cast.engine.advance("2026-07-02T15:10:00-04:00")
    (contact,) = tasks_of(cast, code="contact")
    attempt = cast.post(
        "pcpb",
        [
            {
                "resourceType": "Communication",
                "status": "not-done",
                "statusReason": {"coding": [{"code": "voicemail"}], "text": "voicemail"},
                "subject": contact["for"],
                "recipient": [contact["for"]],
                "sent": "2026-07-02T15:10:00-04:00",
                "about": [{"reference": f"Task/{contact['id']}"}],
            }
        ],
    )
    (contact,) = tasks_of(cast, code="contact")
    assert contact["status"] == "requested"
    assert contact["businessStatus"]["coding"][0]["code"] == "attempted-1"
    tell("voicemail", "An attempt, not a contact: the task stays open, attempted-1.")

    cast.engine.advance("2026-07-02T17:38:30-04:00")
    cast.mark()
    (before,) = episodes(cast)
    sent = [(peer, len(peer.writes)) for peer in (cast.pcpb, cast.payx)]
    assert cast.hl7(cancel_message()) == "AA"
    (after,) = episodes(cast)
    assert int(after["meta"]["versionId"]) == int(before["meta"]["versionId"]) + 1
    stay = visit(cast, VISIT)
    assert stay["status"] == "in-progress"
    assert "end" not in stay["period"]
    assert "dischargeDisposition" not in stay.get("hospitalization", {})
    finished = [h["period"] for h in stay["statusHistory"] if h["status"] == "finished"]
    assert finished == [{"start": "2026-07-02T14:00:00-04:00", "end": "2026-07-02T17:38:00-04:00"}]
    cancelled = follow_up_tasks(cast)
    assert {t["status"] for t in cancelled} == {"cancelled"}
    assert len(cancelled) == 11
    assert {t["statusReason"]["coding"][0]["code"] for t in cancelled} == {"anchor-voided"}
    location = attempt.body["entry"][0]["response"]["location"]
    reference = "/".join(location.split("/fhir/")[-1].split("/")[:2])
    assert cast.read(reference)["status"] == "not-done"
    delivered = cast.delivered()
    assert (delivered["PCPB"], delivered["PAYX"], delivered["HOSPA"]) == (1, 1, 1)
    for peer, count in sent:
        told = [write.resource for write in peer.writes[count:]]
        recalled = [one for one in told if one["resourceType"] == "Task"]
        assert {one["status"] for one in recalled} == {"cancelled"}
        assert {code_of(one) for one in recalled} == {code_of(one) for one in cancelled} - DRAFTS
        (recall,) = [one for one in told if one["resourceType"] == "Encounter"]
        assert {"system": "urn:segue:notice", "code": "discharge-cancelled"} in recall["meta"][
            "tag"
        ]
    tell("A13", "In progress again; 11 tasks cancelled (anchor-voided), each peer told once.")

    cast.engine.advance("2026-07-06T11:21:00-04:00")
    message = adt(
        "A03", "2026-07-06 11:20", "1002", visit=VISIT, place="4W^1^1", diagnoses=[HF],
        disposition="01", discharged="2026-07-06 11:20",
    )  # fmt: skip
    assert cast.hl7(message) == "AA"
    stay = visit(cast, VISIT)
    assert score(cast, lace(cast, stay)) == (13, 13)
    open_now = [t for t in follow_up_tasks(cast) if t["status"] != "cancelled"]
    assert summary(open_now) == SECOND
    (contact,) = [t for t in open_now if code_of(t) == "contact"]
    assert "businessStatus" not in contact
    (seen,) = [t for t in open_now if code_of(t) == "visit"]
    dues = {r.get("alternative", r["due"])[:10] for r in inputs(seen, "requirement")}
    assert due_of(seen) == "2026-07-13"
    assert "2026-07-20" in str(seen["input"]), dues
    tell("A03", "Monday 07-06: LACE 13, 11 tasks of generation 2, the attempt not inherited.")
