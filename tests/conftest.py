"""What all tests share: where the data lies, how long properties run."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.stories")

settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("default")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real messages and definitions of others, beside the project."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here: this test reads other people's messages")
    return SHARED
