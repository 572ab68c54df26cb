"""Mutations of messages, and what must hold for each: `python -m tests.support.fuzz`.

A mutation may make a message unreadable. It must never make the reader raise, read
something else in silence, or make a resource that the gate refuses.
"""

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from random import Random

from segue.fhir.profiles import shipped
from segue.fhir.validate import Gate
from segue.hl7v2.batch import split
from segue.hl7v2.errors import NoHeader, Unwritable
from segue.hl7v2.escapes import escape
from segue.hl7v2.message import Message
from segue.hl7v2.normalise import SEGMENTS, WARNINGS
from segue.hl7v2.parse import parse
from segue.hl7v2.peek import peek
from segue.hl7v2.write import write
from segue.mapping.apply import apply
from segue.mapping.context import Context, SiteRules
from segue.model.events import EVENTS
from segue.pipeline.alone import fold_alone
from tests.support.corpus import OTHERS, adt
from tests.support.hub import ZONE, core_mapping

SITE = SiteRules("hospa", "HOSPA", "urn:segue:authority:HOSPA", ZONE)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "hl7v2"

NASTY = (
    b"\r", b"\n", b"\r\n", b"|", b"||||", b"^", b"~", b"&", b"\\", b'""', b"\x0b", b"\x1c\r",
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xe9", b"\xc3\xa9", b" ", b"\t", b"\\.br\\", b"\\X0D\\",
    b"\\X4\\", b"\\.sp999999\\", b"\\Zx\\", b"\\C2842\\", b"\\F", b"MSH|", b"\rMSH|^~\\&|B\r",
    b"\rFHS|", b"\rBTS|9\r", b"\rpid|1||7", b"\rPV1", b"\r\r\r", b"00000000", b"20260230",
    b"2026070513420012345678", b"99999999999999999999", b"20260705134200+9999", b"-", b"9" * 400,
)  # fmt: skip
"""Bytes that readers stumble over."""

CHARSETS = ("", "ASCII", "8859/1", "UNICODE UTF-8", "UNICODE UTF-16", "ISO IR87", "GB 18030-2000",
            "~ISO IR87", "KLINGON", '""')  # fmt: skip

Mutation = Callable[[Random, bytes, Sequence[bytes]], bytes]


def _span(random: Random, raw: bytes) -> tuple[int, int]:
    begin = random.randrange(len(raw) + 1)
    return begin, min(len(raw), begin + int(random.expovariate(0.1)))


