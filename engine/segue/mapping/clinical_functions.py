"""Named functions for observations and allergies: OBX, AL1, IAM."""

from typing import Any

from segue.mapping.datatypes import codeable_concept, decimal_of, quantity
from segue.mapping.tables import Convert, Tools, system_uri
from segue.mapping.values import Run

VALUE_TYPES = ("Quantity", "CodeableConcept", "String", "DateTime", "Range", "Ratio", "Time")


def allergy_reaction(tools: Tools) -> Convert:
    """AL1-5 as a reaction, with the severity of AL1-4.

    >>> from segue.mapping.functions import example
    >>> example("allergy_reaction", "HIVES")
    {'manifestation': [{'text': 'HIVES'}]}
    """
    severities = tools.codes("HL70128_ReactionSeverity")

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        text = run.text(raw.replace(run.component, " "))
        if not text:
            return None
        made: dict[str, Any] = {"manifestation": [{"text": text}]}
        severity = severities.get(run.part(run.parts(run.field(4)), 1))
        if severity:
            made["severity"] = severity
        return made

    return convert


def observation_value(tools: Tools) -> Convert:
    """OBX-5 by the type of OBX-2 and the units of OBX-6: (`Quantity`, value).

    >>> from segue.mapping.functions import example
    >>> example("observation_value", "ALERT")
    ('String', 'ALERT')
    """
    concept = codeable_concept(tools)
    uri = system_uri(tools)
    plain = quantity(tools)

    def united(value: Any, run: Run) -> dict[str, Any]:
        made: dict[str, Any] = {"value": value}
        units = run.parts(run.first(run.field(6)))
        code, text, named = run.part(units, 1), run.part(units, 2), run.part(units, 3)
        if code or text:
            made["unit"] = text or code
        if code and named and (system := uri(named, run)):
            made["system"] = system
            made["code"] = code
        return made

    def structured(raw: str, run: Run) -> tuple[str, Any] | None:
        parts = run.parts(raw)
        sign, low, between, high = (run.part(parts, n) for n in (1, 2, 3, 4))
        first = decimal_of(low, run) if low else None
        second = decimal_of(high, run) if high else None
        if between == "-" and first is not None and second is not None:
            return "Range", {"low": united(first, run), "high": united(second, run)}
        if between in {":", "/"} and first is not None and second is not None:
            return "Ratio", {"numerator": united(first, run), "denominator": {"value": second}}
        if first is None:
            return None
        made = united(first, run)
        if sign in {"<", "<=", ">", ">="}:
            made["comparator"] = sign
        return "Quantity", made

    def convert(raw: str, run: Run) -> tuple[str, Any] | None:
        kind = run.text(run.field(2)) or "ST"
        if kind == "NM":
            value = decimal_of(run.part(run.parts(raw), 1), run)
            return None if value is None else ("Quantity", united(value, run))
        if kind in {"CWE", "CE", "CNE", "CF"}:
            coded = concept(raw, run)
            return ("CodeableConcept", coded) if coded else None
        if kind == "SN":
            return structured(raw, run)
        if kind == "CQ":
            counted = plain(raw, run)
            return ("Quantity", counted) if counted else None
        if kind in {"DT", "DTM", "TS"}:
            at = run.moment(raw)
            return ("DateTime", at.text) if at else None
        if kind == "TM":
            text = run.part(run.parts(raw), 1)
            if len(text) >= 4 and text[:4].isdigit():
                second = text[4:6] if text[4:6].isdigit() else "00"
                return "Time", f"{text[:2]}:{text[2:4]}:{second}"
            return None
        text = run.text(raw.replace(run.component, " "))
        return ("String", text) if text else None

    return convert


def reference_range(tools: Tools) -> Convert:
    """OBX-7 as a reference range in words.

    >>> from segue.mapping.functions import example
    >>> example("reference_range", "3.5-5.1")
    {'text': '3.5-5.1'}
    """

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        text = run.text(raw)
        return {"text": text} if text else None

    return convert
