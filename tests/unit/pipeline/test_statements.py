"""What a client's write is about: identities, evidence, statements."""

from dataclasses import replace
from typing import Any

import pytest

from segue.care.fold import extend_visit, fold_visit
from segue.care.parties import HUB_REFERENCE, organization_id
from segue.care.states import PersonState, SourcePatient, Told
from segue.care.view import CareSetting
from segue.fhir.outcomes import FhirError
from segue.fhir.requests import Entry
from segue.mapping.context import SiteRules
from segue.model.changes import Head, SearchTerms
from segue.model.facts import Fragment
from segue.model.identity import ResourceKey
from segue.model.instants import Moment
from segue.pipeline import demographics, evidence, owned
from segue.pipeline.charts import Chart, Margin
from segue.pipeline.identities import (
    Authorities,
    Identified,
    elements_of,
    fact_of,
    identify,
    visit_keys,
)
from segue.pipeline.targets import check_id, check_match, condition, lock_of, versions_of

AUTHORITIES = Authorities([SiteRules("hospa", "HOSPA", "urn:oid:1.2.3"), SiteRules("pcpb", "PCPB")])
NEVER = frozenset({"SS"})


def identifier(system: str, value: str, type_: str = "", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"system": system, "value": value, **more}
    if type_:
        system = "http://terminology.hl7.org/CodeSystem/v2-0203"
        made["type"] = {"coding": [{"system": system, "code": type_}]}
    return made


PCPB = identifier("urn:segue:authority:PCPB", "77")
HIE = identifier("urn:segue:authority:HIE", "9", "PI")
MRN = identifier("urn:oid:1.2.3", "100", "MR")
SSN = identifier("urn:segue:authority:USSSA", "999-99-9999", "SS")


def patient(*identifiers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": list(identifiers), **more}


# --- identities ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "given", "key", "links"),
    [
        ("PCPB", (PCPB, HIE), "PCPB|77", ("HIE|9", "PCPB|77")),
        ("PCPB", (HIE, PCPB), "PCPB|77", ("HIE|9", "PCPB|77")),
        ("", (HIE, PCPB), "HIE|9", ("HIE|9",)),
        ("PCPB", (MRN, HIE), "HOSPA|100", ("HIE|9", "HOSPA|100")),
        ("HOSPA", (PCPB, MRN, SSN), "HOSPA|100", ("HOSPA|100",)),
    ],
)
def test_the_identity_is_the_clients_own_number_and_linking_ones_link(
    own: str, given: tuple[dict[str, Any], ...], key: str, links: tuple[str, ...]
) -> None:
    found = identify(patient(*given), AUTHORITIES, own, ("MR", "PI"), NEVER)
    assert found == Identified(key, links)


@pytest.mark.parametrize(
    "given",
    [
        (SSN,),
        (identifier("http://elsewhere.test/mrn", "1"),),
        (identifier("urn:segue:authority:PCPB", "77", use="old"),),
        (identifier("urn:segue:authority:", "77"),),
        ({"value": "77"},),
        (),
    ],
)
def test_what_names_nobody_is_no_identity(given: tuple[dict[str, Any], ...]) -> None:
    assert identify(patient(*given), AUTHORITIES, "PCPB", ("MR", "PI"), NEVER) is None


def test_a_visit_has_the_clients_own_number_first() -> None:
    encounter = {"identifier": [MRN, identifier("urn:segue:authority:PCPB", "E1"), PCPB]}
    assert visit_keys(encounter, AUTHORITIES, "PCPB") == ["PCPB|77", "PCPB|E1", "HOSPA|100"]
    account = identifier("urn:segue:authority:PCPB", "A1", "AN")
    assert visit_keys({"identifier": [account]}, AUTHORITIES, "PCPB") == []


def test_a_patient_as_elements_has_no_version_and_no_labels() -> None:
    meta = {"versionId": "3", "profile": ["urn:p"], "security": [{"code": "R"}]}
    found = elements_of(patient(PCPB, id="1", meta=meta, name=[{"family": "A"}], gender="male"))
    assert found == {
        "identifier": [PCPB],
        "meta": {"profile": ["urn:p"]},
        "name#name": [{"family": "A"}],
        "gender": "male",
    }


def test_a_clients_encounter_is_no_event_of_its_visit_and_gives_it_its_id() -> None:
    identity, now = Identified("HOSPA|1", ("HOSPA|1",)), Moment("2026-07-01T10:00:00Z", 1)
    adopted = fact_of(
        "f1", "hospa", identity, now, Fragment("Encounter", "mine", "visit", {}),
        resource={}, visit="HOSPA|V1",
    )  # fmt: skip
    alone = fold_visit([adopted])
    assert (alone.key, alone.encounter, alone.status) == ("HOSPA|V1", "mine", "")
    at = Moment("2026-07-01T11:00:00Z", 2)
    admitted = replace(
        adopted, id="f2", event="A01", occurred=at, recorded=at, sent=at,
        stay=[Fragment("Encounter", "theirs", "visit", {})],
    )  # fmt: skip
    for facts in ([adopted, admitted], [admitted, adopted]):
        state = fold_visit(facts)
        assert (state.encounter, state.status) == ("mine", "in-progress")
    later = replace(admitted, id="f3", event="A08", occurred=Moment("x", 3),
                    recorded=Moment("x", 3), sent=Moment("x", 3))  # fmt: skip
    extended = extend_visit(fold_visit([adopted, admitted]), later)
    assert extended == fold_visit([adopted, admitted, later])
    assert extend_visit(fold_visit([admitted]), adopted) is None


