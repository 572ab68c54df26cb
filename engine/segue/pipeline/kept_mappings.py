"""The mapping sets that messages were read by: kept once each, and made anew from that.

A fact names the set that made it. Its files are kept with what is stored, so that what a
message said can be explained by the rules that were in force, whatever they are today.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from segue.mapping.load import MappingSet, load
from segue.mapping.source import MappingError
from segue.store.reader import Reader
from segue.store.store import Store


def keep(store: Store, mapping: MappingSet) -> None:
    """Keep a set that is not kept yet; costs next to nothing where it is."""
    store.keep_mapping(mapping.digest, partial(_bytes, mapping.sources))


def kept(reader: Reader, digest: str, site: str) -> MappingSet | None:
    """A set as it was, None where it was never kept or is none for this program any more.

    Args:
        reader: of the store.
        digest: of the set.
        site: whose it is.
    """
    packed = reader.mapping_files(digest)
    if packed is None:
        return None
    with TemporaryDirectory(prefix="segue-mapping-") as folder:
        root = Path(folder)
        (root / "core").mkdir()
        for name, text in json.loads(packed).items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode("utf-8", "surrogateescape"))
        try:
            found = load(root / "core", [root], site)
        except MappingError:
            return None
    return found if found.digest == digest else None


def _bytes(files: Mapping[str, bytes]) -> bytes:
    texts = {name: one.decode("utf-8", "surrogateescape") for name, one in files.items()}
    return json.dumps(texts).encode()
