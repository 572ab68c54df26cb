"""Merges and unmerges on both databases: persons joined and parted leave nothing behind."""

from pathlib import Path

import pytest

from segue.pipeline.replay import replay
from segue.pipeline.routes import Route
from segue.pipeline.steward import NotMergedError, link, unmerge
from segue.pipeline.workers import Worker
from tests.stories.messages import adt
from tests.support.hub import Bench, TestClock, hub

CLOCK = "2026-07-10T15:30:00-04:00"
ROUTES = (
    Route("pcpb", "pcpb", frozenset({"Encounter", "CarePlan", "Task"})),
    Route("lab", "lab", frozenset({"adt", "careplan"})),
)
KEPT, GONE = "HOSPA|500001", "HOSPA|500002"


def said(n: int, event: str, at: str, number: str, **more: str) -> str:
    return adt(
        event, at, number, mrn=f"50000{n}", visit=more.pop("visit", f"W{n}"), place="4W^1^1",
        shared=False, **more,
    )  # fmt: skip


ADMISSIONS = (
    said(1, "A01", "2026-07-05 08:00", "1", diagnoses=("I50.23^Heart failure",)),
    said(2, "A01", "2026-07-05 09:00", "2", pid="ROE^RICHARD||19600101|M"),
    said(2, "A03", "2026-07-08 09:00", "3", pid="ROE^RICHARD||19600101|M", disposition="01",
         discharged="2026-07-08 09:00"),
)  # fmt: skip
MERGE = (
    adt("A40", "2026-07-09 10:00", "M1", mrn="500001", visit="", shared=False)
    + "MRG|500002^^^HOSPA^MR\r"
)
SINCE = (
    # The ward goes on with the number that stayed, also about the other one's visit.
    said(1, "A08", "2026-07-09 12:00", "5", visit="W2", disposition="03",
         discharged="2026-07-08 09:00"),
    said(1, "A02", "2026-07-09 13:00", "6"),
)  # fmt: skip
SINCE_APART = (
    said(2, "A08", "2026-07-09 12:00", "5", visit="W2", disposition="03",
         discharged="2026-07-08 09:00", pid="ROE^RICHARD||19600101|M"),
    said(1, "A02", "2026-07-09 13:00", "6"),
)  # fmt: skip


DIRECTORY = ("Organization/", "Location/", "Practitioner/", "PractitionerRole/")


def active(bench: Bench) -> list[str]:
    return sorted(p["id"] for p in bench.resources("Patient") if p["active"])


def references(bench: Bench) -> None:
    """Nothing points to what is not there, and nobody's care to a Patient that was replaced."""
    from segue.fhir.references import walk_references

    stored = bench.resources()
    known = {f"{r['resourceType']}/{r['id']}" for r in stored}
    replaced = {
        f"Patient/{one['id']}"
        for one in bench.resources("Patient")
        if any(link["type"] == "replaced-by" for link in one.get("link", ()))
    }
    for one in stored:
        if one["resourceType"] == "Provenance":
            continue
        for path, reference in walk_references(one):
            target = reference["reference"]
            if not target.startswith(DIRECTORY):
                assert target in known, (one["resourceType"], path)
            if path in ("subject", "for", "patient"):
                assert target not in replaced, (one["resourceType"], one.get("status"))


def test_an_unmerge_restores_both_as_if_they_had_never_been_one(
    tmp_path: Path, where: str | Path
) -> None:
    clock = TestClock.at(CLOCK)
    with hub(where, clock, ROUTES) as bench, hub(tmp_path / "apart", clock, ROUTES) as apart:
        apart.process(*ADMISSIONS, *SINCE_APART)
        bench.process(*ADMISSIONS)
        both = active(bench)
        assert len(both) == 2
        bench.process(MERGE, *SINCE)
        assert len(active(bench)) == 1
        references(bench)
        done = unmerge(bench.hub, GONE, None, "two people with one name")
        assert sorted(done.patients) == both
        assert active(bench) == both
        assert bench.state() == apart.state()
        references(bench)
        with pytest.raises(NotMergedError):
            unmerge(bench.hub, GONE, KEPT, "again")
        # Later messages find their person, and a person of its own each.
        later = [said(1, "A03", "2026-07-10 09:00", "7", disposition="01"),
                 said(2, "A08", "2026-07-10 09:00", "8", pid="ROE^RIC||19600101|M")]  # fmt: skip
        for one in (bench, apart):
            one.process(*later)
        assert bench.state() == apart.state()


