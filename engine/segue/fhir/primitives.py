"""The lexical forms of FHIR's primitive types and of references.

Source: https://hl7.org/fhir/R4/datatypes.html#primitive. Where the published expression
admits impossible dates (30 February), ours does not. Each pattern means the same to
Python's `re` and to the linear-time engine that runs the JSON Schemas; it describes the
whole value.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from math import isfinite

_YEAR = "[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000"
_LEAP = "[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00"
_MONTH = "0[1-9]|1[0-2]"
_DAY = (
    "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8])"
)
_FULL_DATE = f"(?:(?:{_YEAR})-(?:{_DAY})|(?:{_LEAP})-02-29)"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

# No control characters but tab and line ends, and something beside white space.
_TEXT = r"\s*[^\s\x00-\x1f][^\x00-\x08\x0b\x0c\x0e-\x1f]*"

_SPACES = r"[ \t\r\n]+"

PATTERNS: dict[str, str] = {
    "string": _TEXT,
    "markdown": _TEXT,
    "code": r"[^\s]+(?:\s[^\s]+)*",
    "id": r"[A-Za-z0-9.\-]{1,64}",
    "uri": r"[^\s]+",
    "url": r"[^\s]+",
    "canonical": r"[^\s]+",
    "oid": r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+",
    "uuid": r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "date": f"(?:{_YEAR})(?:-(?:{_MONTH}))?|{_FULL_DATE}",
    "dateTime": f"(?:{_YEAR})(?:-(?:{_MONTH}))?|{_FULL_DATE}(?:T{_TIME}{_ZONE})?",
    "instant": f"{_FULL_DATE}T{_TIME}{_ZONE}",
    "time": _TIME,
    "base64Binary": r"\s*(?:[0-9a-zA-Z+/]\s*){4}(?:(?:[0-9a-zA-Z+/]\s*){4})*"
    r"|\s*(?:(?:[0-9a-zA-Z+/]\s*){4})*[0-9a-zA-Z+/]\s*[0-9a-zA-Z+/]\s*"
    r"(?:=\s*=|[0-9a-zA-Z+/]\s*=)\s*",
    "xhtml": r"\s*<div[\s\S]*",
}
"""Primitive types that are JSON strings."""

RANGES: dict[str, tuple[int, int]] = {
    "integer": (-(2**31), 2**31 - 1),
    "unsignedInt": (0, 2**31 - 1),
    "positiveInt": (1, 2**31 - 1),
}
"""Primitive types that are whole JSON numbers."""

PRIMITIVES = frozenset(PATTERNS) | frozenset(RANGES) | {"boolean", "decimal"}

MEANING: dict[str, str] = {
    "string": "text, not empty, without control characters",
    "markdown": "text, not empty, without control characters",
    "code": "a code without leading, trailing or doubled spaces",
    "id": "1 to 64 letters, digits, hyphens and dots",
    "uri": "a URI without spaces",
    "url": "a URL without spaces",
    "canonical": "a canonical URL without spaces",
    "oid": "an OID written as urn:oid:…",
    "uuid": "a UUID written as urn:uuid:… in lower case",
    "date": "a date that exists: YYYY, YYYY-MM or YYYY-MM-DD",
    "dateTime": "a date, or a date and time with seconds and a zone: YYYY-MM-DDThh:mm:ss+zz:zz",
    "instant": "a date and time with seconds and a zone: YYYY-MM-DDThh:mm:ss+zz:zz",
    "time": "a time of day with seconds: hh:mm:ss",
    "base64Binary": "base64",
    "xhtml": "an XHTML div",
    "boolean": "true or false, without quotation marks",
    "decimal": "a number, without quotation marks",
    "integer": "a whole number from -2147483648 to 2147483647, without quotation marks",
    "unsignedInt": "a whole number from 0 to 2147483647, without quotation marks",
    "positiveInt": "a whole number from 1 to 2147483647, without quotation marks",
}
"""What to send, in words."""


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def is_primitive(type_: str, value: object) -> bool:
    """Whether a JSON value is a value of the primitive type.

    >>> is_primitive("date", "2024-02-29"), is_primitive("date", "2023-02-29")
    (True, False)
    >>> is_primitive("boolean", "true")
    False
    """
    if type_ in ("string", "markdown") and isinstance(value, str) and value.isspace():
        # "Strings SHOULD always contain non-whitespace content."
        return bool(_compiled(_SPACES).fullmatch(value))
    if type_ in PATTERNS:
        return isinstance(value, str) and bool(_compiled(PATTERNS[type_]).fullmatch(value))
    if type_ == "boolean":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return False
    if not isfinite(value):
        return False
    if type_ == "decimal":
        return True
    low, high = RANGES[type_]
    return value == int(value) and low <= value <= high


def reference_pattern(types: Iterable[str], *, local: bool) -> str:
    """The pattern of `Reference.reference` that may point to these resource types.

    Args:
        types: allowed targets.
        local: whether `#id` may point into `contained`.
    """
    names = "|".join(sorted(types))
    alternatives = [
        rf"(?:{names})/[A-Za-z0-9.\-]{{1,64}}(?:/_history/[A-Za-z0-9.\-]{{1,64}})?",
        rf"(?:{names})\?[^\s]+",
        r"[a-z][a-z0-9+.\-]*:[^\s]+",
    ]
    if local:
        alternatives.append(r"#[A-Za-z0-9.\-]{0,64}")
    return "|".join(alternatives)


def is_reference(text: str, types: Iterable[str]) -> bool:
    """Whether the text is a reference that may point to one of the types.

    >>> is_reference("Patient/1", ["Patient"]), is_reference("Group/1", ["Patient"])
    (True, False)
    """
    return bool(_compiled(reference_pattern(types, local=True)).fullmatch(text))
