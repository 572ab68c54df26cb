"""Who is asking: static bearer tokens, kept as hashes.

The tokens file has one `name role sha256` a line. Without a file (which is allowed on
loopback only) everybody is `anonymous`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROLES = ("reader", "client", "operator")
"""`reader` reads; `client` also writes FHIR and HL7 v2; `operator` also moves the engine."""


class Voice(NamedTuple):
    """What the feed of kind `fhir` that names a client says of it.

    Attributes:
        site: whose statements it makes.
        history: whether what it posts only fills the index.
        edits: sites whose own resources it may change, `*` for everybody's.
    """

    site: str = ""
    history: bool = False
    edits: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Client:
    """An authenticated caller.

    Attributes:
        name: as in the tokens file; a feed of kind `fhir` names it as its client.
        role: one of `ROLES`.
        site: the site that it speaks for, "" if it speaks for none.
        history: whether what it posts only fills the index.
        anonymous: whether nobody is asked who they are.
        edits: sites whose own resources it may change, `*` for everybody's.
    """

    name: str
    role: str
    site: str = ""
    history: bool = False
    anonymous: bool = False
    edits: frozenset[str] = frozenset()

    @property
    def may_write(self) -> bool:
        """Whether it may change resources."""
        return self.role != "reader"


ANONYMOUS = Client("anonymous", "operator", anonymous=True)


class Tokens:
    """The callers that are known, by the hash of their token."""

    def __init__(self, clients: Mapping[str, Client] | None) -> None:
        self._clients = clients

    @property
    def open(self) -> bool:
        """Whether no token is asked for."""
        return self._clients is None

    @property
    def names(self) -> frozenset[str]:
        """Who has a token."""
        return frozenset(client.name for client in (self._clients or {}).values())

    def client(self, header: str | None) -> Client | None:
        """The caller of an `Authorization` header; None if it is not known."""
        if self._clients is None:
            return ANONYMOUS
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        return self._clients.get(hashlib.sha256(token.strip().encode()).hexdigest())


def read_tokens(file: Path | None, voices: Mapping[str, Voice] | None = None) -> Tokens:
    """Read a tokens file.

    Args:
        file: None asks nobody for a token.
        voices: what feeds say of the clients that they name.

    Raises:
        ValueError: a line is not `name role sha256`; names file and line.
        OSError: the file cannot be read.
    """
    if file is None:
        return Tokens(None)
    voices = voices or {}
    clients: dict[str, Client] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = line.split()
        if len(words) != 3 or words[1] not in ROLES or len(words[2]) != 64:
            raise ValueError(
                f"{file}:{number}  expected: name role sha256, where role is one of "
                f"{', '.join(ROLES)} and sha256 has 64 hexadecimal digits"
            )
        voice = voices.get(words[0], Voice())
        clients[words[2].lower()] = Client(
            words[0], words[1], voice.site, voice.history, edits=voice.edits
        )
    return Tokens(clients)