def test_who_heard_of_the_merge_hears_of_the_unmerge(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at(CLOCK), ROUTES) as bench:
        bench.process(*ADMISSIONS)
        before = len(bench.deliveries())
        bench.process(MERGE)
        unmerge(bench.hub, GONE, KEPT, "two people")
        rows = bench._rows("SELECT partition, what, after, notice FROM outbox ORDER BY id")[before:]
        told = [(what, notice) for _, what, _, notice in rows if notice]
        patients = {f"Patient/{p['id']}" for p in bench.resources("Patient")}
        assert {what for what, notice in told if notice == "identity-merged"} == patients
        assert {what for what, notice in told if notice == "identity-unmerged"} == patients
        lanes = {lane for (lane,) in bench._rows("SELECT lane FROM outbox")}
        waits = {tuple(after.split()) for _, _, after, notice in rows if notice and after}
        assert waits == {(str(lane),) for lane in lanes}, "each in its turn waited for the other"


def test_a_message_that_is_sent_again_after_the_unmerge_does_not_merge_anew(
    tmp_path: Path,
) -> None:
    with hub(tmp_path, TestClock.at(CLOCK), ROUTES) as bench:
        bench.process(*ADMISSIONS, MERGE)
        unmerge(bench.hub, GONE, KEPT, "two people")
        before = bench.state()
        bench.process(MERGE.replace("|M1|", "|M2|"))
        assert bench.state() == before
        newer = MERGE.replace("|M1|", "|M3|").replace("20260709100000", "20260711100000")
        bench.process(newer)
        assert len(active(bench)) == 1, "a merge that is recorded later is a new one"


def test_an_unmerge_answers_the_question_why_somebody_is_in_two_hospitals(
    tmp_path: Path, where: str | Path
) -> None:
    def stay(hospital: str, mrn: str, at: str, pid: str) -> str:
        return adt("A01", at, f"{hospital}-{mrn}", hospital=hospital, mrn=mrn, visit=mrn,
                   place="4W^1^1", shared=False, pid=pid)  # fmt: skip

    stays = (stay("HOSPA", "500001", "2026-07-09 08:00", "ROE^LEA||19550214|F"),
             stay("HOSPB", "700001", "2026-07-10 08:00", "POE^LIV||19610214|F"))  # fmt: skip
    clock = TestClock.at(CLOCK)
    routes = (*ROUTES, Route("all", "all", frozenset({"DetectedIssue", "Encounter"})))
    with hub(where, clock, routes) as bench, hub(tmp_path / "apart", clock, routes) as apart:
        for one in (bench, apart):
            for site, message in zip(("hospa", "hospb"), stays, strict=True):
                one.process(message, site=site)
        assert link(bench.hub, KEPT, "HOSPB|700001", "the cards were the same")
        (issue,) = bench.resources("DetectedIssue")
        assert len(issue["implicated"]) == 2
        assert not [one for one in bench.deliveries() if "DetectedIssue" in str(one)]
        references(bench)
        clock.set("2026-07-10T15:31:00-04:00")
        unmerge(bench.hub, "HOSPB|700001", KEPT, "two people after all")
        assert bench.resources("DetectedIssue") == []
        assert bench.state() == apart.state()
        references(bench)


def test_an_unlink_parts_what_a_link_joined(tmp_path: Path, where: str | Path) -> None:
    def pair(event: str, at: str, number: str) -> str:
        text = adt(event, at, number, mrn="500001", visit="", shared=False)
        head = [line for line in text.split("\r") if line[:3] in ("MSH", "EVN", "PID")]
        return "\r".join([*head, head[-1].replace("500001", "500002"), ""])

    clock = TestClock.at(CLOCK)
    with hub(where, clock, ROUTES) as bench, hub(tmp_path / "apart", clock, ROUTES) as apart:
        for one in (bench, apart):
            one.process(*ADMISSIONS)
        bench.process(pair("A24", "2026-07-09 10:00", "L1"))
        assert len(active(bench)) == 1
        bench.process(pair("A37", "2026-07-09 11:00", "L2"))
        assert len(active(bench)) == 2
        statuses = [(e["id"], e["subject"]) for e in bench.resources("Encounter")]
        assert statuses == [(e["id"], e["subject"]) for e in apart.resources("Encounter")]
        references(bench)


