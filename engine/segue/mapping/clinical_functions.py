"""Named functions for observations and allergies: OBX, AL1, IAM."""

from typing import Any

from segue.mapping.datatypes import codeable_concept, decimal_of, quantity
from segue.mapping.directory import organization
from segue.mapping.tables import Convert, Tools, system_uri
from segue.mapping.values import Run

LOINC = "http://loinc.org"
TEXTS = frozenset({"", "ST", "TX", "FT"})
"""Types of OBX-2 whose repetitions are lines of one text."""

MEASURED = frozenset({"Quantity", "Range", "Ratio"})
"""Types of values that have units."""
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
        code, text, named = run.code(units, 1), run.part(units, 2), run.part(units, 3)
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
        made = valued(raw, run)
        if made is not None and made[0] not in MEASURED:
            run.leave(6)
        return made

    def valued(raw: str, run: Run) -> tuple[str, Any] | None:
        kind = run.text(run.field(2)) or "ST"
        if kind not in TEXTS and run.repetition in raw:
            return None  # several values are components
        if kind == "NM":
            text = run.part(run.parts(raw), 1)
            value = decimal_of(text, run) if text else None
            if value is None:
                return ("String", text) if text else None
            return "Quantity", united(value, run)
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
        # Text in several repetitions is one text of so many lines (HL7 v2.5.1 section 7.4.2.5).
        lines = [run.text(one.replace(run.component, " ")) for one in raw.split(run.repetition)]
        text = "\n".join(lines).strip()
        return ("String", text) if text else None

    return convert


def observation_components(tools: Tools) -> Convert:
    """A repetition of OBX-5, where there are several values, as a component.

    Its code is that of OBX-3. Repetitions of a text are its lines, and no components.

    >>> from segue.mapping.functions import example
    >>> example("observation_components", "72") is None
    True
    """
    value, concept = observation_value(tools), codeable_concept(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        if run.repetition not in run.field(5) or run.text(run.field(2)) in TEXTS:
            return None
        made, code = value(raw, run), concept(run.field(3), run)
        return {"code": code, f"value{made[0]}": made[1]} if made and code else None

    return convert


def further_causes(tools: Tools) -> Convert:
    """Repetitions of PDA-1 after the first: further causes of death, as components.

    Their code is another one than the Observation's, which has a value (obs-7).

    >>> from segue.mapping.functions import example
    >>> example("further_causes", "I46.9^Cardiac arrest") is None
    True
    """
    concept = codeable_concept(tools)
    name = "Other significant causes or conditions of death"
    code = {"coding": [{"system": LOINC, "code": "69441-4", "display": name}]}

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        if raw == run.first(run.field(1) or raw):
            return None
        value = concept(raw, run)
        return {"code": code, "valueCodeableConcept": value} if value else None

    return convert


def coded_component(tools: Tools, *, code: str, display: str) -> Convert:
    """CWE: a component of an Observation with a LOINC code.

    >>> from segue.mapping.functions import example
    >>> made = example("coded_component", "6220^Hospital", code="86188-0", display="Industry")
    >>> made["valueCodeableConcept"]["text"]
    'Hospital'
    """
    concept = codeable_concept(tools)
    kind = {"coding": [{"system": LOINC, "code": code, "display": display}]}

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        value = concept(raw, run)
        return {"code": kind, "valueCodeableConcept": value} if value else None

    return convert


def producer(tools: Tools) -> Convert:
    """OBX-15 (CWE): a reference to the Organization that made the observation.

    >>> from segue.mapping.functions import example
    >>> example("producer", "LAB7^Central lab")["display"]
    'Central lab'
    """
    named = organization(tools)

    def convert(raw: str, run: Run) -> Any:
        texts = run.texts(raw, 2)
        number, name = texts[0], texts[1] or texts[0]
        return named(run.component.join([name, "", number]), run)

    return convert


def onset(tools: Tools) -> Convert:
    """IAM-11, else the words of IAM-12, as onset[x].

    >>> from segue.mapping.functions import example
    >>> example("onset", "2019"), example("onset", "as a child")
    (('DateTime', '2019'), ('String', 'as a child'))
    """

    def convert(raw: str, run: Run) -> tuple[str, Any] | None:
        if raw[:4].isdigit():
            value = run.moment(raw)
            return ("DateTime", value.text) if value else None
        text = run.text(raw)
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