# --- demographics -------------------------------------------------------------------------


def person(**told: dict[str, Any]) -> PersonState:
    sources = {
        site: Told(site, resources={"Patient": [((1, 1, 1), elements)]})
        for site, elements in told.items()
    }
    patients = {"PCPB|77": SourcePatient("p", 1, stated=True)}
    return PersonState(key="PCPB|77", patient="p", patients=patients, sources=sources)


def test_an_update_says_what_differs_and_takes_back_what_is_missing() -> None:
    known = person(
        pcpb={"gender": "male", "birthDate": "1955"}, hospa={"maritalStatus": {"text": "M"}}
    )
    stored = {"gender": "male", "birthDate": "1955", "maritalStatus": {"text": "M"}, "active": True}
    assert demographics.updated(known, "p", stored, stored, "pcpb") == {}
    sent = {"gender": "female"}
    assert demographics.updated(known, "p", sent, stored, "pcpb") == {
        "gender": "female",
        "birthDate": None,
    }
    assert demographics.updated(known, "p", sent, stored, "payx") == {"gender": "female"}


def test_an_update_of_a_replaced_patient_says_all_of_it() -> None:
    known = person(pcpb={"gender": "male"})
    stub = {"active": False, "link": [{"type": "replaced-by"}]}
    sent = {**stub, "gender": "male", "birthDate": "1955"}
    assert demographics.updated(known, "other", sent, stub, "pcpb") == {"birthDate": "1955"}


def test_a_second_create_takes_nothing_back() -> None:
    known = person(pcpb={"gender": "male", "birthDate": "1955"})
    sent = {"gender": "male", "name": [{"family": "A"}]}
    assert demographics.restated(known, sent, {}, "pcpb") == {"name#name": [{"family": "A"}]}


@pytest.mark.parametrize(
    ("own", "source", "may"),
    [("PCPB", "x", True), ("HOSPA", "pcpb", True), ("HOSPA", "hospa", False), ("", "x", False)],
)
def test_a_patient_is_its_authoritys_and_its_makers(own: str, source: str, may: bool) -> None:
    known = person(pcpb={"gender": "male"})
    assert demographics.may_state(known, "PCPB|77", own, source) is may


# --- evidence -----------------------------------------------------------------------------


def test_evidence_is_kept_once_in_its_last_version_and_without_ballast() -> None:
    first = {"resourceType": "Communication", "id": "1", "text": {}, "payload": [{}]}
    state = PersonState()
    for version, recorded in ((1, 10), (2, 30)):
        one = evidence.evidence(first, version, "pcpb", recorded)
        state = evidence.with_evidence(state, one)
    state = evidence.with_evidence(state, evidence.evidence({**first, "id": "2"}, 1, "pcpb", 20))
    kept = [(one.reference, one.version) for one in state.evidence]
    assert kept == [("Communication/2", 1), ("Communication/1", 2)]
    assert state.evidence[1].resource == {"resourceType": "Communication", "id": "1"}
    assert evidence.without_evidence(state, "Communication/9") is state
    assert len(evidence.without_evidence(state, "Communication/1").evidence) == 1


def test_a_resource_belongs_to_its_subject_before_anybody_else() -> None:
    resource = {
        "resourceType": "Communication",
        "encounter": {"reference": "Encounter/e"},
        "recipient": [{"reference": "Patient/other"}],
        "subject": {"reference": "Patient/1"},
        "sender": {"reference": "http://elsewhere.test/Patient/9"},
        "about": [{"reference": "#contained"}],
    }
    assert [key.reference for key in evidence.owners(resource)] == [
        "Patient/1",
        "Patient/other",
        "Encounter/e",
    ]


# --- statements ---------------------------------------------------------------------------

PRACTICE = {"reference": f"Organization/{organization_id('pcpb')}", "display": "Practice"}
TASK = {
    "resourceType": "Task",
    "id": "t",
    "status": "requested",
    "code": {"coding": [{"code": "visit"}]},
    "owner": PRACTICE,
    "requester": dict(HUB_REFERENCE),
}


def chart(*care: str) -> Chart:
    return Chart(1, "k", 1, PersonState(), {}, {}, Margin(care=care))


