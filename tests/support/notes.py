"""Appointments, documents and results of the stay of S11, as HL7 v2 messages."""

PERSON = "PID|1||{mrn}~900017^^^HIE^PI||DOE^JANE||19550214|F"
HOSPITAL = PERSON.format(mrn="100234^^^HOSPA^MR")
PRACTICE = PERSON.format(mrn="55^^^PCPB^MR")
VISIT = "PV1|1|I|CCU^1^1" + "|" * 16 + "V78421^^^HOSPA^VN"


def message(kind: str, at: str, control_id: str, *segments: str, facility: str = "HOSPA") -> str:
    header = rf"MSH|^~\&|APP|{facility}|HUB|HIE|{at}-0400||{kind}|{control_id}|P|2.5.1"
    return "\r".join([header, *segments])


def booking(
    event: str, at: str, status: str = "Booked", number: str = "1", when: str = "20260716103000"
) -> str:
    ids = f"P{number}|F{number}"
    schedule = f"SCH|{ids}|||||^Follow-up||30|min|^^^{when}{'|' * 14}{status}"
    person = "AIP|1|A|11^PRIMARY^PIA"
    kind = f"SIU^{event}^SIU_S12"
    return message(kind, at, f"B{event}{at}", schedule, PRACTICE, person, facility="PCPB")


def summary(event: str, at: str, completion: str) -> str:
    document = f"TXA|1|DS|TX|20260710150000||20260710155500{'|' * 6}D1^HOSPA{'|' * 5}{completion}"
    text = "OBX|1|TX|18842-5^Discharge summary^LN||Home, stable.||||||F"
    return message(
        f"MDM^{event}^MDM_T02",
        at,
        f"M{at}",
        f"EVN|{event}|{at}-0400",
        HOSPITAL,
        VISIT,
        document,
        text,
    )


def result(at: str, value: str, visit: str = VISIT) -> str:
    order = f"OBR|1|P1|F{at}|2823-3^Potassium^LN|||{at}{'|' * 18}F"
    observed = f"OBX|1|NM|2823-3^Potassium^LN||{value}|mmol/L^^UCUM|||||F"
    return message("ORU^R01^ORU_R01", at, f"R{at}", HOSPITAL, visit, order, observed)
