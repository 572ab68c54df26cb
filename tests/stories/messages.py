"""ADT messages of the stories' hospitals, built field by field. All persons are invented."""

from collections.abc import Sequence


def stamp(text: str) -> str:
    """`2026-07-05 08:12` as an HL7 DTM of the US east coast in summer."""
    return text.replace("-", "").replace(" ", "").replace(":", "").ljust(14, "0") + "-0400"


def adt(
    event: str,
    at: str,
    control_id: str,
    *,
    hospital: str = "HOSPA",
    mrn: str = "100234",
    visit: str = "V78421",
    patient_class: str = "I",
    place: str = "",
    prior_place: str = "",
    admission_type: str = "E",
    sent: str | None = None,
    occurred: str | None = None,
    admitted: str | None = None,
    discharged: str | None = None,
    disposition: str = "",
    diagnoses: Sequence[str] = (),
    shared: bool = True,
    pid: str = "DOE^JANE||19550214|F",
    extra: Sequence[str] = (),
) -> str:
    """One ADT message of story person P1.

    Args:
        at: EVN-2, `2026-07-05 08:12`, local time of the hospital.
        sent: MSH-7, default `at`. occurred: EVN-6, left out when None.
        admitted, discharged: PV1-44, PV1-45.
        diagnoses: `I50.23^Acute on chronic systolic HF`, the first is the principal one.
        shared: whether PID-3 also has the identifier that both hospitals know.
        extra: further segments, as they are.
    """
    identifiers = f"{mrn}^^^{hospital}^MR" + ("~900017^^^HIE^PI" if shared else "")
    pv1 = [""] * 46
    pv1[1] = "1"
    pv1[2] = patient_class
    pv1[3] = place and f"{place}^^^{hospital}"
    pv1[4] = admission_type
    pv1[6] = prior_place and f"{prior_place}^^^{hospital}"
    pv1[7] = "1234567893^ATT^AMY"
    pv1[10] = "MED"
    pv1[19] = f"{visit}^^^{hospital}^VN"
    pv1[36] = disposition
    pv1[44] = stamp(admitted) if admitted else ""
    pv1[45] = stamp(discharged) if discharged else ""
    segments = [
        f"MSH|^~\\&|ADT|{hospital}|HUB|HIE|{stamp(sent or at)}||ADT^{event}|{control_id}|P|2.5.1",
        f"EVN|{event}|{stamp(at)}" + (f"||||{stamp(occurred)}" if occurred else ""),
        f"PID|1||{identifiers}||{pid}",
        "PD1|||PCPB|1112223330^PCP^PAT",
        "PV1|" + "|".join(pv1[1:]).rstrip("|"),
        *(
            f"DG1|{n}||{code}^I10|||{'A' if n == 1 and event != 'A03' else 'F'}"
            for n, code in enumerate(diagnoses, 1)
        ),
        *extra,
    ]
    return "\r".join(segments) + "\r"
