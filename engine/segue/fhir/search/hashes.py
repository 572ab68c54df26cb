"""Search keys as signed 64-bit numbers, the same in every process and on every machine.

An index row then costs eight bytes instead of a URL, and both databases compare
integers only. The upper 20 bits of a token's number are its place: that of a reference or
an id is told by the id's first digits, which what is of one person or one visit shares
(`segue.model.identity.stable_id`); that of a code or identifier by its value, with or without
its system. The rest depends on the value, the lower half on the parameter too. So the rows
of one patient or visit, whatever resource they are of, are neighbours in the index, and a
commit touches few of its pages.

Two different values meet with a chance of about n²/2⁶⁵ (n: keys of the whole store), those in
one place of n²/2⁴⁵ (n: of the place); a search re-checks nothing, as one false hit in 10¹⁰
rows is acceptable. Two parameters meet at a value only if their own numbers are equal, which a
test rules out.
"""

from functools import lru_cache
from hashlib import blake2b
from struct import Struct

_whole = Struct(">q").unpack
_half = Struct(">I").unpack
_ID_DIGITS = 32
"""The length of ids that are hashes; those that begin with their time have dashes, too."""
_PLACE_BITS = 20
_REST = (1 << 64 - _PLACE_BITS) - 1
_MIDDLE = 1 << _PLACE_BITS - 1


@lru_cache(maxsize=8_192)
def value_hash(text: str) -> int:
    """Number of a value without a system, or a reference, for any parameter.

    A message names its patient and visit in many resources, so a small cache hits; a
    large one would cost more in cold memory than the hash does.

    >>> patient = value_hash("Patient/f1938307ae700d9612be61db307a04ed")
    >>> coverage = value_hash("Coverage/f1938343ab42b5826494ff1d3ebbc5d7")
    >>> patient >> 44 == coverage >> 44, patient == coverage
    (True, False)
    """
    number: int = _whole(blake2b(text.encode(), digest_size=8).digest())[0]
    id_ = text.rpartition("/")[2]
    if len(id_) == _ID_DIGITS:
        try:
            place = int(id_[: _PLACE_BITS // 4], 16)
        except ValueError:
            return number
        # As a signed number: the upper half of all places is below zero.
        place = (place ^ _MIDDLE) - _MIDDLE
        return place << 64 - _PLACE_BITS | number & _REST
    return number


@lru_cache(maxsize=8_192)
def coded_hash(system: str, code: str) -> int:
    """Number of a value in its system, beside that of the value alone."""
    number: int = _whole(blake2b(f"{system}|{code}".encode(), digest_size=8).digest())[0]
    return value_hash(code) & ~_REST | number & _REST


@lru_cache(maxsize=4_096)
def parameter_salt(type_: str, parameter: str) -> int:
    """What `value_hash` is XORed with for a parameter: 32 bits.

    >>> token_hash("Task", "status", None, "requested") == (
    ...     value_hash("requested") ^ parameter_salt("Task", "status")
    ... )
    True
    """
    number: int = _half(blake2b(f"{type_}\x1f{parameter}".encode(), digest_size=4).digest())[0]
    return number


@lru_cache(maxsize=4_096)
def parameter_hash(type_: str, code: str) -> int:
    """Number of a date or string parameter of a resource type.

    >>> parameter_hash("Encounter", "date") == parameter_hash("Encounter", "date")
    True
    >>> parameter_hash("Encounter", "date") == parameter_hash("Task", "date")
    False
    """
    number: int = _whole(blake2b(f"{type_}\x1f{code}".encode(), digest_size=8).digest())[0]
    return number


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
    number = value_hash(code) if system is None else coded_hash(system, code)
    return number ^ parameter_salt(type_, parameter)


def reference_hash(type_: str, parameter: str, reference: str) -> int:
    """Number of a reference, `Patient/abc`.

    A `subject` that is a Patient has the key of `patient`: one row answers both.

    >>> by_subject = reference_hash("Task", "subject", "Patient/1")
    >>> by_subject == reference_hash("Task", "patient", "Patient/1")
    True
    """
    if parameter == "subject" and reference.startswith("Patient/"):
        parameter = "patient"
    return value_hash(reference) ^ parameter_salt(type_, parameter)
