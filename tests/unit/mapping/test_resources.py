"""What rules make of fields: null and empty, codes, labels, ids."""

import pytest

from tests.unit.mapping.samples import PID, PV1, mapped, message, segment


def elements(text, kind, place=0):
    """The elements of the nth fragment of a type."""
    (fact,) = mapped(text).facts
    return [f for f in fact.person + fact.stay if f.type == kind][place].elements


def test_null_deletes_empty_and_bare_delimiters_say_nothing():
    pid = segment("PID", f3="1^^^HOSPA^MR", f5="^^", f7='""', f8="", f11='""', f13="^^~")
    patient = elements(message("A08", pid, PV1), "Patient")
    assert patient["birthDate"] is None
    assert patient["address#address"] is None
    assert not {"name#name", "gender", "telecom#phone-home"} & set(patient)


def test_repetitions_of_null_and_blank_are_left_out():
    pid = segment("PID", f3="1^^^HOSPA^MR", f13='""~555-1~^^')
    phones = elements(message("A08", pid, PV1), "Patient")["telecom#phone-home"]
    assert [phone["value"] for phone in phones] == ["555-1"]


def test_an_unknown_code_is_left_out_of_a_required_binding_and_named():
    found = mapped(message("A01", segment("PID", f3="1^^^HOSPA^MR", f8="Q"), PV1))
    assert "gender" not in found.facts[0].person[0].elements
    (issue,) = found.issues
    assert (issue.code, issue.where, issue.rule) == (
        "unknown-code",
        "PID-8",
        "core/PID_Patient.gender",
    )
    assert "Q" not in issue.text.split()


def test_an_alternate_code_that_the_table_has_stands_for_one_that_it_lacks():
    pv1 = segment("PV1", f2="WARD^^LOCAL^I^^HL70004", f19="V1^^^HOSPA^VN")
    found = mapped(message("A01", PID, pv1))
    assert found.facts[0].stay[0].elements["class"]["code"] == "IMP"
    assert not found.wanted


def test_an_unknown_code_of_a_table_that_asks_is_asked_for():
    found = mapped(message("A01", PID, segment("PV1", f2="WARD", f19="V1^^^HOSPA^VN")))
    (asked,) = found.wanted
    assert (asked.table, asked.code, asked.field) == ("HL70004_ActCode", "WARD", "PV1-2")
    assert "class" not in found.facts[0].stay[0].elements


def test_the_icd_10_of_us_feeds_is_the_clinical_modification():
    condition = elements(message("A01", PID, PV1, "DG1|1||I50.23^HF^I10||20260705|A"), "Condition")
    assert condition["code"]["coding"][0]["system"] == "http://hl7.org/fhir/sid/icd-10-cm"


def test_a_diagnosis_is_the_same_condition_whatever_its_set_id_and_text():
    one = mapped(message("A01", PID, PV1, "DG1|1||I50.23^HF^I10|||A")).facts[0].stay[1]
    two = mapped(message("A08", PID, PV1, "DG1|7|I10|I50.23^Heart failure^ICD10|||F")).facts[0]
    assert one.id == two.stay[1].id
    assert one.elements["verificationStatus"]["coding"][0]["code"] == "provisional"
    assert two.stay[1].elements["verificationStatus"]["coding"][0]["code"] == "confirmed"


def test_an_encounter_diagnosis_is_labelled_by_its_condition():
    (fact,) = mapped(message("A01", PID, PV1, "DG1|1||I50.23^HF^I10|||A")).facts
    encounter, condition = fact.stay
    (item,) = encounter.elements[f"diagnosis#{condition.id}"]
    assert item["condition"] == {"reference": f"Condition/{condition.id}"}


def test_a_deleted_diagnosis_leaves_the_encounter_and_has_no_clinical_status():
    dg1 = segment("DG1", f1="1", f3="I50.23^HF^I10", f6="F", f21="D")
    (fact,) = mapped(message("A08", PID, PV1, dg1)).facts
    encounter, condition = fact.stay
    assert encounter.elements[f"diagnosis#{condition.id}"] is None
    assert condition.elements["clinicalStatus"] is None
    assert condition.elements["verificationStatus"]["coding"][0]["code"] == "entered-in-error"


