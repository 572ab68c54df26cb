"""A site's profile that cannot be used stops the start."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from segue.bootstrap.start import check_profiles


def test_a_profile_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    check_profiles(SimpleNamespace(profiles=(tmp_path / "absent",)))  # type: ignore[arg-type]
    (tmp_path / "broken.json").write_text('{"resourceType": "StructureDefinition"')
    with pytest.raises(ValueError, match=r"broken\.json: not JSON"):
        check_profiles(SimpleNamespace(profiles=(tmp_path,)))  # type: ignore[arg-type]
