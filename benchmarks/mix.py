# ruff: noqa: SIM905
"""A realistic mix of ADT messages, made in memory: no two are equal.

Patients of a pool come and go. Inpatient stories run A04 → A06 or A01 → A02* → A08* →
A03, outpatient ones A04 → A08* → A03. Every message has 12 segments and 1.2 to 2 kB.
All names and numbers are made up.
"""

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

FAMILY = (
    "SMITH JOHNSON WILLIAMS BROWN JONES GARCIA MILLER DAVIS RODRIGUEZ MARTINEZ HERNANDEZ LOPEZ "
    "GONZALEZ WILSON ANDERSON THOMAS TAYLOR MOORE JACKSON MARTIN LEE PEREZ THOMPSON WHITE"
).split()
GIVEN = (
    "JAMES MARY ROBERT PATRICIA JOHN JENNIFER MICHAEL LINDA DAVID ELIZABETH WILLIAM BARBARA "
    "RICHARD SUSAN JOSEPH JESSICA THOMAS SARAH CARLOS KAREN"
).split()
STREETS = "OAK MAPLE CEDAR PINE ELM WASHINGTON LAKE HILL PARK MAIN".split()
TOWNS = (
    ("CLEVELAND", "OH", "44101"),
    ("COLUMBUS", "OH", "43004"),
    ("DAYTON", "OH", "45390"),
    ("TOLEDO", "OH", "43601"),
    ("AKRON", "OH", "44301"),
)
UNITS = ("4W", "CCU", "3E", "5N", "MICU", "6S")
CLINICS = ("CARD", "ORTHO", "DERM", "ONC")
DIAGNOSES = (
    ("I50.23", "Acute on chronic systolic heart failure"),
    ("E11.9", "Type 2 diabetes mellitus without complications"),
    ("J44.1", "COPD with acute exacerbation"),
    ("N17.9", "Acute kidney failure, unspecified"),
    ("I10", "Essential hypertension"),
    ("A41.9", "Sepsis, unspecified organism"),
    ("K92.2", "Gastrointestinal hemorrhage, unspecified"),
    ("S72.001A", "Fracture of unspecified part of neck of right femur"),
)
ALLERGIES = (("70618", "PENICILLIN"), ("2670", "CODEINE"), ("1191", "ASPIRIN"), ("", "LATEX"))
DOCTORS = tuple(
    (f"10{n:02d}", FAMILY[n % len(FAMILY)], GIVEN[(n * 7) % len(GIVEN)]) for n in range(40)
)
PLANS = (("MCR", "MEDICARE"), ("AET", "AETNA"), ("BCBS", "BLUE CROSS"), ("CAID", "MEDICAID"))
DISPOSITIONS = ("01", "01", "01", "06", "03", "07", "02")
START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@dataclass(slots=True)
class Patient:
    """One of the pool; what does not change from message to message is text already."""

    number: int
    pid_head: str
    pid_tail: str
    street: str
    pd1: str
    nk1: str
    gt1: str
    in1: str
    al1: str


@dataclass(slots=True)
class Visit:
    """A story on its way."""

    patient: Patient
    number: str
    plan: list[str]
    doctor: str
    diagnosis: tuple[str, str]
    second: tuple[str, str]
    admitted: datetime
    klass: str
    place: str
    moved: tuple[str, str] = ("", "")
    step: int = 0
    events: list[str] = field(default_factory=list)


