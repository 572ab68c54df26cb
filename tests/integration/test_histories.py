"""Histories of one patient whose messages come with holes, nulls and deletions: none fails.

A message that fails takes all that it says with it, a discharge too; so nothing that earlier
messages left may make a later one's resources wrong.
"""

import json
from pathlib import Path
from random import Random

import pytest

from segue.pipeline.process import process
from tests.support.corpus import clinical, patient, visit
from tests.support.hub import hub

KINDS = {
    "ADT": ("A01", "A02", "A03", "A04", "A05", "A06", "A08", "A11", "A13", "A31", "A60"),
    "SIU": ("S12", "S13", "S14", "S15", "S17", "S26"),
    "ORU": ("R01",),
    "MDM": ("T02", "T08", "T10", "T11"),
    "PPR": ("PC1", "PC2", "PC3"),
    "REF": ("I12", "I13", "I14"),
}
SEGMENTS = {
    "ADT": (
        *clinical(),
        "IAM|1|DA|P^PENICILLIN^L|SV|HIVES|A|I1||||20200101||20260705|SISTER|||C",
        "DG1|2||E11.9^Diabetes^I10|Sugar|20260705|F|||||||||1|9^HIBBERT||N|20260705|D1|A",
        "DG1|3||J18.9^Pneumonia^I10",
        "DG1|3||J18.9^Pneumonia^I10" + "|" * 18 + "D",
        "IAM|2|DA|L^LATEX^L|||A",
        "IAM|2|DA|L^LATEX^L|||D",
        "DB1|1|PT||Y|20260101",
        "PDA|^Old age||Y|20260709",
    ),
    "SIU": (
        "SCH|P1|F1||||^Ill|^CHECKUP||30|min|^^30^20260716100000||||||||||||||Booked",
        "AIS|1|A|99213^Visit^C4|20260716100000||||30|min",
        "AIP|1|A|77^CUT^SAM|||20260716100000|||30|min||Confirmed",
    ),
    "ORU": (
        "OBR|1|P1|F1|24323-8^CMP^LN|||20260705|||||||||||||||20260705120000|||F",
        "OBX|1|NM|2345-7^Glucose^LN||99|mg/dL|70-110|H|||F|||20260705",
    ),
    "MDM": (
        "TXA|1|DS|TX|20260705||||||||D1^HOSPA|||||AU||AV",
        "OBX|1|TX|18842-5^Summary^LN||Home||||||F",
    ),
    "PPR": (
        "PRB|AD|20260705|I10^Pressure^I10|P1^HOSPA|||20260701||||||A^Active^L|C^Confirmed^L",
        "PRB|DE|20260705|I10^Pressure^I10|P1^HOSPA",
        "GOL|AD|20260705|G^Lower^L|G1^HOSPA",
    ),
    "REF": (
        "RF1|A|R|LAB^Laboratory|SO^Opinion||R1^HOSPA|20260705|20260805|20260701|^Why",
        "PRD|RP|REFER^RITA|||||77",
        "DG1|1||I10^Pressure^I10",
    ),
}
SAID = ("", "", '""', '""', "D", "DE", "A", "X", "E", "N", "20260230", "0")


def spoilt(random: Random, line: str) -> str:
    """The segment with holes, nulls and other words in some of its fields."""
    name, *fields = line.split("|")
    return "|".join([name, *(random.choice(SAID) if random.random() < 0.2 else f for f in fields)])


def message(random: Random, day: int) -> str:
    kind = random.choice(("ADT", "ADT", *KINDS))
    event = random.choice(KINDS[kind])
    at = f"202607{day:02}{random.randrange(10, 20)}0000-0400"
    lines = [line for line in SEGMENTS[kind] if random.random() < 0.6]
    person, care = patient(1)
    who = spoilt(random, person).split("|")
    who[3] = "101^^^HOSPA^MR"
    stay = spoilt(random, visit(1)).split("|")
    stay[19] = "V1^^^HOSPA^VN"
    head = [rf"MSH|^~\&|X|HOSPA|HUB|HIE|{at}||{kind}^{event}|{day}|P|2.5.1", f"EVN|{event}|{at}"]
    body = ["|".join(who), care, "|".join(stay), *(spoilt(random, line) for line in lines)]
    if kind in ("SIU", "REF"):
        body = [*body[3:], *body[:3]]
    return "".join(f"{line}\r" for line in [*head, *body])


@pytest.mark.parametrize("seed", range(12))
def test_no_history_makes_a_message_fail(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    with hub(tmp_path) as bench:
        for day in range(1, 25):
            entry = bench.entry(message(random, day))
            process(bench.hub, [entry])
            state, issues = bench.exceptions().get(entry.id, ("processed", "[]"))
            assert state != "failed", (day, json.loads(issues))
