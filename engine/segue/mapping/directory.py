"""People, organizations and places that messages name: directory resources and references.

They belong to no patient: their ids come from who assigned the number (a location's
from the site and its parts), so every message that names one names the same resource.
Source: HL7 v2-to-FHIR implementation guide, XCN, XON, PL, DLD.
"""

from collections.abc import Callable
from typing import Any

from segue.mapping.datatypes import DATATYPES as PLAIN_DATATYPES
from segue.mapping.datatypes import IDENTIFIER_TYPE, Factory
from segue.mapping.tables import Convert, Tools
from segue.mapping.values import Run
from segue.model.facts import Fragment
from segue.model.identity import stable_id

NPI = "http://hl7.org/fhir/sid/us-npi"
PHYSICAL_TYPE = "http://terminology.hl7.org/CodeSystem/location-physical-type"

Reference = dict[str, Any]


def _shared(
    key: tuple[Any, ...], run: Run, made: tuple[Reference, Fragment | None] | None
) -> tuple[Reference, Fragment | None] | None:
    return run.remember(key, made)  # type: ignore[no-any-return]


def practitioner(tools: Tools) -> Convert:
    """XCN: a reference to the Practitioner; without an id only the name, as display."""

    def build(raw: str, run: Run) -> tuple[Reference, Fragment | None] | None:
        parts = raw.split(run.component)
        part = run.part
        number, family = part(parts, 1), part(parts, 2)
        given = [g for g in (part(parts, 3), part(parts, 4)) if g]
        display = " ".join([*given, family]).strip()
        if not number and not display:
            return None
        reference: Reference = {}
        if display:
            reference["display"] = display
        if not number:
            return reference, None
        authority, universal, kind = run.authority_of(parts[8]) if len(parts) > 8 else ("", "", "")
        type_code = run.code(parts, 13)
        if "NPI" in (type_code, authority) or universal == "2.16.840.1.113883.4.6":
            assigner, system, type_code = "NPI", NPI, "NPI"
        else:
            assigner = authority or run.authority
            system = run.system_of(authority, universal, kind) or run.local_system("practitioner")
        identifier: dict[str, Any] = {"system": system, "value": number}
        if type_code:
            identifier["type"] = {"coding": [{"system": IDENTIFIER_TYPE, "code": type_code}]}
        elements: dict[str, Any] = {"identifier": [identifier]}
        name: dict[str, Any] = {}
        if family:
            name["family"] = family
        if given:
            name["given"] = given
        if prefix := part(parts, 6):
            name["prefix"] = [prefix]
        if suffix := [s for s in (part(parts, 5), part(parts, 7)) if s]:
            name["suffix"] = suffix
        if name:
            elements["name"] = [name]
        made = stable_id("Practitioner", f"{assigner}|{number}")
        reference["reference"] = f"Practitioner/{made}"
        return reference, Fragment("Practitioner", made, "directory", elements)

    def convert(raw: str, run: Run) -> Reference | None:
        key = (build, raw, run.component)
        made = run.cache[key] if key in run.cache else _shared(key, run, build(raw, run))
        return _refer(made, run)

    return convert


def organization(tools: Tools) -> Convert:
    """XON: a reference to the Organization, keyed by its number, else by its name here."""

    def build(raw: str, run: Run) -> tuple[Reference, Fragment | None] | None:
        parts = raw.split(run.component)
        name = run.part(parts, 1)
        number = run.part(parts, 10) or run.part(parts, 3)
        if not name and not number:
            return None
        authority, universal, kind = run.authority_of(parts[5]) if len(parts) > 5 else ("", "", "")
        elements: dict[str, Any] = {"active": True}
        if number:
            assigner = authority or run.authority
            identity = f"{assigner}|{number}"
            identifier: dict[str, Any] = {"value": number}
            identifier["system"] = run.system_of(authority, universal, kind) or run.local_system(
                "organization"
            )
            if code := run.code(parts, 7):
                identifier["type"] = {"coding": [{"system": IDENTIFIER_TYPE, "code": code}]}
            elements["identifier"] = [identifier]
        else:
            identity = f"{run.authority}|{name.upper()}"
        elements["name"] = name or number
        made = stable_id("Organization", identity)
        reference = {"reference": f"Organization/{made}", "display": name or number}
        return reference, Fragment("Organization", made, "directory", elements)

    def convert(raw: str, run: Run) -> Reference | None:
        key = (build, raw, run.component)
        made = run.cache[key] if key in run.cache else _shared(key, run, build(raw, run))
        return _refer(made, run)

    return convert


