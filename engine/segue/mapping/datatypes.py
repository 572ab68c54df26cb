"""HL7 v2 datatypes as FHIR datatypes, each compiled once with its options and tables.

Source: HL7 v2-to-FHIR implementation guide, data type maps; HL7 v2.5.1 ch. 2A. A
datatype takes one repetition as sent and gives a FHIR value, or None where `^^` or
blanks hold nothing. HL7 null is settled before a datatype is asked.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from segue.mapping.tables import V2_SYSTEM, Convert, Tools, system_uri
from segue.mapping.values import Run

Factory = Callable[..., Convert]

IDENTIFIER_TYPE = V2_SYSTEM + "0203"
VISIT_NUMBER = "VN"
US_SSN = "http://hl7.org/fhir/sid/us-ssn"


def string(tools: Tools) -> Convert:
    """ST, TX, FT: text without escapes."""

    def convert(raw: str, run: Run) -> str | None:
        text = run.text(raw.replace(run.component, " "))
        return text if text.strip(run.blank) else None

    return convert


def coded_value(tools: Tools) -> Convert:
    """ID, IS and the first component of CWE: the code as sent."""

    def convert(raw: str, run: Run) -> str | None:
        return run.part(run.parts(raw), 1) or None

    return convert


def number(tools: Tools) -> Convert:
    """NM, SI: a number, exact."""

    def convert(raw: str, run: Run) -> int | Decimal | None:
        text = run.part(run.parts(raw), 1)
        return decimal_of(text, run) if text else None

    return convert


MOST_DIGITS = 32
"""Of a number, and of its exponent."""


def decimal_of(text: str, run: Run) -> int | Decimal | None:
    """Read a number; what is none becomes an issue.

    >>> from segue.mapping.values import scratch
    >>> decimal_of("7", scratch()), decimal_of("+7.50", scratch())
    (7, Decimal('7.50'))
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    # What is measured has few digits; 1E999999 would only fill the memory.
    if not value.is_finite() or len(text) > MOST_DIGITS or abs(value.adjusted()) > MOST_DIGITS:
        run.warn("bad-number", "no number can be read here")
        return None
    return int(value) if value == value.to_integral_value() and "." not in text else value


def boolean(tools: Tools) -> Convert:
    """ID of table 0136: Y and N."""
    known = {"Y": True, "N": False, "1": True, "0": False, "T": True, "F": False}

    def convert(raw: str, run: Run) -> bool | None:
        text = run.part(run.parts(raw), 1).upper()
        if not text:
            return None
        value = known.get(text)
        if value is None:
            run.warn("unknown-code", "no entry for this code in HL70136")
        return value

    return convert


def date(tools: Tools) -> Convert:
    """DT, and the date of a DTM: `2026-07-05`, `2026-07`, `2026`."""

    def convert(raw: str, run: Run) -> str | None:
        text = run.part(run.parts(raw), 1)
        if not text:
            return None
        value = run.moment(text[:8])
        return value.text[:10] if value else None

    return convert


def date_time(tools: Tools) -> Convert:
    """DTM, TS: dateTime with the precision and offset that are known."""

    def convert(raw: str, run: Run) -> str | None:
        value = run.moment(raw)
        return value.text if value else None

    return convert


def instant(tools: Tools) -> Convert:
    """DTM as a Moment, for `details.…`."""

    def convert(raw: str, run: Run) -> Any:
        return run.moment(raw)

    return convert


def full_instant(tools: Tools) -> Convert:
    """DTM as a FHIR instant: only with a time of day."""

    def convert(raw: str, run: Run) -> str | None:
        value = run.moment(raw)
        return value.text if value and value.has_time else None

    return convert


def period_of(run: Run, start: str, end: str) -> dict[str, str] | None:
    """A Period of two raw DTMs."""
    period: dict[str, str] = {}
    first = run.moment(start) if start else None
    last = run.moment(end) if end else None
    if first:
        period["start"] = first.text
    if last and not (first and last.us < first.us):
        period["end"] = last.text
    return period or None


def identifier(
    tools: Tools,
    *,
    type: str | None = None,  # noqa: A002
    system: str | None = None,
    assigned: bool = True,
) -> Convert:
    """CX: an Identifier.

    Options:
        type: identifier type where CX.5 has none.
        system: the system, whatever CX.4 says.
        assigned: false where a number without CX.4 is not the site's own (a policy).
    """
    types = set(tools.codes("HL70203_IdentifierType"))

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        value, _, rest = raw.partition(run.component)
        if run.subcomponent in value:
            value = value.partition(run.subcomponent)[0]
        value = run.text(value)
        if not value:
            return None
        key = (convert, rest)
        shared = run.cache.get(key)
        if shared is None:
            parts = raw.split(run.component)
            shared = _identifier_frame(parts, run, type, system, types, assigned)
            if len(parts) > 6:
                period = period_of(run, parts[6], parts[7] if len(parts) > 7 else "")
                return {"value": value, **shared, **({"period": period} if period else {})}
            run.remember(key, shared)
        return {"value": value, **shared}

    return convert


