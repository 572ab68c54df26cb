from segue.hl7v2.groups import groups
from segue.hl7v2.parse import parse

HEADER = "MSH|^~\\&|||||||ADT^A01|1|P|2.5.1\rEVN|A01\r"


def test_participants_of_patient_visit_procedure_and_insurance_are_told_apart():
    text = (
        "PID|1||A\rPD1|x\rROL|1|patient\rNK1|1\rPV1|1|I\rROL|2|visit\rPV2|1\rOBX|1\rAL1|1\r"
        "DG1|1\rPR1|1\rROL|3|procedure\rGT1|1\rROL|4|visit\rIN1|1\rIN2|1\rROL|5|insurance\r"
        "IN1|2\rIN3|1\rZX1|1\rACC|1\rPRT|6|visit\r"
    )
    (group,) = groups(parse(HEADER + text))
    for segment in group.all("ROL") + group.all("PRT"):
        assert group.section_of(segment) == segment.raw(2)
    assert [s.raw(1) for s in group.all("ROL", "visit")] == ["2", "4"]
    assert group.section_of(group.all("NK1")[0]) == "patient"


def test_followers_are_those_up_to_the_next_of_the_same_name():
    text = "PID|1||A\rIN1|1\rIN2|a\rIN3|b\rIN1|2\rIN2|c\rOBX|1\rNTE|1|x\rOBX|2\rNTE|1|y\r"
    (group,) = groups(parse(HEADER + text))
    first, second = group.all("IN1")
    assert [s.raw(1) for s in group.followers(first, "IN2", "IN3")] == ["a", "b"]
    assert [s.raw(1) for s in group.followers(second, "IN2", "IN3")] == ["c"]
    assert [s.raw(2) for s in group.followers(group.all("OBX")[0], "NTE")] == ["x"]


def test_each_patient_of_a_swap_has_the_own_visit():
    text = "PID|1||A\rPV1|1|I|W1\rPID|2||B\rPV1|1|I|W2\r"
    found = groups(parse(HEADER.replace("A01", "A17") + text))
    assert [(g.pid.raw(3), g.first("PV1").raw(3)) for g in found] == [("A", "W1"), ("B", "W2")]  # type: ignore[union-attr]


def test_each_patient_of_a_merge_has_the_own_mrg():
    text = "PID|1||A\rPD1|1\rMRG|X\rPV1|1\rPID|2||B\rMRG|Y\r"
    found = groups(parse(HEADER.replace("A01", "A40") + text))
    assert [(g.pid.raw(3), [m.raw(1) for m in g.all("MRG")]) for g in found] == [  # type: ignore[union-attr]
        ("A", ["X"]),
        ("B", ["Y"]),
    ]


def test_an_a45_has_a_group_for_each_mrg_and_its_visit():
    text = "PID|1||A\rMRG|X||||V1\rPV1|1\rMRG|X||||V2\rPV1|2\rMRG|X||||V3\r"
    found = groups(parse(HEADER.replace("A01", "A45") + text))
    assert [[(s.name, s.raw(5) or s.raw(1)) for s in group.segments] for group in found] == [
        [("PID", "1"), ("MRG", "V1"), ("PV1", "1")],
        [("PID", "1"), ("MRG", "V2"), ("PV1", "2")],
        [("PID", "1"), ("MRG", "V3")],
    ]


def test_a_message_without_pid_is_one_group_or_none():
    assert groups(parse(HEADER)) == []
    (group,) = groups(parse(HEADER + "NPU|W1|O\r"))
    assert group.pid is None
    assert group.first("NPU") is not None
