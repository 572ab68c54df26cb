"""JSON from outside, read strictly and within bounds.

What lenient readers let through means different things to different readers: a name that
stands twice in an object, NaN, half a surrogate pair. Such text is refused, and so is
what nobody writes but to do harm.

Source: https://hl7.org/fhir/R4/json.html, https://www.rfc-editor.org/rfc/rfc8259
"""

import json
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

MOST_DEPTH = 100
"""Levels of nesting; the deepest resource type is far below."""

MOST_REPETITIONS = 20_000
"""Items of one list."""

MOST_DIGITS = 80
"""Characters of one number."""


class JsonError(ValueError):
    """Text that is not taken as JSON; the message holds no values."""


def read_json(data: bytes) -> Any:
    """Parse JSON; numbers with a fraction or an exponent become Decimal.

    Raises:
        JsonError: not UTF-8, not JSON, or beyond the bounds.

    >>> read_json(b'{"value": 1.50}')
    {'value': Decimal('1.50')}
    >>> read_json(b'{"id": "a", "id": "b"}')
    Traceback (most recent call last):
    segue.fhir.json.JsonError: a name stands twice in one object
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8 at byte {error.start}"
        raise JsonError(message) from None
    try:
        value = _DECODER.decode(text)
    except JsonError:
        raise
    except json.JSONDecodeError as error:
        message = f"{error.msg} at line {error.lineno} column {error.colno}"
        raise JsonError(message) from None
    except RecursionError:
        raise JsonError("nested too deeply") from None
    if "\\u" in text and _has_surrogate(value):
        raise JsonError("half a surrogate pair is no character")
    check_bounds(value)
    return value


def check_bounds(value: Any) -> None:
    """Let a value pass that is neither too deep nor too long.

    Raises:
        JsonError: it is.
    """
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += [item for item in one.values() if isinstance(item, (dict, list))]
            elif isinstance(one, list):
                if len(one) > MOST_REPETITIONS:
                    message = f"a list is limited to {MOST_REPETITIONS} items"
                    raise JsonError(message)
                below += [item for item in one if isinstance(item, (dict, list))]
        if not below:
            return
        level = below
    message = f"nested more than {MOST_DEPTH} levels deep"
    raise JsonError(message)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("a name stands twice in one object")
    return found


def _decimal(text: str) -> Decimal:
    try:
        if len(text) <= MOST_DIGITS and abs((found := Decimal(text)).adjusted()) < MOST_DIGITS:
            return found
    except InvalidOperation:
        pass
    return _no_number()


def _whole(text: str) -> int:
    return int(text) if len(text) < 19 else _no_number()


def _no_number(_text: str = "") -> NoReturn:
    raise JsonError("a number is out of range")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_float=_decimal,
    parse_int=_whole,
    parse_constant=_no_number,
)


def _has_surrogate(value: Any) -> bool:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return True
        return False
    if isinstance(value, dict):
        return any(_has_surrogate(k) or _has_surrogate(v) for k, v in value.items())
    return isinstance(value, list) and any(map(_has_surrogate, value))
