"""Whether a mapping file has the form that the language gives it: known keys, fit values.

The keys of `segue.mapping.language` are the form, as they are the JSON schema that editors
complete by. A number may stand where a text is expected, one text where a list of texts is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from segue.mapping.source import Document
from segue.model.hints import did_you_mean, nearest

_SHAPES = {
    "string": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list, such as [a, b]",
    "object": "keys and values",
}


def check(document: Document, keys: Mapping[str, Mapping[str, Any]]) -> bool:
    """Note every key that is not known and every value that does not fit; whether all do."""
    before = len(document.faults)
    data = document.data
    if data is None:
        document.fault((), f"the file says nothing. Keys: {', '.join(sorted(keys))}.")
    elif not isinstance(data, dict):
        known = ", ".join(sorted(keys))
        document.fault((), f"the file holds {_shape(data)}, not keys and values. Keys: {known}.")
    else:
        _object(document, data, {"properties": keys}, ())
    return len(document.faults) == before


def _value(
    document: Document, value: Any, schema: Mapping[str, Any], path: tuple[str, ...]
) -> None:
    """Find what does not fit; nothing at all (`key:` alone) always does."""
    if value is None:
        return
    choices = schema.get("anyOf", [schema])
    fit = next((choice for choice in choices if _fits(value, choice)), None)
    if fit is None and "enum" in schema:
        hint = nearest(str(value), schema["enum"])
        text = f"{path[-1]}: {value} is none of {', '.join(schema['enum'])}.{hint}"
        document.fault(path, _in_rule(path, text))
    elif fit is None:
        names = [_SHAPES[kind] for choice in choices for kind in _kinds(choice) if kind in _SHAPES]
        wanted = " or ".join(dict.fromkeys(names))
        document.fault(path, _in_rule(path, f"{path[-1]}: expected here: {wanted}"))
    elif isinstance(value, dict):
        _object(document, value, fit, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _value(document, item, fit.get("items", {}), (*path, str(index)))


def _object(
    document: Document, value: dict[str, Any], schema: Mapping[str, Any], path: tuple[str, ...]
) -> None:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", not known)
    for key, item in value.items():
        here = (*path, key)
        if key in known:
            _value(document, item, known[key], here)
        elif isinstance(others, dict):
            if item is None and not _fits(None, others):
                document.fault(here, _in_rule(here, f"{key}: says nothing"))
            _value(document, item, others, here)
        elif not others:
            text = f"{key}: unknown key.{did_you_mean(key, known)}"
            document.fault(here, _in_rule(here, text))
    for key in schema.get("required", ()):
        if value.get(key) is None:
            document.fault(path, f"{path[-1]}: without `{key}:`")


def _kinds(schema: Mapping[str, Any]) -> Sequence[str]:
    kinds = schema.get("type", ())
    return (kinds,) if isinstance(kinds, str) else kinds


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether it is of the right kind; what is inside a value of many keys is not looked at."""
    if "anyOf" in schema:
        return any(_fits(value, choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    kinds, found = _kinds(schema), _kind(value)
    if found == "array" and found in kinds:
        return not value or isinstance(value[0], dict) or _fits(value[0], schema.get("items", {}))
    if found in ("string", "integer") and "array" in kinds:
        return _fits(value, schema.get("items", {}))
    return not kinds or found in kinds or (found == "integer" and "string" in kinds)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def _shape(value: Any) -> str:
    return _SHAPES[_kind(value)].partition(",")[0]


def _in_rule(path: tuple[str, ...], text: str) -> str:
    """With the name of the rule, placement or code that it is about."""
    about = path[0] in ("rules", "segments", "codes") and len(path) > 2
    return f"{path[1]}: {text}" if about else text
