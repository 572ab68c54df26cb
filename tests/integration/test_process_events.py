"""Every ADT event is read by its structure, mapped and stored; what is none is kept."""

from pathlib import Path

import pytest

from segue.hl7v2.batch import split
from segue.hl7v2.events import structure_of
from segue.hl7v2.parse import parse
from segue.mapping.apply import apply
from segue.mapping.context import Context, SiteRules
from segue.model.events import EVENTS
from segue.model.facts import Fact
from segue.pipeline.process import process
from tests.support.corpus import MERGES, REPEATED, TWICE, adt
from tests.support.hub import ZONE, core_mapping, hub, make_hub

SITE = SiteRules("hospa", "HOSPA", "urn:segue:authority:HOSPA", ZONE)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory):
    with hub(tmp_path_factory.mktemp("events")) as made:
        yield made


def facts(raw: bytes) -> list[Fact]:
    return apply(core_mapping(), parse(raw), Context(SITE, "adt", 1)).facts


def spoken(found: list[Fact]) -> list[tuple[object, ...]]:
    """What facts say of who, which visit and which other identity."""
    keys = ("prior_identity", "prior_account", "prior_visit", "place")
    return [
        (f.event, f.identity, f.prior, f.visit, *(f.details.get(key) for key in keys))
        for f in found
    ]


def groups_of(event: str) -> int:
    structure = structure_of(event, version="2.5.1")
    if structure == "ADT_A20":
        return 0
    return 2 if structure in {*TWICE, *REPEATED, "ADT_A45"} else 1


@pytest.mark.parametrize("code", EVENTS)
def test_the_event_is_mapped_and_stored(code: str, bench) -> None:
    bench.process(adt("A01"))
    raw = adt(code, number=1 + int(code[1:]))
    found = facts(raw)
    assert len(found) == groups_of(code)
    assert {fact.event for fact in found} <= {code}
    entry = bench.entry(raw)
    process(bench.hub, [entry])
    with bench.hub.store.read() as reader:
        stored = reader.people.facts_of_entries([entry.id])
    assert len(stored) == len(found)
    state, issues = bench.exceptions().get(entry.id, ("processed", "[]"))
    assert state == "processed", issues


@pytest.mark.parametrize("code", EVENTS)
@pytest.mark.parametrize("said", [None, "ADT_A01", "ADT_A99", "adt_a39"])
def test_a_missing_or_wrong_structure_changes_nothing(code: str, said: str | None) -> None:
    assert spoken(facts(adt(code, structure=said))) == spoken(facts(adt(code)))


@pytest.mark.parametrize("code", EVENTS)
def test_an_older_version_is_read_the_same(code: str) -> None:
    older = adt(code).replace(b"|P|2.5.1", b"|P|2.3")
    assert spoken(facts(older)) == spoken(facts(adt(code)))


def test_each_patient_of_a_repeated_group_has_its_own_segments() -> None:
    both = spoken(facts(adt("A40")))
    assert [(one[1], one[2], one[3]) for one in both] == [
        ("HOSPA|101", "HOSPA|201", None),
        ("HOSPA|103", "HOSPA|203", None),
    ]


def test_each_visit_of_an_a45_moves_from_the_number_before_it() -> None:
    assert [(f.visit, f.details["prior_visit"]) for f in facts(adt("A45"))] == [
        ("HOSPA|V1", "HOSPA|W1"),
        ("HOSPA|V5", "HOSPA|W5"),
    ]


def test_all_structures_of_the_table_have_a_message_here() -> None:
    assert {*TWICE, *MERGES} <= {structure_of(code, version="2.5.1") for code in EVENTS} | {
        row.structure for row in EVENTS.values()
    }


