"""Resources as they are to be stored, and what a commit changed."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from segue.model.identity import ResourceKey

Kind = Literal["fold", "client", "directory"]
"""Who may write a resource; see docs/architecture.md, "Three kinds of stored resource"."""


# A message makes dozens of these values: as structs they take a third of the time of slotted
# dataclasses; and as they form no cycles, the garbage collector need not look at them.
class SearchTerms(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Index rows of one resource version, all values sorted and unique.

    Attributes:
        tokens: signed 64-bit hashes of (type, parameter, token or reference).
        dates: (parameter hash, low, high) with microseconds UTC, half open.
        strings: (parameter hash, folded text).
    """

    tokens: tuple[int, ...] = ()
    dates: tuple[tuple[int, int, int], ...] = ()
    strings: tuple[tuple[int, str], ...] = ()


class Head(msgspec.Struct, gc=False):
    """The current version of a stored resource; nothing of it changes once it is indexed.

    Attributes:
        pk: internal number of the resource.
        version: 1, 2, …
        content: 16-byte hash of the canonical content, narrative left out.
        gist: the same without `Encounter.location` and `.participant`: equal gists
            mean that nothing but a bed or a name moved.
        deleted: whether the current version is a deletion.
        owner: pk of the person it belongs to, None for directory resources.
    """

    pk: int
    version: int
    content: bytes
    gist: bytes
    terms: SearchTerms
    kind: Kind
    deleted: bool = False
    owner: int | None = None


class Write(msgspec.Struct, gc=False):
    """One new version of one resource; nothing of it changes once it is indexed.

    Attributes:
        pk: of the resource; a fresh one from the store where `base` is None.
        version: number of this version.
        body: canonical JSON text without versionId and lastUpdated; None deletes.
        terms: filled in together with those of the whole commit; empty in versions that
            the commit itself replaces.
        base: the version that it was computed from; None creates.
        owner: pk of the person whose revision guards it.
        recorded: for directory registers, the order key (recorded µs, control id).
    """

    key: ResourceKey
    pk: int
    version: int
    kind: Kind
    body: str | None
    content: bytes
    gist: bytes
    terms: SearchTerms
    base: Head | None
    owner: int | None = None
    recorded: tuple[int, str] | None = None

    def head(self) -> Head:
        """The head that the resource has once this is committed."""
        return Head(
            self.pk,
            self.version,
            self.content,
            self.gist,
            self.terms,
            self.kind,
            self.body is None,
            self.owner,
        )


@dataclass(frozen=True, slots=True)
class Cause:
    """What a change is owed to.

    Attributes:
        kind: `entry` (journal), `statement` (REST), `receipt`, `timer`, `steward`.
        ref: journal entry id, or the id of the statement, receipt or timer.
        source: site whose statement it is; "" for the hub itself.
    """

    kind: Literal["entry", "statement", "receipt", "timer", "steward"]
    ref: str
    source: str = ""
