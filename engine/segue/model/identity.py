"""Names and keys: who sent something, which resource is meant.

Ids come from identity, never from arrival, so that the same messages in any
order, on any machine, yield the same resources.
"""

import hashlib
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


def stable_id(*parts: str) -> str:
    """Make a FHIR id (32 hexadecimal digits) out of an identity.

    The first part is the resource type. The same parts always give the same id.

    >>> stable_id("Patient", "HOSPA|100234")
    '88c7219165eee856969476ecf1107143'
    """
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()
