"""S11: the messages of one stay, in any order, some twice, one of them stale."""

from tests.stories.messages import adt
from tests.stories.s01 import DM, HF

INSTANT = "2026-07-10T15:30:00-04:00"


def messages() -> dict[str, str]:
    """A04, A06, A02, A03 and a stale A08, by short name."""
    return {
        "A04": adt("A04", "2026-07-05 08:12", "S11-1", patient_class="E", place="ED^1^1"),
        "A06": adt(
            "A06", "2026-07-05 13:42", "S11-2", place="4W^412^1", diagnoses=[HF],
            occurred="2026-07-05 13:40", admitted="2026-07-05 13:40",
        ),
        "A02": adt(
            "A02", "2026-07-06 09:05", "S11-3", place="CCU^1^1", prior_place="4W^412^1",
        ),
        "A03": adt(
            "A03", "2026-07-10 14:05", "S11-4", place="CCU^1^1", diagnoses=[HF, DM],
            admitted="2026-07-05 13:40", discharged="2026-07-10 14:05", disposition="01",
        ),
        "A08": adt(
            "A08", "2026-07-06 09:00", "S11-5", place="4W^412^1", sent="2026-07-10 15:00",
        ),
    }  # fmt: skip


def correction() -> str:
    """A late A08 that moves the discharge to the evening before."""
    return adt(
        "A08", "2026-07-10 16:00", "S11-6", place="CCU^1^1", diagnoses=[HF, DM],
        admitted="2026-07-05 13:40", discharged="2026-07-09 23:50", disposition="01",
    )  # fmt: skip


CORRECTED = [
    "bill-tcm 2026-08-08 draft",
    "contact 2026-07-13 requested",
    "med-rec 2026-07-16 requested",
    "send-dc-info 2026-07-11 requested",
    "surveillance 2026-07-12 requested",
    "surveillance 2026-07-16 requested",
    "surveillance 2026-07-23 requested",
    "surveillance 2026-07-30 requested",
    "surveillance 2026-08-08 requested",
    "tcm-records 2026-07-13 requested",
    "visit 2026-07-16 requested",
]
