"""Fields of a segment, read raw or as text; conditions and keys made of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from segue.hl7v2.message import NULL
from segue.mapping.directory import location, place_key
from segue.mapping.tables import Tools, system_uri
from segue.mapping.values import Run
from segue.model.hints import did_you_mean

Elements = dict[str, Any]
Fields = list[str]
KeyReader = Callable[[Fields, Run], str]
Condition = Callable[[Fields, Run], bool]
FieldReader = Callable[[Fields, Run], str]


EVERYWHERE = frozenset({"MSH", "EVN", "PID", "PV1"})
LITERAL = "="
"""Begins a part of a key that is a word of its own: `=team`, one for each owner."""


class CompileError(Exception):
    """A rule cannot be compiled; the text says why and what to write."""


def fields_of_key(part: str) -> list[str]:
    """The fields that a part of a key reads.

    >>> fields_of_key("DG1-3 | DG1-4 as name"), fields_of_key("=team")
    (['DG1-3', 'DG1-4'], [])
    """
    if part.startswith(LITERAL):
        return []
    return [path.strip() for path in part.partition(" as ")[0].split("|")]


@lru_cache(maxsize=2048)
def split_field(path: str) -> tuple[str, int, int, int]:
    """Segment, field, component and subcomponent (0: the whole) of `PV1-3.4.1`.

    >>> split_field("PV1-3.4")
    ('PV1', 3, 4, 0)
    """
    segment, _, rest = path.partition("-")
    numbers = [int(n) for n in rest.split(".")]
    return (
        segment,
        numbers[0],
        numbers[1] if len(numbers) > 1 else 0,
        numbers[2] if len(numbers) > 2 else 0,
    )


def _lends(segment: str, own: str) -> bool:
    """Whether it is noted which fields of a segment the rules of another one take.

    Those of the segments that all messages have are read by their own rules, too.
    """
    return segment != own and segment not in EVERYWHERE


def field_reader(path: str, own: str) -> FieldReader:
    """How a field, or a part of its first repetition, is read raw."""
    segment, number, component, subcomponent = split_field(path)

    elsewhere, lends = segment != own, _lends(segment, own)

    def whole(here: Fields, run: Run) -> str:
        if elsewhere:
            here = run.fields_of(segment)
        raw = here[number] if number < len(here) else ""
        if lends and raw:
            run.used.add((segment, number, raw))
        return raw

    def read(here: Fields, run: Run) -> str:
        raw = whole(here, run)
        return pick(run.first(raw), run, component, subcomponent) if raw else ""

    return read if component else whole


def pick(raw: str, run: Run, component: int, subcomponent: int) -> str:
    """A component (and subcomponent) of one repetition, raw."""
    if raw == NULL:
        return raw
    parts = raw.split(run.component)
    raw = parts[component - 1] if len(parts) >= component else ""
    if subcomponent and raw != NULL:
        parts = raw.split(run.subcomponent)
        raw = parts[subcomponent - 1] if len(parts) >= subcomponent else ""
    return raw


def first_of(paths: Sequence[str], own: str) -> FieldReader:
    """The first of several fields that has content; else null if one is null."""
    readers = [field_reader(path, own) for path in paths]
    if len(readers) == 1:
        return readers[0]
    places = [split_field(path) for path in paths]
    if all(segment == own and not component for segment, _, component, _ in places):
        return _first_field([number for _, number, _, _ in places])

    lent = [(segment, n) for segment, n, _, _ in places if _lends(segment, own)]

    def read(here: Fields, run: Run) -> str:
        null = ""
        for reader in readers:
            raw = reader(here, run)
            if raw.strip(run.blank):
                # Who says the same is heard, too.
                run.used.update((segment, n, raw) for segment, n in lent)
                return raw
            null = null or (raw if raw == NULL else "")
        return null

    return read


def _first_field(numbers: Sequence[int]) -> FieldReader:
    def read(here: Fields, run: Run) -> str:
        null, count, blank = "", len(here), run.blank
        for number in numbers:
            if number < count and (raw := here[number]):
                if raw[0] not in blank or raw.strip(blank):
                    return raw
                null = null or (raw if raw == NULL else "")
        return null

    return read


def text_reader(path: str, own: str) -> FieldReader:
    """How a part of a field's first repetition is read as text; a whole field: its code."""
    segment, number, component, subcomponent = split_field(path)
    elsewhere, plain = segment != own, component < 2 and subcomponent < 2
    lends = _lends(segment, own)

    def read(here: Fields, run: Run) -> str:
        if elsewhere:
            here = run.fields_of(segment)
        if number >= len(here) or not (raw := here[number]):
            return ""
        if lends:
            run.used.add((segment, number, raw))
        if run.repetition in raw:
            raw = run.first(raw)
        if plain:
            if run.component in raw:
                raw = raw[: raw.index(run.component)]
        else:
            raw = pick(raw, run, component or 1, subcomponent)
        if run.subcomponent in raw:
            raw = raw[: raw.index(run.subcomponent)]
        return raw if raw.isalnum() else run.text(raw)

    return read


