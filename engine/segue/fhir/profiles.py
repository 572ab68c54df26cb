"""Finds and reads the shipped facts: definitions, search parameters, protocols."""

import json
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from segue.fhir.definitions import Definitions


def shipped() -> Path:
    """The folder `fhir_profiles`, of the installed wheel or of the checkout.

    Raises:
        FileNotFoundError: neither is there.
    """
    wheel = Path(str(resources.files("segue"))) / "data" / "fhir_profiles"
    checkout = Path(__file__).resolve().parents[3] / "fhir_profiles"
    for folder in (wheel, checkout):
        if (folder / "definitions" / "types.json").is_file():
            return folder
    message = (
        f"no fhir_profiles in {wheel.parent} or {checkout.parent}: "
        "reinstall segue, or run tools/generate_definitions.py in a checkout"
    )
    raise FileNotFoundError(message)


@lru_cache(maxsize=4)
def definitions(folder: Path | None = None) -> Definitions:
    """The R4 type table, read once per process."""
    return Definitions((folder or shipped()) / "definitions")


def read_json(folder: Path, pattern: str = "*.json") -> list[dict[str, Any]]:
    """Every JSON file of a folder, in name order; none where the folder is absent.

    Raises:
        ValueError: a file is not JSON; the message names it.
    """
    found = []
    for path in sorted(folder.glob(pattern)):
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            message = f"{path}: not JSON ({error})"
            raise ValueError(message) from error
    return found


def plan_definitions(folder: Path | None = None) -> list[dict[str, Any]]:
    """The shipped PlanDefinitions."""
    return read_json((folder or shipped()) / "plan_definitions")


_DEFINED = frozenset(
    {"StructureDefinition", "ValueSet", "CodeSystem", "SearchParameter", "OperationDefinition"}
)


def site_definitions(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """The definitions in a site's folders, as published: also those within Bundles.

    Raises:
        ValueError: a file is not JSON; the message names it.
    """
    found: list[dict[str, Any]] = []
    for folder in folders:
        for place in (folder, folder / "profiles", folder / "search_parameters"):
            for content in read_json(place):
                kind = content.get("resourceType")
                entries = content.get("entry", ()) if kind == "Bundle" else ()
                parts = [content, *(one.get("resource", {}) for one in entries)]
                found += [one for one in parts if one.get("resourceType") in _DEFINED]
    return found
