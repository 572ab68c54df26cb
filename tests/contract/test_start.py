"""What stops a start: tokens and certificates that a configuration names and cannot be used."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from segue.bootstrap.start import StartRefused, check_files, check_ports, clients_without_token
from segue.settings.load import load

CONFIG = """\
version: 1
http: {{tokens: ./tokens}}
sites: {{a: {{authority: A}}}}
feeds:
  adt:
    kind: mllp
    listen: 127.0.0.1:2575
    site: a
    tls: {{cert: {cert}, key: {key}}}
  files: {{kind: folder, path: {path}, site: a}}
  cm: {{kind: fhir, client: demos, site: a}}
destinations:
  lab: {{kind: mllp, address: "127.0.0.1:2601", site: a, send: [adt], tls: {{ca: {ca}}}}}
"""


def refused(folder: Path, **files: object) -> list[str]:
    """The lines with which the start is refused."""
    file = folder / "segue.yaml"
    file.write_text(CONFIG.format(**files), encoding="utf-8")
    with pytest.raises(StartRefused) as caught:
        check_files(load(file, {}))
    assert caught.value.code == 2
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).splitlines()]


def test_files_that_can_be_read_let_it_start(certificates, tmp_path: Path) -> None:
    cert, key = certificates("server")
    (tmp_path / "tokens").write_text(f"demo reader {'0' * 64}\n", encoding="utf-8")
    file = tmp_path / "segue.yaml"
    file.write_text(CONFIG.format(cert=cert, key=key, ca=cert, path="drop"), encoding="utf-8")
    settings = load(file, {})
    check_files(settings)
    assert (tmp_path / "drop").is_dir()
    (line,) = clients_without_token(settings)
    assert line.endswith(
        "segue.yaml:11  feeds.cm.client: no token of 'demos'. Did you mean 'demo'?"
    )


def test_who_does_not_listen_needs_no_tokens_and_who_does_not_send_no_trust(
    certificates, tmp_path: Path
) -> None:
    cert, key = certificates("server")
    file = tmp_path / "segue.yaml"
    file.write_text(CONFIG.format(cert=cert, key=key, ca="no.pem", path="drop"), encoding="utf-8")
    check_files(replace(load(file, {}), roles=("worker",)))
    with pytest.raises(StartRefused, match=r"lab\.tls"):
        check_files(replace(load(file, {}), roles=("worker", "sender")))
    with pytest.raises(StartRefused, match="tokens"):
        check_files(replace(load(file, {}), roles=("front",)))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"cert": "no.pem"}, "segue.yaml:9  feeds.adt.tls: "),
        ({"key": "no.key"}, "segue.yaml:9  feeds.adt.tls: "),
        ({"key": "text"}, "segue.yaml:9  feeds.adt.tls: "),
        ({"ca": "no.pem"}, "segue.yaml:13  destinations.lab.tls: "),
        ({"ca": "text"}, "segue.yaml:13  destinations.lab.tls: "),
        ({"path": "text/drop"}, "segue.yaml:10  feeds.files.path: "),
        ({"tokens": None}, "segue.yaml:2  http.tokens: "),
        ({"tokens": "demo reader\n"}, "segue.yaml:2  http.tokens: "),
    ],
)
def test_each_file_that_cannot_be_used_is_one_line(certificates, tmp_path, files, says) -> None:
    cert, key = certificates("server")
    (tmp_path / "text").write_text("no certificate\n", encoding="utf-8")
    tokens = files.pop("tokens", "")
    if tokens is not None:
        (tmp_path / "tokens").write_text(tokens, encoding="utf-8")
    (line,) = refused(tmp_path, **{"cert": cert, "key": key, "ca": cert, "path": "drop", **files})
    assert line.startswith(says)
    named = next((str(name) for name in files.values() if name != "text"), "")
    assert named in line
    assert len(line) > len(says)


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_port_in_use_stops_the_start_by_either_protocol(tmp_path: Path, family, host) -> None:
    with socket.socket(family) as other:
        try:
            other.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        port = other.getsockname()[1]
        file = tmp_path / "segue.yaml"
        shown = f"[{host}]" if ":" in host else host
        file.write_text(f'version: 1\nhttp: {{listen: "{shown}:{port}"}}\n', encoding="utf-8")
        settings = replace(load(file, {}), feeds={})
        other.listen()
        with pytest.raises(StartRefused, match=rf"segue.yaml:2  http.listen: .*{port} cannot be"):
            check_ports(settings)
    check_ports(settings)
