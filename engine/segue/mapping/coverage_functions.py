"""Named functions for insurance: IN1."""

from typing import Any

from segue.mapping.datatypes import DATATYPES
from segue.mapping.directory import organization
from segue.mapping.tables import Convert, Tools
from segue.mapping.values import Run

COVERAGE_CLASS = "http://terminology.hl7.org/CodeSystem/coverage-class"


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


def insured_name(tools: Tools) -> Convert:
    """IN1-16 as a display-only reference, where the insured is another person.

    >>> from segue.mapping.functions import example
    >>> example("insured_name", "DOE^JOHN")
    {'display': 'JOHN DOE'}
    """
    name = DATATYPES["XPN_text"](tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        if run.part(run.parts(run.field(17)), 1) in {"SEL", "S", "18"}:
            return None
        text = name(raw, run)
        return {"display": text} if text else None

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
