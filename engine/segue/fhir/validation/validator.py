"""The validator: the gate, the profiles that a resource names, and everything else.

refusals   what a write must not have: the gate's findings, broken profiles
issues     what `$validate` answers: those, and codes, extensions, advice
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from segue.fhir.outcomes import Category
from segue.fhir.profiles import shipped
from segue.fhir.validate import Gate
from segue.fhir.validation.compact import bare, tail
from segue.fhir.validation.conform import Conformance
from segue.fhir.validation.library import library
from segue.fhir.validation.survey import Survey
from segue.fhir.validation.tree import Profile
from segue.model.issues import Issue

MOST_ISSUES = 100

_RANK = {"error": 0, "warning": 1, "information": 2}
_HOPELESS = frozenset({"unknown-type", "too-deep", "not-an-object"})


class Validator:
    """Judges resources; made once per process. Profiles are read when first needed.

    Args:
        gate: judges structure, required codes and invariants.
        folders: of a site, with profiles, ValueSets and CodeSystems.
    """

    def __init__(self, gate: Gate, folders: Sequence[Path] = ()) -> None:
        self.gate = gate
        self.folders = tuple(folders)

    @cached_property
    def profiles(self) -> Mapping[str, Profile]:
        """Canonical URL to what is known: profiles and extensions.

        Raises:
            ProfileError: a site's file cannot be used.
        """
        return library(*self.folders)[0]

    @cached_property
    def book(self) -> Conformance:
        """Checks against profiles."""
        return Conformance(self.gate.definitions, library(*self.folders)[1], self.profiles)

    @cached_property
    def survey(self) -> Survey:
        """Walks whole resources."""
        return Survey(self.gate.definitions, shipped() / "definitions", self.book)

    def known(self, url: str) -> Profile | None:
        """The profile of a canonical URL, whatever its version."""
        return self.profiles.get(bare(url))

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
        sound = self.gate.is_valid(resource)
        found = [] if sound else self.gate.issues(resource)
        if not isinstance(resource, dict) or any(i.code in _HOPELESS for i in found):
            return found
        for walk in (self._named(resource, profiles), self.survey.issues(resource)):
            try:
                found += islice(walk, MOST_ISSUES)
            except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
                # Where the structure is wrong, the walk ends at what it cannot follow.
                if sound:
                    raise
        unique = {(i.severity, i.code, i.where, i.text): i for i in found}
        return sorted(unique.values(), key=lambda i: _RANK[i.severity])[:MOST_ISSUES]

    def advice(self, resource: dict[str, Any], url: str) -> list[Issue]:
        """What a profile asks systems to support and this resource does not say."""
        profile = self.known(url)
        if profile is None or resource.get("resourceType") != profile.type:
            return []
        names = self.book.missing_supported(resource, profile)
        text = f"{tail(url)} asks to support {', '.join(names)}, which are not here"
        return [Issue("information", "informational", profile.type, text, url)] if names else []

    def _beyond(self, resource: dict[str, Any]) -> Iterator[Issue]:
        """What a write is refused for beside structure."""
        for inner, where in nested(resource):
            if self.survey.ruled(inner["resourceType"]):
                yield from self.survey.broken_rules(inner, where)
        yield from self._named(resource, (), only_errors=True)

    def _named(
        self, resource: dict[str, Any], more: Sequence[str], *, only_errors: bool = False
    ) -> Iterator[Issue]:
        """What of the profiles that are named, in it and in the question, is broken."""
        for inner, spot in nested(resource):
            meta = inner.get("meta")
            named = meta.get("profile", ()) if isinstance(meta, dict) else ()
            for index, url in enumerate(named if isinstance(named, list) else ()):
                if isinstance(url, str):
                    place = f"{spot}.meta.profile[{index}]"
                    yield from self._profile(inner, url, (spot, place), resource, only_errors)
        for url in more:
            spots = (resource["resourceType"], "")
            yield from self._profile(resource, url, spots, resource, only_errors)

    def _profile(
        self,
        resource: dict[str, Any],
        url: str,
        spots: tuple[str, str],
        root: dict[str, Any],
        only_errors: bool,
    ) -> Iterator[Issue]:
        """What of one profile is broken; `spots`: where the resource is, and its claim."""
        profile = self.known(url)
        if profile is not None:
            yield from self.book.issues(
                resource, profile, where=spots[0], root=root, only_errors=only_errors
            )
        elif bare(url) != f"http://hl7.org/fhir/StructureDefinition/{resource['resourceType']}":
            text = "this profile is not known here, so it was not checked"
            yield Issue("warning", "unknown-profile", spots[1], text)


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


def refusal_category(issues: Sequence[Issue]) -> Category:
    """400 for what is no FHIR (structure, values, required codes), 422 for broken rules.

    Source: https://hl7.org/fhir/R4/http.html#create

    >>> refusal_category([Issue("error", "required", "Task.status", "status is required")])
    'incorrect'
    """
    of_base = any(i.code != "invariant" and not i.rule.startswith("http") for i in issues)
    return "incorrect" if of_base else "unprocessable"
