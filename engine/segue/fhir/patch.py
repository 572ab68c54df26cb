"""PATCH: JSON Patch, JSON Merge Patch and FHIRPath Patch as functions of a resource.

The one door to jsonpatch.

Sources: https://hl7.org/fhir/R4/http.html#patch, https://www.rfc-editor.org/rfc/rfc6902,
https://www.rfc-editor.org/rfc/rfc7396, https://hl7.org/fhir/R4/fhirpatch.html
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from segue.fhir.canonical import dumps
from segue.fhir.definitions import Definitions
from segue.fhir.fhirpath_patch import apply_parameters
from segue.fhir.json import JsonError, check_bounds, read_json
from segue.fhir.outcomes import FhirError, fhir_error

Resource = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
FORMATS = (JSON_PATCH, MERGE_PATCH, "application/fhir+json", "application/fhir+xml")

MOST_OPERATIONS = 500
MOST_SIZE = 8 * 1024 * 1024
"""Bytes that a resource may grow to while its patch copies parts of it."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch that was read.

    Attributes:
        document: list of operations, merge document, or Parameters resource.
        change: (resource, document, definitions) to the changed resource.
    """

    document: Any
    change: Callable[[Resource, Any, Definitions], Any]

    def apply(self, resource: Mapping[str, Any], definitions: Definitions) -> Resource:
        """The changed resource; the given one stays as it is.

        Raises:
            FhirError: 422; the patch does not fit the resource, or makes it another one.
        """
        made = self.change(deepcopy(dict(resource)), deepcopy(self.document), definitions)
        try:
            check_bounds(made)
        except JsonError as error:
            raise _unfit(str(error)) from None
        if not isinstance(made, dict):
            raise _unfit("the patch leaves no resource")
        for name in ("resourceType", "id"):
            if made.get(name) != resource.get(name):
                raise _unfit(f"a patch may not change the {name}")
        return made


def patch_of(kind: str, document: Any) -> Patch:
    """A patch from its parsed body.

    Args:
        kind: media type of the body.

    Raises:
        FhirError: 400; it is none.
    """
    if kind == JSON_PATCH or (kind == "application/json" and isinstance(document, list)):
        return Patch(_operations(document), _json_patch)
    if not isinstance(document, dict):
        raise fhir_error("incorrect", "structure", "the patch is not a JSON object")
    if document.get("resourceType") == "Parameters" and kind != MERGE_PATCH:
        return Patch(document, _fhirpath_patch)
    # Some clients send the changed elements alone as plain JSON, and call it PATCH.
    return Patch(document, lambda resource, change, _: merged(resource, change))


def patch_in(resource: Any) -> Patch:
    """The patch in an entry of a Bundle: Parameters, or a Binary that holds the others.

    Raises:
        FhirError: 400; it is none.
    """
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if kind == "Parameters":
        return patch_of("application/fhir+json", resource)
    if kind != "Binary":
        text = "the resource of a PATCH is Parameters, or a Binary that holds the patch"
        raise fhir_error("incorrect", "value", text)
    kind, data = resource.get("contentType"), resource.get("data")
    if kind not in (JSON_PATCH, MERGE_PATCH) or not isinstance(data, str):
        text = f"a Binary with a patch has data, and contentType {JSON_PATCH} or {MERGE_PATCH}"
        raise fhir_error("incorrect", "value", text)
    try:
        return patch_of(kind, read_json(b64decode(data, validate=True)))
    except (JsonError, Base64Error, ValueError) as error:
        if isinstance(error, FhirError):
            raise
        raise fhir_error("incorrect", "structure", "the Binary's data is no JSON") from None


def merged(target: Any, change: Any) -> Any:
    """What RFC 7396 makes of a value: members are replaced, null takes one away.

    >>> merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": None}, "d": [2]})
    {'a': {'c': 2}, 'd': [2]}
    """
    if not isinstance(change, dict):
        return change
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in change.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def _operations(document: Any) -> list[dict[str, Any]]:
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        raise fhir_error("incorrect", "structure", "a JSON Patch is a list of operations")
    if len(document) > MOST_OPERATIONS:
        text = f"a patch is limited to {MOST_OPERATIONS} operations"
        raise fhir_error("incorrect", "too-long", text)
    for n, one in enumerate(document):
        op = one.get("op")
        if op not in ("add", "remove", "replace", "move", "copy", "test"):
            text = f"operation {n}: op is add, remove, replace, move, copy or test"
            raise fhir_error("incorrect", "value", text)
        if op in ("add", "replace", "test") and "value" not in one:
            raise fhir_error("incorrect", "required", f"operation {n}: {op} needs a value")
        for name in ("path", "from") if op in ("move", "copy") else ("path",):
            if not isinstance(one.get(name), str):
                raise fhir_error("incorrect", "required", f"operation {n}: {op} needs {name}")
    return document


def _json_patch(resource: Resource, document: list[dict[str, Any]], _: Definitions) -> Any:
    import jsonpatch
    from jsonpointer import JsonPointerException

    made: Any = resource
    for n, one in enumerate(document):
        try:
            made = jsonpatch.JsonPatch([one]).apply(made, in_place=True)
        except jsonpatch.JsonPatchTestFailed:
            raise _unfit(f"operation {n}: the test of {one['path'][:200]} failed") from None
        except (
            jsonpatch.JsonPatchException,
            JsonPointerException,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
        ):
            text = f"operation {n}: {one['op']} does not find {one['path'][:200]}"
            raise _unfit(text) from None
        if one["op"] == "copy" and len(dumps(made)) > MOST_SIZE:
            raise _unfit(f"operation {n}: the resource grows beyond {MOST_SIZE} bytes")
    return made


def _fhirpath_patch(resource: Resource, document: Any, definitions: Definitions) -> Resource:
    return apply_parameters(resource, document, definitions)


def _unfit(text: str) -> FhirError:
    return fhir_error("unprocessable", "processing", text)
