"""Named functions for the visit: participants, places, diagnoses, procedures."""

from datetime import datetime, timedelta
from typing import Any

from segue.mapping.datatypes import DATATYPES, codeable_concept
from segue.mapping.directory import location, practitioner
from segue.mapping.tables import NOTHING, Convert, Tools, system_uri
from segue.mapping.values import Run

PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"

ORIGINAL_TEXT = 9
"""Component of a CWE."""

PLACE_CLASS = "http://hl7.org/fhir/StructureDefinition/subject-locationClassification"
PLACE_CLASS_SYSTEM = "http://hl7.org/fhir/subject-locationClassification"


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


def assigned_place(tools: Tools, *, classified: str | None = None) -> Convert:
    """PV1-3 as an item of Encounter.location; the fold keeps the periods.

    A place that is not the assigned one (PV1-11) is classified, as R5 does it.

    >>> from segue.mapping.functions import example
    >>> example("assigned_place", "4W^412^1^HOSPA")["location"]["display"]
    '4W 412 1'
    """
    place = location(tools)
    coding = {"system": PLACE_CLASS_SYSTEM, "code": classified}
    kind = {"url": PLACE_CLASS, "valueCodeableConcept": {"coding": [coding]}}

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        reference = place(raw, run)
        if reference is None:
            return None
        item: dict[str, Any] = {"location": reference, "status": "active"}
        return {**item, "extension": [kind]} if classified else item

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
        else:
            run.leave(6)
        rank = run.field(15)
        if rank.isdigit() and int(rank) > 0:
            item["rank"] = int(rank)
        else:
            run.leave(15)
        return item

    return convert


def diagnosis_code(tools: Tools) -> Convert:
    """DG1-3 with the coding method of DG1-2 and the description of DG1-4 as its text.

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
        if description and not run.part(run.parts(raw), ORIGINAL_TEXT):
            return {**value, "text": description}
        if description and description != value.get("text"):
            run.leave(4)
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


def procedure_time(tools: Tools) -> Convert:
    """PR1-5 as performed[x]: a Period where PR1-7 says how many minutes it took.

    >>> from segue.mapping.functions import example
    >>> example("procedure_time", "20260705")
    ('DateTime', '2026-07-05')
    """

    def convert(raw: str, run: Run) -> tuple[str, Any] | None:
        start = run.moment(raw)
        if start is None:
            return None
        minutes = run.part(run.parts(run.field(7)), 1)
        if not (start.has_time and minutes.isdigit() and int(minutes)):
            run.leave(7)
            return "DateTime", start.text
        end = datetime.fromisoformat(start.text) + timedelta(minutes=int(minutes))
        return "Period", {"start": start.text, "end": end.isoformat()}

    return convert


def sent_episode(tools: Tools) -> Convert:
    """PV1-54 as a reference to the sender's own EpisodeOfCare, by its number; PV1-53 names it.

    >>> from segue.mapping.functions import example
    >>> example("sent_episode", "E7")["identifier"]["value"]
    'E7'
    """
    number = DATATYPES["CX"](tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        identifier = number(raw, run)
        if identifier is None:
            return None
        made: dict[str, Any] = {"type": "EpisodeOfCare", "identifier": identifier}
        if text := run.text(run.field(53)):
            made["display"] = text
        return made

    return convert
