"""The shipped protocols: they load, their embedded vectors hold, mistakes are named."""

import json
import shutil

import pytest

from segue.care import protocols, vectors
from segue.care.protocols import ProtocolError, Situation
from tests.unit.care.scenes import PROFILES, PROTOCOLS

HOME = Situation("IMP", "IMP", "community", 71, False, False, True, 12)


def test_the_protocols_are_there_with_one_activity_for_each_action():
    numbers = [d["identifier"][0]["value"] for d in PROTOCOLS.definitions]
    assert numbers == ["PD-00", "PD-01", "PD-02", "PD-03", "PD-04", "PD-05"]
    assert PROTOCOLS.issues == ()
    used = {action.definition for action in PROTOCOLS.actions.values()}
    files = {path.stem for path in (PROFILES / "activity_definitions").glob("*.json")}
    assert {canonical.rpartition(":")[2].partition("|")[0] for canonical in used} == files


def test_all_embedded_vectors_hold():
    assert vectors.check(PROTOCOLS) == []


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


def test_a_discharge_home_asks_for_twelve_needs_with_shared_tasks():
    asked = PROTOCOLS.ask("encounter-discharged", HOME)
    assert len(asked) == 12
    assert [one.action.id for one in asked["visit"]] == ["tcm-visit", "engage"]
    assert [one.action.id for one in asked["med-rec"]] == ["tcm-med-rec", "trc-med-rec"]


def test_the_visit_clock_follows_the_upper_end_of_the_score():
    low = PROTOCOLS.ask("encounter-discharged", HOME._replace(lace_high=9))["visit"][0]
    high = PROTOCOLS.ask("encounter-discharged", HOME._replace(lace_high=10))["visit"][0]
    assert (low.clock.code, low.others) == ("C-3", ())
    assert (high.clock.code, [one.code for one in high.others]) == ("C-2", ["C-3"])


def test_an_event_that_no_protocol_knows_asks_for_nothing():
    assert PROTOCOLS.ask("encounter-transferred", HOME) == {}


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
    loaded = protocols.load(folder, lambda _expression: lambda _resource, _variables: [True])
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