def practitioner_role(tools: Tools) -> Callable[[Reference, str, str, str, Run], str]:
    """What a practitioner is in an organization: PractitionerRole, of ROL and PRT.

    It is made where the message says what the practitioner is or whom the practitioner
    works for, and is keyed by these. The part that is taken in a visit (ROL-3, PRT-4)
    makes none: it is the participant's type. The function returns its reference, "" where
    none is made.
    """
    works_for, concept = organization(tools), PLAIN_DATATYPES["CWE"](tools)
    phone = PLAIN_DATATYPES["XTN"](tools)

    def note(who: Reference, provider: str, firm: str, phones: str, run: Run) -> str:
        if "reference" not in who:
            return ""
        kind = concept(run.first(provider), run) if provider else None
        employer = works_for(run.first(firm), run) if firm else None
        if kind is None and employer is None:
            return ""
        elements: dict[str, Any] = {"active": True, "practitioner": who}
        key = [who["reference"], "", ""]
        if employer is not None:
            elements["organization"] = employer
            key[1] = employer["reference"]
        if kind is not None:
            elements["code"] = [kind]
            first = kind.get("coding", [{}])[0]
            key[2] = f"{first.get('system', '')}|{first.get('code', kind.get('text', ''))}"
        told = [t for one in phones.split(run.repetition) if one and (t := phone(one, run))]
        if told:
            elements["telecom"] = told
        made = stable_id("PractitionerRole", *key)
        _refer((who, Fragment("PractitionerRole", made, "directory", elements)), run)
        return f"PractitionerRole/{made}"

    return note


def place_key(raw: str, run: Run) -> str:
    """PL as sent, without the bed status, in default delimiters: `4W^412^1^HOSPA`.

    >>> from segue.mapping.values import scratch
    >>> place_key("4W^412^1^HOSPA&1.2&ISO^O^^^", scratch())
    '4W^412^1^HOSPA'
    """
    parts = raw.split(run.component)
    texts = [run.part(parts, n) if n != 5 else "" for n in range(1, min(len(parts), 9) + 1)]
    return "^".join(texts).rstrip("^")


def location(tools: Tools) -> Convert:
    """PL: a reference to the Location; the bed status is no part of it."""

    def build(raw: str, run: Run) -> tuple[Reference, Fragment | None] | None:
        key = place_key(raw, run)
        if not key:
            return None
        parts = raw.split(run.component)
        part = run.part
        unit, room, bed, facility = (part(parts, n) for n in (1, 2, 3, 4))
        words = [word for word in (unit, room, bed, part(parts, 7), part(parts, 8)) if word]
        name = " ".join(words) or part(parts, 9) or facility
        if not name:
            return None  # a person's location type or a bed status is no place
        kind = "bd" if bed else "ro" if room else "wa" if unit else "bu"  # codespell:ignore bu
        elements: dict[str, Any] = {
            "status": "active",
            "mode": "instance",
            "name": name,
            "physicalType": {"coding": [{"system": PHYSICAL_TYPE, "code": kind}]},
        }
        if description := part(parts, 9):
            elements["description"] = description
        made = stable_id("Location", run.site.name, key)
        reference = {"reference": f"Location/{made}", "display": name}
        return reference, Fragment("Location", made, "directory", elements)

    def convert(raw: str, run: Run) -> Reference | None:
        key = (build, raw, run.component)
        made = run.cache[key] if key in run.cache else _shared(key, run, build(raw, run))
        return _refer(made, run)

    return convert


def place(tools: Tools) -> Convert:
    """PL: the key of the place, for `details.place`."""

    def convert(raw: str, run: Run) -> str | None:
        key = (place_key, raw, run.component)
        if key in run.cache:
            return run.cache[key]  # type: ignore[no-any-return]
        return run.remember(key, place_key(raw, run) or None)  # type: ignore[no-any-return]

    return convert


def discharge_location(tools: Tools) -> Convert:
    """DLD, PV1-37: a reference to the Location that the patient went to."""

    def convert(raw: str, run: Run) -> Reference | None:
        parts = raw.split(run.component)
        code = run.part(parts, 1)
        if not code:
            return None
        made = stable_id("Location", run.site.name, "discharged-to", code)
        name = run.text(parts[0].split(run.subcomponent)[-1]) or code
        elements = {"status": "active", "mode": "kind", "name": name}
        reference = {"reference": f"Location/{made}", "display": name}
        return _refer((reference, Fragment("Location", made, "directory", elements)), run)

    return convert


def _refer(made: tuple[Reference, Fragment | None] | None, run: Run) -> Reference | None:
    if made is None:
        return None
    reference, fragment = made
    if fragment is not None:
        run.directory[fragment.id] = fragment
        run.touched.append(fragment)
    return reference


DATATYPES: dict[str, Factory] = {
    **PLAIN_DATATYPES,
    "XCN_Practitioner": practitioner,
    "CNN_Practitioner": practitioner,
    "XON_Organization": organization,
    "PL": location,
    "place": place,
    "DLD": discharge_location,
}
"""All datatypes that a rule may name with `as:`."""