class Mix:
    """Makes messages, one after the other, as a hospital's interface would send them.

    Args:
        seed: the same seed makes the same messages.
        patients: size of the pool.
        authority: assigner of MRN and visit number, also MSH-4.
        concurrent: how many visits are open at a time.
        interval: simulated time between two messages.
        out_of_order: share of messages that come after up to 50 later ones.
        cancels: share of messages that cancel a transfer (A12).
        merges: share of messages that merge a number given by mistake (A40).
    """

    def __init__(
        self,
        seed: int = 1,
        patients: int = 10_000,
        authority: str = "HOSPA",
        concurrent: int = 400,
        interval: timedelta = timedelta(seconds=11),
        prefix: str = "",
        out_of_order: float = 0.0,
        cancels: float = 0.0,
        merges: float = 0.0,
    ) -> None:
        self.random = random.Random(seed)
        self.authority = authority
        self.concurrent = min(concurrent, patients)
        self.interval = interval
        self.prefix = prefix or f"B{seed}"
        self.now = START
        self.made = 0
        self.counts: dict[str, int] = {}
        self._visits = 0
        # The same people live there whatever the seed: a number is one person's.
        people = random.Random(patients)
        self._pool = [self._patient(n, people) for n in range(patients)]
        self._free = list(range(patients))
        self.random.shuffle(self._free)
        self._active: list[Visit] = []
        self.out_of_order, self.cancels, self.merges = out_of_order, cancels, merges
        self._held: list[tuple[int, bytes]] = []

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._held and self._held[0][0] <= self.made:
            return heapq.heappop(self._held)[1]
        message = self._next()
        while self.out_of_order and self.random.random() < self.out_of_order:
            heapq.heappush(self._held, (self.made + self.random.randrange(5, 50), message))
            message = self._next()
        return message

    def _next(self) -> bytes:
        rng = self.random
        self.now += self.interval
        if len(self._active) < self.concurrent and (not self._active or rng.random() < 0.5):
            at = len(self._active)
            self._active.append(self._arrive())
        else:
            at = rng.randrange(len(self._active))
        visit = self._active[at]
        event = visit.plan[visit.step]
        message = self._message(visit, event)
        visit.step += 1
        if visit.step == len(visit.plan):
            last = self._active.pop()
            if last is not visit:
                self._active[at] = last
            self._free.insert(rng.randrange(len(self._free) + 1), visit.patient.number)
        self.made += 1
        self.counts[event] = self.counts.get(event, 0) + 1
        return message

    def _patient(self, n: int, rng: random.Random) -> Patient:
        family, given = rng.choice(FAMILY), rng.choice(GIVEN)
        town, state, code = rng.choice(TOWNS)
        street = f"{rng.randrange(1, 9999)} {rng.choice(STREETS)} ST"
        sex = rng.choice("MF")
        born = f"{rng.randrange(1930, 2005)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}"
        mrn = f"{100000 + n}"
        phone = f"^PRN^PH^^1^216^555{n % 10000:04d}"
        doctor = rng.choice(DOCTORS)
        plan, payer = rng.choice(PLANS)
        allergy, name = rng.choice(ALLERGIES)
        here = self.authority
        address = f"^^{town}^{state}^{code}^USA^H"
        return Patient(
            number=n,
            pid_head=(
                f"PID|1||{mrn}^^^{here}^MR~9{n:06d}^^^HIE^PI||{family}^{given}^Q^^^^L||{born}|{sex}"
                f"||2106-3^White^CDCREC|"
            ),
            pid_tail=_segment(
                address,
                {
                    2: phone,
                    3: f"^WPN^PH^^1^216^444{n % 10000:04d}",
                    4: "eng^English^ISO639",
                    5: "M^Married^HL70002",
                    6: "CHR^Christian^HL70006",
                    7: f"ACC{mrn}^^^{here}^AN",
                    11: "N^Not Hispanic^HL70189",
                    19: "N",
                },
            ),
            street=street,
            pd1=f"PD1|||PRIMARY CARE B^^PCPB|{doctor[0]}^{doctor[1]}^{doctor[2]}^^^^^^NPI^^^^NPI",
            nk1=f"NK1|1|{family}^{rng.choice(GIVEN)}|SPO^Spouse^HL70063|{street}{address}|{phone}||"
            f"C^Emergency Contact^HL70131",
            gt1=f"GT1|1||{family}^{given}^Q||{street}{address}|{phone}||{born}|{sex}||SEL^Self"
            f"^HL70063",
            in1=_segment(
                "IN1",
                {
                    1: "1",
                    2: f"{plan}01^{payer} STANDARD",
                    3: plan,
                    4: payer,
                    5: f"PO BOX {n % 900 + 100}^^{town}^{state}^{code}",
                    7: "^WPN^PH^^1^800^5550100",
                    8: f"GRP{n % 97}",
                    12: "20260101",
                    15: plan,
                    16: f"{family}^{given}^Q",
                    17: "SEL^Self^HL70063",
                    18: born,
                    19: f"{street}{address}",
                    36: f"POL{n:08d}",
                },
            ),
            al1=f"AL1|1|DA^Drug allergy^HL70127|{allergy}^{name}^RXNORM|MO^Moderate^HL70128"
            f"|RASH|20190412",
        )

    def _arrive(self) -> Visit:
        rng = self.random
        patient = self._pool[self._free.pop()]
        self._visits += 1
        draw = rng.random()
        if draw < 0.25:
            plan, klass, place = ["A04"], "O", f"{rng.choice(CLINICS)}^^^{self.authority}"
        elif draw < 0.65:
            plan, klass, place = (
                ["A04", "A06"],
                "E",
                f"ED^{rng.randrange(1, 30)}^1^{self.authority}",
            )
        else:
            plan, klass, place = ["A01"], "I", self._bed()
        plan = list(plan)
        inpatient = klass != "O"
        middle = ["A02"] * (rng.randrange(0, 3) if inpatient else 0) + ["A08"] * rng.randrange(0, 4)
        rng.shuffle(middle)
        plan += [*middle, "A03"]
        if self.merges and rng.random() < self.merges * AVERAGE_VISIT:
            # The number that was given by mistake is known before it is merged.
            plan.insert(rng.randrange(1, len(plan)), "A40")
            plan.insert(0, "A28")
        first, second = rng.sample(DIAGNOSES, 2)
        doctor = rng.choice(DOCTORS)
        return Visit(
            patient=patient,
            number=f"V{self.prefix}{self._visits:07d}",
            plan=plan,
            doctor=f"{doctor[0]}^{doctor[1]}^{doctor[2]}^^^^^^NPI^^^^NPI",
            diagnosis=first,
            second=second,
            admitted=self.now,
            klass=klass,
            place=place,
        )

    def _bed(self) -> str:
        rng = self.random
        return f"{rng.choice(UNITS)}^{rng.randrange(400, 460)}^{rng.choice('AB')}^{self.authority}"

    def _message(self, visit: Visit, event: str) -> bytes:
        rng = self.random
        now = self.now
        when = _ts(now)
        first = event in {"A01", "A04"}
        occurred = _ts(visit.admitted if first else now - timedelta(minutes=rng.randrange(0, 6)))
        patient, here = visit.patient, self.authority
        prior = ""
        if event == "A06":
            visit.klass, visit.place = "I", self._bed()
        elif event == "A02":
            prior, visit.place = visit.place, self._bed()
            visit.moved = (prior, occurred)
            if self.cancels and rng.random() < self.cancels * TRANSFERS:
                visit.plan.insert(visit.step + 1, "A12")
        elif event == "A12":
            prior, (visit.place, occurred) = visit.place, visit.moved
        elif event == "A08" and rng.random() < 0.3:
            patient.street = f"{rng.randrange(1, 9999)} {rng.choice(STREETS)} ST"
        leaving = event == "A03"
        structure = {
            "A04": "ADT_A01",
            "A08": "ADT_A01",
            "A12": "ADT_A09",
            "A28": "ADT_A05",
            "A40": "ADT_A39",
        }.get(event, f"ADT_{event}")
        service = "MED" if visit.klass == "I" else "EMR" if visit.klass == "E" else "AMB"
        kind = "E" if visit.klass != "O" else "R"
        disposition = rng.choice(DISPOSITIONS) if leaving else ""
        pv1 = _segment(
            "PV1",
            {
                1: "1",
                2: visit.klass,
                3: visit.place,
                4: kind,
                6: prior,
                7: visit.doctor,
                10: service,
                14: "7",
                17: visit.doctor,
                18: f"{visit.klass}P",
                19: f"{visit.number}^^^{here}^VN",
                36: disposition,
                44: _ts(visit.admitted),
                45: occurred if leaving else "",
            },
        )
        code, text = visit.diagnosis
        pid_head = patient.pid_head
        if event == "A28":
            pid_head = f"PID|1||T{patient.number}^^^{here}^MR||{pid_head.split('||', 2)[2]}"
        head = [
            f"MSH|^~\\&|ADT|{here}|SEGUE|HUB|{when}||ADT^{event}^{structure}|"
            f"{self.prefix}{self.made:09d}|P|2.5.1|||AL|NE|USA|UNICODE UTF-8",
            f"EVN|{event}|{when}||01|REG{self.made % 89}^CLERK^{GIVEN[self.made % 89 % 20]}|{occurred}",
            f"{pid_head}{patient.street}{patient.pid_tail}",
            patient.pd1,
        ]
        pv2 = f"PV2||SEMI|{code}^{text}^I10|||||{when[:8]}|{when[:8]}|3"
        if event == "A40":
            rest = [f"MRG|T{patient.number}^^^{here}^MR"]
        elif event == "A28":
            rest = [patient.nk1]
        elif event in {"A02", "A12"}:
            rest = [
                f"ROL|1|UP|PP^Primary care^HL70443|{visit.doctor}|{when}",
                pv1,
                pv2,
                f"ROL|2|UP|AT^Attending^HL70443|{visit.doctor}|{when}",
                f"OBX|1|NM|8867-4^Heart rate^LN||{rng.randrange(55, 120)}|/min|||||F|||{occurred}",
                f"OBX|2|NM|9279-1^Respiratory rate^LN||{rng.randrange(12, 28)}|/min|||||F"
                f"|||{occurred}",
                f"OBX|3|NM|8310-5^Body temperature^LN||{rng.randrange(360, 395) / 10}|Cel|||||F"
                f"|||{occurred}",
                f"OBX|4|NM|8480-6^Systolic blood pressure^LN||{rng.randrange(95, 180)}|mm[Hg]|||||F"
                f"|||{occurred}",
            ]
        else:
            status = "F" if leaving else "W" if event in {"A06", "A08"} else "A"
            rest = [
                patient.nk1,
                pv1,
                pv2,
                patient.al1,
                f"DG1|1||{code}^{text}^I10|{text}|{_ts(visit.admitted)}|{status}",
                f"DG1|2||{visit.second[0]}^{visit.second[1]}^I10|{visit.second[1]}"
                f"|{_ts(visit.admitted)}|{status}",
                patient.gt1,
                patient.in1,
            ]
        return "\r".join([*head, *rest, ""]).encode()


