"""Search keys as signed 64-bit numbers, the same in every process and on every machine.

An index row then costs eight bytes instead of a URL, and both databases compare
integers only. Two different keys meet with a chance of about n²/2⁶⁵ (n: keys of the
whole store); a search re-checks nothing, as one false hit in 10¹⁰ rows is acceptable.
"""

from functools import lru_cache
from hashlib import blake2b


@lru_cache(maxsize=200_000)
def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


@lru_cache(maxsize=4_096)
def parameter_hash(type_: str, code: str) -> int:
    """Number of a date or string parameter of a resource type.

    >>> parameter_hash("Encounter", "date") == parameter_hash("Encounter", "date")
    True
    >>> parameter_hash("Encounter", "date") == parameter_hash("Task", "date")
    False
    """
    return _hash(f"{type_}\x1f{code}")


def token_hash(type_: str, parameter: str, system: str | None, code: str) -> int:
    """Number of a token: `system|code`, `|code` or `code`.

    Args:
        type_: resource type.
        parameter: code of the search parameter.
        system: None for the row that answers a search in any system; "" for a
            code that was sent without a system.
        code: the code or identifier value.

    >>> token_hash("Task", "status", None, "requested") == token_hash("Task", "status", "", "x")
    False
    """
    if system is None:
        return _hash(f"{type_}\x1f{parameter}\x1f{code}")
    return _hash(f"{type_}\x1f{parameter}\x1f{system}|{code}")


def reference_hash(type_: str, parameter: str, reference: str) -> int:
    """Number of a reference, `Patient/abc`.

    A `subject` that is a Patient has the key of `patient`: one row answers both.

    >>> by_subject = reference_hash("Task", "subject", "Patient/1")
    >>> by_subject == reference_hash("Task", "patient", "Patient/1")
    True
    """
    if parameter == "subject" and reference.startswith("Patient/"):
        parameter = "patient"
    return _hash(f"{type_}\x1f{parameter}\x1f{reference}")
