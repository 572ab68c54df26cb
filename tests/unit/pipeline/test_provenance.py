"""One Provenance for each entry that changed something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.fhir.canonical import canonical_json, loads
from segue.fhir.search.values import terms
from segue.model.changes import Cause, SearchTerms, Write
from segue.model.identity import ResourceKey
from segue.pipeline.provenance import (
    provenance,
    provenance_id,
    provenance_terms,
    provenance_text,
)
from tests.support.hub import gate

WRITE = Write(ResourceKey("Encounter", "e1"), 7, 3, "fold", "{}", b"c", b"g", SearchTerms(), None)


def test_it_names_the_versions_the_message_and_the_mapping() -> None:
    made = provenance(
        "p1",
        Cause("entry", "42", "hospa"),
        [WRITE],
        1_500_000,
        control_id="HA1",
        occurred="2026-07-05T08:12:00-04:00",
        mapping="abc",
        unmapped={"PID-25": "2", "PID-24": "Y", "PID-26": " "},
    )
    assert made["target"] == [{"reference": "Encounter/e1/_history/3"}]
    assert made["recorded"] == "1970-01-01T00:00:01.500Z"
    assert made["policy"] == ["urn:segue:mapping:abc"]
    assert [item["valueString"] for item in made["extension"]] == ["PID-24=Y", "PID-25=2"]
    assert [item["what"]["identifier"]["value"] for item in made["entity"]] == ["42", "HA1"]
    assert made["agent"][0]["who"]["identifier"]["value"] == "hospa"


def test_the_hub_is_the_agent_where_nobody_outside_acted() -> None:
    made = provenance("p1", Cause("timer", "t"), [WRITE], 0)
    assert made["agent"][0]["who"]["identifier"]["value"] == "hub"
    assert made["agent"][0]["type"]["coding"][0]["code"] == "assembler"


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@given(
    st.sampled_from(["entry", "statement", "receipt", "timer", "steward"]),
    TEXTS,
    TEXTS,
    st.none() | TEXTS,
    st.sampled_from([None, "2026-07-05T08:12:00-04:00"]),
    st.none() | TEXTS,
    st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3),
)
def test_its_text_is_the_canonical_one(kind, ref, source, control_id, occurred, mapping, unmapped):
    cause = Cause(kind, ref, source)
    told = {
        "control_id": control_id,
        "occurred": occurred,
        "mapping": mapping,
        "unmapped": unmapped,
    }
    made = provenance("p1", cause, [WRITE, WRITE], 1, **told)
    targets = [WRITE.key.reference] * 2
    text = provenance_text("p1", cause, targets, [WRITE, WRITE], 1, **told)
    assert text == canonical_json(made)


@pytest.mark.parametrize("source", ["hospa", ""])
def test_one_for_a_message_is_valid_by_the_way_it_is_made(source: str) -> None:
    made = provenance(
        "p1",
        Cause("entry", "42", source),
        [WRITE],
        1_500_000,
        control_id="HA1",
        occurred="2026-07-05T08:12:00-04:00",
        mapping="abc",
        unmapped={"PID-25": "2"},
    )
    assert gate().issues(made) == []


def test_its_index_rows_are_those_of_its_text() -> None:
    patient = Write(
        ResourceKey("Patient", "p1"), 8, 1, "fold", "{}", b"c", b"g", SearchTerms(), None
    )
    writes = [WRITE, patient, WRITE]
    targets = [one.key.reference for one in writes]
    body = provenance_text("v1", Cause("entry", "42", "hospa"), targets, writes, 1_500_000)
    found = provenance_terms(targets, body)
    assert found == terms(loads(body))
    assert len(found.tokens) == 3  # two targets, one of them the patient


def test_two_versions_of_a_resource_have_a_provenance_each() -> None:
    again = Write(WRITE.key, 7, 4, "fold", "{}", b"c", b"g", SearchTerms(), None)
    first, second = (provenance_id(one, 1_500_000) for one in (WRITE, again))
    assert first != second
    assert first[:12] == second[:12] == "0000000005dc"
