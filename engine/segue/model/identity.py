"""Names and keys: who sent something, which resource is meant.

Ids come from identity, never from arrival, so that the same messages in any
order, on any machine, yield the same resources.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, NewType

SourceName = NewType("SourceName", str)
"""A feed, as named under `feeds:` in the configuration."""

DestinationName = NewType("DestinationName", str)
"""A destination, as named under `destinations:`."""

SiteName = NewType("SiteName", str)
"""A site (facility), as named under `sites:`."""

ControlId = NewType("ControlId", str)
"""MSH-10."""

IdentityKey = NewType("IdentityKey", str)
"""`authority|value` of a patient identifier, such as `HOSPA|100234`."""

VisitKey = NewType("VisitKey", str)
"""`authority|value` of a visit number, such as `HOSPA|V78421`."""


class ResourceKey(NamedTuple):
    """Type and logical id of a FHIR resource."""

    type: str
    id: str

    @property
    def reference(self) -> str:
        """The relative reference, `Patient/abc`."""
        return f"{self.type}/{self.id}"


def stable_id(type_: str, whose: str = "", *parts: str) -> str:
    """Make a FHIR id (32 hexadecimal digits) out of an identity.

    The same arguments always give the same id. The first digits tell whose it is: what
    belongs to one person or one visit stands together wherever ids are sorted, so that a
    message touches few pages of an index.

    Args:
        type_: resource type.
        whose: identity of the person, the visit or whatever else the resource is of.
        parts: what distinguishes it from others of that one.

    >>> stable_id("Patient", "HOSPA|100234")
    'f1938307ae700d9612be61db307a04ed'
    >>> stable_id("Coverage", "HOSPA|100234", "POL7")[:6]
    'f19383'
    """
    text = "\x1f".join((type_, whose, *parts))
    return _place(whose) + blake2b(text.encode(), digest_size=13).hexdigest()


@lru_cache(maxsize=4_096)
def _place(whose: str) -> str:
    return blake2b(whose.encode(), digest_size=3).hexdigest()
