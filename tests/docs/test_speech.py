"""What the project may not say: how it was made, where it was made, or other people's words."""

import re
import subprocess

import pytest

from tests.stories.engine import ROOT

WORKPLACE = r"\bkernel (D|C|§)\d|\bissue #\d+"
HEADING = re.compile(r'architecture\.md, "([^"]+)"')


def tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [name for name in listed.splitlines() if not name.endswith((".lock", "LICENSE"))]


def test_no_file_names_the_place_or_the_way_it_was_made() -> None:
    registry = pytest.importorskip("pip._internal.models.index").PyPI
    places = (str(ROOT), str(ROOT.parent / "shared"), registry.netloc, registry.file_storage_domain)
    forbidden = re.compile("|".join([WORKPLACE, *map(re.escape, places)]), re.I)
    found = []
    for name in tracked():
        if not (ROOT / name).is_file():
            continue
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {match.group()}" for match in forbidden.finditer(text)]
    assert found == []


def test_every_section_that_the_code_points_to_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set()
    for name in tracked():
        if name.startswith(("engine/", "mappings/")):
            named |= set(
                HEADING.findall((ROOT / name).read_text(encoding="utf-8", errors="ignore"))
            )
    assert named
    for heading in named:
        assert f"\n## {heading}\n" in text, heading
