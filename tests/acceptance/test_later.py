"""What S01 will bring once further protocols are there: each case names the protocol.

The cases fail today and must fail: one that passes says that its line belongs into the
story itself.
"""

from collections.abc import Iterator

import pytest

from tests.stories import s01
from tests.stories.cast import Cast, cast
from tests.stories.reading import code_of, tasks_of

LATER = {
    "gather-history": "PD-00 core coordination",
    "confirm-team": "PD-00 core coordination",
    "verify-coverage": "PD-00 core coordination",
    "schedule-visit": "PD-00 core coordination, once it is in force",
    "educate": "PD-00 core coordination",
    "teach-back": "PD-00 core coordination",
    "revise-plan": "PD-00 core coordination",
    "readmit-root-cause": "PD-00 core coordination",
    "ur-initial": "PD-13 utilization review",
    "im-1": "PD-13 utilization review",
    "two-mn-check": "PD-13 utilization review",
    "hf-call": "PD-16 heart failure",
    "hf-visit": "PD-16 heart failure",
    "hf-labs": "PD-16 heart failure",
    "acp-locate": "PD-21 advance care planning",
    "high-risk-bundle": "PD-10 risk",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """S01, played to its end."""
    with cast(tmp_path_factory.mktemp("later"), s01.CLOCK) as players:
        s01.play(players, lambda _step, _text: None)
        yield players


@pytest.mark.parametrize(
    "need",
    [
        pytest.param(need, marks=pytest.mark.xfail(strict=True, reason=f"comes with {protocol}"))
        for need, protocol in LATER.items()
    ],
)
def test_a_later_protocol_asks_for(need: str, ended: Cast) -> None:
    assert need in {code_of(task) for task in tasks_of(ended)}
