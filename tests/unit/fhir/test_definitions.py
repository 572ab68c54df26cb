from pathlib import Path

import pytest

from segue.fhir.profiles import definitions, shipped

# R4 elements whose place R4B gave up or changed; R4B serves as R4 for the types we make.
DIFFERENT_IN_R4B = {
    "ActivityDefinition", "DeviceDefinition", "Evidence", "EvidenceVariable", "PlanDefinition",
    "ResearchStudy", "Binary", "ObservationDefinition",
}  # fmt: skip


def test_the_generated_facts_stay_small() -> None:
    sizes = [p.stat().st_size for p in shipped().rglob("*.json")]
    assert max(sizes) < 300_000
    assert sum(sizes) < 2_000_000


def test_all_resource_types_of_r4_and_no_others_are_known() -> None:
    known = definitions().resources
    assert len(known) == 146
    assert {"Patient", "MedicinalProduct", "EffectEvidenceSynthesis"} <= known
    assert not {"SubscriptionStatus", "SubscriptionTopic", "Citation", "Resource"} & known


def test_meta_holds_what_hl7_says() -> None:
    meta = {e.name for e in definitions().structure("Meta").elements}
    assert meta == {
        "id", "extension", "versionId", "lastUpdated", "source", "profile", "security", "tag",
    }  # fmt: skip


def test_every_type_can_be_read_to_its_leaves() -> None:
    table = definitions()
    seen: set[str] = set()
    waiting = sorted(table.resources)
    while waiting:
        name = waiting.pop()
        if name in seen or name == "Resource":
            continue
        seen.add(name)
        for element in table.structure(name).elements:
            for kind in element.kinds:
                assert set(kind.targets) <= table.resources
                if kind.value_set:
                    assert table.plain_codes(kind.value_set)
                if not kind.primitive:
                    waiting.append(kind.type)
    assert len(seen) > 500


@pytest.mark.parametrize("name", sorted(definitions().resources - DIFFERENT_IN_R4B))
def test_the_elements_are_those_of_the_typed_models(name: str) -> None:
    from fhir.resources.R4B import get_fhir_model_class

    try:
        model = get_fhir_model_class(name)
    except ValueError:
        pytest.skip(f"R4B has no {name}")
    theirs = {
        field.alias or key
        for key, field in model.model_fields.items()
        if not key.endswith("__ext") and key not in ("resource_type", "fhir_comments")
    }
    ours = {key for e in definitions().structure(name).elements for key in e.keys()}  # noqa: SIM118
    assert ours == theirs - {"resourceType"}


def test_a_folder_without_facts_is_named_in_the_error(tmp_path: Path) -> None:
    from segue.fhir.definitions import Definitions

    with pytest.raises(FileNotFoundError, match=r"types\.json"):
        Definitions(tmp_path)
