"""The mappings of a running engine: which files are looked at, what is refused, what holds."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from segue.bootstrap.mappings import Mappings
from segue.settings.load import load

TABLE = "because: classes of the build\ncodes:\n  OBS: %s\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "segue.yaml").write_text(
        "version: 1\nmappings: [maps]\nsites:\n  lake: {name: Lake, authority: LAKE}\n"
    )
    file = tmp_path / "maps" / "sites" / "lake" / "tables" / "HL70004_ActCode.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(TABLE % "OBSENC")
    return file


def mappings_of(tmp_path: Path) -> Mappings:
    return Mappings(load(tmp_path / "segue.yaml", {}))


def code(mappings: Mappings) -> str:
    found = mappings("lake").tables["HL70004_ActCode"].codes["OBS"]
    assert found is not None
    return found["code"]


def test_a_broken_change_leaves_the_rules_in_force_and_is_told_until_it_is_mended(tmp_path, table):
    mappings = mappings_of(tmp_path)
    table.write_text(TABLE.replace("codes:", "cods:") % "AMB")
    assert not mappings.refresh()
    assert code(mappings) == "OBSENC"
    assert list(mappings.refused) == [
        "mappings/sites/lake/tables/HL70004_ActCode.yaml:2  cods: unknown key. "
        "Did you mean 'codes'?"
    ]
    assert mappings.figures()["segue_mapping_faults"] == 1
    table.write_text(TABLE % "AMB")
    assert mappings.refresh()
    assert code(mappings) == "AMB"
    assert list(mappings.refused) == []
    assert mappings.figures() == {"segue_mapping_faults": 0, "segue_mapping_changes_total": 1}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"codes: &a\n  X: *a\n", b""])
def test_no_content_of_a_file_ends_the_watching(tmp_path, table, content):
    mappings = mappings_of(tmp_path)
    table.write_bytes(content)
    assert not mappings.refresh()
    assert mappings.refused
    table.write_text(TABLE % "AMB")
    assert mappings.refresh()


def test_whatever_goes_wrong_the_next_look_comes(tmp_path, table, monkeypatch):
    mappings = mappings_of(tmp_path)
    table.write_text(TABLE % "AMB")

    def broken() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(mappings, "_load", broken)
    assert not mappings.refresh()
    assert "RuntimeError: a bug" in mappings.refused[0]


def test_a_site_whose_folder_goes_keeps_its_rules(tmp_path, table):
    mappings = mappings_of(tmp_path)
    shutil.move(table.parents[1], tmp_path / "elsewhere")
    assert not mappings.refresh()
    assert code(mappings) == "OBSENC"
    assert "sites/lake:1  the folder is gone." in mappings.refused[0]
    shutil.move(tmp_path / "elsewhere", table.parents[1])
    assert not mappings.refresh()
    assert not mappings.refused


def test_a_file_that_is_taken_away_is_taken_back(tmp_path, table):
    mappings = mappings_of(tmp_path)
    (table.parent / "Own.yaml").write_text("because: x\ncodes: {A: B}\n")
    assert mappings.refresh()
    table.unlink()
    assert mappings.refresh()
    assert "OBS" not in mappings("lake").tables["HL70004_ActCode"].codes


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_seen(tmp_path, table):
    mappings = mappings_of(tmp_path)
    status = table.stat()
    new = table.with_name("new")
    new.write_text(TABLE % "ABCDEF")
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(table)
    assert table.stat().st_size == status.st_size
    assert mappings.refresh()
    assert code(mappings) == "ABCDEF"


def test_a_volume_that_is_swapped_by_a_link_is_seen(tmp_path, table):
    """As Kubernetes mounts a ConfigMap: `sites` -> `..data/sites`, `..data` -> a dated folder."""
    root = tmp_path / "maps"
    shutil.move(root / "sites", tmp_path / "first")
    for name, word in (("..a", "OBSENC"), ("..b", "AMB")):
        shutil.copytree(tmp_path / "first", root / name / "sites")
        (root / name / "sites" / table.relative_to(root / "sites")).write_text(TABLE % word)
    (root / "..data").symlink_to("..a")
    (root / "sites").symlink_to("..data/sites")
    (root / "circle").symlink_to("..")
    mappings = mappings_of(tmp_path)
    assert code(mappings) == "OBSENC"
    (root / "..new").symlink_to("..b")
    (root / "..new").replace(root / "..data")
    assert mappings.refresh()
    assert code(mappings) == "AMB"


def test_a_site_that_is_a_link_is_watched(tmp_path, table):
    shutil.move(table.parents[1], tmp_path / "elsewhere")
    table.parents[1].symlink_to(tmp_path / "elsewhere")
    mappings = mappings_of(tmp_path)
    table.write_text(TABLE % "AMB")
    assert mappings.refresh()


def test_files_that_are_still_being_written_are_waited_for(tmp_path, table):
    mappings = mappings_of(tmp_path)
    words = iter(["A", "BB", "CCC"])
    looked = threading.Event()
    loads = []
    load_all = mappings._load
    mappings._load = lambda: loads.append(1) or load_all()

    def stopped(seconds: float) -> bool:
        word = next(words, None)
        if word is not None:
            table.write_text(TABLE % word)
        elif loads:
            looked.set()
            return True
        return False

    mappings.watch(stopped).join(20)
    assert looked.is_set()
    assert len(loads) == 1
    assert code(mappings) == "CCC"
