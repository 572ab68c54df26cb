"""Named functions for the visit: participants, places, diagnoses, procedures."""

from typing import Any

from segue.mapping.datatypes import codeable_concept, period_of
from segue.mapping.directory import location, practitioner, practitioner_role
from segue.mapping.tables import NOTHING, Convert, Tools, system_uri, through
from segue.mapping.values import Run

PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"


def participant(tools: Tools, *, type: str, display: str | None = None) -> Convert:  # noqa: A002
    """XCN: an Encounter participant of a v3-ParticipationType.

    >>> from segue.mapping.functions import example
    >>> made = example("participant", "77^ATT^AMY", type="ATND")
    >>> made["individual"]["display"], made["type"][0]["coding"][0]["code"]
    ('AMY ATT', 'ATND')
    """
    person = practitioner(tools)
    coding = {"system": PARTICIPATION, "code": type}
    if display:
        coding["display"] = display
    kind = [{"coding": [coding]}]

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        individual = person(raw, run)
        return {"type": kind, "individual": individual} if individual else None

    return convert


def role_practitioner(tools: Tools, *, provider: int, organization: int, phone: int) -> Convert:
    """ROL-4 or PRT-5: a reference to the Practitioner; also makes the PractitionerRole.

    The options are the numbers of the fields that say what the practitioner is, for
    whom, and how to reach the practitioner there.

    >>> from segue.mapping.functions import example
    >>> fields = {"provider": 9, "organization": 14, "phone": 12}
    >>> example("role_practitioner", "77^ATT^AMY", **fields)["display"]
    'AMY ATT'
    """
    person, note = practitioner(tools), practitioner_role(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        who = person(raw, run)
        if who is not None:
            note(who, run.field(provider), run.field(organization), run.field(phone), run)
        return who  # type: ignore[no-any-return]

    return convert


def role_participant(
    tools: Tools,
    *,
    role: int,
    start: int,
    end: int,
    provider: int,
    organization: int,
    phone: int,
) -> Convert:
    """ROL-4 or PRT-5 as an Encounter participant, with role, start and end of its fields.

    Also makes the PractitionerRole, as `role_practitioner` does.

    >>> from segue.mapping.functions import example
    >>> fields = {"role": 3, "start": 5, "end": 6, "provider": 9, "organization": 14, "phone": 12}
    >>> made = example("role_participant", "77^ATT^AMY", **fields)
    >>> made["individual"]["display"]
    'AMY ATT'
    """
    person = role_practitioner(tools, provider=provider, organization=organization, phone=phone)
    types = tools.tables.get("HL70443_ParticipationType")
    kind = through(types, tools, "keep", "CodeableConcept", None) if types else None

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        individual = person(raw, run)
        if individual is None:
            return None
        made: dict[str, Any] = {"individual": individual}
        sent = run.first(run.field(role))
        type_ = kind(sent, run) if kind and sent else None
        if type_ is None and sent:
            type_ = {"text": run.part(run.parts(sent), 2) or run.part(run.parts(sent), 1)}
        if type_:
            made["type"] = [type_]
        period = period_of(run, run.field(start), run.field(end))
        if period:
            made["period"] = period
        return made

    return convert


def assigned_place(tools: Tools) -> Convert:
    """PV1-3 as an item of Encounter.location; the fold keeps the periods.

    >>> from segue.mapping.functions import example
    >>> example("assigned_place", "4W^412^1^HOSPA")["location"]["display"]
    '4W 412 1'
    """
    place = location(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        reference = place(raw, run)
        return {"location": reference, "status": "active"} if reference else None

    return convert


def encounter_diagnosis(tools: Tools, *, map: str) -> Convert:  # noqa: A002
    """DG1: an Encounter diagnosis with use (DG1-6) and rank (DG1-15).

    >>> from segue.mapping.values import scratch
    >>> run = scratch()
    >>> run.made["DG1_Condition"] = "Condition/7"
    >>> encounter_diagnosis(Tools(), map="DG1_Condition")("I50.23", run)
    {'condition': {'reference': 'Condition/7'}}
    """
    uses = tools.tables.get("HL70052_DiagnosisRole")

    def convert(raw: str, run: Run) -> Any:
        made = run.made.get(map)
        if not made:
            return None
        if run.field(21) == "D":
            return NOTHING
        item: dict[str, Any] = {"condition": {"reference": made}}
        use = uses.codes.get(run.field(6)) if uses else None
        if use and uses:
            item["use"] = {"coding": [{"system": use.get("system") or uses.system, **use}]}
        rank = run.field(15)
        if rank.isdigit() and int(rank) > 0:
            item["rank"] = int(rank)
        return item

    return convert


def diagnosis_code(tools: Tools) -> Convert:
    """DG1-3 with the coding method of DG1-2 and the description of DG1-4.

    >>> from segue.mapping.functions import example
    >>> example("diagnosis_code", "I50.23^Heart failure")
    {'coding': [{'code': 'I50.23', 'display': 'Heart failure'}], 'text': 'Heart failure'}
    """
    concept = codeable_concept(tools)
    uri = system_uri(tools)

    def convert(raw: str, run: Run) -> Any:
        value = concept(raw, run)
        method = run.text(run.field(2))
        description = run.text(run.field(4))
        if value is None:
            return {"text": description} if description else None
        if method and "coding" in value and "system" not in value["coding"][0]:
            first = {**value["coding"][0], "system": uri(method, run)}
            value = {**value, "coding": [first, *value["coding"][1:]]}
        if description and "text" not in value:
            value = {**value, "text": description}
        return value

    return convert


def procedure_code(tools: Tools) -> Convert:
    """PR1-3 with the coding method of PR1-2 and the description of PR1-4.

    >>> from segue.mapping.functions import example
    >>> example("procedure_code", "93306^Echo^C4")["text"]
    'Echo'
    """
    return diagnosis_code(tools)


def performer(tools: Tools, *, code: str | None = None, display: str | None = None) -> Convert:
    """XCN: a Procedure performer, with a SNOMED CT function.

    >>> from segue.mapping.functions import example
    >>> example("performer", "77^CUT^SAM", code="304292004")["actor"]["display"]
    'SAM CUT'
    """
    person = practitioner(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        actor = person(raw, run)
        if actor is None:
            return None
        made: dict[str, Any] = {"actor": actor}
        if code:
            coding = {"system": "http://snomed.info/sct", "code": code}
            if display:
                coding["display"] = display
            made["function"] = {"coding": [coding]}
        return made

    return convert
