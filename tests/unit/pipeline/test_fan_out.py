"""Who must hear of a change."""

from dataclasses import replace

from segue.care.consent import labels
from segue.model.changes import Cause, Head, SearchTerms, Write
from segue.model.identity import ResourceKey
from segue.pipeline.fan_out import Change, Plan, fan_out
from segue.pipeline.routes import Route

HOSPITAL = Route("h1", "hospa", frozenset({"adt", "careplan"}))
LAB = Route("lab", "lab", frozenset({"adt"}))
PRACTICE = Route("pcpb", "pcpb", frozenset({"Encounter", "CarePlan", "Task"}))
CENSUS = Route("census", "census", frozenset({"Encounter"}), bed_moves=True)
OWN = Route("h1-cm", "hospa", frozenset({"Encounter", "Task", "CarePlan"}))
ENTRY = Cause("entry", "42", "hospa")
PLAN = Plan(ResourceKey("CarePlan", "plan"), 3)


def change(
    kind: str,
    *,
    sources: frozenset[str] = frozenset(),
    status: str = "",
    labels: frozenset[str] = frozenset(),
    base: tuple[bytes, bytes] | None = None,
    content: bytes = b"c",
    gist: bytes = b"g",
    said: bytes | None = None,
    id_: str = "x",
) -> Change:
    head = Head(7, 1, base[0], base[1], SearchTerms(), "fold") if base else None
    write = Write(
        ResourceKey(kind, id_),
        7,
        2 if head else 1,
        "fold",
        "{}",
        content,
        gist,
        SearchTerms(),
        head,
    )
    return Change(write, sources, labels, status, said)


def to(deliveries: list, destination: str) -> list[str]:
    return [d.what for d in deliveries if d.destination == destination]


def test_a_change_goes_to_those_who_subscribe_to_its_type() -> None:
    found = fan_out([change("Encounter", sources=frozenset({"hospa"}))], [PRACTICE, LAB], ENTRY, 5)
    assert [(d.destination, d.form, d.what, d.version, d.lane, d.cause) for d in found] == [
        ("pcpb", "fhir", "Encounter/x", 1, 5, "42")
    ]


def test_a_source_never_gets_its_own_statement_back() -> None:
    found = fan_out([change("Encounter", sources=frozenset({"hospa"}))], [OWN, PRACTICE], ENTRY, 5)
    assert to(found, "h1-cm") == []
    assert to(found, "pcpb") == ["Encounter/x"]


def test_what_several_sites_stated_goes_to_each_of_them() -> None:
    found = fan_out([change("Encounter", sources=frozenset({"hospa", "hospb"}))], [OWN], ENTRY, 5)
    assert to(found, "h1-cm") == ["Encounter/x"]


def test_what_the_hub_decided_goes_to_the_site_that_caused_it_too() -> None:
    found = fan_out([change("Task", status="requested")], [OWN, PRACTICE], ENTRY, 5)
    assert to(found, "h1-cm") == to(found, "pcpb") == ["Task/x"]


def test_a_task_is_not_sent_back_with_the_very_content_that_the_site_sent() -> None:
    said = change("Task", status="in-progress", content=b"c", said=b"c")
    by = Cause("statement", "s1", "pcpb")
    assert to(fan_out([said], [PRACTICE, OWN], by, 5), "pcpb") == []
    assert to(fan_out([said], [PRACTICE, OWN], by, 5), "h1-cm") == ["Task/x"]
    completed = change("Task", status="completed", content=b"d", said=b"c")
    assert to(fan_out([completed], [PRACTICE], by, 5), "pcpb") == ["Task/x"]


def test_a_bed_move_is_news_only_where_it_is_asked_for() -> None:
    moved = change("Encounter", base=(b"old", b"g"), sources=frozenset({"hospa"}))
    assert {d.destination for d in fan_out([moved], [PRACTICE, CENSUS], ENTRY, 5)} == {"census"}
    discharged = change("Encounter", base=(b"old", b"h"), sources=frozenset({"hospa"}))
    assert len(fan_out([discharged], [PRACTICE, CENSUS], ENTRY, 5)) == 2


def test_a_draft_task_never_leaves() -> None:
    assert (
        fan_out([change("Task", status="draft")], [PRACTICE, HOSPITAL], ENTRY, 5, plan=PLAN) == []
    )


def test_a_task_of_the_hub_itself_is_neither_delivered_nor_rendered() -> None:
    own = replace(change("Task", status="completed"), internal=True)
    assert fan_out([own], [PRACTICE, OWN, HOSPITAL], ENTRY, 5, plan=PLAN) == []
    others = fan_out([own, change("Task", id_="y")], [PRACTICE, HOSPITAL], ENTRY, 5, plan=PLAN)
    assert to(others, "pcpb") == ["Task/y"]
    assert to(others, "h1") == ["CarePlan/plan"]


def test_a_message_is_forwarded_to_all_but_its_own_site() -> None:
    found = fan_out([], [HOSPITAL, LAB], ENTRY, 5, forward="42")
    assert [(d.destination, d.form, d.what, d.version) for d in found] == [("lab", "adt", "42", 0)]


def test_the_plan_is_rendered_once_however_many_of_its_tasks_change() -> None:
    changes = [change("Task", status="requested", id_=str(n)) for n in range(11)]
    found = fan_out([*changes, change("CarePlan")], [HOSPITAL], ENTRY, 5, plan=PLAN)
    assert [(d.form, d.what, d.version) for d in found] == [("careplan", "CarePlan/plan", 3)]


def test_a_clients_own_care_plan_is_not_the_hubs_rendering() -> None:
    mirrored = change("CarePlan", sources=frozenset({"pcpb"}))
    assert fan_out([mirrored], [HOSPITAL], ENTRY, 5, plan=PLAN) == []


def test_protected_resources_leave_to_nobody_but_their_source() -> None:
    part2 = frozenset({"42CFRPart2"})
    theirs = change("Encounter", sources=frozenset({"hospa"}), labels=part2)
    decided = change("Task", status="requested", labels=part2)
    found = fan_out(
        [theirs, decided],
        [PRACTICE, CENSUS, LAB, HOSPITAL],
        ENTRY,
        5,
        plan=Plan(PLAN.key, 3, part2),
        forward="42",
        labels=part2,
    )
    assert found == []


def test_resources_are_sent_after_those_they_refer_to() -> None:
    everything = Route("all", "hie", frozenset({"Patient", "Encounter", "Task"}))
    found = fan_out(
        [change("Task", status="requested"), change("Encounter"), change("Patient")],
        [everything],
        ENTRY,
        5,
    )
    assert to(found, "all") == ["Patient/x", "Encounter/x", "Task/x"]


def test_labels_are_the_codes_of_meta_security() -> None:
    assert labels({"meta": {"security": [{"code": "R"}, {"code": "HIV"}]}}) == {"R", "HIV"}
    assert labels({"resourceType": "Patient"}) == frozenset()
