"""The commands of the pages to walk through, run as written; what they show must appear."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stories.engine import ROOT, free_port

BLOCK = re.compile(r"^```(\w+)( background)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["tutorial", "analysts"])
def test_every_command_of_the_page_works_and_shows_what_it_says(page: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    text = text.replace("8080", str(free_port())).replace("2575", str(free_port()))
    shim = tmp_path / "bin"
    shim.mkdir()
    (shim / "segue").write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT / "engine"} exec {sys.executable} -m segue "$@"\n'
    )
    (shim / "segue").chmod(0o755)
    place = tmp_path / "tour"
    place.mkdir()
    environment = {**os.environ, "PATH": f"{shim}:{os.environ['PATH']}", "COLUMNS": "200"}
    background: list[subprocess.Popen[bytes]] = []
    output = ""
    ran = 0
    try:
        for kind, behind, body in BLOCK.findall(text):
            if kind == "sh" and behind:
                background.append(
                    subprocess.Popen(["bash", "-c", f"exec {body}"], cwd=place, env=environment)
                )
            elif kind == "sh":
                done = subprocess.run(
                    ["bash", "-euc", body], cwd=place, env=environment, capture_output=True,
                    text=True, timeout=120, check=False,
                )  # fmt: skip
                output = done.stdout
                assert done.returncode == 0, f"{body}\n{done.stdout}\n{done.stderr}"
                ran += 1
            elif kind == "text":
                for line in body.strip().splitlines():
                    assert line in output, f"{line!r} is not in\n{output}"
    finally:
        for process in background:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    assert ran >= 8
