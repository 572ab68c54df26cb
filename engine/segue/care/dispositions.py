"""What a discharge disposition (PV1-36) means for care.

Codes are the numbers of the NUBC patient discharge status; the grouping is ours.
81 to 95 are the base codes with a planned readmission.
"""

from functools import lru_cache
from typing import Literal

Meaning = Literal[
    "community",
    "ama",
    "unknown",
    "acute",
    "snf",
    "rehab",
    "long-term",
    "psychiatric",
    "hospice-home",
    "hospice-facility",
    "expired",
    "law-enforcement",
    "other-facility",
    "not-discharged",
]

IN_FACILITY: frozenset[Meaning] = frozenset({"snf", "rehab", "long-term", "psychiatric"})
"""Places from which the person will yet come home."""

STATUS_OF = {
    "home": "01",
    "alt-home": "01",
    "other-hcf": "02",
    "snf": "03",
    "long": "04",
    "aadvice": "07",
    "exp": "20",
    "hosp": "50",
    "rehab": "62",
    "psy": "65",
}
"""http://terminology.hl7.org/CodeSystem/discharge-disposition to the NUBC status."""

_MEANINGS: dict[str, Meaning] = {
    "01": "community",
    "02": "acute",
    "03": "snf",
    "04": "long-term",
    "05": "acute",
    "06": "community",
    "07": "ama",
    "08": "community",
    "09": "not-discharged",
    "20": "expired",
    "21": "law-enforcement",
    "30": "not-discharged",
    "40": "expired",
    "41": "expired",
    "42": "expired",
    "43": "acute",
    "50": "hospice-home",
    "51": "hospice-facility",
    "61": "snf",
    "62": "rehab",
    "63": "long-term",
    "64": "long-term",
    "65": "psychiatric",
    "66": "acute",
    "69": "community",
    "70": "other-facility",
}

_PLANNED = {
    "81": "01",
    "82": "02",
    "83": "03",
    "84": "04",
    "85": "05",
    "86": "06",
    "87": "21",
    "88": "43",
    "89": "61",
    "90": "62",
    "91": "63",
    "92": "64",
    "93": "65",
    "94": "66",
    "95": "70",
}


@lru_cache(maxsize=512)
def meaning(code: str | None) -> Meaning:
    """The meaning of a disposition; blank and local codes are `unknown`.

    >>> meaning("1"), meaning("03"), meaning("83"), meaning(None), meaning("HOMESELF")
    ('community', 'snf', 'snf', 'unknown', 'unknown')
    """
    if not code:
        return "unknown"
    padded = code.strip().zfill(2)
    return _MEANINGS.get(_PLANNED.get(padded, padded), "unknown")
