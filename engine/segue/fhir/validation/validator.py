"""The validator: the gate, the profiles that a resource names, and everything else.

    refusals   what a write must not have: the gate's findings, broken profiles
    issues     what `$validate` answers: those, and codes, extensions, advice
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from segue.fhir.profiles import shipped
from segue.fhir.validate import Gate
from segue.fhir.validation.compact import bare
from segue.fhir.validation.conform import Conformance
from segue.fhir.validation.library import library
from segue.fhir.validation.survey import Survey
from segue.fhir.validation.tree import Profile
from segue.model.issues import Issue

MOST_ISSUES = 100


class Validator:
    """Judges resources; made once per process.

    Args:
        gate: judges structure, required codes and invariants.
        folders: a site's profiles, ValueSets and CodeSystems.

    Raises:
        ProfileError: a site's file cannot be used.
    """

    def __init__(self, gate: Gate, *folders: Path) -> None:
        profiles, terminology = library(*folders)
        self.gate = gate
        self.profiles = profiles
        self.book = Conformance(gate.definitions, terminology, profiles)
        self.survey = Survey(gate.definitions, shipped() / "definitions", self.book)

    def refusals(self, resource: Any) -> list[Issue]:
        """Why a resource must not be stored; empty where it may be.

        At most 100 issues are given.
        """
        if not self.gate.is_valid(resource):
            return self.gate.issues(resource)
        found = (i for i in self._beyond(resource) if i.severity == "error")
        return list(islice(found, MOST_ISSUES))

    def issues(self, resource: Any, profiles: Sequence[str] = ()) -> list[Issue]:
        """All that can be said about a resource, errors first.

        Args:
            resource: JSON.
            profiles: canonical URLs to check besides those of `meta.profile`.
        """
        found = [] if self.gate.is_valid(resource) else self.gate.issues(resource)
        if not isinstance(resource, dict) or any(
            i.code in ("unknown-type", "too-deep", "not-an-object") for i in found
        ):
            return found
        found += _careful(self._named(resource, resource.get("resourceType", ""), profiles))
        found += _careful(self.survey.issues(resource))
        rank = {"error": 0, "warning": 1, "information": 2}
        unique = {(i.severity, i.code, i.where, i.text): i for i in found}
        return sorted(unique.values(), key=lambda i: rank[i.severity])[:MOST_ISSUES]

    def _beyond(self, resource: dict[str, Any]) -> Iterator[Issue]:
        """What a write is refused for beside structure."""
        for inner, where in nested(resource):
            type_ = inner["resourceType"]
            if self.survey.ruled(type_):
                yield from self.survey.broken_rules(inner, where)
        yield from self._named(resource, "", ())

    def _named(
        self, resource: dict[str, Any], where: str, more: Sequence[str]
    ) -> Iterator[Issue]:
        for inner, spot in nested(resource):
            meta = inner.get("meta")
            named = meta.get("profile", ()) if isinstance(meta, dict) else ()
            for index, url in enumerate(named if isinstance(named, list) else ()):
                if isinstance(url, str):
                    place = f"{spot}.meta.profile[{index}]"
                    yield from self._profile(inner, url, spot, place, resource)
        for url in more:
            yield from self._profile(
                resource, url, resource.get("resourceType", ""), "", resource
            )

    def _profile(
        self, resource: dict[str, Any], url: str, where: str, place: str, root: dict[str, Any]
    ) -> Iterator[Issue]:
        profile = self.known(url)
        if profile is not None:
            yield from self.book.issues(resource, profile, where=where)
        elif bare(url) != f"http://hl7.org/fhir/StructureDefinition/{resource['resourceType']}":
            text = "this profile is not known here, so it was not checked"
            yield Issue("warning", "unknown-profile", place, text)

    def known(self, url: str) -> Profile | None:
        """The profile of a canonical URL, whatever its version."""
        return self.profiles.get(bare(url))


def nested(resource: dict[str, Any], where: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """A resource and those in it (contained, entries, parameters), with their FHIRPath."""
    where = where or str(resource.get("resourceType"))
    yield resource, where
    for index, inner in enumerate(resource.get("contained") or ()):
        if isinstance(inner, dict) and "resourceType" in inner:
            yield inner, f"{where}.contained[{index}]"
    if resource.get("resourceType") == "Bundle":
        for index, entry in enumerate(resource.get("entry") or ()):
            inner = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(inner, dict) and "resourceType" in inner:
                yield from nested(inner, f"{where}.entry[{index}].resource")


def _careful(issues: Iterator[Issue]) -> list[Issue]:
    """Issues of a walk that ends where the resource's structure is wrong."""
    found: list[Issue] = []
    try:
        for issue in islice(issues, MOST_ISSUES):
            found.append(issue)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        pass
    return found
