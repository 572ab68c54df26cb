"""Named functions for people in roles: ROL, PRT and IN3."""

from collections.abc import Callable
from typing import Any

from segue.mapping.datatypes import period_of
from segue.mapping.directory import organization, practitioner, practitioner_role
from segue.mapping.tables import Convert, Tools, through
from segue.mapping.values import Run

GONE = frozenset({"D", "DE"})
"""Action codes (table 0287) of somebody who takes the part no more."""

CASE_MANAGER = {
    "coding": [{"system": "http://snomed.info/sct", "code": "768832004", "display": "Case manager"}]
}


def role_concept(tools: Tools) -> Callable[[str, Run], dict[str, Any] | None]:
    """How the part that is taken (ROL-3, PRT-4) becomes a CodeableConcept."""
    types = tools.tables.get("HL70443_ParticipationType")
    kind = through(types, tools, "keep", "CodeableConcept", None) if types else None

    def concept(raw: str, run: Run) -> dict[str, Any] | None:
        sent = run.first(raw)
        if not sent:
            return None
        made: dict[str, Any] | None = kind(sent, run) if kind else None
        if made is None:
            text = run.part(run.parts(sent), 2) or run.part(run.parts(sent), 1)
            made = {"text": text} if text else None
        return made

    return concept


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
        if who is not None and not note(
            who, run.field(provider), run.field(organization), run.field(phone), run
        ):
            run.leave(phone)
        return who  # type: ignore[no-any-return]

    return convert


def medical_director(tools: Tools) -> Convert:
    """OBX-25 as PractitionerRole: who answers for the laboratory of OBX-23.

    >>> from segue.mapping.functions import example
    >>> example("medical_director", "77^LAB^AMY")["display"]
    'AMY LAB'
    """
    person, note = practitioner(tools), practitioner_role(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        who = person(raw, run)
        if who is None:
            return None
        code = run.component.join(["MDIR", "Medical Director", "HL70912"])
        role = note(who, code, run.field(23), "", run)
        return {**who, "reference": role} if role else who

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
    kind = role_concept(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        individual = person(raw, run)
        if individual is None:
            return None
        made: dict[str, Any] = {"individual": individual}
        if type_ := kind(run.field(role), run):
            made["type"] = [type_]
        period = period_of(run, run.field(start), run.field(end))
        if period:
            made["period"] = period
        return made

    return convert


def team_member(
    tools: Tools, *, role: int, start: int, end: int, organization: int, action: int
) -> Convert:
    """ROL-4 or PRT-5 as a CareTeam participant; the options are numbers of fields.

    >>> from segue.mapping.functions import example
    >>> fields = {"role": 3, "start": 5, "end": 6, "organization": 14, "action": 2}
    >>> example("team_member", "77^ATT^AMY", **fields)["member"]["display"]
    'AMY ATT'
    """
    person, firm, kind = practitioner(tools), _organization(tools), role_concept(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        if run.text(run.field(action)) in GONE:
            return None
        member = person(raw, run)
        if member is None:
            return None
        made: dict[str, Any] = {"member": member}
        if concept := kind(run.field(role), run):
            made["role"] = [concept]
        works_for = run.first(run.field(organization))
        # R4 invariant ctm-1: on behalf of somebody acts only a known practitioner.
        if works_for and "reference" in member and (who := firm(works_for, run)):
            made["onBehalfOf"] = who
        if period := period_of(run, run.field(start), run.field(end)):
            made["period"] = period
        return made

    return convert


def role_performer(tools: Tools, *, role: int, organization: int, action: int) -> Convert:
    """ROL-4 or PRT-5 after a PR1 as a Procedure performer; the options are numbers of fields.

    >>> from segue.mapping.functions import example
    >>> fields = {"role": 3, "organization": 14, "action": 2}
    >>> example("role_performer", "77^CUT^SAM", **fields)["actor"]["display"]
    'SAM CUT'
    """
    person, firm, kind = practitioner(tools), _organization(tools), role_concept(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        if run.text(run.field(action)) in GONE:
            return None
        actor = person(raw, run)
        if actor is None:
            return None
        made: dict[str, Any] = {"actor": actor}
        if concept := kind(run.field(role), run):
            made["function"] = concept
        works_for = run.first(run.field(organization))
        if works_for and "reference" in actor and (who := firm(works_for, run)):
            made["onBehalfOf"] = who
        return made

    return convert


def case_manager(tools: Tools) -> Convert:
    """IN3-21 as a CareTeam participant.

    >>> from segue.mapping.functions import example
    >>> example("case_manager", "77^CASE^CAY")["role"][0]["coding"][0]["code"]
    '768832004'
    """
    person = practitioner(tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        member = person(raw, run)
        return {"role": [CASE_MANAGER], "member": member} if member else None

    return convert


_organization = organization
