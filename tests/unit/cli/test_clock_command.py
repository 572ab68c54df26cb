"""`segue clock`: what it tells, and what it says to a slip of the finger."""

import pytest
import typer
from typer.testing import CliRunner

from segue.cli.clock import clock
from segue.cli.output import Failure

app = typer.Typer()
app.command()(clock)
ANCHOR = "2026-07-02T14:00:00-04:00"


def ask(code: str = "C-1", anchor: str = ANCHOR, zone: str = "America/New_York") -> str:
    words = [code, "--anchor", anchor, "--zone", zone]
    return CliRunner().invoke(app, words, catch_exceptions=False).stdout


def test_it_names_the_days_that_count_and_the_source_in_words() -> None:
    told = ask()
    assert "2026-07-03    –     Independence Day (observed)" in told
    assert "2026-07-07  day 2" in told
    assert "due   2026-07-07T23:59:59-04:00" in told
    assert "source V22: CMS TCM services" in told


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"code": "C-99"}, "no clock 'C-99'; there are C-1, C-2"),
        ({"anchor": "2026-07-02T14:00:00"}, "needs an offset"),
        ({"anchor": "2 July"}, "no RFC 3339 instant, such as"),
        ({"zone": "EST5"}, "no IANA time zone 'EST5', such as America/New_York"),
        ({"zone": "US"}, "no IANA time zone 'US'"),
        ({"zone": "../etc"}, "no IANA time zone"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_would_be_right(
    wrong: dict[str, str], said: str
) -> None:
    with pytest.raises(Failure) as refused:
        ask(**wrong)
    assert str(refused.value).count("\n") == 0
    assert said in str(refused.value)
    assert refused.value.code == 2