def _identifier_frame(
    parts: list[str],
    run: Run,
    default: str | None,
    system: str | None,
    types: set[str],
    assigned: bool,
) -> dict[str, Any]:
    made: dict[str, Any] = {}
    authority, universal, kind = run.authority_of(parts[3]) if len(parts) > 3 else ("", "", "")
    if authority or assigned:
        uri = system or run.system_of(authority or run.authority, universal, kind)
        if uri:
            made["system"] = uri
    code = run.code(parts, 5) or default
    if code:
        if code in types or not types:
            made["type"] = {"coding": [{"system": IDENTIFIER_TYPE, "code": code}]}
        else:
            made["type"] = {"text": code}
    if authority:
        made["assigner"] = {"display": authority}
    return made


def entity_identifier(tools: Tools, *, type: str | None = None) -> Convert:  # noqa: A002
    """EI: `value^namespace^universal id^type` as an Identifier."""

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        parts = raw.split(run.component)
        value = run.part(parts, 1)
        if not value:
            return None
        rest = run.subcomponent.join(parts[1:4])
        authority, universal, kind = run.authority_of(rest)
        made: dict[str, Any] = {"value": value}
        system = run.system_of(authority or run.authority, universal, kind)
        if system:
            made["system"] = system
        if type:
            made["type"] = {"coding": [{"system": IDENTIFIER_TYPE, "code": type}]}
        return made

    return convert


def entity_reference(tools: Tools) -> Convert:
    """EI: a Reference by identifier, to what this message does not hold."""
    read = entity_identifier(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        made = read(raw, run)
        return {"identifier": made} if made else None

    return convert


def social_security_number(tools: Tools) -> Convert:
    """ST of PID-19: the US number. It never identifies or links a person."""

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        value = run.part(run.parts(raw), 1).replace("-", "")
        if not value:
            return None
        kind = {"coding": [{"system": IDENTIFIER_TYPE, "code": "SS"}]}
        return {"system": US_SSN, "type": kind, "value": value}

    return convert


def drivers_license(tools: Tools) -> Convert:
    """DLN: `number^state^expires`."""

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        parts = raw.split(run.component)
        value = run.part(parts, 1)
        if not value:
            return None
        made: dict[str, Any] = {
            "value": value,
            "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": "DL"}]},
        }
        if issuer := run.part(parts, 2):
            made["assigner"] = {"display": issuer}
        period = period_of(run, "", parts[2]) if len(parts) > 2 else None
        if period:
            made["period"] = period
        return made

    return convert


def human_name(tools: Tools, *, use: str | None = None) -> Convert:
    """XPN: HumanName; XPN.7 through the table `HL70200_NameUse`.

    Options:
        use: HumanName.use where XPN.7 says nothing.
    """
    uses = tools.codes("HL70200_NameUse")

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        texts = run.texts(raw, 7)
        family, given, second, suffix, prefix, degree, kind = texts[:7]
        name: dict[str, Any] = {}
        if family:
            name["family"] = family
        if given:
            name["given"] = [given, second] if second else [given]
        elif second:
            name["given"] = [second]
        if prefix:
            name["prefix"] = [prefix]
        if suffix or degree:
            name["suffix"] = [word for word in (suffix, degree) if word]
        if not name:
            return None
        chosen = uses.get(kind) or use
        if chosen:
            name["use"] = chosen
        if len(texts) > 9:
            period = period_of(run, *_validity(raw.split(run.component), run, 10, 12))
            if period:
                name["period"] = period
        return name

    return convert


def name_text(tools: Tools) -> Convert:
    """XPN as one line of text: given names, then family."""

    def convert(raw: str, run: Run) -> str | None:
        parts = raw.split(run.component)
        words = [run.part(parts, n) for n in (5, 2, 3, 1, 4)]
        return " ".join(word for word in words if word) or None

    return convert


def address(tools: Tools, *, use: str | None = None) -> Convert:
    """XAD: Address; XAD.7 through `HL70190_AddressUse` and `HL70190_AddressType`."""
    uses = tools.codes("HL70190_AddressUse")
    types = tools.codes("HL70190_AddressType")

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        texts = run.texts(raw, 9)
        street, other, city, state, code, country, kind, _, county = texts[:9]
        made: dict[str, Any] = {}
        if street or other:
            made["line"] = [line for line in (street, other) if line]
        if city:
            made["city"] = city
        if state:
            made["state"] = state
        if code:
            made["postalCode"] = code
        if country:
            made["country"] = country
        if county:
            made["district"] = county
        if not made:
            return None
        if chosen := uses.get(kind) or use:
            made["use"] = chosen
        if kind in types:
            made["type"] = types[kind]
        if len(texts) > 11:
            period = period_of(run, *_validity(raw.split(run.component), run, 12, 13))
            if period:
                made["period"] = period
        return made

    return convert


