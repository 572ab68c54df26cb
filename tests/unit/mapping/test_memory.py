"""What is remembered changes nothing: a warm mapping says what a cold one says."""

from dataclasses import replace
from functools import lru_cache

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.mix import Mix
from segue.hl7v2.parse import parse
from segue.mapping.apply import apply
from segue.mapping.context import Context, Mapped
from segue.mapping.load import MappingSet
from tests.unit.mapping.samples import HOSPA, PID, PV1, core, message, segment

NULLS = segment("PID", f3="100234^^^HOSPA^MR", f5='""', f11='""', f13="^PRN^PH^^1^216^5551234")
SEGMENTS = (
    "PD1||||77^PRIM^PAM",
    segment("NK1", f2="DOE^JIM", f3="SPO", f5="^PRN^PH^^1^216^5551234"),
    segment("NK1", f2="DOE^JIM", f3="SPO", f7="C", f99="unread"),
    segment("NK1", f1="3", f3="SPO"),
    segment("ROL", f3="PP", f4="78^CARE^PAT"),
    segment("ROL", f3="AT", f4="79^ATT^AMY", f9="MD^Physician", f14="ACME^^C1"),
    segment("DG1", f3="I50.23^Heart failure^I10", f6="A"),
    segment("DG1", f3="I50.23^Heart failure^I10", f6="F", f5="20260705134000"),
    segment("DG1", f3="I50.23^Heart failure^I10", f21="D"),
    segment("AL1", f2="DA", f3="2670^CODEINE^RXNORM", f4="SV", f5="RASH \\T\\ ITCH"),
    segment("IN1", f2="P1", f3="PAYX", f4="PAYER X", f36="POL1"),
    segment("GT1", f3="DOE^JOHN", f11="SPO"),
    segment("OBX", f2="NM", f3="8867-4^Heart rate^LN", f5="90", f14="20260705134500"),
    segment("OBX", f2="NM", f3="8867-4^Heart rate^LN", f5="90", f11="F", f14="20260705134500"),
    PV1,
    segment("PV1", f2="N"),
    segment("PV1", f2="QQ", f3="4W^412^1^HOSPA", f19="V2", f36="98", f44="20260705134000"),
    segment("PV2", f3="I50.23^Heart failure^I10", f22="Y"),
)
PIDS = (
    PID,
    NULLS,
    segment("PID", f3="100234^^^HOSPA^MR", f5="DOE^JANE", f18="ACC1^^^HOSPA^AN"),
    segment("PID", f3="7^^^HOSPA^MR", f5="ROE^RAY", f18="ACC1^^^HOSPA^AN"),
)
bodies = st.builds(
    lambda pid, body: [pid, *body],
    st.sampled_from(PIDS),
    st.lists(st.sampled_from(SEGMENTS), max_size=9),
)
events = st.sampled_from(["A01", "A02", "A03", "A08", "A11", "A31", "A40"])
offsets = st.sampled_from(["20260705134212-0400", "20260705134212+0100"])


@lru_cache
def settled() -> tuple:
    """Site settings that keep their identity, by which a mapping remembers."""
    return HOSPA, replace(HOSPA, zone=None)


def fresh() -> MappingSet:
    return replace(core(), caches={})


def told(mapping: MappingSet, text: str, zoned: bool, trace: bool = False) -> Mapped:
    site = settled()[0 if zoned else 1]
    context = Context(site=site, feed="test", received=1)
    return apply(mapping, parse(text), context, trace=trace)


def same(one: Mapped, other: Mapped) -> None:
    assert one.facts == other.facts
    assert [list(f.elements) for fact in one.facts for f in fact.person + fact.stay] == [
        list(f.elements) for fact in other.facts for f in fact.person + fact.stay
    ]
    assert one.issues == other.issues
    assert (one.unmapped, one.verbatim) == (other.unmapped, other.verbatim)
    assert {f.id: f for f in one.directory} == {f.id: f for f in other.directory}
    assert one.provenance == other.provenance


@given(st.lists(st.tuples(events, bodies, offsets, st.booleans()), min_size=1, max_size=6))
def test_a_warm_mapping_says_what_a_cold_one_says(sent):
    warm = fresh()
    texts = [(message(e, *body, sent=at), zoned) for e, body, at, zoned in sent]
    for text, zoned in [*texts, *texts]:
        same(told(warm, text, zoned), told(fresh(), text, zoned))
    for text, zoned in texts:
        same(told(warm, text, zoned), told(warm, text, zoned, trace=True))


def test_a_days_messages_say_the_same_warm_and_cold():
    warm = fresh()
    mix = Mix(seed=3, patients=30, concurrent=6)
    for raw in [next(mix).decode() for _ in range(300)]:
        same(told(warm, raw, True), told(fresh(), raw, True))


def test_the_same_segments_give_the_very_same_fragments():
    warm = fresh()
    one = told(warm, message("A01", *PIDS[:1], SEGMENTS[1], PV1, control_id="1"), True)
    two = told(warm, message("A08", *PIDS[:1], SEGMENTS[1], PV1, control_id="2"), True)
    assert one.facts[0].person is two.facts[0].person
    three = told(warm, message("A08", *PIDS[:1], SEGMENTS[1], control_id="3"), True)
    assert three.facts[0].person[1].elements is one.facts[0].person[1].elements


def test_an_unknown_code_is_reported_by_every_message_that_has_it():
    warm = fresh()
    body = (PIDS[0], SEGMENTS[16])
    for _ in range(3):
        found = told(warm, message("A01", *body), True)
        assert [i.code for i in found.issues].count("wanted-code") == 2


def test_a_role_with_a_provider_type_makes_a_practitioner_role():
    found = told(fresh(), message("A01", PID, PV1, SEGMENTS[5]), True)
    (role,) = [f for f in found.directory if f.type == "PractitionerRole"]
    elements = role.elements
    assert elements["practitioner"]["display"] == "AMY ATT"
    assert elements["organization"]["display"] == "ACME"
    assert elements["code"][0]["coding"][0]["code"] == "MD"
    plain = told(fresh(), message("A01", PID, PV1, segment("ROL", f3="AT", f4="79^ATT^AMY")), True)
    assert [f.type for f in plain.directory if f.type == "PractitionerRole"] == []


def test_what_is_remembered_of_one_field_names_nobody_of_another():
    booked = segment("SCH", f2="F7", f11="^^^20260716103000-0400")
    problem = segment("DG1", f3="I50.23^Heart failure^I10")
    doctor = segment("AIP", f1="1", f3="77^SEE^SAM")
    mapping = fresh()

    def named(*segments):
        text = message("S12", booked, PID, *segments).replace("ADT^S12", "SIU^S12")
        made = apply(mapping, parse(text), Context(HOSPA, feed="test", received=0))
        return [one.elements["name"][0]["family"] for one in made.directory]

    assert named(problem, doctor) == ["SEE"]
    assert named(problem) == []