def compile_condition(where: Mapping[str, tuple[str, ...]], own: str) -> Condition | None:
    """All of the fields hold one of their values; a field without component its first one."""
    if not where:
        return None
    tests = [(text_reader(path, own), frozenset(values)) for path, values in where.items()]
    if len(tests) == 1:
        read, values = tests[0]

        def holds_one(here: Fields, run: Run) -> bool:
            return read(here, run) in values

        return holds_one

    def holds(here: Fields, run: Run) -> bool:
        return all(read(here, run) in values for read, values in tests)

    return holds


def compile_key(alternatives: Sequence[Sequence[str]], own: str, tools: Tools) -> KeyReader | None:
    """What identifies a resource: the first alternative whose first part has content."""
    if not alternatives:
        return None
    compiled = [
        (_key_part(parts[0], own, tools), [_key_part(part, own, tools) for part in parts[1:]])
        for parts in alternatives
    ]

    def read(here: Fields, run: Run) -> str:
        for first, others in compiled:
            key = first(here, run)
            if key:
                for part in others:
                    key = f"{key}|{part(here, run)}"
                return key
        return ""

    return read


def _key_part(text: str, own: str, tools: Tools) -> KeyReader:
    if text.startswith(LITERAL):
        word = text.removeprefix(LITERAL)
        return lambda here, run: word
    _, _, kind = text.partition(" as ")
    paths = fields_of_key(text)
    kind = kind.strip()
    if kind in ("", "name"):
        return _text_part([text_reader(path, own) for path in paths], upper=kind == "name")
    if kind not in ("CX", "CWE", "PL"):
        known = did_you_mean(kind, ("name", "CX", "CWE", "PL"))
        raise CompileError(f"key {text}: no kind '{kind}'.{known}")
    read = first_of(paths, own)
    uri = system_uri(tools)
    place = location(tools)

    def placed(here: Fields, run: Run) -> str:
        raw = run.first(read(here, run))
        return place_key(raw, run) if raw and place(raw, run) else ""

    def identifier(here: Fields, run: Run) -> str:
        raw = read(here, run)
        if not raw:
            return ""
        texts = run.first(raw).split(run.component)
        value = run.part(texts, 1)
        if not value:
            return ""
        authority = run.authority_of(texts[3])[0] if len(texts) > 3 else ""
        return f"{authority or run.authority}|{value}"

    def code(here: Fields, run: Run) -> str:
        raw = read(here, run)
        if not raw:
            return ""
        place = (code, raw, run.component)
        known = run.cache.get(place)
        if known is None:
            value, text, system = run.texts(run.first(raw), 3)[:3]
            known = f"{uri(system, run) if system else ''}|{value}" if value else text.upper()
            run.remember(place, known)
        return str(known)

    return {"CX": identifier, "CWE": code, "PL": placed}[kind]


def _text_part(readers: list[FieldReader], upper: bool) -> KeyReader:
    def read(here: Fields, run: Run) -> str:
        for reader in readers:
            text = reader(here, run)
            if text:
                return text.upper() if upper else text
        return ""

    return readers[0] if len(readers) == 1 and not upper else read


def add(out: Elements, told: Elements, adds: frozenset[str]) -> Elements:
    """Say more of a resource: items of the lists in `adds` are added, all else replaces."""
    for element, value in told.items():
        if element in adds and value and (held := out.get(element)):
            out[element] = held + value
        else:
            out[element] = value
    return out
