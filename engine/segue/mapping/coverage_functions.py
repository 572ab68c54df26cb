"""Named functions for insurance: IN1, IN2."""

from typing import Any

from segue.mapping.datatypes import DATATYPES, IDENTIFIER_TYPE, decimal_of
from segue.mapping.directory import organization
from segue.mapping.tables import NOTHING, Convert, Tools
from segue.mapping.values import Run

SELF = frozenset({"SEL", "SELF", "S", "18"})
"""How senders say that somebody is the patient: table 0063, and the payers' own codes."""

COVERAGE_CLASS = "http://terminology.hl7.org/CodeSystem/coverage-class"

DEDUCTIBLE = {
    "system": "http://terminology.hl7.org/CodeSystem/coverage-copay-type",
    "code": "deductible",
}


def organization_of_plan(tools: Tools) -> Convert:
    """IN1-4, else the company id of IN1-3: the payor.

    >>> from segue.mapping.functions import example
    >>> example("organization_of_plan", "PAYX")["display"]
    'PAYX'
    """
    named = organization(tools)

    def convert(raw: str, run: Run) -> Any:
        company = run.first(run.field(4))
        number = run.first(run.field(3))
        if company.strip(run.blank) or not run.fields:
            parts = (company or raw).split(run.component)
            ids = run.parts(number)
            if run.part(ids, 1) and not (run.part(parts, 3) or run.part(parts, 10)):
                parts += [""] * (10 - len(parts))
                parts[9] = ids[0]
                if len(ids) > 3:
                    parts[5] = ids[3]
            return named(run.component.join(parts), run)
        ids = run.parts(number or raw)
        if not run.part(ids, 1):
            return None
        parts = [ids[0], "", "", "", "", ids[3] if len(ids) > 3 else "", "", "", "", ids[0]]
        return named(run.component.join(parts), run)

    return convert


def subscriber(tools: Tools, *, map: str) -> Convert:  # noqa: A002
    """IN1-16 as a reference to the insured, where that is another person.

    Args:
        map: that makes a RelatedPerson of the insured; where it made none, the
            reference says no more than the name.

    >>> from segue.mapping.functions import example
    >>> example("subscriber", "DOE^JOHN", map="IN1_Subscriber")
    {'display': 'JOHN DOE'}
    """
    name = DATATYPES["XPN_text"](tools)

    def convert(raw: str, run: Run) -> Any:
        if run.part(run.parts(run.field(17)), 1) in SELF:
            return NOTHING
        text = name(raw, run)
        if not text:
            return None
        made = run.made.get(map)
        return {"reference": made, "display": text} if made else {"display": text}

    return convert


def policy_holder(tools: Tools) -> Convert:
    """IN1-11, with the number of IN1-10: the group's employer, by name and number.

    >>> from segue.mapping.functions import example
    >>> example("policy_holder", "ACME CORP")
    {'display': 'ACME CORP'}
    """
    number = DATATYPES["CX"](tools, assigned=False)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        made: dict[str, Any] = {}
        sent = run.first(run.field(10))
        if sent and (identifier := number(sent, run)):
            made["identifier"] = identifier
        text = run.part(run.parts(run.first(run.field(11) if run.fields else raw)), 1)
        if text:
            made["display"] = text
        return made or None

    return convert


def numbered(tools: Tools, *, type: str) -> Convert:  # noqa: A002
    """ST: an Identifier of a type of table 0203, of which nobody says who assigned it.

    >>> from segue.mapping.functions import example
    >>> example("numbered", "1EG4-TE5-MK73", type="MC")["value"]
    '1EG4-TE5-MK73'
    """

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        value = run.part(run.parts(raw), 1)
        if not value:
            return None
        return {"type": {"coding": [{"system": IDENTIFIER_TYPE, "code": type}]}, "value": value}

    return convert


def deductible(tools: Tools) -> Convert:
    """IN1-38 (CP): what the patient pays first, as Coverage.costToBeneficiary.

    >>> from segue.mapping.functions import example
    >>> example("deductible", "500.50&USD")["valueMoney"]
    {'value': Decimal('500.50'), 'currency': 'USD'}
    """

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        price = run.parts(raw)[0].split(run.subcomponent)
        value = decimal_of(run.text(price[0]), run)
        if value is None:
            return None
        money: dict[str, Any] = {"value": value}
        currency = run.text(price[1]) if len(price) > 1 else ""
        if len(currency) == 3 and currency.isalpha():
            money["currency"] = currency.upper()
        return {"type": {"coding": [DEDUCTIBLE]}, "valueMoney": money}

    return convert


def coverage_class(tools: Tools, *, type: str, name: int = 0) -> Convert:  # noqa: A002
    """A Coverage class; `name` is the field that names it.

    >>> from segue.mapping.functions import example
    >>> example("coverage_class", "GRP1", type="group")["value"]
    'GRP1'
    """

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        value = run.part(run.parts(raw), 1)
        if not value:
            return None
        made: dict[str, Any] = {
            "type": {"coding": [{"system": COVERAGE_CLASS, "code": type}]},
            "value": value,
        }
        text = run.part(run.parts(run.field(name)), 1) if name else ""
        if text:
            made["name"] = text
        return made

    return convert
