"""Documentation that cannot rot: generated pages, links, containers, and plain speech."""

import re
from pathlib import Path

import pytest
import yaml

from tests.stories.engine import ROOT
from tools.reference import REFERENCE, pages

LINK = re.compile(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)")
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("name", ["commands.md", "clocks.md", "warnings.md", "events.md",
                                  "mapping-functions.md", "mapping-language.schema.json",
                                  "search-parameters.md"])  # fmt: skip
def test_the_reference_is_what_the_code_says(name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == pages()[name], f"{name} is out of date: run make reference"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_plan_of_the_widest_floor_names_every_module_once() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"## The rooms of `pipeline/`\n(.*?)\n## ", text, re.DOTALL)
    named = re.findall(r"`(\w+)`", table)
    there = {file.stem for file in (ROOT / "engine/segue/pipeline").glob("*.py")} - {"__init__"}
    assert sorted(named) == sorted(there)


def test_the_readme_starts_with_two_commands_that_the_makefile_has() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    first = readme.index("make demo")
    assert first < readme.index("make test") < readme.index("## A first minute")
    assert "\ndemo:" in makefile
    assert "\ntest:" in makefile
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()


def test_every_setting_that_the_example_of_the_documentation_names_is_read(tmp_path: Path) -> None:
    from segue.settings.load import load

    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(version: 1\n.*?)```", text, re.DOTALL)
    file = tmp_path / "segue.yaml"
    file.write_text(block)
    settings = load(file, {"PCPB_TOKEN": "secret"})
    assert settings.sites
    assert settings.feeds
    assert settings.destinations


def test_the_container_is_pinned_unprivileged_and_checked() -> None:
    """The images were not built here: what can be checked without an engine is."""
    lines = (ROOT / "docker" / "Dockerfile").read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert bases
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", base) for base in bases)
    text = "\n".join(lines)
    assert "\nUSER segue" in text
    assert "HEALTHCHECK" in text
    assert "/health" in text
    assert "EXPOSE 2575 8080" in text
    assert "--require-hashes" in text
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source


@pytest.mark.parametrize("name", ["compose.embedded.yaml", "compose.shared.yaml"])
def test_the_compose_files_publish_on_loopback_and_build_the_same_image(name: str) -> None:
    value = yaml.safe_load((ROOT / "docker" / name).read_text())
    services = value["services"]
    for service in services.values():
        assert service["image"].count(":") == 1
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:")
    assert services["segue"]["build"]["dockerfile"] == "docker/Dockerfile"


def test_the_containers_configuration_is_accepted() -> None:
    from segue.settings.load import load

    settings = load(ROOT / "docker" / "segue.yaml", {})
    assert settings.http.tokens is not None


def test_the_lock_files_name_no_address() -> None:
    for name in ("requirements.lock", "requirements-runtime.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert "--index" not in text
        assert text.count("--hash=sha256:") > 100
