"""Who is asking: tokens, roles, sites."""

import hashlib
from pathlib import Path

import pytest

from segue.api.authentication import ANONYMOUS, Tokens, Voice, read_tokens


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_token_names_its_client_and_the_site_that_its_feed_speaks_for(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(
        f"# clients\n\npcpb client {sha('secret')}\ndemo reader {sha('other').upper()}\n",
        encoding="utf-8",
    )
    tokens = read_tokens(file, {"pcpb": Voice("pcpb", True)})
    pcpb, demo = tokens.client("Bearer secret"), tokens.client("bearer other ")
    assert pcpb is not None
    assert (pcpb.name, pcpb.site, pcpb.history, pcpb.may_write) == ("pcpb", "pcpb", True, True)
    assert demo is not None
    assert (demo.site, demo.may_write) == ("", False)


@pytest.mark.parametrize("header", [None, "", "secret", "Basic secret", "Bearer", "Bearer wrong"])
def test_whoever_has_no_known_token_is_nobody(header: str | None) -> None:
    assert Tokens({}).client(header) is None


def test_without_tokens_everybody_is_anonymous() -> None:
    tokens = read_tokens(None)
    assert tokens.open
    assert tokens.client(None) is ANONYMOUS
    assert ANONYMOUS.anonymous


@pytest.mark.parametrize("line", ["pcpb client", "pcpb king " + "0" * 64, "pcpb client 1234"])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"tokens:2 .*name role sha256"):
        read_tokens(file)