DISORDER = ("out_of_order", "cancels", "merges")
"""Shares that make a mix as untidy as real feeds are."""

AVERAGE_VISIT = 4.4
"""Messages of a visit."""

TRANSFERS = 7
"""Of so many messages one is a transfer."""


def _segment(head: str, fields: dict[int, str]) -> str:
    texts = [head, *[""] * max(fields)]
    for place, text in fields.items():
        texts[place] = text
    return "|".join(texts)


def _ts(instant: datetime) -> str:
    return instant.strftime("%Y%m%d%H%M%S+0000")


def messages(count: int, seed: int = 1, patients: int = 10_000, **options: object) -> list[bytes]:
    """The first `count` messages of a mix."""
    mix = Mix(seed, patients, **options)  # type: ignore[arg-type]
    return [next(mix) for _ in range(count)]


if __name__ == "__main__":
    mix = Mix()
    sample = [next(mix) for _ in range(5000)]
    sizes = sorted(len(message) for message in sample)
    print("bytes: min", sizes[0], "mean", sum(sizes) // len(sizes), "max", sizes[-1])
    print("equal:", len(sample) - len(set(sample)), "events:", mix.counts)
    print("segments:", {message.count(b"\r") for message in sample})
    print(sample[-1].decode().replace("\r", "\n"))