def _validity(parts: list[str], run: Run, together: int, apart: int) -> tuple[str, str]:
    """Raw start and end: the older DR component, or the two newer ones."""
    start = parts[apart - 1] if len(parts) >= apart else ""
    end = parts[apart] if len(parts) > apart else ""
    if not start and not end and len(parts) >= together and parts[together - 1]:
        both = parts[together - 1].split(run.subcomponent)
        return both[0], both[1] if len(both) > 1 else ""
    return start, end


def telecom(tools: Tools, *, use: str | None = None) -> Convert:
    """XTN: ContactPoint; XTN.3 through `HL70202_ContactSystem`, XTN.2 through `HL70201_ContactUse`.

    Options:
        use: ContactPoint.use where XTN says nothing.
    """
    systems = tools.codes("HL70202_ContactSystem")
    uses = tools.codes("HL70201_ContactUse")

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        texts = run.texts(raw, 12)
        number, sent, equipment, email, country, area, local, extension = texts[:8]
        system = systems.get(equipment, "phone") if equipment else "phone"
        if texts[11]:
            number = texts[11]
        elif not number and local:
            code = f"+{country.lstrip('+')}" if country else ""
            number = " ".join(piece for piece in (code, area, local) if piece)
        if number and extension and not texts[11]:
            number = f"{number} x{extension}"
        if email and (not number or system == "email"):
            made = {"system": "email", "value": email}
        elif number:
            made = {"system": "email" if "@" in number else system, "value": number}
        else:
            return None
        if sent == "BPN":
            made["system"] = "pager"
        chosen = "mobile" if equipment == "CP" else uses.get(sent) or use
        if chosen:
            made["use"] = chosen
        return made

    return convert


def codeable_concept(tools: Tools, *, system: str | None = None) -> Convert:
    """CWE, CE, CNE: CodeableConcept with both codings and the text.

    Options:
        system: coding system where CWE.3 names none.
    """
    uri = system_uri(tools)

    def build(raw: str, run: Run) -> dict[str, Any] | None:
        parts = raw.split(run.component)
        codings = []
        for n in (1, 4):
            code = run.code(parts, n)
            if code:
                named = run.part(parts, n + 2)
                coding = {"code": code}
                where = uri(named, run) if named else (system if n == 1 else None)
                if where:
                    coding["system"] = where
                if display := run.part(parts, n + 1):
                    coding["display"] = display
                codings.append(coding)
        text = run.part(parts, 9) or run.part(parts, 2) or run.part(parts, 5)
        concept: dict[str, Any] = {}
        if codings:
            concept["coding"] = codings
        if text:
            concept["text"] = text
        return concept or None

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        key = (convert, raw)
        cache = run.cache
        if key in cache:
            return cache[key]  # type: ignore[no-any-return]
        return run.remember(key, build(raw, run))  # type: ignore[no-any-return]

    return convert


def coding(tools: Tools, *, system: str | None = None) -> Convert:
    """CWE: the first Coding of it."""
    concept = codeable_concept(tools, system=system)

    def convert(raw: str, run: Run) -> dict[str, str] | None:
        value = concept(raw, run)
        return value["coding"][0] if value and "coding" in value else None

    return convert


def first_part(tools: Tools) -> Convert:
    """The first component as text: the name of an XON, a code."""

    def convert(raw: str, run: Run) -> str | None:
        return run.part(run.parts(raw), 1) or None

    return convert


def text_address(tools: Tools) -> Convert:
    """ST: an Address of nothing but text."""
    read = string(tools)

    def convert(raw: str, run: Run) -> dict[str, str] | None:
        text = read(raw, run)
        return {"text": text} if text else None

    return convert


def quantity(tools: Tools, *, unit: str | None = None, code: str | None = None) -> Convert:
    """NM, CQ: a Quantity; a unit given by the rule is UCUM."""

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        parts = raw.split(run.component)
        text = run.part(parts, 1)
        value = decimal_of(text, run) if text else None
        if value is None:
            return None
        made: dict[str, Any] = {"value": value}
        if unit:
            made.update(unit=unit, system="http://unitsofmeasure.org", code=code or unit)
        elif sent := run.part(parts, 2):
            made["unit"] = sent
        return made

    return convert


DATATYPES: dict[str, Factory] = {
    "ST": string,
    "TX": string,
    "FT": string,
    "ID": coded_value,
    "IS": coded_value,
    "NM": number,
    "SI": number,
    "boolean": boolean,
    "DT": date,
    "DTM": date_time,
    "TS": date_time,
    "moment": instant,
    "instant": full_instant,
    "CX": identifier,
    "EI": entity_identifier,
    "EI_reference": entity_reference,
    "SSN": social_security_number,
    "DLN": drivers_license,
    "XPN": human_name,
    "XPN_text": name_text,
    "XAD": address,
    "XTN": telecom,
    "CWE": codeable_concept,
    "CE": codeable_concept,
    "CNE": codeable_concept,
    "CWE_coding": coding,
    "first_part": first_part,
    "text_address": text_address,
    "CQ": quantity,
}
