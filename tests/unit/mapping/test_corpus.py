"""Other people's messages: each one maps, and all that comes of it is valid FHIR."""

import re
from collections import Counter
from functools import lru_cache

import pytest

from segue.fhir.profiles import shipped
from segue.fhir.validate import Gate
from segue.hl7v2.batch import split
from segue.hl7v2.errors import Hl7Error
from segue.hl7v2.parse import parse
from segue.mapping.apply import apply
from segue.mapping.context import Context, SiteRules
from segue.mapping.coverage import coverage, share
from segue.pipeline.alone import fold_alone
from tests.unit.mapping.samples import MAPPINGS, PID, PV1, core, mapped, message


@lru_cache
def gate() -> Gate:
    return Gate(shipped() / "definitions")


@pytest.fixture(scope="module")
def corpus(shared_data):
    """Messages of others, each text once, with what came of it."""
    found, texts = [], set()
    for path in sorted((shared_data / "hl7v2").rglob("*")):
        if not path.is_file() or path.name.startswith("LICENSE"):
            continue
        raw = path.read_bytes()
        for one in split(raw).messages if b"MSH" in raw else ():
            if one in texts:
                continue
            texts.add(one)
            try:
                message = parse(one)
            except Hl7Error:
                continue
            site = SiteRules(name="x", authority=message.get("MSH-4") or "default")
            mapped = apply(core(), message, Context(site, feed="test", received=0))
            found.append((f"{path.name} {message.event}", message, mapped))
    return found


def test_all_that_comes_of_them_is_valid(corpus):
    wrong = Counter()
    for name, _, made in corpus:
        for resource in fold_alone([made]):
            for issue in gate().issues(resource):
                wrong[f"{name}: {resource['resourceType']} {issue.where} {issue.text}"] += 1
    assert not wrong


def test_almost_all_that_real_messages_fill_is_mapped(corpus):
    messages = [(message, mapped) for _, message, mapped in corpus if message.type == "ADT"]
    assert share(coverage(core(), messages)) > 0.95


def test_of_every_adt_message_what_is_filled_is_mapped_or_named(corpus):
    least = {}
    for number, (name, sent, _) in enumerate(corpus):
        if sent.type != "ADT":
            continue
        site = SiteRules(name="x", authority=sent.get("MSH-4") or "default")
        found = apply(core(), sent, Context(site, feed="test", received=0), trace=True)
        if not found.facts and not found.directory:
            continue
        told = {part.split(".")[0] for step in found.trace for part in step.field.split(" | ")}
        told |= {re.sub(r"\[\d+\]", "", path) for path in found.verbatim}
        told |= {issue.where.split(".")[0] for issue in found.issues}
        told |= {"PV1-2", "NPU-1"}  # whether there is a visit; which bed it is about
        structural = core().plan(sent.type, sent.structure).structural
        told |= {f"{name}-{n}" for name, numbers in structural.items() for n in numbers}
        filled = {
            f"{one.name}-{n}"
            for one in sent.segments
            for n, raw in enumerate(one.fields)
            if n and raw.strip('^~&\\ "')
        }
        least[f"{name} {number}"] = len(filled & told) / len(filled), sorted(filled - told)
    assert len(least) > 50
    assert {name: lost for name, (part, lost) in least.items() if part < 0.95} == {}


def test_coverage_counts_what_rules_read_and_what_is_kept():
    text = message("A01", PID, PV1 + "|" * 40, "ZZZ|1|x")
    rows = {row.segment: row for row in coverage(core(), [(parse(text), mapped(text))])}
    assert {3, 5, 7, 8} <= set(rows["PID"].mapped)
    assert rows["PV1"].populated[19] == 1
    assert rows["ZZZ"].kept == {1: 1, 2: 1}
    assert rows["DRG"].standard == 33
    assert rows["DRG"].mapped == []


def test_all_that_the_guide_maps_of_adt_is_mapped_or_has_a_reason_in_the_docs():
    page = (MAPPINGS.parent / "docs" / "mappings.md").read_text(encoding="utf-8")
    reasons = page.partition("and why:")[2].partition("Where the guide")[0]
    adt = {option.placement.segment for o in core().plan("ADT").options.values() for option in o}
    for row in coverage(core()):
        if row.segment in adt:
            assert not row.guide_only or row.segment in reasons, row.segment
