"""The mappings of a running engine: read anew when a file changes, without a restart.

A message that is being mapped keeps the set that it began with; the next one has the new
one. A set that is wrong is refused as a whole and said, and the one before stays.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from segue.mapping.load import MappingSet, load, shipped
from segue.mapping.source import MappingError
from segue.settings.sections import Settings

WATCH_SECONDS = 2.0

log = structlog.get_logger(__name__)
Print = tuple[tuple[str, int, int], ...]


class Mappings:
    """The compiled mapping of every configured site; call it with a site's name.

    Raises:
        MappingError: some file is wrong; all faults, with file and line.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._print = self._look()
        self._sets = self._load()

    def __call__(self, site: str) -> MappingSet:
        """The mapping of a site; of an unknown one, that of the first."""
        sets = self._sets
        return sets.get(site) or next(iter(sets.values()))

    @property
    def sets(self) -> dict[str, MappingSet]:
        """All of them by site."""
        return self._sets

    def refresh(self) -> bool:
        """Read the files again if any has changed; whether there is a new mapping."""
        seen = self._look()
        if seen == self._print:
            return False
        self._print = seen
        try:
            sets = self._load()
        except MappingError as error:
            for fault in error.faults:
                log.error("mapping.refused", fault=str(fault))  # noqa: TRY400
            return False
        except OSError as error:  # a file that is being replaced; the next look sees it
            log.warning("mapping.unread", error=error.strerror)
            self._print = ()
            return False
        changed = [site for site in sets if sets[site].digest != self._sets[site].digest]
        self._sets = sets
        if changed:
            log.info("mapping.changed", sites=changed)
        return bool(changed)

    def watch(self, stopped: Callable[[float], bool]) -> threading.Thread:
        """Look for changes in a thread of its own, until `stopped(seconds)` is true."""

        def look() -> None:
            while not stopped(WATCH_SECONDS):
                self.refresh()

        thread = threading.Thread(target=look, name="mappings", daemon=True)
        thread.start()
        return thread

    def _folders(self) -> list[Path]:
        settings = self._settings
        folders = [folder for folder in settings.mappings if folder.is_dir()]
        if settings.source is not None:
            beside = settings.source.parent / "mappings"
            if beside.is_dir() and beside not in folders:
                folders.append(beside)
        return folders

    def _load(self) -> dict[str, MappingSet]:
        core, folders = shipped() / "core", self._folders()
        return {name: load(core, folders, name) for name in self._settings.sites}

    def _look(self) -> Print:
        """Name, time and size of every file that a mapping may be made of."""
        found = []
        # Every process looks every two seconds: pathlib would take four times as long.
        for root in (shipped(), *self._folders()):
            for folder, _, names in os.walk(root):
                for file in (f"{folder}/{name}" for name in names if name.endswith(".yaml")):
                    try:
                        status = os.stat(file)  # noqa: PTH116
                    except OSError:
                        continue
                    found.append((file, status.st_mtime_ns, status.st_size))
        return tuple(sorted(found))
