"""The settings of an engine: command option > environment > file > default.

Every fault is one line with file, line, path, what is wrong and what was probably meant.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from segue.settings.nodes import ConfigError, Nodes, Section, is_port
from segue.settings.read import top
from segue.settings.sections import Address, Settings


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration file and the environment.

    Args:
        path: `segue.yaml`; None for the defaults alone.
        environment: instead of the process's own, for tests.

    Raises:
        ConfigError: with every problem found, each on one line.
    """
    environment = os.environ if environment is None else environment  # noqa: TID251
    if path is None:
        root, read = yaml.compose("version: 1"), Nodes("(defaults)", Path(), environment)
    else:
        root, read = _tree(path), Nodes(str(path), path.parent, environment)
    found, settings = top(read, root)
    settings = _overridden(read, replace(settings, source=path))
    if path is not None:
        settings = replace(settings, said=read.said)
    _check(found, settings)
    read.problems += _shared_addresses(settings)
    if read.problems:
        raise ConfigError(read.problems)
    return settings


def _tree(path: Path) -> Any:
    try:
        return yaml.compose(path.read_text(encoding="utf-8")) or yaml.compose("{}")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        what = getattr(error, "problem", None) or "is not YAML"
        raise ConfigError([f"{path}:{line}  {what}"]) from error


def _overridden(read: Nodes, settings: Settings) -> Settings:
    """What the environment says instead."""
    if text := read.environment.get("SEGUE_DATA_DIR"):
        settings = replace(settings, data_dir=Path(text))
    if text := read.environment.get("SEGUE_DATABASE_URL"):
        settings = replace(settings, database=text)
    if text := read.environment.get("SEGUE_CLOCK"):
        settings = replace(settings, clock=text)
    if text := read.environment.get("SEGUE_HTTP_PORT"):
        listen = Address(settings.http.listen.host, _port(read, text, "SEGUE_HTTP_PORT"))
        settings = replace(settings, http=replace(settings.http, listen=listen))
        read.said["http.listen"] = "SEGUE_HTTP_PORT"
    if text := read.environment.get("SEGUE_MLLP_PORT"):
        port = _port(read, text, "SEGUE_MLLP_PORT")
        mllp = [feed for feed in settings.feeds.values() if feed.kind == "mllp" and feed.listen]
        if len(mllp) > 1:
            names = ", ".join(feed.name for feed in mllp)
            read.problems.append(
                f"SEGUE_MLLP_PORT: several mllp feeds ({names}); set their listen in the file"
            )
        for feed in mllp[:1]:
            assert feed.listen is not None
            changed = replace(feed, listen=Address(feed.listen.host, port))
            settings = replace(settings, feeds={**settings.feeds, feed.name: changed})
            read.said[f"feeds.{feed.name}.listen"] = "SEGUE_MLLP_PORT"
    return settings


def _port(read: Nodes, text: str, name: str) -> int:
    if is_port(text):
        return int(text)
    read.problems.append(f"{name}: expected a port number, 0 to 65535")
    return 0


def _shared_addresses(settings: Settings) -> Iterator[str]:
    """A line for each listener at the address of another one."""
    taken: dict[Address, str] = {}
    for key, address in settings.listeners().items():
        other = taken.setdefault(address, key)
        if other != key and address.port:
            yield f"{settings.at(key)}: {address} is {other}'s already"


def _check(found: Section, settings: Settings) -> None:
    """Refuse an unknown database, and to listen beyond this machine without authentication."""
    if settings.database != "sqlite" and not settings.database.startswith(
        ("postgresql://", "postgres://")
    ):
        found.wrong("database", "expected sqlite or a postgresql:// address")
    if not settings.http.listen.loopback and settings.http.tokens is None:
        text = f"{settings.http.listen} is reachable from other machines: set http.tokens"
        found.wrong("http.listen", text)
    for feed in settings.feeds.values():
        mutual = feed.tls is not None and feed.tls.client_ca is not None
        if feed.listen is not None and not feed.listen.loopback and not feed.allow and not mutual:
            text = (
                f"{feed.listen} is reachable from other machines: "
                "set allow: [network] or tls.client_ca"
            )
            found.wrong(f"feeds.{feed.name}.listen", text)
