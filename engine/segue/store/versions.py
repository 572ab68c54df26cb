"""A version of a resource as a row: how it is asked for, and what is made of it."""

from segue.model.changes import Kind
from segue.model.identity import ResourceKey
from segue.store.commit import KINDS
from segue.store.dialects import Row
from segue.store.packing import unpack_text
from segue.store.records import StoredVersion

KIND: dict[int, Kind] = {0: "fold", 1: "client", 2: "directory"}
assert {number: name for name, number in KINDS.items()} == KIND

_STORED = (
    "SELECT r.type, r.id, r.pk, v.version, v.body, c.at, c.position FROM resource r "
    "JOIN version v ON v.resource = r.pk {} JOIN commits c ON c.tx = v.id >> 20"
)
CURRENT = _STORED.format("AND v.version = r.version")
ANY = _STORED.format("")
"""SELECT of the columns that `stored` takes: of current versions, and of any."""


def stored(row: Row) -> StoredVersion:
    """The version of a row (type, id, pk, version, body, at, position)."""
    type_, id_, pk, version, body, at, position = row
    return StoredVersion(ResourceKey(type_, id_), pk, version, unpack_text(body), at, position)
