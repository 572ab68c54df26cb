"""The shipped protocols: they load, their embedded vectors hold, mistakes are named."""

import json
import shutil

import pytest

from segue.care import protocols, vectors
from segue.care.protocols import ProtocolError, Situation
from segue.fhir.fhirpath import compile_path
from tests.unit.care.scenes import ALL, PROFILES, PROTOCOLS, View, admit, discharge, primed

HOME = Situation("IMP", "IMP", "community", 71, False, False, True, 12)


def test_the_protocols_are_there_with_one_activity_for_each_action():
    assert ALL.names == ["PD-00", "PD-01", "PD-02", "PD-03", "PD-04", "PD-05"]
    assert ALL.issues == ()
    used = {action.definition for action in ALL.actions.values()}
    files = {path.stem for path in (PROFILES / "activity_definitions").glob("*.json")}
    assert {canonical.rpartition(":")[2].partition("|")[0] for canonical in used} == files


def test_all_embedded_vectors_hold():
    assert vectors.check(ALL) == []


def test_every_protocol_has_vectors_and_one_that_expects_nothing_or_a_closure():
    for definition in PROTOCOLS.definitions:
        found = vectors.vectors(definition)
        assert len(found) >= 5
        assert any(not v.expect or "completed" in " ".join(v.expect) for v in found)


def test_a_vector_that_does_not_hold_is_an_issue_that_shows_both_sides():
    definition = json.loads(json.dumps(PROTOCOLS.definitions[3]))
    vector = definition["extension"][0]["extension"]
    next(one for one in vector if one["url"] == "expect")["valueString"] = (
        "send-dc-info 2026-07-05 requested"
    )
    broken = protocols.Protocols(list(PROTOCOLS.actions.values()), PROTOCOLS.clocks, [definition])
    (issue,) = vectors.check(broken)
    assert (issue.code, issue.where) == ("vector", "PD-03")
    assert "2026-07-05" in issue.text
    assert "2026-07-04" in issue.text


def test_a_discharge_home_asks_for_eleven_needs_with_shared_tasks():
    asked = PROTOCOLS.ask("encounter-discharged", HOME)
    assert len(asked) == 11
    assert [one.action.id for one in asked["visit"]] == ["tcm-visit", "engage"]
    assert [one.action.id for one in asked["med-rec"]] == ["tcm-med-rec", "trc-med-rec"]


def test_the_visit_clock_follows_the_upper_end_of_the_score():
    low = PROTOCOLS.ask("encounter-discharged", HOME._replace(lace_high=9))["visit"][0]
    high = PROTOCOLS.ask("encounter-discharged", HOME._replace(lace_high=10))["visit"][0]
    assert (low.clock.code, low.others) == ("C-3", ())
    assert (high.clock.code, [one.code for one in high.others]) == ("C-2", ["C-3"])


def test_an_event_that_no_protocol_knows_asks_for_nothing():
    assert PROTOCOLS.ask("encounter-transferred", HOME) == {}


def test_what_is_not_in_force_is_known_as_a_draft_and_asks_for_nothing():
    assert PROTOCOLS.names == ALL.names
    shown = {one["identifier"][0]["value"]: one["status"] for one in PROTOCOLS.definitions}
    assert shown.pop("PD-00") == "draft"
    assert set(shown.values()) == {"active"}
    assert PROTOCOLS.ask("encounter-discharge-expected", HOME) == {}
    alone = PROTOCOLS.only("urn:segue:PlanDefinition:core-coordination|2026.1")
    assert list(alone.ask("encounter-discharge-expected", HOME)) == ["schedule-visit"]
    assert {one["status"] for one in ALL.definitions} == {"active"}


def test_nothing_in_force_asks_for_nothing_and_still_keeps_the_stay():
    person = primed()
    discharge(admit(person, "HOSPA|V1", "07-01 10:00"), "07-02 14:00")
    view = View(person, "07-02 14:10", protocols=ALL.in_force(()))
    assert view.tasks == []
    assert len(view.of("EpisodeOfCare")) == 1


@pytest.fixture
def folder(tmp_path):
    for name in ("plan_definitions", "activity_definitions"):
        shutil.copytree(PROFILES / name, tmp_path / name)
    shutil.copy(PROFILES / "clocks.yaml", tmp_path)
    return tmp_path


def edit(folder, name, old, new):
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


