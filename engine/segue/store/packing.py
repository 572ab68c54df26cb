"""Short forms of what is stored by the million: bodies, facts, folded states.

Resources and states repeat the names and codes of their formats and little else. Against
a dictionary of what they usually look like they shrink to a fifth, in the time that one
token takes to be indexed (https://www.rfc-editor.org/rfc/rfc8878, Zstandard).

Nothing that was packed can be read without the dictionary of then, so the file never
changes: a better one is a second file under another number, which every packed value
names. `python -m tools.train_dictionary` makes one.
"""

import threading
from importlib import resources

import zstandard

DICTIONARY = "dictionary-1.zstd"
_LEVEL = 1


def _load() -> zstandard.ZstdCompressionDict:
    data = resources.files("segue.store").joinpath(DICTIONARY).read_bytes()
    dictionary = zstandard.ZstdCompressionDict(data)
    dictionary.precompute_compress(level=_LEVEL)
    return dictionary


_DICTIONARY = _load()


class _Tools(threading.local):
    """One pair for each thread: the library lets go of the interpreter while it works."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(_LEVEL, _DICTIONARY).compress
        self.unpack = zstandard.ZstdDecompressor(_DICTIONARY).decompress


_TOOLS = _Tools()


def pack(data: bytes) -> bytes:
    """The short form of some bytes."""
    return _TOOLS.pack(data)


def unpack(packed: bytes) -> bytes:
    """The reverse of `pack`.

    >>> unpack(pack(b'{"resourceType":"Basic"}'))
    b'{"resourceType":"Basic"}'
    """
    return _TOOLS.unpack(packed)


def unpack_text(packed: bytes | None) -> str | None:
    """The text of a packed body; None, a deletion, stays None."""
    return None if packed is None else _TOOLS.unpack(packed).decode()
