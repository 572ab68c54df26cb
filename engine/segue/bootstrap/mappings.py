"""The mappings of a running engine: read anew when a file changes, without a restart.

A message that is being mapped keeps the set that it began with; the next one has the new
one. A set that is wrong is refused as a whole and said, and the one before stays.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from segue.mapping.load import MappingSet, load, shipped
from segue.mapping.source import Fault, MappingError
from segue.settings.sections import Settings

WATCH_SECONDS = 1.5
SETTLE_SECONDS = 0.2

log = structlog.get_logger(__name__)
Print = tuple[tuple[str, int, int, int], ...]
_SUFFIXES = (".yaml", ".yml")


class Mappings:
    """The compiled mapping of every configured site; call it with a site's name.

    Raises:
        MappingError: some file is wrong; all faults, with file and line.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refused: Sequence[str] = ()
        self._changes = 0
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

    @property
    def refused(self) -> Sequence[str]:
        """What is wrong with the files as they are; empty where they are what is in force."""
        return self._refused

    def figures(self) -> dict[str, float]:
        """For `/metrics`: faults of files that are refused, and changes that were taken over."""
        return {
            "segue_mapping_faults": float(len(self._refused)),
            "segue_mapping_changes_total": float(self._changes),
        }

    def refresh(self) -> bool:
        """Read the files again if any has changed; whether there is a new mapping."""
        seen = self._look()
        if seen == self._print:
            return False
        self._print = seen
        try:
            sets = self._load()
            self._miss_none(sets)
        except MappingError as error:
            self._refuse([str(fault) for fault in error.faults])
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look must come
            self._refuse([f"the mapping files cannot be read: {type(error).__name__}: {error}"])
            return False
        if self._refused:
            log.info("mapping.mended")
        self._refused = ()
        changed = [site for site in sets if sets[site].digest != self._sets[site].digest]
        told = {str(doubt) for one in self._sets.values() for doubt in one.doubts}
        doubts = [str(doubt) for one in sets.values() for doubt in one.doubts]
        for doubt in dict.fromkeys(one for one in doubts if one not in told):
            log.warning("mapping.doubtful", doubt=doubt)
        self._sets = sets
        if changed:
            self._changes += 1
            log.info("mapping.changed", sites=changed)
        return bool(changed)

    def _refuse(self, faults: Sequence[str]) -> None:
        self._refused = faults
        for fault in faults:
            log.error("mapping.refused", fault=fault)

    def _miss_none(self, sets: Mapping[str, MappingSet]) -> None:
        """A site whose folder has gone is no site without differences: who asks is told.

        Raises:
            MappingError: names the folders.
        """
        faults = [
            Fault(f"mappings/{layer}", 1, "the folder is gone. Put it back, or restart without it.")
            for site, before in self._sets.items()
            if (layer := f"sites/{site}") in before.layers and layer not in sets[site].layers
        ]
        if faults:
            raise MappingError(faults)

    def watch(self, stopped: Callable[[float], bool]) -> threading.Thread:
        """Look for changes in a thread of its own, until `stopped(seconds)` is true.

        Files that are still being written are waited for: several that belong together are
        taken over together, if they are written at one go.
        """

        def look() -> None:
            while not stopped(WATCH_SECONDS):
                seen = self._look()
                while seen != self._print and not stopped(SETTLE_SECONDS):
                    before, seen = seen, self._look()
                    if seen == before:
                        break
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
        """Every file that a mapping may be made of, and what changes with its content.

        Symbolic links are followed, to files and to folders: a volume may be swapped by one.
        """
        found = []
        known: set[tuple[int, int]] = set()
        # Every process looks every other second: pathlib would take four times as long.
        for root in (shipped(), *self._folders()):
            for folder, inner, names in os.walk(root, followlinks=True):
                inner[:] = [name for name in inner if _first_seen(f"{folder}/{name}", known)]
                for file in (f"{folder}/{name}" for name in names if name.endswith(_SUFFIXES)):
                    try:
                        status = os.stat(file)  # noqa: PTH116
                    except OSError:
                        found.append((file, 0, 0, 0))
                        continue
                    found.append((file, status.st_ino, status.st_ctime_ns, status.st_size))
        return tuple(sorted(found))


def _first_seen(folder: str, known: set[tuple[int, int]]) -> bool:
    """Whether a folder was not walked yet: links may lead in a circle."""
    try:
        status = os.stat(folder)  # noqa: PTH116
    except OSError:
        return False
    key = status.st_dev, status.st_ino
    if key in known:
        return False
    known.add(key)
    return True