TRC = "plan_definitions/pd-03-trc-discharge-information.json"


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (TRC, '"C-6"', '"C-66"', "no clock 'C-66'"),
        (TRC, "encounter-discharged", "encounter-done", "trigger 'encounter-done'"),
        (TRC, "send-dc-info|2026.1", "send-dc-info|2025.1", "there is no ActivityDefinition"),
        (TRC, "%age.empty()", "%age.between(1)", "no function|expected|unexpected"),
        (TRC, "text/fhirpath", "text/cql", "text/fhirpath"),
        ("activity_definitions/send-dc-info.json", '"hospital"', '"nobody"', "'nobody' is none of"),
        (
            "activity_definitions/send-dc-info.json",
            "receipt-of-document",
            "hope",
            "'hope' is none of",
        ),
        (
            "activity_definitions/send-dc-info.json",
            '"ActivityDefinition"',
            '"Basic"',
            "was expected",
        ),
        ("clocks.yaml", "n: 2, day0", "m: 2, day0", "clock C-1"),
    ],
)
def test_a_mistake_in_a_protocol_is_named_when_it_is_loaded(folder, name, old, new, message):
    edit(folder, name, old, new)
    with pytest.raises(ValueError, match=message):
        protocols.load(folder)


def test_a_condition_outside_the_subset_can_fall_back_and_is_then_an_issue(folder):
    edit(folder, TRC, "%age.empty()", "%age.trace('x').empty()")
    with pytest.raises(ProtocolError):
        protocols.load(folder)
    loaded = protocols.load(folder, (), lambda _expression: lambda _resource, _variables: [True])
    assert [issue.code for issue in loaded.issues] == ["slow-condition"]
    assert "send-dc-info" in loaded.ask("encounter-discharged", HOME)


def test_a_folder_without_protocols_is_refused(folder):
    shutil.rmtree(folder / "plan_definitions")
    with pytest.raises(ProtocolError, match="no PlanDefinition"):
        protocols.load(folder)


@pytest.mark.parametrize("line", ["exploded V1", "discharged V9 2026-07-02T14:00:00-04:00", "born"])
def test_a_vector_line_that_cannot_be_read_is_refused(line):
    with pytest.raises(ValueError, match="test vector"):
        vectors.Scene().play(line)


def own(site, name, **changes):
    """A site's own protocol: the shipped one of medication lists, changed."""
    plan = json.loads((PROFILES / "plan_definitions" / "pd-04-trc-engagement.json").read_text())
    plan |= {"url": f"urn:site:PlanDefinition:{name}", "identifier": [{"value": name}]} | changes
    plan = {key: value for key, value in plan.items() if value is not None}
    (site / "plan_definitions").mkdir(exist_ok=True)
    (site / "plan_definitions" / f"{name}.json").write_text(json.dumps(plan))
    return plan


def test_a_site_adds_its_own_protocols_and_replaces_shipped_ones(tmp_path):
    group = {
        "id": "ours",
        "trigger": [{"type": "named-event", "name": "encounter-admitted"}],
        "condition": [
            {
                "kind": "applicability",
                "expression": {
                    "language": "text/fhirpath",
                    "expression": "Encounter.class.code.matches('I.P')",
                },
            }
        ],
        "definitionCanonical": "urn:segue:ActivityDefinition:find-pcp|2026.1",
        "extension": [
            {
                "url": "urn:segue:clock",
                "extension": [{"url": "code", "valueCode": "C-1"}],
            }
        ],
    }
    own(tmp_path, "OUR-1", action=[group], extension=[])
    own(tmp_path, "PD-04", action=[], extension=[])
    assert protocols.names(PROFILES, [tmp_path])[-1] == "OUR-1"
    with pytest.raises(ProtocolError, match="matches"):
        protocols.load(PROFILES, [tmp_path])
    made = protocols.load(PROFILES, [tmp_path], compile_path)
    assert made.names == [*ALL.names, "OUR-1"]
    assert [(one.code, "OUR-1" in one.where) for one in made.issues] == [("slow-condition", True)]
    asked = made.ask("encounter-admitted", HOME)
    assert [one.action.id for one in asked["find-pcp"]] == ["ours"]
    assert made.ask("encounter-admitted", HOME._replace(kind="EMER")).get("find-pcp") is None
    assert [one.action.id for one in made.ask("encounter-discharged", HOME)["visit"]] == [
        "tcm-visit"
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"identifier": None}, "OUR-1.json: the first identifier is its name"),
        ({"identifier": []}, "OUR-1.json: the first identifier is its name"),
        ({"version": None}, "OUR-1.json: url and version are needed"),
        ({"action": [{"trigger": [{"type": "named-event", "name": "encounter-admitted"}],
                      "definitionCanonical": "urn:segue:ActivityDefinition:find-pcp|2026.1",
                      "extension": [{"url": "urn:segue:clock",
                                     "extension": [{"url": "code", "valueCode": "C-1"}]}]}]},
         "OUR-1.json: id is missing"),
    ],
)  # fmt: skip
def test_a_sites_protocol_that_lacks_something_is_named(tmp_path, changes, says):
    own(tmp_path, "OUR-1", **changes)
    with pytest.raises(ProtocolError, match=says):
        protocols.load(PROFILES, [tmp_path])