def cut(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = _span(random, raw)
    return raw[:begin] + raw[end:]


def double(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    begin, end = _span(random, raw)
    return raw[:end] + raw[begin:end] * random.randrange(1, 4) + raw[end:]


def insert(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    begin = random.randrange(len(raw) + 1)
    return raw[:begin] + random.choice(NASTY) + raw[begin:]


def overwrite(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    begin = random.randrange(len(raw) + 1)
    return raw[:begin] + bytes([random.randrange(256)]) + raw[begin + 1 :]


def truncate(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    return raw[: random.randrange(len(raw) + 1)]


def shuffle(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    lines = raw.split(b"\r")
    first, *rest = lines
    random.shuffle(rest)
    return b"\r".join([first, *rest])


def repeat(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    lines = raw.split(b"\r")
    line = random.choice(lines)
    return b"\r".join([*lines, *[line] * random.randrange(1, 30)])


def drop(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    lines = raw.split(b"\r")
    del lines[random.randrange(len(lines))]
    return b"\r".join(lines)


def splice(random: Random, raw: bytes, corpus: Sequence[bytes]) -> bytes:
    other = random.choice(corpus)
    return raw[: random.randrange(len(raw) + 1)] + other[random.randrange(len(other) + 1) :]


def line_ends(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    ends = (b"\r", b"\n", b"\r\n", b"\n\n", b" \r")
    return b"".join(line + random.choice(ends) for line in raw.split(b"\r"))


def field(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    """One field becomes something else."""
    lines = raw.split(b"\r")
    place = random.randrange(len(lines))
    fields = lines[place].split(raw[3:4] or b"|")
    fields[random.randrange(len(fields))] = random.choice(NASTY)
    lines[place] = (raw[3:4] or b"|").join(fields)
    return b"\r".join(lines)


def charset(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    """Another MSH-18, and bytes that may not fit it."""
    lines = raw.split(b"\r")
    fields = lines[0].split(b"|")
    fields += [b""] * (18 - len(fields))
    fields[17] = random.choice(CHARSETS).encode()
    lines[0] = b"|".join(fields)
    text = bytes(random.choice((0x41, 0xC3, 0xA9, 0xE9, 0x80, 0x1B, 0x24, 0xFF)) for _ in range(4))
    return b"\r".join(lines).replace(b"DOE", b"D" + text)


def separators(random: Random, raw: bytes, _: Sequence[bytes]) -> bytes:
    """Another MSH-2, with or without the same separators in the rest."""
    marks = random.sample(b"^~\\&#@$%!*+?;:", 5)
    table = bytes.maketrans(b"^~\\&", bytes(marks[:4]))
    if random.random() < 0.5:
        return raw.translate(table)
    return raw[:4] + bytes(marks[: random.randrange(6)]) + raw[8:]


MUTATIONS: tuple[Mutation, ...] = (
    cut, double, insert, overwrite, truncate, shuffle, repeat, drop, splice, line_ends, field,
    field, insert, charset, separators,
)  # fmt: skip


def own_corpus() -> list[bytes]:
    """Our own messages: one of each event, and others."""
    return [adt(code) for code in EVENTS] + list(OTHERS)


def shared_corpus() -> list[bytes]:
    """Other people's messages beside the checkout; none where they are absent."""
    if not SHARED.is_dir():
        return []
    return [
        message
        for path in sorted(SHARED.rglob("*"))
        if path.suffix in {".hl7", ".hl7v2"}
        for message in split(path.read_bytes()).messages
        if len(message) < 20_000
    ]


def mutations(corpus: Sequence[bytes], count: int, seed: int = 1) -> Iterator[bytes]:
    """Mutated messages, the same for a seed; each message of the corpus has its turn."""
    random = Random(seed)
    for number in range(count):
        raw = corpus[number % len(corpus)]
        for _ in range(1 + int(random.expovariate(0.7))):
            raw = random.choice(MUTATIONS)(random, raw, corpus)
        yield raw[:200_000]


# --- what must hold ----------------------------------------------------------------------

_GONE = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_PUNCTUATION = r"[!-/:-@\[-`{-~]"


def segments_of(raw: bytes, message: Message) -> tuple[int, int]:
    """How many segments a payload holds at least and at most, read without the reader.

    A line that begins with three capital letters or digits and the field separator is a
    segment. One in lower case or without any field may be one, if its name is known; so
    may one of an unknown name where line ends differ, for it may be a line of a text.
    """
    text = raw.decode(message.charset, "replace")
    begin = re.search(f"(?i:MSH)(?={_PUNCTUATION})", text[:1100])
    if begin is None:  # its first letter was cut off
        begin = re.search("SH", text)
        assert begin is not None
        text = "M" + text[begin.start() :]
    else:
        text = text[begin.start() :]
    mark = re.escape(text[3])
    surely = maybe = 1
    body = _GONE.sub("", text[3:].replace("\x0b", "\n").replace("\x0c", "\n"))
    mixed = len(set(re.findall("\r\n|\r|\n", body))) > 1
    for line in re.split("[\r\n]", body)[1:]:
        bare = line.strip()
        if re.match(f"(MSH{_PUNCTUATION}|(FHS|BHS|BTS|FTS)({mark}|$))", line):
            break
        if re.match(f"[A-Z][A-Z0-9]{{2}}{mark}", bare):
            surely += not mixed or bare[0] == "Z" or bare[:3] in SEGMENTS
            maybe += 1
        elif re.match(f"[A-Za-z][A-Za-z0-9]{{2}}({mark}|$)", bare):
            maybe += 1
    return surely, maybe


@lru_cache(maxsize=1)
def gate() -> Gate:
    return Gate(shipped() / "definitions")


def check(raw: bytes) -> str:
    """Take a payload through everything that a message goes through; what became of it.

    Raises:
        AssertionError: something must not be so.
    """
    for payload in split(raw).messages or [raw]:
        outcome = _check(payload)
    return outcome


def _check(raw: bytes) -> str:
    seen = peek(raw)
    try:
        message = parse(raw)
    except NoHeader:
        assert not seen.readable, "peek reads what parse does not"
        assert any(issue.severity == "error" for issue in seen.issues), "unreadable in silence"
        return "unreadable"
    assert seen.readable, "parse reads what peek does not"
    assert (seen.event, seen.structure) == (message.event, message.structure)
    assert {issue.code for issue in message.issues} <= set(WARNINGS)
    least, most = segments_of(raw, message)
    assert least <= len(message.segments) <= most, "segments were lost or made"
    with suppress(Unwritable):  # decoders of some character sets are laxer than encoders
        assert write(message).decode(message.charset) == message.text
    again = parse(message.text)
    assert again.text == message.text, "what was written is read otherwise"
    assert again.trigger == message.trigger
    for segment in message.segments:
        assert len(segment.fields) == segment.line.count(message.separators.field) + 1 + (
            segment.name == "MSH"
        )
    mapped = apply(core_mapping(), message, Context(SITE, "fuzz", 1_783_000_000_000_000))
    assert mapped.facts or mapped.issues or mapped.directory, (
        "nothing came of it, and nothing was said"
    )
    resources = fold_alone([mapped])
    for resource in resources:
        refused = [f"{issue.where}: {issue.text}" for issue in gate().issues(resource)]
        assert refused == [], f"the gate refuses {resource['resourceType']}: {refused[:3]}"
    return "mapped" if mapped.facts else "kept"


def check_value(random: Random, raw: bytes) -> None:
    """A text that was put into a field, escaped, is read from it.

    Raises:
        AssertionError: another text was read.
    """
    message = parse(raw)
    segment = random.choice(message.segments[1:])
    n = random.randrange(1, 12)
    alphabet = "AZ az09|^~&\\#\"'.\u00e9\u4e2d\n\t"
    text = "".join(random.choice(alphabet) for _ in range(random.randrange(1, 20)))
    fields = segment.fields + [""] * (n + 1 - len(segment.fields))
    fields[n] = escape(text, message.separators)
    lines = [one.line for one in message.segments]
    lines[segment.index] = message.separators.field.join(fields)
    number = sum(s.name == segment.name for s in message.segments[: segment.index + 1])
    head = lines[0].split(message.separators.field)
    head += [""] * (18 - len(head))
    head[17] = "UNICODE UTF-8"
    lines[0] = message.separators.field.join(head)
    found = parse(("\r".join(lines) + "\r").encode())
    read = found.get(f"{segment.name}({number})-{n}")
    assert (read or "").rstrip() == text.rstrip(), f"{segment.name}-{n}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 1 where anything failed, with the bytes of the first failures."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(argv)
    corpus = own_corpus() + shared_corpus()
    begin = time.monotonic()
    tally: Counter[str] = Counter()
    random = Random(asked.seed)
    values = own_corpus()
    for raw in mutations(corpus, asked.mutations, asked.seed):
        try:
            tally[check(raw)] += 1
            if sum(tally.values()) % 10 == 0:
                check_value(random, random.choice(values))
        except Exception as error:
            tally["FAILED"] += 1
            if tally["FAILED"] <= 10:
                print(f"{type(error).__name__}: {error}\n  {raw[:2000]!r}")
    said = ", ".join(f"{count} {what}" for what, count in tally.most_common())
    seconds = time.monotonic() - begin
    print(f"{asked.mutations} mutations of {len(corpus)} messages in {seconds:.0f} s: {said}")
    return 1 if tally["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
