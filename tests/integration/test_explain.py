"""Each element of a stored resource leads back to message, field and rule."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from segue.cli import app
from segue.mapping.load import MappingSet, load
from segue.model.identity import ResourceKey
from segue.pipeline.kept_mappings import kept
from segue.pipeline.lineage import Lineage, NotExplainedError, lineage
from tests.stories.s11 import messages
from tests.support.corpus import adt
from tests.support.hub import ROOT, Bench, hub

S11 = messages()
PV1 = re.compile(rb"(PV1(?:\|[^|\r]*){18}\|)[^|\r]*")


def told(bench: Bench, kind: str, id_: str) -> dict[str, Lineage]:
    return {one.element: one for one in lineage(bench.hub, ResourceKey(kind, id_))}


def test_an_encounters_elements_lead_to_the_newest_message_that_said_them(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        bench.work(S11["A04"], S11["A06"])
        (encounter,) = bench.resources("Encounter")
        found = told(bench, "Encounter", encounter["id"])
        origin = found["class"].origins[0]
        assert (origin.event, origin.step.field) == ("A06", "PV1-2")
        assert origin.step.rule == "core/PV1_Encounter.class"
        assert origin.current
        assert [one.event for one in found["class"].origins if one.step.field == "PV1-2"][
            -1
        ] == "A04"
        assert "A04" in found["classHistory"].made
        assert "A06" in found["classHistory"].made
        unexplained = [name for name, one in found.items() if not one.origins and not one.made]
        assert unexplained == []


def test_a_patients_name_leads_to_pid_5(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        bench.work(S11["A04"])
        (patient,) = [p for p in bench.resources("Patient") if p.get("active") is not False]
        assert told(bench, "Patient", patient["id"])["name"].origins[0].step.field == "PID-5"


def test_a_doctor_and_a_place_lead_to_the_fields_that_name_them(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        bench.work(adt("A01"))
        bench.work(adt("A20", number=2))
        asked = {
            (kind, element): (field, event)
            for kind, element, field, event in [
                ("Practitioner", "name", "PV1-7", "A01"),
                ("Practitioner", "identifier", "PV1-7", "A01"),
                ("Location", "name", "PV1-3", "A01"),
                ("Location", "operationalStatus", "NPU-2", "A20"),
                ("Organization", "name", "PD1-3", "A01"),
            ]
        }
        for (kind, element), (field, event) in asked.items():
            found = [told(bench, kind, one["id"]) for one in bench.resources(kind)]
            origins = [o for one in found if element in one for o in one[element].origins]
            assert (field, event) in {(o.step.field, o.event) for o in origins}, (kind, element)
            unsaid = [x for one in found for x in one.values() if not x.origins and not x.made]
            assert unsaid == []


def test_a_task_is_the_hubs(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        bench.work(*S11.values())
        for kind in ("Task", "CarePlan"):
            for one in bench.resources(kind):
                protocols = one.get("instantiatesCanonical", [])
                names = protocols if isinstance(protocols, list) else [protocols]
                shown = {found.made for found in told(bench, kind, one["id"]).values()}
                (made,) = shown - {""}
                assert made.startswith("the hub, by ")
                assert all(name.rpartition("/")[2].partition("|")[0] in made for name in names)
                assert ", after A" in made


def test_an_encounters_course_names_the_messages_of_this_visit_alone(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        other = PV1.sub(rb"\1V2", adt("A01", number=3))
        bench.work(adt("A01"), adt("A03", number=2), other)
        assert len(bench.resources("Encounter")) == 2
        for encounter in bench.resources("Encounter"):
            found = told(bench, "Encounter", encounter["id"])
            own = [origin.event for origin in reversed(found["class"].origins)]
            assert own in (["A01"], ["A01", "A03"])
            assert found["status"].made.count("A0") == len(own)


def other_mapping(folder: Path) -> MappingSet:
    """The mapping of a site that reads PV1-3 for the class."""
    site = folder / "sites" / "hospa"
    (site / "segments").mkdir(parents=True, exist_ok=True)
    (site / "site.yaml").write_text("because: all are sent\nsnapshot: [DG1]\n")
    (site / "segments" / "PV1_Encounter.yaml").write_text(
        "maps: PV1 -> Encounter\nbecause: to see which is used\nrules:\n"
        "  class: { from: PV1-2, to: class, using: constant, "
        'with: { value: { code: OTHER } }, because: "a test" }\n'
    )
    return load(ROOT / "mappings" / "core", [folder], "hospa")


def test_an_element_is_explained_by_the_mapping_that_was_in_force(tmp_path: Path) -> None:
    other = other_mapping(tmp_path / "mappings")
    with hub(tmp_path / "data") as bench:
        today = bench.hub.mapping_for
        bench.hub.mapping_for = lambda site: other
        bench.work(S11["A04"])
        (encounter,) = bench.resources("Encounter")
        assert encounter["class"]["code"] == "OTHER"
        bench.hub.mapping_for = today
        # The files of the set are gone; the set is kept with what is stored.
        shutil.rmtree(tmp_path / "mappings")
        (origin,) = told(bench, "Encounter", encounter["id"])["class"].origins[:1]
        assert origin.step.rule == "sites/hospa/PV1_Encounter.class"
        assert origin.step.verb == "using constant"
        assert (origin.mapping, origin.current, origin.known) == (other.digest, False, True)
        bench.work(S11["A06"])
        new, old = (
            next(o for o in told(bench, "Encounter", encounter["id"])["class"].origins
                 if o.event == event)
            for event in ("A06", "A04")
        )  # fmt: skip
        assert (new.step.rule, new.current) == ("core/PV1_Encounter.class", True)
        assert (old.step.rule, old.current) == ("sites/hospa/PV1_Encounter.class", False)


def test_a_mapping_that_was_not_kept_is_marked(tmp_path: Path) -> None:
    other = other_mapping(tmp_path / "mappings")
    with hub(tmp_path / "data") as bench:
        today = bench.hub.mapping_for
        bench.hub.mapping_for = lambda site: other
        bench.work(S11["A04"])
        (encounter,) = bench.resources("Encounter")
        bench.hub.mapping_for = today
        with bench.hub.store.database.write() as session:
            session.run("DELETE FROM mapping_set")
        (origin,) = told(bench, "Encounter", encounter["id"])["class"].origins[:1]
        assert (origin.step.rule, origin.known) == ("core/PV1_Encounter.class", False)


def test_each_mapping_is_kept_once_and_reads_back_as_it_was(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        bench.work(S11["A04"], S11["A06"])
        today = bench.hub.mapping_for("hospa")
        assert bench._rows("SELECT digest FROM mapping_set") == [(today.digest,)]
        (size,) = bench._rows("SELECT length(files) FROM mapping_set")[0]
        assert size < 60_000
        with bench.hub.store.read() as reader:
            again = kept(reader, today.digest, "hospa")
            assert again is not None
            assert (again.digest, len(again.rules)) == (today.digest, len(today.rules))
            assert kept(reader, "0" * 32, "hospa") is None


def test_what_is_not_stored_says_so(tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        bench.work(S11["A04"])
        with pytest.raises(NotExplainedError, match="not stored"):
            told(bench, "Encounter", "nobody")
        (written, *_) = bench.resources("Provenance")
        with pytest.raises(NotExplainedError, match="written as they are"):
            told(bench, "Provenance", written["id"])


def test_the_command_prints_one_element(tmp_path: Path) -> None:
    with hub(tmp_path / "data") as bench:
        bench.work(S11["A04"])
        (encounter,) = bench.resources("Encounter")
    config = tmp_path / "segue.yaml"
    config.write_text(
        "version: 1\ndata_dir: ./data\nsites:\n  hospa:\n    authority: HOSPA\n"
        "    zone: America/New_York\n"
    )
    asked = ["explain", f"Encounter/{encounter['id']}", "class", "--config", str(config)]
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0, shown.output
    assert "PV1-2" in shown.output
    (element,) = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)["elements"]
    assert element["value"]["code"] == "EMER"
    assert element["origins"][0]["rule"] == "core/PV1_Encounter.class"