def test_diagnoses_of_a_person_message_belong_to_the_person():
    (fact,) = mapped(message("A31", PID, "PV1||N", "DG1|1||E11.9^DM^I10|||A")).facts
    assert [f.type for f in fact.person] == ["Patient", "Condition"]
    assert fact.person[1].scope == "person"


def test_the_place_is_a_location_without_its_bed_status():
    free = mapped(message("A02", PID, segment("PV1", f2="I", f3="4W^412^1^HOSPA^F", f19="V1")))
    full = mapped(message("A02", PID, segment("PV1", f2="I", f3="4W^412^1^HOSPA^O", f19="V1")))
    first, second = (found.facts[0].stay[0].elements for found in (free, full))
    assert first["location#assigned"] == second["location#assigned"]
    assert [f.id for f in free.directory] == [f.id for f in full.directory]


def test_a_practitioner_without_id_is_only_a_name():
    found = mapped(message("A01", PID, segment("PV1", f2="I", f7="^ATT^AMY", f19="V1")))
    (item,) = found.facts[0].stay[0].elements["participant#attending"]
    assert item["individual"] == {"display": "AMY ATT"}
    assert found.directory == []


def test_an_npi_is_the_same_practitioner_from_every_site():
    pv1 = segment("PV1", f2="I", f7="1234567893^ATT^AMY^^^^^^NPI^^^^NPI", f19="V1")
    found = mapped(message("A01", PID, pv1))
    (fragment,) = found.directory
    assert fragment.elements["identifier"][0]["system"] == "http://hl7.org/fhir/sid/us-npi"


def test_a_coverage_without_payor_is_left_out_with_a_warning():
    found = mapped(message("A01", PID, PV1, "IN1|1|PLAN1"))
    assert [f.type for f in found.facts[0].person] == ["Patient"]
    assert [i.code for i in found.issues] == ["incomplete"]


def test_an_employer_is_a_contact_and_kin_is_a_related_person():
    kin, work = "NK1|1|DOE^JOHN|SPO", "NK1|2|ACME|EMR||555-9|||E"
    (fact,) = mapped(message("A01", PID, kin, work, PV1)).facts
    assert [f.type for f in fact.person] == ["Patient", "RelatedPerson"]
    assert any(key.startswith("contact#") for key in fact.person[0].elements)


def test_kin_is_keyed_by_name_and_relationship_not_by_set_id():
    one = mapped(message("A01", PID, "NK1|1|DOE^JOHN|SPO", PV1)).facts[0].person[1]
    two = mapped(message("A08", PID, "NK1|5|Doe^John|SPO", PV1)).facts[0].person[1]
    assert one.id == two.id


@pytest.mark.parametrize(
    ("kind", "value", "units", "element", "made"),
    [
        ("NM", "7.5", "mg/dL^^UCUM", "valueQuantity", "7.5"),
        ("ST", "clear", "", "valueString", "clear"),
        ("SN", "<^3", "", "valueQuantity", "<"),
        ("DT", "20260705", "", "valueDateTime", "2026-07-05"),
        ("CWE", "A^Alert^L", "", "valueCodeableConcept", "Alert"),
    ],
)
def test_an_observation_value_has_the_type_that_obx_2_says(kind, value, units, element, made):
    obx = segment("OBX", f2=kind, f3="1^X^LN", f5=value, f6=units, f11="F")
    observation = elements(message("A01", PID, PV1, obx), "Observation")
    assert made in str(observation[element])
    assert [k for k, v in observation.items() if k.startswith("value") and v] == [element]


def test_accounts_hold_guarantor_and_coverage_only_where_there_is_an_account_number():
    gt1, in1 = "GT1|1||DOE^JOHN", "IN1|1|PLAN1|PAYX|PAYER X"
    without = mapped(message("A01", PID, PV1, in1, gt1)).facts[0]
    assert "Account" not in {f.type for f in without.person}
    with_account = PID + "|" * 10 + "ACC1"
    (fact,) = mapped(message("A01", with_account, PV1, in1, gt1)).facts
    account = next(f for f in fact.person if f.type == "Account").elements
    made = {f"{f.type}/{f.id}" for f in fact.person}
    for label in ("guarantor#", "coverage#"):
        (item,) = next(value for key, value in account.items() if key.startswith(label))
        assert next(iter(item.values()))["reference"] in made
