"""The gate that every resource passes before it is stored.

Two steps: a compiled JSON Schema says yes to nearly everything that is right, in
microseconds; what it refuses is judged in full, and the findings are returned as issues.
"""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema_rs

from segue.fhir.datetimes import not_after
from segue.fhir.definitions import Definitions
from segue.fhir.invariants import INVARIANTS, broken
from segue.fhir.schemas import RULE, schema
from segue.fhir.structure import structure_issues
from segue.model.issues import Issue

_HOLLOW = {"resourceType": "Basic"}
_MOST_ISSUES = 100


class _Rule:
    """The schema keyword that calls the invariants of a nested type."""

    def __init__(self, _parent: dict[str, Any], value: str, _path: list[str | int]) -> None:
        self.type = value

    def validate(self, instance: Any) -> None:
        if broken(self.type, instance):
            raise ValueError(self.type)


class _Quick:
    """What accepts the usual form of one resource type."""

    __slots__ = ("accepts", "choices", "inner", "outer", "rules")

    def __init__(self, definitions: Definitions, type_: str) -> None:
        document, left = schema(definitions, type_)
        self.accepts: Callable[[Any], bool] = jsonschema_rs.Draft202012Validator(
            document,
            pattern_options=jsonschema_rs.RegexOptions(),
            keywords={RULE: _Rule},
        ).is_valid
        self.rules = tuple(
            (r.guard, r.holds) for r in INVARIANTS.get(type_, ()) if r.schema is None
        )
        self.outer = tuple((*path, _SPOTS[kind]) for path, kind in left.spots if len(path) == 1)
        self.inner = tuple((*path, _SPOTS[kind]) for path, kind in left.spots if len(path) == 2)
        self.choices = left.choices

    def __call__(self, resource: dict[str, Any]) -> bool:
        if not self.accepts(resource):
            return False
        for names, needed in self.choices:
            found = names & resource.keys()
            if len(found) > 1 or (needed and not found):
                return False
        for key, obeys in self.outer:
            if key in resource and not obeys(resource[key]):
                return False
        for key, part, obeys in self.inner:
            if key in resource:
                value = resource[key]
                for item in value if type(value) is list else (value,):
                    if part in item and not obeys(item[part]):
                        return False
        for guard, holds in self.rules:
            for name in guard:
                if name not in resource:
                    break
            else:
                if not holds(resource):
                    return False
        return True


def _in_order(period: dict[str, Any]) -> bool:
    start = period.get("start")
    end = period.get("end")
    return (
        start is None
        or end is None
        or (len(start) > 10 and start <= end and start[19:] == end[19:])
        or not_after(start, end)
    )


_RANGE = INVARIANTS["Range"][0].holds


def _rises(span: dict[str, Any]) -> bool:
    return "low" not in span or "high" not in span or _RANGE(span)


_SPOTS: dict[str, Callable[[dict[str, Any]], bool]] = {"Period": _in_order, "Range": _rises}


class Gate:
    """Decides whether resources are valid FHIR R4.

    Args:
        definitions: the folder with `types.json` and `codes.json`, or the loaded table.
    """

    def __init__(self, definitions: Path | Definitions) -> None:
        self.definitions = (
            definitions if isinstance(definitions, Definitions) else Definitions(definitions)
        )
        self._quick: dict[str, _Quick] = {}

    def is_valid(self, resource: Any) -> bool:
        """Whether a resource may be stored."""
        return self._quickly(resource) or not self.issues(resource)

    def issues(self, resource: Any) -> list[Issue]:
        """All that is wrong with a resource; empty where it is valid.

        At most 100 issues are given.
        """
        try:
            return list(islice(structure_issues(self.definitions, resource), _MOST_ISSUES))
        except RecursionError:
            return [Issue("error", "too-deep", "Resource", "the JSON is nested too deeply")]

    def compile(self, *types: str) -> None:
        """Compile the schemas of these types now instead of at their first use."""
        for type_ in types:
            self._quick[type_] = _Quick(self.definitions, type_)

    def _quickly(self, resource: Any) -> bool:
        """Whether the schema and the root's invariants accept it; no is not final."""
        try:
            type_ = resource["resourceType"]
            quick = self._quick.get(type_)
            if quick is None:
                if type_ not in self.definitions.resources:
                    return False
                quick = self._quick[type_] = _Quick(self.definitions, type_)
            if type_ == "Bundle":
                return self._bundle_quickly(resource, quick.accepts)
            return type_ != "Parameters" and quick(resource)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            return False

    def _bundle_quickly(self, bundle: dict[str, Any], accepts: Any) -> bool:
        # The entries' resources are judged by their own schemas.
        hollow = dict(bundle)
        nested = []
        entries = []
        for entry in bundle.get("entry", ()):
            copy = dict(entry)
            if "resource" in copy:
                nested.append(copy["resource"])
                copy["resource"] = _HOLLOW
            response = copy.get("response")
            if response and "outcome" in response:
                nested.append(response["outcome"])
                copy["response"] = {**response, "outcome": _HOLLOW}
            entries.append(copy)
        if entries:
            hollow["entry"] = entries
        return accepts(hollow) and not broken("Bundle", bundle) and all(map(self.is_valid, nested))