def test_only_what_differs_is_said_and_versions_say_nothing() -> None:
    sent = {**TASK, "status": "accepted", "lastModified": "2026", "meta": {"versionId": "9"}}
    del sent["code"]
    assert owned.changed(TASK, sent) == {"code": None, "status": "accepted"}


@pytest.mark.parametrize(
    ("site", "anonymous", "task", "who"),
    [
        ("pcpb", False, TASK, "owner"),
        ("payx", False, TASK, None),
        ("", False, TASK, None),
        ("", True, TASK, "owner"),
        ("", True, {**TASK, "owner": dict(HUB_REFERENCE)}, None),
        ("segue", False, {**TASK, "owner": dict(HUB_REFERENCE)}, None),
    ],
)
def test_who_may_speak_of_a_task(
    site: str, anonymous: bool, task: dict[str, Any], who: str | None
) -> None:
    assert owned.actor(task, site, chart(), CareSetting({}), anonymous=anonymous) == who


def test_a_stranger_is_told_whose_task_it_is() -> None:
    (issue,) = owned.task_issues(TASK, {"status": "accepted"}, None, {})
    assert "Practice" in issue.text


def test_only_the_hubs_own_tasks_and_plans_may_be_spoken_of() -> None:
    known = chart("Task/t", "RiskAssessment/r")
    assert owned.may_be_stated(ResourceKey("Task", "t"), known)
    assert not owned.may_be_stated(ResourceKey("Task", "x"), known)
    assert not owned.may_be_stated(ResourceKey("RiskAssessment", "r"), known)


def test_the_same_statement_again_is_none() -> None:
    known = chart("Task/t")
    key = ResourceKey("Task", "t")
    first = owned.statement(known, key, {"status": "accepted"}, "pcpb", 1)
    assert first is not None
    known.person.statements.append(first)
    assert owned.statement(known, key, {"status": "accepted"}, "pcpb", 2) is None
    assert owned.statement(known, key, {"status": "accepted"}, "payx", 2) is not None
    assert owned.statement(known, key, {"status": "rejected"}, "pcpb", 2) is not None


# --- conditions ---------------------------------------------------------------------------


def entry(method: Any = "PUT", id_: str | None = "1", **more: Any) -> Entry:
    values: dict[str, Any] = {"query": (), "resource": {"id": "1"}, **more}
    return Entry(
        0, method, "Task", id_, values.pop("query"), "", values.pop("resource"), None, **values
    )


def head(version: int, *, deleted: bool = False) -> Head:
    return Head(1, version, b"", b"", SearchTerms(), "client", deleted)


@pytest.mark.parametrize("tag", ['W/"3"', '"3"', "3", ' W/"3" ', 'W/"3", "3"'])
def test_an_etag_names_a_version(tag: str) -> None:
    assert versions_of(tag, "If-Match") == {3}


def test_a_star_names_any_and_nonsense_is_refused() -> None:
    assert versions_of("*", "If-Match") is None
    for nonsense in ('W/"a"', "", "9" * 30):
        with pytest.raises(FhirError) as refused:
            versions_of(nonsense, "If-Match")
        assert refused.value.status == 400


@pytest.mark.parametrize(
    ("headers", "stored", "status"),
    [
        ({}, None, None),
        ({"if_match": 'W/"2"'}, head(2), None),
        ({"if_match": "*"}, head(2), None),
        ({"if_match": 'W/"1"'}, head(2), 412),
        ({"if_match": 'W/"2"'}, head(2, deleted=True), 412),
        ({"if_match": "*"}, None, 412),
        ({"if_none_match": "*"}, head(2), 412),
        ({"if_none_match": "*"}, head(2, deleted=True), None),
        ({"if_none_match": 'W/"1"'}, head(2), None),
        ({"if_none_match": 'W/"1", W/"2"'}, head(2), 412),
        ({"if_none_match": "never"}, head(2), 400),
    ],
)
def test_versions_are_judged(
    headers: dict[str, str], stored: Head | None, status: int | None
) -> None:
    if status is None:
        check_match(entry(**headers), stored)
        return
    with pytest.raises(FhirError) as refused:
        check_match(entry(**headers), stored)
    assert refused.value.status == status


def test_equal_conditions_hold_the_same_lock() -> None:
    def lock(text: str) -> int | None:
        return lock_of(entry("POST", None, if_none_exist=text), None)

    assert lock("identifier=a|1&status=draft") == lock("?status=draft&identifier=a|1")
    assert lock("identifier=a|1") != lock("identifier=a|2")
    assert lock_of(entry("POST", None), None) is None
    assert condition(entry("DELETE", None, query=(("status", "draft"),)), None) is not None
    assert condition(entry("GET", None, query=(("status", "draft"),)), None) is None


def test_an_update_by_condition_needs_no_id() -> None:
    check_id(entry(id_=None, resource={}))
    with pytest.raises(FhirError):
        check_id(entry(id_=None, resource={"id": "no id"}))
