import json
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.fhir.canonical import (
    canonical_json,
    canonical_state,
    content_hash,
    dumps,
    encode_with_hash,
    loads,
    splice_meta,
)
from tests.unit.fhir.examples import EXAMPLES, changed

AT = "2026-07-05T12:00:00.000001Z"


@pytest.mark.parametrize("number", ["0.10", "1.00", "12345678901234567890.12", "-0.5", "7"])
def test_decimals_keep_their_digits(number: str) -> None:
    assert dumps(loads(f'{{"value":{number}}}')) == f'{{"value":{number}}}'
    assert canonical_json(loads(f'{{"value":{number}}}')) == f'{{"value":{number}}}'


def test_the_order_of_names_does_not_matter() -> None:
    resource = EXAMPLES["patient"]
    turned = dict(reversed(resource.items()))
    assert canonical_json(resource) == canonical_json(turned)
    assert content_hash(resource) == content_hash(turned)


@pytest.mark.parametrize("name", EXAMPLES)
def test_canonical_text_reads_back_as_the_resource(name: str) -> None:
    assert loads(canonical_json(EXAMPLES[name])) == EXAMPLES[name]


def test_versions_source_and_narrative_are_no_content() -> None:
    resource = EXAMPLES["care plan"]
    other = deepcopy(resource)
    other["text"]["div"] = "<div>other</div>"
    other["meta"] = {"versionId": "3", "lastUpdated": AT, "source": "urn:x"}
    assert content_hash(other) == content_hash(resource)
    other["meta"]["tag"] = [{"code": "x"}]
    assert content_hash(other) != content_hash(resource)


@pytest.mark.parametrize("name", EXAMPLES)
def test_text_and_hash_together_are_those_made_apart(name: str) -> None:
    resource = EXAMPLES[name]
    assert encode_with_hash(resource) == (canonical_json(resource), content_hash(resource))


def test_a_change_changes_the_hash() -> None:
    assert content_hash(changed("patient", "gender", "male")) != content_hash(EXAMPLES["patient"])


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("meta", [None, {"source": "urn:x"}, {"tag": [{"code": "a"}]}])
def test_spliced_text_is_the_resource_with_its_version(
    name: str, meta: dict[str, Any] | None
) -> None:
    resource = deepcopy(EXAMPLES[name])
    resource.pop("meta", None)
    if meta is not None:
        resource["meta"] = meta
    spliced = json.loads(splice_meta(canonical_json(resource), 7, AT))
    assert spliced.pop("meta") == {"versionId": "7", "lastUpdated": AT, **(meta or {})}
    assert spliced == {k: v for k, v in json.loads(dumps(resource)).items() if k != "meta"}


def test_meta_of_nested_resources_stays_theirs() -> None:
    inner = {"resourceType": "Basic", "meta": {"tag": [{"code": "a"}]}, "code": {"text": "x"}}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": inner}]}
    spliced = json.loads(splice_meta(canonical_json(bundle), 2, AT))
    assert spliced["meta"] == {"versionId": "2", "lastUpdated": AT}
    assert spliced["entry"][0]["resource"] == inner


def test_the_stored_text_has_no_version() -> None:
    text = canonical_json(changed("patient", "meta", {"versionId": "1", "lastUpdated": AT}))
    assert "versionId" not in text
    assert "lastUpdated" not in text


def test_state_leaves_out_what_depends_on_arrival() -> None:
    task = EXAMPLES["task"]
    later = deepcopy(task)
    later |= {"authoredOn": "2026-08-01", "lastModified": "2026-08-02", "meta": {"source": "x"}}
    later["input"][1]["valueInstant"] = "2026-09-01T00:00:00Z"
    later["output"] = [
        {"type": {"coding": [{"code": "delivery-receipt"}]}, "valueString": "AA"},
    ]
    assert canonical_state([task]) == canonical_state([later])
    later["input"][0]["valueString"] = "C-3"
    assert canonical_state([task]) != canonical_state([later])


def test_state_leaves_out_provenance_and_what_is_history() -> None:
    retracted = changed("encounter", "meta", {"tag": [{"code": "retracted"}]})
    voided = changed("task", "status", "cancelled")
    voided["statusReason"] = {"coding": [{"code": "anchor-voided"}]}
    assert canonical_state([EXAMPLES["provenance"], retracted, voided]) == b""
    voided["statusReason"] = {"coding": [{"code": "deceased"}]}
    assert canonical_state([voided]) != b""


@given(st.permutations(list(EXAMPLES.values())))
def test_state_does_not_depend_on_order(resources: list[dict[str, Any]]) -> None:
    assert canonical_state(resources) == canonical_state(EXAMPLES.values())


def test_text_that_is_no_json_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="truncated"):
        loads("{")


def test_a_number_with_a_fraction_is_a_decimal() -> None:
    assert loads("[1.10]") == [Decimal("1.10")]
