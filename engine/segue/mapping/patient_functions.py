"""Named functions for the patient and the people around the patient: PID, PD1, NK1."""

from typing import Any

from segue.mapping.datatypes import DATATYPES, codeable_concept, human_name, period_of
from segue.mapping.directory import organization
from segue.mapping.tables import V2_SYSTEM, Convert, Tools
from segue.mapping.values import Run

US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
CDC_RACE = "urn:oid:2.16.840.1.113883.6.238"
OMB = {
    "race": {
        "1002-5": "American Indian or Alaska Native",
        "2028-9": "Asian",
        "2054-5": "Black or African American",
        "2076-8": "Native Hawaiian or Other Pacific Islander",
        "2106-3": "White",
    },
    "ethnicity": {
        "2135-2": "Hispanic or Latino",
        "2186-5": "Not Hispanic or Latino",
        "H": "Hispanic or Latino",
        "N": "Not Hispanic or Latino",
    },
}
ETHNIC_GROUP = {"H": "2135-2", "N": "2186-5"}


def us_core_category(tools: Tools, *, url: str, of: str) -> Convert:
    """PID-10 or PID-22, all repetitions, as the US Core race or ethnicity extension.

    >>> from segue.mapping.functions import example
    >>> made = example("us_core_category", "2106-3^White~ZZ^Other", url="us-core-race", of="race")
    >>> [part.get("valueString") or part["valueCoding"]["code"] for part in made["extension"]]
    ['2106-3', 'White, Other']
    """
    categories = OMB[of]

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        key = (convert, raw, run.component)
        if key in run.cache:
            return run.cache[key]  # type: ignore[no-any-return]
        parts: list[dict[str, Any]] = []
        words = []
        for one in raw.split(run.repetition):
            components = run.parts(one)
            code = run.part(components, 1)
            display = categories.get(code)
            if display and not (of == "ethnicity" and parts):
                coding = {
                    "system": CDC_RACE,
                    "code": ETHNIC_GROUP.get(code, code),
                    "display": display,
                }
                parts.append({"url": "ombCategory", "valueCoding": coding})
            word = run.part(components, 2) or display or code
            if word:
                words.append(word)
        made = None
        if words:
            parts.append({"url": "text", "valueString": ", ".join(words)})
            made = {"url": US_CORE + url, "extension": parts}
        return run.remember(key, made)  # type: ignore[no-any-return]

    return convert


