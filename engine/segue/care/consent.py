"""What may leave, until consent policies exist.

A resource with a label of special protection leaves to nobody but its source, and
nothing that others may see is derived from it.

Labels: http://terminology.hl7.org/CodeSystem/v3-ActCode and v3-Confidentiality.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

PROTECTED: Final = frozenset({"42CFRPart2", "ETH", "SUD", "PSY", "HIV", "SDV", "R", "V"})
"""Labels under which a resource is kept back."""

_CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def labels(resource: Mapping[str, Any]) -> frozenset[str]:
    """The codes of `meta.security`."""
    meta = resource.get("meta")
    if not meta or "security" not in meta:
        return frozenset()
    return frozenset(str(coding.get("code", "")) for coding in meta["security"])


def withheld(resource: Mapping[str, Any]) -> bool:
    """Whether a resource carries a label of special protection.

    >>> withheld({"resourceType": "Task"})
    False
    >>> withheld({"resourceType": "Task", "meta": {"security": [{"code": "42CFRPart2"}]}})
    True
    """
    return "meta" in resource and not PROTECTED.isdisjoint(labels(resource))


def protected(codes: Iterable[str]) -> bool:
    """Whether any of some label codes protects."""
    return not PROTECTED.isdisjoint(codes)


def security(codes: Iterable[str]) -> list[dict[str, str]]:
    """Label codes as `meta.security`, sorted."""
    return [
        {"system": _CONFIDENTIALITY if code in "LMNRUV" else _ACT_CODE, "code": code}
        for code in sorted(set(codes))
    ]