def test_a_visit_is_moved_to_the_patient_whose_it_is(tmp_path: Path, where: str | Path) -> None:
    wrong = said(1, "A04", "2026-07-06 10:00", "20", visit="W9", patient_class="E")
    move = (
        adt("A45", "2026-07-06 11:00", "21", mrn="500002", visit="", shared=False,
            pid="ROE^RICHARD||19600101|M")
        .split("PV1")[0]
        + "MRG|500001^^^HOSPA^MR||||W9^^^HOSPA^VN\r"
        + f"PV1|1|E|ED^1^1{'|' * 16}W9^^^HOSPA^VN\r"
    )  # fmt: skip
    clock = TestClock.at(CLOCK)
    messages = (*ADMISSIONS, wrong, move)
    with hub(where, clock, ROUTES) as bench, hub(tmp_path / "turned", clock, ROUTES) as turned:
        bench.process(*messages)
        subjects = {
            e["identifier"][0]["value"]: e["subject"]["reference"]
            for e in bench.resources("Encounter")
        }
        assert subjects["W9"] == subjects["W2"] != subjects["W1"]
        assert len(active(bench)) == 2
        for message in reversed(messages):
            turned.process(message)
        assert turned.state() == bench.state()
        late = said(1, "A08", "2026-07-06 12:00", "22", visit="W9", patient_class="E")
        bench.process(late)
        assert {
            e["identifier"][0]["value"]: e["subject"]["reference"]
            for e in bench.resources("Encounter")
        } == subjects


def test_a_replay_keeps_what_a_steward_decided(tmp_path: Path) -> None:
    with hub(tmp_path, TestClock.at(CLOCK), ROUTES) as bench:
        for message in (*ADMISSIONS, MERGE):
            bench.append(message)
        while Worker(bench.hub, "w1").step():
            pass
        unmerge(bench.hub, GONE, KEPT, "two people")
        state, told = bench.state(), len(bench.deliveries())
        assert len(active(bench)) == 2
        assert replay(bench.hub, range(1, 5)).failed == 0
        assert (bench.state(), len(active(bench))) == (state, 2)
        assert len(bench.deliveries()) == told


def test_a_visit_under_two_numbers_is_one(tmp_path: Path) -> None:
    changed = said(1, "A50", "2026-07-06 10:00", "30", visit="W7") + (
        "MRG|500001^^^HOSPA^MR||||W1^^^HOSPA^VN\r"
    )
    later = said(
        1, "A02", "2026-07-06 11:00", "31", visit="W7",
        diagnoses=("I50.23^Heart failure", "E11.9^Diabetes"),
    ).replace("4W^1^1", "5E^2^2")  # fmt: skip
    clock = TestClock.at(CLOCK)
    orders = ([0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1])
    messages = (ADMISSIONS[0], changed, later)
    states = set()
    for n, order in enumerate(orders):
        with hub(tmp_path / str(n), clock, ROUTES) as bench:
            for place in order:
                bench.process(messages[place])
            live = [e for e in bench.resources("Encounter") if e["status"] == "in-progress"]
            (one,) = live
            uses = {i["value"]: i.get("use") for i in one["identifier"]}
            assert uses == {"W7": None, "W1": "old"}
            assert len(one["location"]) == 2
            conditions = bench.resources("Condition")
            codes = sorted(c["code"]["coding"][0]["code"] for c in conditions)
            assert codes == ["E11.9", "I50.23"], "each diagnosis once"
            named = {d["condition"]["reference"] for d in one["diagnosis"]}
            assert named == {f"Condition/{c['id']}" for c in conditions}
            references(bench)
            states.add(bench.state())
    assert len(states) == 1
