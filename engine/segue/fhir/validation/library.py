"""The profiles and extensions that are known: shipped ones and a site's.

A file is either a StructureDefinition as it is published, a Bundle of
them, or a table of compact forms made by `tools/generate_profiles.py`.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from segue.fhir.definitions import Definitions
from segue.fhir.profiles import definitions, read_json, shipped
from segue.fhir.validation.compact import compact
from segue.fhir.validation.terminology import Terminology
from segue.fhir.validation.tree import Profile, profile


class ProfileError(ValueError):
    """A profile that cannot be used; the message names the file or the URL."""


def profiles_of(contents: Iterable[dict[str, Any]], table: Definitions) -> Iterator[Profile]:
    """The profiles of files' contents.

    Raises:
        ProfileError: a StructureDefinition cannot be read.
    """
    for content in contents:
        kind = content.get("resourceType")
        if kind is None:
            for url, form in content.items():
                yield profile(url, form)
        elif kind == "Bundle":
            yield from profiles_of((e["resource"] for e in content.get("entry", ())), table)
        elif kind == "StructureDefinition" and content.get("derivation") == "constraint":
            try:
                yield profile(content["url"], compact(content, table))
            except (ValueError, KeyError, TypeError) as error:
                message = f"profile {content.get('url', '?')} cannot be used: {error}"
                raise ProfileError(message) from error


@lru_cache(maxsize=4)
def library(*folders: Path) -> tuple[dict[str, Profile], Terminology]:
    """Canonical URL to profile, and the terminology; read once per process.

    Args:
        folders: a site's own (files there or in `profiles/`), after the shipped one; a
            later profile replaces an earlier one of the same URL.

    Raises:
        ProfileError: a file cannot be used.
    """
    table = definitions()
    found: dict[str, Profile] = {}
    more: list[dict[str, Any]] = []
    published = ("StructureDefinition", "ValueSet", "CodeSystem", "Bundle")
    for folder in (shipped(), *folders):
        contents = read_json(folder / "profiles")
        contents += [c for c in read_json(folder) if c.get("resourceType") in published]
        found.update({p.url: p for p in profiles_of(contents, table)})
        more += [c for c in contents if c.get("resourceType") in ("ValueSet", "CodeSystem")]
    return found, Terminology(shipped() / "definitions", more)
