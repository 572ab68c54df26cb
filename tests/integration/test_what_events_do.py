"""What each of the 57 ADT events does, as real messages: one line for each.

The table is HL7 v2 chapter 3 as docs/reference/events.md has it. A line is a history, with
the event as its last message, and what is stored then.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from segue.hl7v2.events import structure_of
from segue.model.events import EVENTS
from tests.support.hub import Bench, hub


class Said:
    """A message of an event; what is not said is that of patient 1 in bed A, visit V1."""

    def __init__(
        self,
        event: str,
        day: int,
        *,
        of: int = 0,
        bed: str = "A",
        kind: str = "I",
        number: str = "V1",
        who: str = "1",
        more: tuple[str, ...] = (),
        visit: bool = True,
        **fields: str,
    ) -> None:
        """`day` of July is when it was sent and happened; `of` the day of what it cancels."""
        self.event, self.day, self.of = event, day, of
        self.who, self.more = who, more
        said = {2: kind, 3: bed, 7: "9^HIBBERT", 19: f"{number}^^^HOSPA^VN"}
        said |= {int(name.removeprefix("pv1_")): value for name, value in fields.items()}
        self.pv1 = pv1(said) if visit else ""

    def text(self, structure: str) -> str:
        happened = f"202607{self.of or self.day:02}0900"
        lines = [
            rf"MSH|^~\&|ADT|HOSPA|HUB|HIE|202607{self.day:02}0905||ADT^{self.event}{structure}"
            f"|{self.event}{self.day}{self.who}|P|2.5.1",
            f"EVN|{self.event}|202607{self.day:02}0905||||{happened}",
            f"PID|1||{self.who}^^^HOSPA^MR||DOE^J{self.who}|||||||||||||ACC{self.who}"
            if self.event != "A20"
            else "",
            *((self.more[0],) if self.more[:1] and self.more[0][:3] == "MRG" else ()),
            self.pv1,
            *(self.more[1:] if self.more[:1] and self.more[0][:3] == "MRG" else self.more),
        ]
        return "".join(f"{line}\r" for line in lines if line)


def pv1(said: dict[int, str]) -> str:
    return "PV1|" + "|".join(said.get(n, "") for n in range(1, max(said) + 1))


IN, ED, PLAN = {"kind": "I"}, {"kind": "E"}, {"kind": "P"}
ADMIT = Said("A01", 5)
OTHER = Said("A01", 5, who="2", number="V2", bed="B")
MRG = "MRG|2^^^HOSPA^MR||ACC2||V2^^^HOSPA^VN|ALT"
GOES = {"more": (MRG,), "visit": False}
SECOND = "PID|2||2^^^HOSPA^MR||DOE^J2"
OLD_BED = pv1({2: "I", 3: "A", 19: "V2^^^HOSPA^VN"})

STAYS = "V1 in-progress IMP [A]"
ROWS: dict[str, tuple[list[Said], str]] = {
    "A01": ([Said("A05", 1, **PLAN, bed="C"), ADMIT], "V1 in-progress IMP<PRENC [A 05-], planned"),
    "A02": ([ADMIT, Said("A02", 6, bed="B")], "V1 in-progress IMP [A 05-06, B 06-]"),
    "A03": ([ADMIT, Said("A03", 6, pv1_36="01")], "V1 finished IMP home [A 05-06], in-progress"),
    "A04": ([Said("A04", 5, **ED)], "V1 in-progress EMER [A 05-]"),
    "A05": ([Said("A05", 5, **PLAN)], "V1 planned PRENC [A planned]"),
    "A06": ([Said("A04", 5, **ED), Said("A06", 6)], "V1 in-progress IMP<EMER [A 05-]"),
    "A07": ([ADMIT, Said("A07", 6, kind="O")], "V1 in-progress AMB<IMP [A 05-]"),
    "A08": ([ADMIT, Said("A08", 6, pv1_10="SUR")], "V1 in-progress IMP SUR [A 05-]"),
    "A09": ([ADMIT, Said("A09", 6, pv1_11="XR")], "V1 in-progress IMP [A 05-, XR 06-]"),
    "A10": ([ADMIT, Said("A10", 6, pv1_11="XR")], "V1 in-progress IMP [A 05-, XR 06-]"),
    "A11": ([ADMIT, Said("A11", 6, of=5)], "V1 cancelled IMP [], in-progress"),
    "A12": ([ADMIT, Said("A02", 6, bed="B"), Said("A12", 7, of=6)], "V1 in-progress IMP [A 05-]"),
    "A13": (
        [ADMIT, Said("A03", 6, pv1_36="01"), Said("A13", 7, of=6, bed="D")],
        "V1 in-progress IMP [A 05-07, D 07-], in-progress, finished",
    ),
    "A14": ([Said("A14", 5, **PLAN)], "V1 planned PRENC [A planned]"),
    "A15": ([ADMIT, Said("A15", 6, pv1_42="B")], "V1 in-progress IMP [A 05-, B planned]"),
    "A16": (
        [ADMIT, Said("A16", 6, more=("PV2|||||||||202607090900",))],
        "V1 in-progress IMP until 09 [A 05-]",
    ),
    "A17": (
        [ADMIT, OTHER, Said("A17", 6, bed="B", more=(SECOND, OLD_BED))],
        "V1 in-progress IMP [A 05-06, B 06-]; V2 in-progress IMP [B 05-06, A 06-]",
    ),
    "A18": ([OTHER, Said("A18", 6, **GOES)], "1 replaces 2; ACC2 inactive in ACC1; V2 of 1"),
    "A20": ([Said("A20", 6, visit=False, more=("NPU|A|H",))], "A is H"),
    "A21": ([ADMIT, Said("A21", 6)], "V1 onleave IMP [A 05-], in-progress"),
    "A22": (
        [ADMIT, Said("A21", 6), Said("A22", 7)],
        "V1 in-progress IMP [A 05-], in-progress, onleave",
    ),
    "A23": ([ADMIT, Said("A23", 6)], "V1 entered-in-error IMP [], in-progress"),
    "A24": ([ADMIT, OTHER, Said("A24", 6, visit=False, more=(SECOND,))], "1 replaces 2; V2 of 1"),
    "A25": (
        [ADMIT, Said("A16", 6, more=("PV2|||||||||202607090900",)), Said("A25", 7, of=6)],
        "V1 in-progress IMP [A 05-]",
    ),
    "A26": (
        [ADMIT, Said("A15", 6, pv1_42="B"), Said("A26", 7, of=6)],
        "V1 in-progress IMP [A 05-]",
    ),
    "A27": (
        [Said("A14", 5, **PLAN), Said("A27", 6, of=5, **PLAN)],
        "V1 cancelled PRENC [], planned",
    ),
    "A28": ([Said("A28", 6, kind="P")], "1; no visit"),
    "A29": ([Said("A28", 5, kind="N"), Said("A29", 6, visit=False)], "1 inactive; no visit"),
    "A30": ([OTHER, Said("A30", 6, **GOES)], "1 replaces 2; V2 of 1"),
    "A31": ([ADMIT, Said("A31", 6, bed="B", kind="O")], "1; V1 in-progress IMP [A 05-]"),
    "A32": (
        [ADMIT, Said("A10", 6, pv1_11="XR"), Said("A32", 7, of=6)],
        "V1 in-progress IMP [A 05-]",
    ),
    "A33": (
        [ADMIT, Said("A09", 6, pv1_11="XR"), Said("A33", 7, of=6)],
        "V1 in-progress IMP [A 05-]",
    ),
    "A34": ([OTHER, Said("A34", 6, **GOES)], "1 replaces 2; ACC2 active; V2 of 1"),
    "A35": ([OTHER, Said("A35", 6, **GOES)], "1; 2; ACC2 inactive in ACC1; V2 of 2"),
    "A36": ([OTHER, Said("A36", 6, **GOES)], "1 replaces 2; ACC2 inactive in ACC1; V2 of 1"),
    "A37": (
        [ADMIT, OTHER, Said("A24", 6, visit=False, more=(SECOND,)),
         Said("A37", 7, visit=False, more=(SECOND,))],
        "1; 2; V2 of 2",
    ),
    "A38": (
        [Said("A05", 5, **PLAN), Said("A38", 6, of=5, **PLAN)],
        "V1 cancelled PRENC [], planned",
    ),
    "A39": ([OTHER, Said("A39", 6, **GOES)], "1 replaces 2; V2 of 1"),
    "A40": ([OTHER, Said("A40", 6, **GOES)], "1 replaces 2; ACC2 active; V2 of 1"),
    "A41": ([OTHER, Said("A41", 6, **GOES)], "1; 2; ACC2 inactive in ACC1; V2 of 2"),
    "A42": (
        [ADMIT, Said("A01", 5, number="V2"), Said("A42", 6, more=("MRG|1||||V2",))],
        "V1=V2 in-progress IMP [A 05-]; V2 entered-in-error IMP [A 05-]",
    ),
    "A43": (
        [OTHER, Said("A43", 6, who="3", more=("MRG|2",), visit=False)],
        "3 replaces 2; V2 of 3",
    ),
    "A44": ([ADMIT, OTHER, Said("A44", 6, **GOES)], "1; 2; ACC2 of 1; V2 of 1; V1 of 1"),
    "A45": (
        [ADMIT, OTHER, Said("A45", 6, number="V2", bed="B", more=(MRG,))],
        "1; 2; V1 of 1; V2 of 1",
    ),
    "A46": ([OTHER, Said("A46", 6, **GOES)], "1=2; V2 of 1"),
    "A47": ([OTHER, Said("A47", 6, **GOES)], "1=2; V2 of 1"),
    "A48": ([OTHER, Said("A48", 6, **GOES)], "1=2; V2 of 1"),
    "A49": (
        [ADMIT, Said("A49", 6, more=("MRG|1||ACC0",), visit=False)],
        "1; ACC0 inactive in ACC1; ACC1 active",
    ),
    "A50": (
        [ADMIT, Said("A50", 6, number="V7", more=("MRG|1||||V1",))],
        "V7=V1 in-progress IMP [A 05-]",
    ),
    "A51": (
        [ADMIT, Said("A51", 6, pv1_50="ALT2", more=("MRG|1|||||ALT",))],
        "V1=ALT2 in-progress IMP [A 05-]",
    ),
    "A52": (
        [ADMIT, Said("A21", 6), Said("A52", 7, of=6)],
        "V1 in-progress IMP [A 05-], in-progress, onleave",
    ),
    "A53": (
        [ADMIT, Said("A21", 6), Said("A22", 7), Said("A53", 8, of=7)],
        "V1 onleave IMP [A 05-], in-progress, onleave, in-progress",
    ),
    "A54": (
        [ADMIT, Said("A54", 6, pv1_7="8^ROE")],
        "V1 by ATND HIBBERT 05-06, ATND ROE 06-",
    ),
    "A55": (
        [ADMIT, Said("A54", 6, pv1_7="8^ROE"), Said("A55", 7, of=6)],
        "V1 by ATND HIBBERT 05-",
    ),
    "A60": (
        [ADMIT, Said("A60", 6, bed="B", more=("IAM|1||^PENICILLIN|||A",))],
        "V1 in-progress IMP [A 05-]; allergic to PENICILLIN",
    ),
    "A61": (
        [ADMIT, Said("A61", 6, pv1_9="8^ROE")],
        "V1 by ATND HIBBERT 05-, CON ROE 06-",
    ),
    "A62": (
        [ADMIT, Said("A61", 6, pv1_9="8^ROE"), Said("A62", 7, of=6)],
        "V1 by ATND HIBBERT 05-",
    ),
}  # fmt: skip


def test_the_table_has_all_events() -> None:
    assert set(ROWS) == set(EVENTS)
    assert all(history[-1].event == code for code, (history, _) in ROWS.items())


@pytest.mark.parametrize("code", ROWS)
def test_the_event_does_what_the_table_says(code: str, tmp_path: Path) -> None:
    history, expected = ROWS[code]
    with hub(tmp_path) as bench:
        for said in history:
            bench.process(said.text(f"^{structure_of(said.event, version='2.5.1')}"))
        found = picture(bench)
        missing = [line for line in expected.split("; ") if line not in found]
        assert missing == [], found
        assert bench.exceptions() == {}


def day(period: dict[str, Any]) -> str:
    if not period:
        return ""
    return f" {period.get('start', '')[8:10]}-{period.get('end', '')[8:10]}"


def values(resource: dict[str, Any]) -> list[str]:
    return [one["value"] for one in resource.get("identifier", ())]


def picture(bench: Bench) -> list[str]:
    """What is stored, a line for each thing that a row can speak of."""
    patients = {one["id"]: one for one in bench.resources("Patient")}
    accounts = {one["id"]: values(one)[0] for one in bench.resources("Account")}
    names = {key: values(one)[0] for key, one in patients.items()}
    lines = [line for one in patients.values() for line in of_patient(one, names)]
    for one in bench.resources("Account"):
        name, home = accounts[one["id"]], one.get("partOf", {}).get("reference", "")
        lines.append(f"{name} {one['status']}")
        if home:
            lines.append(f"{lines[-1]} in {accounts[home[8:]]}")
        lines += [f"{name} of {names[who['reference'][8:]]}" for who in one["subject"]]
    visits = bench.resources("Encounter")
    for one in visits:
        lines += [*of_visit(one), f"{values(one)[0]} of {names[one['subject']['reference'][8:]]}"]
    for one in bench.resources("AllergyIntolerance"):
        lines.append(
            f"allergic to {one['code'].get('text') or one['code']['coding'][0]['display']}"
        )
    for one in bench.resources("Location"):
        if "operationalStatus" in one:
            lines.append(f"{one['name']} is {one['operationalStatus']['code']}")
    return sorted([*lines, *([] if visits else ["no visit"])])


def of_patient(patient: dict[str, Any], names: dict[str, str]) -> Iterable[str]:
    name = names[patient["id"]]
    links = [one for one in patient.get("link", ()) if one["type"] == "replaces"]
    if patient.get("active") is not False:
        yield name if not links else f"{name} and others"
        yield "=".join(values(patient))
    elif "link" not in patient:
        yield f"{name} inactive"
    for link in links:
        yield f"{name} replaces {names[link['other']['reference'][8:]]}"


def of_visit(visit: dict[str, Any]) -> Iterable[str]:
    name = values(visit)[0]
    words = ["=".join(values(visit)), visit["status"]]
    words.append(
        "<".join(
            [visit["class"]["code"]]
            + [one["class"]["code"] for one in reversed(visit.get("classHistory", ()))]
        )
    )
    if "serviceType" in visit:
        words.append(visit["serviceType"]["coding"][0]["code"])
    hospitalization = visit.get("hospitalization", {})
    if "dischargeDisposition" in hospitalization:
        words.append(hospitalization["dischargeDisposition"]["coding"][0]["code"])
    for extension in visit.get("extension", ()):
        if extension["url"].endswith("plannedEndDate"):
            words.append(f"until {extension['valueDateTime'][8:10]}")
    places = [
        one["location"]["display"]
        + (" planned" if one["status"] == "planned" else day(one.get("period", {})))
        for one in visit.get("location", ())
    ]
    history = [f", {one['status']}" for one in visit.get("statusHistory", ())]
    yield f"{' '.join(words)} [{', '.join(places)}]{''.join(history)}"
    doctors = [
        f"{one['type'][0]['coding'][0]['code']} {one['individual']['display']}{day(one['period'])}"
        for one in visit.get("participant", ())
    ]
    yield f"{name} by {', '.join(doctors)}"
