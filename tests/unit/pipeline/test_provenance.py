"""One Provenance for each entry that changed something."""

from segue.model.changes import Cause, SearchTerms, Write
from segue.model.identity import ResourceKey
from segue.pipeline.provenance import provenance

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
