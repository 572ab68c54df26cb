"""Make the dictionary that stored values are packed against (`segue.store.packing`).

    python -m tools.train_dictionary FILE [--messages 3000] [--kib 32]

The samples are what the engine stores of the benchmark's ADT mix. Names, streets, texts
and codes of that mix are first replaced by random words of the same length, other ones in
each message: the dictionary is to know what FHIR, the mappings and the protocols say, not
what the benchmark's patients suffer from.
"""

import argparse
import random
import re
import string
import tempfile
from pathlib import Path

import zstandard

from benchmarks import mix
from segue.pipeline.process import process
from segue.store import packing
from tests.support.hub import TestClock, make_hub

BATCH = 100
LEVEL = 3
OWN_WORDS = (
    *mix.FAMILY, *mix.GIVEN, *mix.STREETS, *mix.UNITS, *mix.CLINICS,
    *(word for town in mix.TOWNS for word in town),
    *(word for pair in mix.DIAGNOSES for word in pair),
    *(word for pair in mix.ALLERGIES for word in pair if word),
    *(word for pair in mix.PLANS for word in pair),
)  # fmt: skip


def disguised(message: bytes, rng: random.Random) -> bytes:
    """The message with other words in place of the mix's own."""
    other: dict[str, str] = {}

    def word(found: re.Match[str]) -> str:
        return other.setdefault(
            found[0], "".join(rng.choice(string.ascii_uppercase) for _ in found[0])
        )

    words = "|".join(re.escape(word) for word in sorted(set(OWN_WORDS), key=len, reverse=True))
    return re.sub(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", word, message.decode()).encode()


def samples(messages: int) -> list[bytes]:
    """What is packed while so many messages are processed."""
    packed: list[bytes] = []
    real = packing._TOOLS.pack

    def note(data: bytes) -> bytes:
        packed.append(data)
        return real(data)

    packing._TOOLS.pack = note  # type: ignore[assignment]
    rng = random.Random(1)
    made = mix.Mix(seed=1, patients=messages)
    with tempfile.TemporaryDirectory() as folder:
        bench = make_hub(Path(folder), TestClock.at("2026-03-01T08:00:00+00:00"))
        for _ in range(0, messages, BATCH):
            bench.clock.us = int(made.now.timestamp() * 1_000_000)
            process(bench.hub, [bench.entry(disguised(next(made), rng)) for _ in range(BATCH)])
        bench.close()
    return packed


def main() -> None:
    """Train, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--messages", type=int, default=3_000)
    parser.add_argument("--kib", type=int, default=32)
    parser.add_argument("--number", type=int, default=1, help="that packed values name")
    given = parser.parse_args()
    found = samples(given.messages)
    dictionary = zstandard.train_dictionary(
        given.kib << 10, found, level=LEVEL, dict_id=given.number
    )
    given.file.write_bytes(dictionary.as_bytes())
    tool = zstandard.ZstdCompressor(1, dictionary)
    before, after = sum(map(len, found)), sum(len(tool.compress(one)) for one in found)
    print(f"{len(found)} samples, {before // len(found)} bytes each, packed {after // len(found)}")


if __name__ == "__main__":
    main()
