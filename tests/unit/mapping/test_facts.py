"""What a fact says: keys, times, details, labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.hl7v2.parse import parse
from segue.mapping.apply import apply, source_identity
from segue.mapping.context import Context
from segue.mapping.load import load, shipped
from segue.model.identity import stable_id
from tests.unit.mapping.samples import HOSPA, PID, PV1, core, mapped, message, segment


def test_a_fact_names_patient_visit_and_all_linking_identities():
    pid = segment("PID", f3="900017^^^HIE^PI~999-99-9999^^^USA^SS~100234^^^HOSPA^MR", f5="DOE^JANE")
    (fact,) = mapped(message("A01", pid, PV1)).facts
    assert fact.identity == "HOSPA|100234"
    assert fact.links == ["HIE|900017", "HOSPA|100234"]
    assert fact.visit == "HOSPA|V78421"
    assert fact.person[0].type == "Patient"
    assert fact.person[0].id == stable_id("Patient", "HOSPA|100234")
    assert fact.stay[0].id == stable_id("Encounter", "HOSPA|V78421")


@given(
    st.permutations(
        ["100234^^^HOSPA^MR", "900017^^^HIE^PI", "55^^^HOSPB^MR", "7", "999-99-9999^^^USA^SS"]
    )
)
def test_the_identity_does_not_depend_on_the_order_of_identifiers(repetitions):
    pid = segment("PID", f3="~".join(repetitions))
    (fact,) = mapped(message("A01", pid, PV1)).facts
    assert fact.identity == "HOSPA|100234"
    assert fact.links == ["HIE|900017", "HOSPA|100234", "HOSPB|55"]


def test_the_source_identity_can_be_had_without_mapping():
    context = Context(site=HOSPA, feed="test", received=0)
    assert source_identity(core(), parse(message()), context) == "HOSPA|100234"
    assert source_identity(core(), parse(message("A01", PV1)), context) is None


def test_an_identifier_without_assigner_is_the_sites_own():
    (fact,) = mapped(message("A01", segment("PID", f3="100234"), PV1)).facts
    assert fact.identity == "HOSPA|100234"


def test_a_social_security_number_alone_identifies_nobody():
    found = mapped(message("A01", segment("PID", f3="999-99-9999^^^USA^SS"), PV1))
    assert found.facts == []
    assert [(i.severity, i.code) for i in found.issues] == [("error", "no-patient-identifier")]


def test_the_old_patient_fields_serve_where_pid_3_is_empty():
    (fact,) = mapped(message("A01", segment("PID", f2="77^^^HOSPA"), PV1)).facts
    assert fact.identity == "HOSPA|77"


@pytest.mark.parametrize(
    ("fields", "visit"),
    [
        ({"f19": "V1"}, "HOSPA|V1"),
        ({"f19": "V1^^^HOSPB"}, "HOSPB|V1"),
        ({"f50": "ALT1"}, "HOSPA|ALT1"),
        ({"f44": "20260705134000"}, "HOSPA|ACC1@20260705134000"),
        ({"f3": "4W"}, None),
    ],
)
def test_the_visit_is_pv1_19_then_pv1_50_then_account_and_admit_time(fields, visit):
    pid = segment("PID", f3="100234^^^HOSPA^MR", f18="ACC1")
    (fact,) = mapped(message("A01", pid, segment("PV1", f2="I", **fields))).facts
    assert fact.visit == visit
    assert fact.about_visit


def test_a_visit_without_number_has_no_encounter_id_and_a_warning():
    found = mapped(message("A01", PID, segment("PV1", f2="I")))
    assert found.facts[0].stay[0].id == ""
    assert [i.code for i in found.issues] == ["no-visit-number"]


@pytest.mark.parametrize("event", ["A28", "A31", "A08"])
def test_pv1_2_n_is_no_visit(event):
    (fact,) = mapped(message(event, PID, segment("PV1", f1="1", f2="N"))).facts
    assert not fact.about_visit
    assert fact.stay == []
    assert fact.visit is None


def test_a08_without_pv1_speaks_of_the_person_and_a03_still_of_a_visit():
    assert not mapped(message("A08", PID)).facts[0].about_visit
    assert mapped(message("A03", PID)).facts[0].about_visit


EVN_6 = "EVN|{}|20260705134200-0400||||20260705120000-0400"


@pytest.mark.parametrize(
    ("event", "evn", "occurred"),
    [
        ("A01", EVN_6, "2026-07-05T12:00:00-04:00"),
        ("A01", "EVN|{}|20260705134200-0400", "2026-07-05T08:12:00-04:00"),
        ("A04", "EVN|{}|20260705134200-0400", "2026-07-05T08:12:00-04:00"),
        ("A03", "EVN|{}|20260705134200-0400", "2026-07-05T13:30:00-04:00"),
        ("A06", "EVN|{}|20260705134200-0400", "2026-07-05T13:42:00-04:00"),
        ("A08", "EVN|{}|20260705134200-0400", "2026-07-05T13:42:00-04:00"),
        ("A02", "EVN|{}", "2026-07-05T13:42:12-04:00"),
    ],
)
def test_occurred_is_evn_6_then_the_events_own_field_then_evn_2_then_msh_7(event, evn, occurred):
    pv1 = segment("PV1", f2="I", f19="V1", f44="20260705081200", f45="20260705133000")
    (fact,) = mapped(message(event, PID, pv1, evn=evn.format(event))).facts
    assert fact.occurred.text == occurred
    assert fact.details["admitted"].text == "2026-07-05T08:12:00-04:00"


def test_evn_6_of_a_cancel_is_the_time_of_its_target():
    (fact,) = mapped(message("A13", PID, PV1, evn=EVN_6.format("A13"))).facts
    assert fact.targets is not None
    assert fact.targets.text == "2026-07-05T12:00:00-04:00"
    assert fact.occurred == fact.recorded
    assert fact.recorded.text == "2026-07-05T13:42:00-04:00"


def test_without_any_time_the_arrival_is_taken_with_a_warning():
    found = mapped(message("A01", sent="", evn="EVN|A01"))
    assert found.facts[0].sent.us == 1_000_000
    assert "no-time" in [i.code for i in found.issues]


def test_details_hold_what_the_fold_needs_as_sent():
    pv1 = segment(
        "PV1", f2="E", f3="ED^1^A^HOSPA^O", f4="U", f10="MED", f19="V1", f36="1", f45="20260705"
    )
    pd1 = segment("PD1", f3="PCPB", f4="11^P^C")
    pid = PID + "|" * 21 + "20260705|Y"
    (fact,) = mapped(message("A03", pid, pd1, pv1)).facts
    details = fact.details
    assert details["class"] == "E"
    assert details["admission_type"] == "U"
    assert details["service"] == "MED"
    assert details["disposition"] == "01"
    assert details["place"] == "ED^1^A^HOSPA"
    assert details["practice"] == "PCPB"
    assert details["deceased"] == "Y"
    assert details["discharged"].text == "2026-07-05"


def test_a_merge_has_a_prior_identity_and_visit():
    mrg = segment("MRG", f1="200999^^^HOSPA^MR", f5="V0^^^HOSPA")
    (fact,) = mapped(message("A40", PID, mrg)).facts
    assert fact.prior == "HOSPA|200999"
    assert fact.details["prior_visit"] == "HOSPA|V0"


@pytest.mark.parametrize(("number", "stays"), [("V1^^^HOSPA", True), ("", False)])
def test_an_alternate_number_is_the_visit_s_only_where_it_has_no_other(number: str, stays: bool):
    pv1 = segment("PV1", f2="I", f19=number, f50="X2^^^HOSPA")
    mrg = segment("MRG", f1="100234^^^HOSPA^MR", f6="X1^^^HOSPA")
    (fact,) = mapped(message("A51", PID, mrg, pv1)).facts
    assert (fact.visit, fact.details["prior_visit"]) == (
        "HOSPA|V1" if stays else "HOSPA|X2", "HOSPA|X1"
    )  # fmt: skip
    assert ("visit_stays" in fact.details) is stays


def test_repeated_patient_groups_of_a_merge_are_facts_of_their_own():
    one, two = segment("PID", f3="1^^^HOSPA^MR"), segment("PID", f3="2^^^HOSPA^MR")
    found = mapped(message("A40", one, "MRG|8^^^HOSPA^MR", two, "MRG|9^^^HOSPA^MR"))
    assert [(f.identity, f.prior) for f in found.facts] == [
        ("HOSPA|1", "HOSPA|8"),
        ("HOSPA|2", "HOSPA|9"),
    ]
    assert len({f.id for f in found.facts}) == 2


def test_a_merge_with_itself_is_an_error_and_no_merge():
    found = mapped(message("A40", PID, "MRG|100234^^^HOSPA^MR"))
    assert found.facts[0].prior is None
    assert [(i.severity, i.code) for i in found.issues] == [("error", "merge-with-itself")]


@pytest.mark.parametrize(
    ("event", "mrg", "where"),
    [
        ("A40", None, "MRG-1"), ("A40", "MRG|||A7", "MRG-1"), ("A47", None, "MRG-1"),
        ("A41", "MRG|8^^^HOSPA^MR", "MRG-3"), ("A42", "MRG|8^^^HOSPA^MR", "MRG-5"),
        ("A45", None, "MRG-1"), ("A50", "MRG|8^^^HOSPA^MR||V0", "MRG-5"),
    ],
)  # fmt: skip
def test_an_event_that_does_not_say_what_goes_is_an_error(event, mrg, where):
    found = mapped(message(event, PID, *([mrg] if mrg else []), PV1))
    assert [(i.severity, i.code, i.where) for i in found.issues] == [
        ("error", "no-prior-identifier", where)
    ]


def test_what_is_used_of_mrg_and_evn_but_for_their_first_repetition_is_kept():
    mrg = "MRG|8^^^HOSPA^MR~9^^^HOSPA^MR||A7~A8||V0~V1"
    found = mapped(message("A40", PID, mrg, evn="EVN|A40|20260705134200-0400|||1^ONE~2^TWO"))
    assert found.facts[0].prior == "HOSPA|8"
    assert {name: found.verbatim[name] for name in ("MRG-1", "MRG-3", "MRG-5", "EVN-5")} == {
        "MRG-1": "8^^^HOSPA^MR~9^^^HOSPA^MR",
        "MRG-3": "A7~A8",
        "MRG-5": "V0~V1",
        "EVN-5": "1^ONE~2^TWO",
    }
    assert "MRG-1" not in mapped(message("A40", PID, "MRG|8^^^HOSPA^MR")).verbatim


@pytest.mark.parametrize("event", ["A17", "A24", "A37"])
def test_an_event_of_two_patients_with_one_of_them_is_said(event):
    found = mapped(message(event, PID, PV1))
    assert [i.code for i in found.issues] == ["one-patient-only"]
    other = segment("PID", f3="2^^^HOSPA^MR")
    assert mapped(message(event, PID, PV1, other, PV1)).issues == []


def test_a_link_names_the_other_patient():
    found = mapped(
        message("A24", segment("PID", f3="1^^^HOSPA^MR"), segment("PID", f3="2^^^HOSPA^MR"))
    )
    assert found.facts[0].prior == "HOSPA|2"


@pytest.mark.parametrize(
    ("part2", "unit", "labelled"),
    [
        ("all", "4W", True),
        ("none", "4W", False),
        (frozenset({"4W"}), "4W", True),
        (frozenset({"4B"}), "4W", False),
        (frozenset({"4B"}), "", True),
    ],
)
def test_part_2_labels_come_from_the_feed_and_an_unknown_unit_is_labelled(part2, unit, labelled):
    pv1 = segment("PV1", f2="I", f3=unit, f19="V1")
    (fact,) = mapped(message("A01", PID, pv1), part2=part2).facts
    assert ("42CFRPart2" in fact.labels) is labelled


def test_a_fact_is_the_same_every_time_and_differs_with_content():
    first, again = mapped(message()).facts[0], mapped(message()).facts[0]
    other = mapped(message(control_id="HA2")).facts[0]
    assert first == again
    assert first.id != other.id


@pytest.mark.parametrize(
    ("code", "zbe", "event", "details"),
    [
        ("A02", "M2^^1.2.3^ISO|20260706||INSERT|N", "A02", {"movement": "1.2.3|M2"}),
        ("A02", "M2^PAM|20260706||INSERT|Y", "A02", {"movement": "PAM|M2", "historic": True}),
        ("A02", "M2|20260706||UPDATE|N", "A02", {"movement": "HOSPA|M2", "corrects": True}),
        ("Z99", "M2|20260706||UPDATE|N|A06", "A06", {"movement": "HOSPA|M2", "corrects": True}),
        ("Z99", "M2|20260706||CANCEL|N|A02", "A12", {"movement": "HOSPA|M2"}),
        ("A12", "M2|20260706||CANCEL|N|A02", "A12", {"movement": "HOSPA|M2"}),
        ("Z99", "M2|20260706||CANCEL|N|A06", "Z99", {"movement": "HOSPA|M2"}),
        ("A02", "|20260706||UPDATE|N", "A02", {}),
    ],
)
def test_a_movement_says_which_it_is_and_what_it_does(code, zbe, event, details):
    text = message("A02", PID, PV1, "ZBE|" + zbe).replace("ADT^A02", f"ADT^{code}")
    (fact,) = mapped(text.replace("EVN|A02", f"EVN|{code}")).facts
    said = {key: fact.details[key] for key in ("movement", "corrects", "historic")
            if key in fact.details}  # fmt: skip
    assert (fact.event, said) == (event, details)


def test_unknown_events_are_kept_with_a_warning():
    found = mapped(message().replace("ADT^A01", "ADT^A99").replace("EVN|A01", "EVN|A99"))
    assert found.facts == []
    assert [(i.severity, i.code) for i in found.issues] == [("warning", "unsupported-event")]


def test_what_a_site_says_otherwise_is_said_with_a_trace_and_without(tmp_path):
    """Of every field, so that no two functions that are written for them are one."""
    folder = tmp_path / "sites" / "own" / "segments"
    folder.mkdir(parents=True)

    rules = "".join(
        f"  own{n}: {{ each: PV1-{n}, to: 'account#own{n}', using: constant, with: "
        f"{{ value: {n} }} }}\n"
        for n in range(2, 50)
    )
    (folder / "PV1_Encounter.yaml").write_text(
        f"maps: PV1 -> Encounter\nbecause: a test\nrules:\n{rules}"
    )
    mapping = load(shipped() / "core", [tmp_path], "own")
    text = parse(message("A01", PID, PV1 + "|" + "|".join("7" * 30)).encode())
    plain, traced = (
        apply(mapping, text, Context(HOSPA, "adt", 1), trace=trace).facts[0].stay[0].elements
        for trace in (False, True)
    )
    assert plain == traced
    assert {f"account#own{n}" for n in range(20, 50)} <= plain.keys()


def test_an_acknowledgement_is_no_event_that_lacks_a_map():
    found = mapped(message().replace("ADT^A01", "ACK^A01"))
    assert found.facts == []
    assert [(i.severity, i.code) for i in found.issues] == [("information", "acknowledgement")]


def test_provenance_has_what_the_message_says_of_its_making():
    evn = "EVN|A01|20260705134200-0400||O|OP1^CLERK^CARL|20260705120000-0400"
    found = mapped(message("A01", PID, PV1, evn=evn))
    said = found.provenance
    assert said["control_id"] == "HA1"
    assert (said["application"], said["facility"]) == ("ADT", "HOSPA")
    assert said["operator"]["display"] == "CARL CLERK"
    assert said["recorded"] == "2026-07-05T13:42:00-04:00"
    assert said["occurred"] == "2026-07-05T12:00:00-04:00"
    assert "Practitioner" in {fragment.type for fragment in found.directory}


def test_what_no_rule_reads_is_named_and_kept_verbatim():
    found = mapped(message("A01", PID, PV1, "ZPD|1|x", "ZPD|2||secret"))
    assert found.unmapped == ["ZPD-1", "ZPD-2", "ZPD-3"]
    assert found.verbatim == {"ZPD-1": "1", "ZPD-2": "x", "ZPD[2]-1": "2", "ZPD[2]-3": "secret"}


def test_mapping_leaves_no_trace_in_the_next_message():
    before = mapped(message())
    mapped(message("A01", PID.replace("JANE", "JILL"), PV1 + "|" * 25 + "20260101"))
    assert mapped(message()) == before


def test_a_message_with_other_delimiters_says_the_same():
    plain = mapped(message()).facts[0]
    odd = message().replace(r"MSH|^~\&|", r"MSH|*~\&|").replace("^", "*")
    fact = apply(core(), parse(odd), Context(site=HOSPA, feed="test", received=1_000_000)).facts[0]
    assert (fact.person, fact.stay, fact.visit) == (plain.person, plain.stay, plain.visit)
