"""What went wrong, or was repaired, on the way: expected, so returned and not raised."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "information"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding about an input.

    Attributes:
        severity: `error` means that something was not used.
        code: a short kebab-case word that tools can match, `unknown-code`.
        where: the place in the input, `PV1-36` or `Patient.name[0]`.
        text: a sentence for a person; never holds patient data.
        rule: the mapping rule that found it, `core/PV1_Encounter.disposition`, or "".
    """

    severity: Severity
    code: str
    where: str
    text: str
    rule: str = ""
