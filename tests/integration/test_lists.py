"""Repeating segments: added up, taken back by action codes, or whole lists every time.

Source: HL7 v2.5.1 section 2.10.4 (modes for updating via repeating segments).
"""

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from segue.mapping.load import MappingSet, load
from segue.mapping.source import MappingError
from tests.support.hub import ROOT, Bench, core_mapping, hub

I50, J18 = "DG1|1||I50.23^Heart failure^I10|||A", "DG1|2||J18.9^Pneumonia^I10|||A"
PENICILLIN, PEANUT = "AL1|1|DA|PEN^Penicillin^L|SV", "AL1|2|FA|NUT^Peanut^L|MO"
AUNT, UNCLE = "NK1|1|ROE^ANN||", "NK1|2|ROE^BOB||"
NOTHING = 'DG1|1|""|""|""|""|""'


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> MappingSet:
    """The mapping of a site that sends whole lists."""
    folder = tmp_path_factory.mktemp("mappings")
    site = folder / "sites" / "whole"
    site.mkdir(parents=True)
    (site / "site.yaml").write_text("because: all are sent\nsnapshot: [DG1, AL1, NK1]\n")
    return load(ROOT / "mappings" / "core", [folder], "whole")


def adt(day: int, *segments: str, event: str = "A08", visit: str = "V1", mrn: str = "100") -> str:
    at = f"202607{day:02d}080000-0400"
    lines = [
        rf"MSH|^~\&|ADT|HOSPA|HUB|HIE|{at}||ADT^{event}|M{day}|P|2.5.1",
        f"EVN|{event}|{at}",
        f"PID|1||{mrn}^^^HOSPA^MR||DOE^JANE||19550214|F",
        f"PV1|1|I|4W^1^A||||||||||||||||{visit}^^^HOSPA^VN",
        *segments,
    ]
    return "".join(f"{line}\r" for line in lines)


def found(bench: Bench) -> set[str]:
    """What is stored, in a word each; `-` before what was entered in error."""
    words = set()
    for one in bench.resources("Condition", "AllergyIntolerance", "RelatedPerson"):
        if "coding" not in one.get("code", {"coding": ()}):
            continue  # the hub's own: an admission for a reason that nobody has said
        wrong = "entered-in-error" in str(one.get("verificationStatus"))
        name = one["name"][0]["given"][0] if "name" in one else one["code"]["coding"][0]["code"]
        words.add("-" * wrong + name)
    return words


def settled(mapping: MappingSet, folder: Path, messages: list[str]) -> Bench:
    with hub(folder) as bench:
        bench.hub = replace(bench.hub, mapping_for=lambda site: mapping)
        for raw in messages:
            assert bench.process(raw).states == {}
        (encounter,) = bench.resources("Encounter")
        named = {one["condition"]["reference"] for one in encounter.get("diagnosis", ())}
        kept = {f"Condition/{one['id']}" for one in bench.resources("Condition")}
        assert named <= kept, "a diagnosis without its Condition"
        return found(bench)


FIRST = adt(1, I50, J18, PENICILLIN, PEANUT, AUNT, UNCLE, event="A01")
ALL = {"I50.23", "J18.9", "PEN", "NUT", "ANN", "BOB"}
STORIES = {
    # name: (messages after the first, what is left where lists add up, where they are whole)
    "not sent": ([adt(2)], ALL, ALL),
    "the same": ([adt(2, I50, J18, PENICILLIN, PEANUT, AUNT, UNCLE)], ALL, ALL),
    "one less of each": ([adt(2, J18, PEANUT, UNCLE)], ALL, {"J18.9", "NUT", "BOB"}),
    "one kind only": ([adt(2, PEANUT)], ALL, ALL - {"PEN"}),
    "nulls": ([adt(2, NOTHING)], ALL, ALL - {"I50.23", "J18.9"}),
    "one that means nothing": ([adt(2, J18, "DG1|2|||||A")], ALL, ALL),
    "back again": ([adt(2, J18), adt(3, I50, J18)], ALL, ALL),
    "deleted by its action code": (
        [adt(2, I50 + "|" * 15 + "D")],
        ALL - {"I50.23"} | {"-I50.23"},
        ALL - {"I50.23", "J18.9"} | {"-I50.23"},
    ),
    "of the person alone": (
        [adt(2, PEANUT, event="A31")],
        ALL,
        ALL - {"PEN"},
    ),
}


@pytest.mark.parametrize(("later", "added", "listed"), STORIES.values(), ids=STORIES.keys())
def test_segments_add_up_unless_a_site_sends_whole_lists(
    later: list[str], added: set[str], listed: set[str], whole: MappingSet, tmp_path: Path
) -> None:
    assert settled(core_mapping(), tmp_path / "added", [FIRST, *later]) == added
    assert settled(whole, tmp_path / "whole", [FIRST, *later]) == listed
    # The last list holds, whatever came last.
    assert settled(whole, tmp_path / "late", [*later, FIRST]) == listed


def test_any_order_and_a_rebuild_give_the_same(whole: MappingSet, tmp_path: Path) -> None:
    messages = [FIRST, adt(2, J18, PEANUT, UNCLE), adt(3, I50, PEANUT), adt(4)]
    states = set()
    for order in permutations(messages):
        with TemporaryDirectory(dir=tmp_path) as folder, hub(Path(folder)) as bench:
            bench.hub = replace(bench.hub, mapping_for=lambda site: whole)
            bench.process(*order)
            states.add(bench.state())
    assert len(states) == 1


def test_a_list_of_one_patient_and_visit_is_not_the_other_ones(
    whole: MappingSet, tmp_path: Path
) -> None:
    with hub(tmp_path) as bench:
        bench.hub = replace(bench.hub, mapping_for=lambda site: whole)
        bench.process(
            FIRST, adt(2, J18, visit="V2", event="A01"), adt(3, PEANUT, mrn="200", visit="V3")
        )
        kept = sorted(found(bench))
        assert kept == sorted(ALL)
        assert sum("coding" in one["code"] for one in bench.resources("Condition")) == 3
        assert len(bench.resources("AllergyIntolerance")) == 3


def test_what_is_withdrawn_is_deleted_and_its_history_kept(
    whole: MappingSet, tmp_path: Path
) -> None:
    with hub(tmp_path) as bench:
        bench.hub = replace(bench.hub, mapping_for=lambda site: whole)
        bench.process(FIRST)
        (gone,) = [c for c in bench.resources("Condition") if "J18" in str(c["code"])]
        bench.process(adt(2, I50))
        sql = f"SELECT deleted, version FROM resource WHERE id = '{gone['id']}'"
        assert [tuple(row) for row in bench._rows(sql)] == [(1, 2)]


def test_a_snapshot_of_what_is_no_segment_is_a_fault(tmp_path: Path) -> None:
    site = tmp_path / "sites" / "odd"
    site.mkdir(parents=True)
    (site / "site.yaml").write_text("because: x\nsnapshot: [DG1, diagnoses]\n")
    with pytest.raises(MappingError, match=r"site\.yaml:2.*names of segments"):
        load(ROOT / "mappings" / "core", [tmp_path], "odd")
