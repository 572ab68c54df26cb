"""Messages of our own: one of each ADT event, by its structure, and others; all made up.

Each holds what its structure allows, and a little of what real senders do.
"""

from segue.hl7v2.events import structure_of

SENT = "20260705134212-0400"
TWICE = {"ADT_A17": "PV1", "ADT_A24": "PV1", "ADT_A37": "PV1"}
"""Structures of two patients, and what each of them has."""
MERGES = {
    "ADT_A18": ("MRG", "PV1"),
    "ADT_A30": ("MRG",),
    "ADT_A39": ("MRG", "PV1"),
    "ADT_A43": ("MRG",),
    "ADT_A44": ("MRG",),
    "ADT_A45": ("MRG", "PV1"),
    "ADT_A50": ("MRG", "PV1"),
}
"""Structures with MRG, and what stands in their patient group."""
REPEATED = frozenset({"ADT_A39", "ADT_A43", "ADT_A44"})
"""Structures whose patient group repeats."""


def header(event: str, structure: str | None, number: int, version: str = "2.5.1") -> str:
    """MSH; `structure` None leaves MSH-9.3 out."""
    kind = "ADT" if structure is None else f"ADT^{event}^{structure}"
    if structure is None and event:
        kind = f"ADT^{event}"
    return rf"MSH|^~\&|ADT|HOSPA|HUB|HIE|{SENT}||{kind}|E{number:05d}|P|{version}"


def patient(n: int) -> list[str]:
    """PID and what follows it."""
    return [
        f"PID|{n}||10{n}^^^HOSPA^MR~99{n}^^^HIE^PI||DOE^JANE{n}^Q||19550214|F||2106-3"
        f"|{n} MAIN ST^^BOSTON^MA^02115^USA^H||^PRN^PH^^1^617^555010{n}||eng|M||A{n}^^^HOSPA^AN",
        "PD1|||PRACTICE B^^PCPB|99^HIBBERT^JULIUS",
    ]


def visit(n: int, number: str = "") -> str:
    """PV1 of patient n."""
    stay = number or f"V{n}"
    return (
        f"PV1|1|I|4W^40{n}^A^HOSPA|U|||99^HIBBERT^JULIUS^^^DR|||MED||||7|||||{stay}^^^HOSPA^VN"
        "|||||||||||||||||||||||||20260705134200-0400"
    )


def clinical() -> list[str]:
    """What may follow PV1 in an admission, its texts as messy as texts are."""
    return [
        "PV2|||^CHEST PAIN|||||20260708",
        "ROL|1|AD|CP|77^ROE^RICHARD|20260705",
        "OBX|1|TX|8302-2^Height^LN||tall \\T\\ thin\\.br\\second line||||||F",
        "AL1|1|DA|^PENICILLIN|SV|HIVES~RASH",
        "DG1|1||I50.23^Heart failure^I10|||A",
        "PR1|1||93000^ECG^C4||20260705",
        "GT1|1||DOE^JOHN||2 MAIN ST^^BOSTON^MA",
        "IN1|1|PLAN|PAYX|PAYER X||||G1|||||||||18|||||||||||||||||||M555",
        "ZPD|1|local^value|20260705",
    ]


def adt(
    event: str, *, structure: str | None = "", number: int = 1, version: str = "2.5.1"
) -> bytes:
    """A message of an ADT event.

    Args:
        event: such as `A01`; one that is none has the segments of an admission.
        structure: MSH-9.3; "" takes the event's own, None leaves it out.
        number: goes into the control id.
        version: MSH-12.
    """
    own = structure_of(event, version=version)
    said = own if structure == "" else structure
    lines = [
        header(event, said, number, version),
        f"EVN|{event}|20260705134200-0400|||OP7^OPERATOR",
    ]
    if own == "ADT_A20":
        lines.append("NPU|4W^401^A^HOSPA|U")
    elif own in TWICE:
        for n in (1, 2):
            lines += [*patient(n), visit(n)]
    elif own in MERGES:
        for n in (1, 3) if own in REPEATED else (1,):
            lines += patient(n)
            for pair in (n, n + 4) if own == "ADT_A45" else (n,):
                lines.append(f"MRG|20{pair}^^^HOSPA^MR||B{pair}||W{pair}^^^HOSPA^VN")
                if "PV1" in MERGES[own]:
                    lines.append(visit(n, f"V{pair}"))
    else:
        lines += [*patient(1), "NK1|1|DOE^JOHN|SPO|2 MAIN ST", visit(1), *clinical()]
    return ("\r".join(lines) + "\r").encode()


OTHERS: tuple[bytes, ...] = tuple(
    text.replace("\n", "\r").encode()
    for text in (
        r"""MSH|^~\&|LAB|HOSPA|HUB|HIE|20260705134212||ORU^R01^ORU_R01|O1|P|2.5.1
PID|1||101^^^HOSPA^MR||DOE^JANE
OBR|1|P1|F1|24323-8^CMP^LN|||20260705
OBX|1|NM|2345-7^Glucose^LN||99|mg/dL|70-110||||F
NTE|1||drawn \H\fasting\N\
""",
        r"""MSH|^~\&|SCH|HOSPA|HUB|HIE|20260705134212||SIU^S12^SIU_S12|S1|P|2.5.1
SCH|A1|F1||||^FOLLOW UP||||^^30^20260716100000
PID|1||101^^^HOSPA^MR||DOE^JANE
AIL|1||CLINIC^1
""",
        r"""MSH|^~\&|DOC|HOSPA|HUB|HIE|20260705134212||MDM^T02^MDM_T02|M1|P|2.5.1
EVN|T02|20260705134212
PID|1||101^^^HOSPA^MR||DOE^JANE
PV1|1|I
TXA|1|DS|TX||||||||D1^HOSPA||||AU
OBX|1|TX|^summary||line one~line two
""",
        r"""MSH#*!?+#ADT#HOSPA#HUB#HIE#20260705134212##ADT*A01#X1#P#2.3
EVN#A01#20260705134212
PID#1##101***HOSPA*MR##DOE*JANE
PV1#1#I#4W*1*A################V1
""",
    )
)
"""Messages of other types, and one with separators of its own."""