@pytest.mark.parametrize("code", ["A99", "Z01", "A19", "A56"])
def test_an_unknown_event_is_kept_with_a_warning(code: str, tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        entry = bench.entry(adt(code))
        outcome = process(bench.hub, [entry])
        assert outcome.states == {}
        state, issues = bench.exceptions()[entry.id]
    assert state == "processed"
    assert "unsupported-event" in issues


def bed(hour: int, state: str, number: str) -> str:
    return (
        rf"MSH|^~\&|ADT|HOSPA|HUB|HIE|20260706{hour:02}0000||ADT^A20|{number}|P|2.5.1"
        f"\rEVN|A20|20260706{hour:02}0000\rNPU|4W^401^A^HOSPA|{state}\r"
    )


def place(hour: int, event: str, state: str = "", patient: int = 1) -> str:
    header = rf"MSH|^~\&|ADT|HOSPA|HUB|HIE|20260706{hour:02}0000||ADT^{event}|{event}{hour}|P|2.5.1"
    pv1 = ["PV1", "1", "I", "4W^401^A^HOSPA", *[""] * 15, f"V{patient}^^^HOSPA^VN"]
    pv1 += [*[""] * 20, state]
    return (
        f"{header}\rEVN|{event}|20260706{hour:02}0000\rPID|1||{patient}^^^HOSPA^MR||DOE^JANE"
        f"\r{'|'.join(pv1)}\r"
    )


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)])
@pytest.mark.parametrize("together", [True, False])
def test_the_state_of_a_bed_is_the_last_that_was_said_of_it(
    order: tuple[int, ...], together: bool, tmp_path: Path
) -> None:
    messages = [bed(8, "H", "1"), place(9, "A01"), bed(10, "K^Dirty", "3"), place(11, "A08")]
    with hub(tmp_path) as bench:
        if together:
            bench.process(*(messages[n] for n in order))
        else:
            for n in order:
                bench.process(messages[n])
        (found,) = bench.resources("Location")
        assert found["operationalStatus"]["code"] == "K"
        (said,) = found["operationalStatus"]["extension"]
        assert said["valueInstant"] == "2026-07-06T14:00:00.000000Z"
        assert found["name"] == "4W 401 A"
        assert bench.exceptions() == {}
        version = bench.versions()
        bench.process(place(12, "A08"))
        assert bench.resources("Location") == [found]
        bench.process(place(13, "A08", "O"))
        (found,) = bench.resources("Location")
        assert found["operationalStatus"]["code"] == "O"
        assert bench.versions() > version
    with hub(tmp_path) as bench:  # another process, that knows nothing of the place yet
        bench.process(place(14, "A01", patient=2))
        assert bench.resources("Location") == [found]


def test_a_bed_status_without_a_bed_is_kept_with_a_warning(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        bench.process(
            bed(8, "H", "1").replace("4W^401^A^HOSPA", "").replace("\rNPU", "|||7^OPS^OLA\rNPU")
        )
        ((state, issues),) = bench.exceptions().values()
        assert state == "processed"
        assert "no-bed" in issues
        assert bench.resources("Location") == []


def test_every_shared_file_goes_through_a_hub(shared_data: Path, tmp_path: Path) -> None:
    """None raises, and what could not be used says why."""
    bench = make_hub(tmp_path)
    entries = {
        (entry := bench.entry(message)).id: (f"{path.name}[{index}]", entry)
        for path in sorted((shared_data / "hl7v2").rglob("*"))
        if path.suffix in {".hl7", ".hl7v2"}
        for index, message in enumerate(split(path.read_bytes()).messages)
    }
    assert len(entries) > 250
    messages = [entry for _, entry in entries.values()]
    for start in range(0, len(messages), 50):
        process(bench.hub, messages[start : start + 50])
    wrong = {
        entries[number][0]: issues
        for number, (_, issues) in bench.exceptions().items()
        if "processing-failed" in issues or "invalid" in issues
    }
    assert wrong == {}
    stuck = {n: s for n, (s, i) in bench.exceptions().items() if s != "processed" and i == "[]"}
    assert stuck == {}
    bench.close()
