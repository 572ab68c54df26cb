"""Valid resources of many types, written for these tests and the validator's benchmark."""

from typing import Any

from tests.unit.fhir.examples import TH, V2, V3

US = "http://hl7.org/fhir/us/core/StructureDefinition/"
LOINC = "http://loinc.org"
SCT = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
XHTML = '<div xmlns="http://www.w3.org/1999/xhtml">'


def _concept(system: str, code: str, text: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"coding": [{"system": system, "code": code}]}
    return {**found, "text": text} if text else found


def _to(reference: str) -> dict[str, Any]:
    return {"reference": reference}


def _us(profile: str, type_: str, /, **elements: Any) -> dict[str, Any]:
    return {"resourceType": type_, "id": profile, "meta": {"profile": [US + profile]}, **elements}


def _vital(name: str, code: str, /, **elements: Any) -> dict[str, Any]:
    return _us(
        name,
        "Observation",
        status="final",
        category=[_concept(TH + "observation-category", "vital-signs")],
        code=_concept(LOINC, code),
        subject=_to("Patient/p1"),
        effectiveDateTime="2026-03-02T09:00:00Z",
        **elements,
    )


def _amount(value: float, unit: str, code: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": UCUM, "code": code}


_PUBLISHED = {"status": "active", "version": "1", "name": "Sample"}

SAMPLES: dict[str, dict[str, Any]] = {
    "us patient": _us(
        "us-core-patient",
        "Patient",
        text={"status": "generated", "div": f"{XHTML}<p>Ada Roe</p></div>"},
        extension=[
            {
                "url": US + "us-core-race",
                "extension": [
                    {
                        "url": "ombCategory",
                        "valueCoding": {
                            "system": "urn:oid:2.16.840.1.113883.6.238",
                            "code": "2106-3",
                            "display": "White",
                        },
                    },
                    {"url": "text", "valueString": "White"},
                ],
            },
            {"url": US + "us-core-birthsex", "valueCode": "F"},
        ],
        identifier=[
            {
                "use": "usual",
                "type": _concept(V2 + "0203", "MR"),
                "system": "urn:oid:2.16.840.1.113883.19.5",
                "value": "A-17",
            }
        ],
        active=True,
        name=[{"use": "official", "family": "Roe", "given": ["Ada"], "period": {"start": "2001"}}],
        telecom=[{"system": "phone", "value": "555-0111", "use": "home"}],
        gender="female",
        birthDate="1957-06-01",
        address=[{"line": ["1 Elm St"], "city": "Salem", "state": "MA", "postalCode": "01970"}],
        maritalStatus=_concept(V3 + "MaritalStatus", "M"),
        contact=[{"name": {"family": "Roe"}, "relationship": [_concept(V2 + "0131", "N")]}],
        communication=[{"language": _concept("urn:ietf:bcp:47", "en"), "preferred": True}],
        generalPractitioner=[_to("Practitioner/d1")],
        managingOrganization=_to("Organization/o1"),
    ),
    "us encounter": _us(
        "us-core-encounter",
        "Encounter",
        identifier=[{"system": "urn:oid:2.16.840.1.113883.19.7", "value": "V-9"}],
        status="finished",
        **{"class": {"system": V3 + "ActCode", "code": "IMP"}},
        type=[_concept(SCT, "183452005")],
        subject=_to("Patient/p1"),
        participant=[
            {
                "type": [_concept(V3 + "ParticipationType", "ATND")],
                "individual": _to("Practitioner/d1"),
                "period": {"start": "2026-03-01"},
            }
        ],
        period={"start": "2026-03-01T08:00:00Z", "end": "2026-03-04T12:30:00Z"},
        reasonCode=[{"text": "chest pain"}],
        hospitalization={
            "dischargeDisposition": _concept(TH + "discharge-disposition", "home"),
            "admitSource": _concept(TH + "admit-source", "emd"),
        },
        location=[{"location": _to("Location/l1"), "status": "completed"}],
        serviceProvider=_to("Organization/o1"),
    ),
    "us problem": _us(
        "us-core-condition-problems-health-concerns",
        "Condition",
        clinicalStatus=_concept(TH + "condition-clinical", "active"),
        verificationStatus=_concept(TH + "condition-ver-status", "confirmed"),
        category=[_concept(TH + "condition-category", "problem-list-item")],
        code=_concept("http://hl7.org/fhir/sid/icd-10-cm", "I50.9"),
        subject=_to("Patient/p1"),
        onsetDateTime="2025-11",
        recordedDate="2025-11-20",
    ),
    "us diagnosis": _us(
        "us-core-condition-encounter-diagnosis",
        "Condition",
        clinicalStatus=_concept(TH + "condition-clinical", "resolved"),
        verificationStatus=_concept(TH + "condition-ver-status", "confirmed"),
        category=[_concept(TH + "condition-category", "encounter-diagnosis")],
        code=_concept("http://hl7.org/fhir/sid/icd-10-cm", "J18.9"),
        subject=_to("Patient/p1"),
        encounter=_to("Encounter/e1"),
        abatementDateTime="2026-03-20",
    ),
    "us allergy": _us(
        "us-core-allergyintolerance",
        "AllergyIntolerance",
        clinicalStatus=_concept(TH + "allergyintolerance-clinical", "active"),
        verificationStatus=_concept(TH + "allergyintolerance-verification", "confirmed"),
        category=["medication"],
        criticality="high",
        code={"text": "penicillin"},
        patient=_to("Patient/p1"),
        reaction=[{"manifestation": [{"text": "hives"}], "severity": "mild"}],
    ),
    "us blood pressure": _vital(
        "us-core-blood-pressure",
        "85354-9",
        component=[
            {"code": _concept(LOINC, "8480-6"), "valueQuantity": _amount(121, "mmHg", "mm[Hg]")},
            {"code": _concept(LOINC, "8462-4"), "valueQuantity": _amount(79, "mmHg", "mm[Hg]")},
        ],
    ),
    "us heart rate": _vital(
        "us-core-heart-rate", "8867-4", valueQuantity=_amount(71, "/min", "/min")
    ),
    "us weight": _vital("us-core-body-weight", "29463-7", valueQuantity=_amount(81.5, "kg", "kg")),
    "core weight": {
        **_vital("bodyweight", "29463-7", valueQuantity=_amount(81.5, "kg", "kg")),
        "meta": {"profile": ["http://hl7.org/fhir/StructureDefinition/bodyweight"]},
    },
    "us smoking": _us(
        "us-core-smokingstatus",
        "Observation",
        status="final",
        category=[_concept(TH + "observation-category", "social-history")],
        code=_concept(LOINC, "72166-2"),
        subject=_to("Patient/p1"),
        effectiveDateTime="2026-03-02",
        valueCodeableConcept=_concept(SCT, "266919005"),
    ),
    "us lab": _us(
        "us-core-observation-lab",
        "Observation",
        status="final",
        category=[_concept(TH + "observation-category", "laboratory")],
        code=_concept(LOINC, "718-7"),
        subject=_to("Patient/p1"),
        effectiveDateTime="2026-03-02T07:10:00Z",
        valueQuantity=_amount(13.2, "g/dL", "g/dL"),
        interpretation=[_concept(V3 + "ObservationInterpretation", "N")],
        referenceRange=[{"low": _amount(12, "g/dL", "g/dL"), "high": _amount(16, "g/dL", "g/dL")}],
    ),
    "us care plan": _us(
        "us-core-careplan",
        "CarePlan",
        text={"status": "additional", "div": f"{XHTML}<p>Walk daily.</p></div>"},
        status="active",
        intent="plan",
        category=[
            _concept("http://hl7.org/fhir/us/core/CodeSystem/careplan-category", "assess-plan")
        ],
        subject=_to("Patient/p1"),
        period={"start": "2026-03-05"},
        careTeam=[_to("CareTeam/t1")],
        activity=[{"detail": {"status": "in-progress", "description": "call in 2 days"}}],
    ),
    "us care team": _us(
        "us-core-careteam",
        "CareTeam",
        status="active",
        subject=_to("Patient/p1"),
        participant=[
            {"role": [_concept(SCT, "17561000")], "member": _to("Practitioner/d1")},
            {"role": [_concept(SCT, "116154003")], "member": _to("Patient/p1")},
        ],
    ),
    "us goal": _us(
        "us-core-goal",
        "Goal",
        lifecycleStatus="active",
        achievementStatus=_concept(TH + "goal-achievement", "in-progress"),
        description={"text": "no readmission"},
        subject=_to("Patient/p1"),
        startDate="2026-03-05",
        target=[{"dueDate": "2026-04-04"}],
    ),
    "us coverage": _us(
        "us-core-coverage",
        "Coverage",
        identifier=[
            {
                "type": _concept(V2 + "0203", "MB"),
                "system": "urn:oid:2.16.840.1.113883.19.8",
                "value": "M1",
            }
        ],
        status="active",
        subscriberId="M1",
        beneficiary=_to("Patient/p1"),
        relationship=_concept(TH + "subscriber-relationship", "self"),
        period={"start": "2026-01-01", "end": "2026-12-31"},
        payor=[_to("Organization/o1")],
    ),
    "us document": _us(
        "us-core-documentreference",
        "DocumentReference",
        status="current",
        type=_concept(LOINC, "18842-5"),
        category=[
            _concept(
                "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
                "clinical-note",
            )
        ],
        subject=_to("Patient/p1"),
        date="2026-03-04T13:00:00Z",
        author=[_to("Practitioner/d1")],
        content=[{"attachment": {"contentType": "text/plain", "data": "RGlzY2hhcmdlZC4="}}],
        context={"encounter": [_to("Encounter/e1")], "period": {"start": "2026-03-01"}},
    ),
    "us procedure": _us(
        "us-core-procedure",
        "Procedure",
        status="completed",
        code=_concept(SCT, "80146002"),
        subject=_to("Patient/p1"),
        performedDateTime="2026-03-02",
    ),
    "us practitioner": _us(
        "us-core-practitioner",
        "Practitioner",
        identifier=[{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
        name=[{"family": "Chen", "given": ["Li"]}],
        telecom=[{"system": "email", "value": "li.chen@example.org"}],
    ),
    "us organization": _us(
        "us-core-organization",
        "Organization",
        identifier=[{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
        active=True,
        name="General Hospital",
        type=[_concept(TH + "organization-type", "prov")],
        telecom=[{"system": "phone", "value": "555-0100", "use": "work"}],
        address=[{"line": ["2 Main St"], "city": "Salem", "state": "MA", "country": "US"}],
    ),
    "us location": _us(
        "us-core-location",
        "Location",
        status="active",
        name="Ward 3",
        mode="instance",
        physicalType=_concept(TH + "location-physical-type", "wa"),
        managingOrganization=_to("Organization/o1"),
        position={"longitude": -70.9, "latitude": 42.5},
    ),
    "us immunization": _us(
        "us-core-immunization",
        "Immunization",
        status="completed",
        vaccineCode=_concept("http://hl7.org/fhir/sid/cvx", "140"),
        patient=_to("Patient/p1"),
        occurrenceDateTime="2025-10-01",
        primarySource=True,
    ),
    "us medication request": _us(
        "us-core-medicationrequest",
        "MedicationRequest",
        status="active",
        intent="order",
        medicationCodeableConcept=_concept("http://www.nlm.nih.gov/research/umls/rxnorm", "1191"),
        subject=_to("Patient/p1"),
        authoredOn="2026-03-04",
        requester=_to("Practitioner/d1"),
        dosageInstruction=[
            {
                "text": "one daily",
                "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
                "doseAndRate": [{"doseQuantity": _amount(81, "mg", "mg")}],
            }
        ],
    ),
    "us service request": _us(
        "us-core-servicerequest",
        "ServiceRequest",
        status="active",
        intent="order",
        category=[_concept(SCT, "409063005")],
        code={"text": "home health nursing"},
        subject=_to("Patient/p1"),
        occurrencePeriod={"start": "2026-03-05", "end": "2026-04-05"},
        authoredOn="2026-03-04T10:00:00Z",
        requester=_to("Practitioner/d1"),
    ),
    "us report": _us(
        "us-core-diagnosticreport-lab",
        "DiagnosticReport",
        status="final",
        category=[_concept(V2 + "0074", "LAB")],
        code=_concept(LOINC, "58410-2"),
        subject=_to("Patient/p1"),
        effectiveDateTime="2026-03-02T07:10:00Z",
        issued="2026-03-02T09:00:00Z",
        performer=[_to("Organization/o1")],
        result=[_to("Observation/x1")],
    ),
    "us related person": _us(
        "us-core-relatedperson",
        "RelatedPerson",
        active=True,
        patient=_to("Patient/p1"),
        relationship=[_concept(V3 + "RoleCode", "DAU")],
        name=[{"family": "Roe", "given": ["Eve"]}],
    ),
    "us provenance": _us(
        "us-core-provenance",
        "Provenance",
        target=[_to("Patient/p1")],
        recorded="2026-03-04T13:00:00Z",
        agent=[
            {
                "type": _concept(TH + "provenance-participant-type", "author"),
                "who": _to("Organization/o1"),
            }
        ],
    ),
    "us practitioner role": _us(
        "us-core-practitionerrole",
        "PractitionerRole",
        practitioner=_to("Practitioner/d1"),
        organization=_to("Organization/o1"),
        telecom=[{"system": "phone", "value": "555-0122"}],
        availableTime=[{"daysOfWeek": ["mon", "tue"], "availableStartTime": "08:00:00"}],
    ),
    "questionnaire": {
        "resourceType": "Questionnaire",
        **_PUBLISHED,
        "url": "http://example.org/q",
        "item": [
            {"linkId": "1", "type": "group", "item": [{"linkId": "1.1", "type": "string"}]},
            {
                "linkId": "2",
                "type": "choice",
                "answerOption": [{"valueString": "a"}, {"valueString": "b"}],
                "enableWhen": [{"question": "1.1", "operator": "exists", "answerBoolean": True}],
            },
            {"linkId": "3", "type": "display", "text": "thanks"},
        ],
    },
    "answers": {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": "http://example.org/q",
        "status": "completed",
        "subject": _to("Patient/p1"),
        "item": [{"linkId": "1", "item": [{"linkId": "1.1", "answer": [{"valueString": "x"}]}]}],
    },
    "value set": {
        "resourceType": "ValueSet",
        **_PUBLISHED,
        "url": "http://example.org/vs",
        "compose": {"include": [{"system": LOINC, "concept": [{"code": "718-7"}]}]},
    },
    "code system": {
        "resourceType": "CodeSystem",
        **_PUBLISHED,
        "url": "http://example.org/cs",
        "content": "complete",
        "caseSensitive": True,
        "concept": [{"code": "a", "display": "A"}, {"code": "b", "display": "B"}],
    },
    "concept map": {
        "resourceType": "ConceptMap",
        **_PUBLISHED,
        "url": "http://example.org/cm",
        "group": [
            {
                "source": "http://example.org/cs",
                "target": "http://example.org/cs2",
                "element": [{"code": "a", "target": [{"code": "x", "equivalence": "equal"}]}],
                "unmapped": {"mode": "fixed", "code": "y"},
            }
        ],
    },
    "search parameter": {
        "resourceType": "SearchParameter",
        **_PUBLISHED,
        "url": "http://example.org/sp",
        "description": "by colour",
        "code": "colour",
        "base": ["Patient"],
        "type": "token",
        "expression": "Patient.extension.value",
    },
    "operation": {
        "resourceType": "OperationDefinition",
        **_PUBLISHED,
        "kind": "operation",
        "code": "do",
        "system": True,
        "type": False,
        "instance": False,
        "parameter": [{"name": "x", "use": "in", "min": 0, "max": "1", "type": "string"}],
    },
    "plan definition": {
        "resourceType": "PlanDefinition",
        **_PUBLISHED,
        "action": [
            {
                "title": "call",
                "trigger": [{"type": "named-event", "name": "discharge"}],
                "relatedAction": [{"actionId": "a", "relationship": "after"}],
            }
        ],
    },
    "subscription": {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "tell me",
        "criteria": "Encounter?status=finished",
        "channel": {"type": "rest-hook", "endpoint": "https://example.org/hook"},
    },
    "search set": {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 1,
        "link": [{"relation": "self", "url": "http://example.org/fhir/Basic"}],
        "entry": [
            {
                "fullUrl": "http://example.org/fhir/Basic/b1",
                "resource": {"resourceType": "Basic", "id": "b1", "code": {"text": "x"}},
                "search": {"mode": "match"},
            }
        ],
    },
    "document": {
        "resourceType": "Bundle",
        "type": "document",
        "identifier": {"system": "urn:oid:2.16.840.1.113883.19.7", "value": "doc-1"},
        "timestamp": "2026-03-04T13:00:00Z",
        "entry": [
            {
                "fullUrl": "http://example.org/fhir/Composition/c1",
                "resource": {
                    "resourceType": "Composition",
                    "id": "c1",
                    "status": "final",
                    "type": _concept(LOINC, "18842-5"),
                    "subject": _to("Patient/p1"),
                    "date": "2026-03-04",
                    "author": [_to("Practitioner/d1")],
                    "title": "Summary",
                    "section": [
                        {
                            "title": "Course",
                            "text": {"status": "generated", "div": f"{XHTML}<p>Well.</p></div>"},
                        }
                    ],
                },
            },
            {
                "fullUrl": "http://example.org/fhir/Patient/p1",
                "resource": {"resourceType": "Patient", "id": "p1", "active": True},
            },
            {
                "fullUrl": "http://example.org/fhir/Practitioner/d1",
                "resource": {"resourceType": "Practitioner", "id": "d1", "active": True},
            },
        ],
    },
    "message": {
        "resourceType": "Bundle",
        "type": "message",
        "timestamp": "2026-03-04T13:00:00Z",
        "entry": [
            {
                "fullUrl": "urn:uuid:5a1b7c6e-0000-4000-8000-000000000011",
                "resource": {
                    "resourceType": "MessageHeader",
                    "eventCoding": {"system": "http://example.org/events", "code": "admit"},
                    "source": {"endpoint": "http://example.org"},
                },
            }
        ],
    },
    "list": {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "entry": [{"item": _to("Patient/p1"), "date": "2026-03-04"}],
    },
    "group": {
        "resourceType": "Group",
        "type": "person",
        "actual": True,
        "member": [{"entity": _to("Patient/p1")}],
    },
    "claim": {
        "resourceType": "Claim",
        "status": "active",
        "type": _concept(TH + "claim-type", "institutional"),
        "use": "claim",
        "patient": _to("Patient/p1"),
        "created": "2026-03-05",
        "provider": _to("Organization/o1"),
        "priority": _concept(TH + "processpriority", "normal"),
        "insurance": [{"sequence": 1, "focal": True, "coverage": _to("Coverage/c1")}],
        "total": {"value": 99.5, "currency": "USD"},
    },
    "family history": {
        "resourceType": "FamilyMemberHistory",
        "status": "completed",
        "patient": _to("Patient/p1"),
        "relationship": _concept(V3 + "RoleCode", "FTH"),
        "ageAge": _amount(71, "years", "a"),
    },
    "media": {
        "resourceType": "Media",
        "status": "completed",
        "content": {"contentType": "image/png", "url": "http://example.org/x.png", "size": 10},
    },
    "signed": {
        "resourceType": "Device",
        "contained": [{"resourceType": "Organization", "id": "o", "name": "Maker"}],
        "status": "active",
        "deviceName": [{"name": "pump", "type": "user-friendly-name"}],
        "owner": _to("#o"),
    },
    "with extensions": {
        "resourceType": "Patient",
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace",
                "valueAddress": {"city": "Salem"},
            },
            {"url": "http://example.org/own", "valueString": "x"},
        ],
        "birthDate": "1957-06-01",
        "_birthDate": {
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
                    "valueDateTime": "1957-06-01T04:00:00Z",
                }
            ]
        },
        "name": [{"id": "n1", "family": "Roe"}],
    },
    "message answer": {
        "resourceType": "Bundle",
        "type": "batch-response",
        "entry": [{"response": {"status": "201 Created", "location": "Patient/1/_history/1"}}],
    },
    "slot": {
        "resourceType": "Slot",
        "schedule": _to("Schedule/s1"),
        "status": "free",
        "start": "2026-03-05T09:00:00Z",
        "end": "2026-03-05T09:20:00Z",
    },
}