def patient_address(tools: Tools) -> Convert:
    """PID-11: an Address; the only one takes the county of PID-12 if it names none.

    >>> from segue.mapping.functions import example
    >>> example("patient_address", "1 MAIN ST^^TOWN")
    {'line': ['1 MAIN ST'], 'city': 'TOWN'}
    """
    read = DATATYPES["XAD"](tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        made: dict[str, Any] | None = read(raw, run)
        county = run.text(run.field(12)) if made and "district" not in made else ""
        if made is None or not county or run.repetition in run.field(11):
            return made
        return {**made, "district": county}

    return convert


def county_alone(tools: Tools) -> Convert:
    """PID-12 as an Address of its own, where no single address of PID-11 takes it.

    >>> from segue.mapping.functions import example
    >>> example("county_alone", "KINGS")
    {'district': 'KINGS'}
    """
    read = DATATYPES["XAD"](tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        county = run.part(run.parts(raw), 1)
        others = run.field(11)
        single = read(others, run) if others and run.repetition not in others else None
        if not county or (single and single.get("district", county) == county):
            return None
        return {"district": county}

    return convert


def animal(tools: Tools) -> Convert:
    """PID-35 and PID-36 as the extension patient-animal.

    >>> from segue.mapping.functions import example
    >>> example("animal", "L-80700^Dog")["extension"][0]["url"]
    'species'
    """
    concept = codeable_concept(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        species = concept(raw, run)
        if species is None:
            return None
        parts = [{"url": "species", "valueCodeableConcept": species}]
        if breed := concept(run.first(run.field(36)), run):
            parts.append({"url": "breed", "valueCodeableConcept": breed})
        return {"url": "http://hl7.org/fhir/StructureDefinition/patient-animal", "extension": parts}

    return convert


def name_display(tools: Tools) -> Convert:
    """XPN: a Reference that says no more than a name.

    >>> from segue.mapping.functions import example
    >>> example("name_display", "DOE^JOHN")
    {'display': 'JOHN DOE'}
    """
    name = DATATYPES["XPN_text"](tools)

    def convert(raw: str, run: Run) -> dict[str, str] | None:
        text = name(raw, run)
        return {"display": text} if text else None

    return convert


def birth_time(tools: Tools) -> Convert:
    """PID-7 with a time of day, as the extension patient-birthTime's value.

    >>> from segue.mapping.functions import example
    >>> example("birth_time", "19550214") is None
    True
    """

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        text = run.part(run.parts(raw), 1)
        if len(text) <= 8:
            return None
        value = run.moment(raw)
        if value is None or not value.has_time:
            return None
        url = "http://hl7.org/fhir/StructureDefinition/patient-birthTime"
        return {"extension": [{"url": url, "valueDateTime": value.text}]}

    return convert


def communication(tools: Tools) -> Convert:
    """PID-15 as Patient.communication.

    >>> from segue.mapping.functions import example
    >>> example("communication", "eng^English")["language"]["text"]
    'English'
    """
    concept = codeable_concept(tools)
    languages = tools.tables.get("HL70296_Language")

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        value = concept(raw, run)
        if value is None:
            return None
        code = run.part(run.parts(raw), 1)
        entry = None
        if languages:
            entry = languages.codes.get(code.upper()) or languages.codes.get(code.lower())
        if entry and languages:
            made = {"coding": [{"system": languages.system, **entry}]}
            if "text" in value:
                made["text"] = value["text"]
            return {"language": made}
        return {"language": value}

    return convert


def contact(tools: Tools) -> Convert:
    """NK1 as Patient.contact: an employer or an agency, rather than a relative.

    >>> from segue.mapping.functions import example
    >>> example("contact", "ACME^^")
    {'name': {'family': 'ACME'}}
    """
    name, phone = human_name(tools), DATATYPES["XTN"](tools)
    place, concept = DATATYPES["XAD"](tools), codeable_concept(tools)
    company = organization(tools)
    relation = tools.tables.get("HL70131_ContactRole")

    genders = tools.codes("HL70001_AdministrativeGender")

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        made: dict[str, Any] = {}
        role = run.first(run.field(7)) or run.first(run.field(3))
        kind = concept(role, run) if role else None
        if kind:
            if relation and kind.get("coding") and "system" not in kind["coding"][0]:
                first = {**kind["coding"][0], "system": relation.system}
                kind = {**kind, "coding": [first]}
            made["relationship"] = [kind]
        person = run.first(run.field(2)) or run.first(run.field(30))
        if not run.fields:
            person = run.first(raw)
        if who := name(person, run):
            made["name"] = who
        phones = [
            p
            for n in (5, 6, 31, 40, 41)
            for one in run.field(n).split(run.repetition)
            if one and (p := phone(one, run))
        ]
        if phones:
            made["telecom"] = phones
        where = run.first(run.field(4)) or run.first(run.field(32))
        if where and (home := place(where, run)):
            made["address"] = home
        if gender := genders.get(run.part(run.parts(run.field(15)), 1)):
            made["gender"] = gender
        firm = run.first(run.field(13))
        if firm and (works_for := company(firm, run)):
            made["organization"] = works_for
        if not set(made) - {"relationship", "gender"}:
            return None
        if period := period_of(run, run.field(8), run.field(9)):
            made["period"] = period
        return made

    return convert


def contact_relationship(tools: Tools) -> Convert:
    """NK1-7 as a relationship of table 0131.

    >>> from segue.mapping.functions import example
    >>> example("contact_relationship", "C")["coding"][0]["code"]
    'C'
    """
    return codeable_concept(tools, system=V2_SYSTEM + "0131")


def deceased(tools: Tools) -> Convert:
    """PID-29 or PID-30 as deceased[x]: (`DateTime`, …) or (`Boolean`, …).

    >>> from segue.mapping.functions import example
    >>> example("deceased", "Y"), example("deceased", "N")
    (('Boolean', True), ('Boolean', False))
    """
    flag = DATATYPES["boolean"](tools)

    def convert(raw: str, run: Run) -> tuple[str, Any] | None:
        if raw[:2].isdigit():
            value = run.moment(raw)
            return ("DateTime", value.text) if value else ("Boolean", True)
        said = flag(raw, run)
        return None if said is None else ("Boolean", said)

    return convert


def deceased_flag(tools: Tools) -> Convert:
    """PID-29 or PID-30 as `Y` or `N`, for `details.deceased`.

    >>> from segue.mapping.functions import example
    >>> example("deceased_flag", "20260705"), example("deceased_flag", "N")
    ('Y', 'N')
    """
    decide = deceased(tools)

    def convert(raw: str, run: Run) -> str | None:
        said = decide(raw, run)
        return None if said is None else "N" if said[1] is False else "Y"

    return convert


def multiple_birth(tools: Tools) -> Convert:
    """PID-25, else PID-24, as multipleBirth[x].

    >>> from segue.mapping.functions import example
    >>> example("multiple_birth", "2"), example("multiple_birth", "Y")
    (('Integer', 2), ('Boolean', True))
    """
    flag = DATATYPES["boolean"](tools)

    def convert(raw: str, run: Run) -> tuple[str, Any] | None:
        text = run.part(run.parts(raw), 1)
        if text.isascii() and text.isdigit() and len(text) < 10:
            return "Integer", int(text)
        said = flag(raw, run)
        return None if said is None else ("Boolean", said)

    return convert


def practice(tools: Tools) -> Convert:
    """PD1-3 (XON) or PD1-4 (XCN): the id that names the ongoing care provider.

    The first id that the site lists under `practices` counts, else the first one.

    >>> from segue.mapping.functions import example
    >>> example("practice", "PCPB")
    'PCPB'
    """

    def convert(raw: str, run: Run) -> str | None:
        first = ""
        for one in raw.split(run.repetition):
            parts = run.parts(one)
            for n in (10, 3, 1):
                text = run.part(parts, n)
                if text and text in run.site.practices:
                    return text
                if n != 3 or len(parts) > 5:
                    first = first or text
        return first or None

    return convert
