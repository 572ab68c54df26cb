"""Numbers and quantities as a search compares them.

Source: https://hl7.org/fhir/R4/search.html#number, https://hl7.org/fhir/R4/search.html#quantity
"""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from segue.fhir.search.conditions import Prefix

PREFIXES: tuple[Prefix, ...] = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_MOST_DIGITS = 40


@dataclass(frozen=True, slots=True)
class Amount:
    """A number that is searched for, with its unit.

    Attributes:
        value: as it was written; `low` and `high` are half a digit around it.
        system: of the unit; "" for any.
        code: of the unit, or the unit as it is printed; "" for any.
    """

    prefix: Prefix
    value: Decimal
    low: Decimal
    high: Decimal
    system: str = ""
    code: str = ""

    def fits(self, low: Decimal | None, high: Decimal | None) -> bool:
        """Whether a value from `low` to `high` is meant; None: no bound on that side.

        >>> amount("7.0").fits(Decimal("7.04"), Decimal("7.04"))
        True
        >>> amount("gt7").fits(Decimal(6), None)
        True
        """
        reaches = None if high is None else high
        match self.prefix:
            case "eq":
                inside = low is not None and high is not None
                return inside and low >= self.low and high < self.high  # type: ignore[operator]
            case "ne":
                return not (
                    low is not None and high is not None and low >= self.low and high < self.high
                )
            case "gt":
                return reaches is None or reaches > self.value
            case "lt":
                return low is None or low < self.value
            case "ge":
                return reaches is None or reaches >= self.value
            case "le":
                return low is None or low <= self.value
            case "sa":
                return low is not None and low > self.value
            case "eb":
                return reaches is not None and reaches < self.value
            case "ap":
                tenth = abs(self.value) / 10
                below = low is None or low <= self.value + tenth
                return below and (reaches is None or reaches >= self.value - tenth)

    def measures(self, unit: dict[str, Any]) -> bool:
        """Whether a Quantity is in the unit that is asked for.

        >>> amount("5", code="mg").measures({"unit": "mg"})
        True
        """
        if self.system and unit.get("system") != self.system:
            return False
        if not self.code:
            return True
        names = (unit.get("code"), unit.get("currency"))
        return self.code in (names if self.system else (*names, unit.get("unit")))


def amount(text: str, system: str = "", code: str = "") -> Amount:
    """Read a number with its prefix.

    Raises:
        ValueError: it is not a number, or one of absurd length.

    >>> amount("ap100").prefix, amount("100").low, amount("5.40").high
    ('ap', Decimal('99.5'), Decimal('5.405'))
    """
    prefix: Prefix = "eq"
    for one in PREFIXES:
        if text.startswith(one):
            prefix, text = one, text[2:]
            break
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        value = Decimal("NaN")
    exponent = value.as_tuple().exponent
    if isinstance(exponent, str) or len(text) > _MOST_DIGITS or abs(exponent) > _MOST_DIGITS:
        message = "not a number"
        raise ValueError(message)
    half = Decimal(5).scaleb(exponent - 1)
    return Amount(prefix, value, value - half, value + half, system, code)


def bounds(value: Any, datatype: str) -> tuple[Decimal | None, Decimal | None] | None:
    """The lowest and the highest number that a value stands for; None for no number.

    >>> bounds({"low": {"value": 3}}, "Range")
    (Decimal('3'), None)
    """
    if datatype == "Range":
        if not isinstance(value, dict):
            return None
        low, high = (_number(value.get(end)) for end in ("low", "high"))
        return None if low is None and high is None else (low, high)
    if not isinstance(value, dict):
        found = _plain(value)
        return None if found is None else (found, found)
    found = _number(value)
    if found is None:
        return None
    comparator = value.get("comparator", "")
    return (
        None if comparator.startswith("<") else found,
        None if comparator.startswith(">") else found,
    )


def _number(quantity: Any) -> Decimal | None:
    return _plain(quantity.get("value")) if isinstance(quantity, dict) else None


def _plain(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    return value if isinstance(value, Decimal) else Decimal(str(value))
