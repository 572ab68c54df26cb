"""The cases beside the maps, and messages that nobody of this project wrote."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segue.cli.map_test import run_cases
from segue.fhir.profiles import shipped
from segue.fhir.validate import Gate
from segue.hl7v2.batch import split
from segue.hl7v2.errors import Hl7Error
from segue.hl7v2.parse import parse
from segue.mapping.apply import apply
from segue.mapping.cases import find_cases
from segue.mapping.context import Context, SiteRules
from segue.pipeline.alone import fold_alone
from tests.unit.mapping.samples import HOSPA, MAPPINGS, core

CORPUS = Path(__file__).parents[4] / "shared" / "data" / "hl7v2"
GATE = Gate(shipped() / "definitions")


@pytest.mark.parametrize("path", find_cases(MAPPINGS), ids=lambda path: path.stem)
def test_the_case_holds(path):
    (result,) = run_cases([path], MAPPINGS)
    assert [str(failure) for failure in result.failures] == []


def adt_messages():
    if not CORPUS.is_dir():
        pytest.skip(f"{CORPUS} is not here")
    for path in sorted(CORPUS.rglob("*")):
        if not path.is_file() or path.name == "LICENSE":
            continue
        for index, raw in enumerate(split(path.read_bytes()).messages):
            try:
                message = parse(raw)
            except Hl7Error:
                continue
            if message.type == "ADT":
                yield f"{path.relative_to(CORPUS)}[{index}]", message


@pytest.mark.parametrize("zone", [None, HOSPA.zone], ids=["no-zone", "zone"])
def test_every_adt_message_of_the_corpus_maps_to_valid_resources(zone):
    site = SiteRules(name="x", authority="X", zone=zone)
    count = 0
    for name, message in adt_messages():
        mapped = apply(core(), message, Context(site=site, feed="corpus", received=1))
        traced = apply(core(), message, Context(site=site, feed="corpus", received=1), trace=True)
        assert mapped.facts == traced.facts, name
        assert mapped.facts or mapped.issues or mapped.directory, name
        for resource in fold_alone([mapped]):
            problems = [f"{i.where}: {i.text}" for i in GATE.issues(resource)]
            assert problems == [], f"{name} {resource['resourceType']}"
        count += 1
    assert count > 80


def test_every_populated_field_of_the_corpus_is_read_or_kept():
    site = SiteRules(name="x", authority="X")
    for name, message in adt_messages():
        mapped = apply(core(), message, Context(site=site, feed="corpus", received=1))
        kept = {key.partition("[")[0].partition("-")[0] for key in mapped.verbatim}
        known = {*core().plans["ADT"].options, "MSH", "EVN"}
        for segment in message.segments:
            bare = not any(raw.strip('^~&\\" ') for raw in segment.fields[1:])
            assert bare or segment.name in known or segment.name in kept or not mapped.facts, name


WORDS = [
    "20260705134000",
    "19550214",
    "V1^^^HOSPA^VN",
    "7^A^B",
    "I",
    "E",
    "O",
    "P",
    "F",
    "D",
    "Y",
    "I50.23^HF^I10",
    "NM",
    "CWE",
    "SN",
    "4W^1^A",
    "1MAIN^^TOWN^MA",
    "DOE^JANE^Q^^^^L",
]
NAMES = [
    "PID",
    "PD1",
    "NK1",
    "PV1",
    "PV2",
    "DG1",
    "AL1",
    "IAM",
    "IN1",
    "GT1",
    "PR1",
    "OBX",
    "ROL",
    "PRT",
    "MRG",
    "ZZZ",
]
FIELD = st.one_of(
    st.just(""),
    st.just('""'),
    st.text(alphabet="^&~ .-+0123456789ABDEFHMNOPRSVYZ", max_size=24),
    st.sampled_from(WORDS),
)
SEGMENT = st.builds(
    lambda name, fields: "|".join([name, *fields]),
    st.sampled_from(NAMES),
    st.lists(FIELD, max_size=52),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    event=st.sampled_from(["A01", "A03", "A04", "A06", "A08", "A13", "A31", "A40", "A17", "A24"]),
    segments=st.lists(SEGMENT, max_size=8),
)
def test_whatever_is_sent_becomes_valid_resources(event, segments):
    pid = "PID|1||100234^^^HOSPA^MR||DOE^JANE"
    header = rf"MSH|^~\&|ADT|HOSPA|HUB|HIE|20260705134212||ADT^{event}|1|P|2.5.1"
    message = parse("\r".join([header, f"EVN|{event}|20260705134200", pid, *segments]))
    mapped = apply(core(), message, Context(site=HOSPA, feed="x", received=1))
    for resource in fold_alone([mapped]):
        problems = [f"{i.where}: {i.text}" for i in GATE.issues(resource)]
        assert problems == [], resource
