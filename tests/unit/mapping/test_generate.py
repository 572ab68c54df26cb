"""The code that is written of the rules: one meaning with and without a trace, and its lines."""

import traceback
from dataclasses import replace

import pytest

from segue.hl7v2.batch import split
from segue.hl7v2.errors import Hl7Error
from segue.hl7v2.parse import parse
from segue.mapping.apply import apply
from segue.mapping.context import Context
from segue.mapping.load import load
from tests.unit.mapping.samples import HOSPA, MAPPINGS, PID, core, message

SITE_RULE = """because: for a test
rules:
  nickname:
    because: for a test
    each: PID-9
    to: name
    as: XPN
"""


def broken(mapping, rule):
    """The mapping set, in which what one rule calls raises."""

    def fails(raw, run):
        raise ArithmeticError

    program = mapping.programs["PID_Patient"]
    work = next(w for works in program.fields.values() for w in works if w.rule.name == rule)
    work.convert = fails
    program.__post_init__()
    return mapping, work.rule.place


def frames(mapping, text):
    with pytest.raises(ArithmeticError) as caught:
        apply(mapping, parse(text), Context(HOSPA, feed="test", received=0))
    return [(frame.filename, frame.lineno) for frame in traceback.extract_tb(caught.tb)]


def test_a_traceback_names_the_line_of_the_rule():
    mapping, place = broken(load(MAPPINGS / "core"), "name")
    assert (place.file, place.line) in frames(mapping, message("A28", PID))
    assert place.file == "mappings/core/segments/PID_Patient.yaml"


def test_a_traceback_names_the_line_of_a_sites_rule(tmp_path):
    folder = tmp_path / "sites" / "here" / "segments"
    folder.mkdir(parents=True)
    (folder / "PID_Patient.yaml").write_text(SITE_RULE, encoding="utf-8")
    mapping, place = broken(load(MAPPINGS / "core", [tmp_path], "here"), "nickname")
    assert (place.file, place.line) in frames(mapping, message("A28", f"{PID}|PEP^R"))
    assert (place.file, place.line) == ("mappings/sites/here/segments/PID_Patient.yaml", 3)


def test_a_trace_changes_nothing_of_what_is_made(shared_data):
    known, mapping = set(), replace(core(), caches={})
    context = Context(HOSPA, feed="test", received=0)
    for path in sorted((shared_data / "hl7v2").rglob("*.hl7")):
        for one in split(path.read_bytes()).messages:
            try:
                read = parse(one)
            except Hl7Error:
                continue
            plain = apply(mapping, read, context)
            traced = apply(mapping, read, context, trace=True)
            known.add(read.event)
            assert (plain.facts, plain.issues) == (traced.facts, traced.issues)
            assert (plain.directory, plain.verbatim) == (traced.directory, traced.verbatim)
            assert traced.trace is not None
    assert {"A01", "A03", "A08"} <= known
