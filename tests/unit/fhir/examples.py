"""Resources written for these tests: valid ones by name, and how to make them wrong."""

from copy import deepcopy
from typing import Any

V2 = "http://terminology.hl7.org/CodeSystem/v2-"
V3 = "http://terminology.hl7.org/CodeSystem/v3-"
TH = "http://terminology.hl7.org/CodeSystem/"

EXAMPLES: dict[str, dict[str, Any]] = {
    "patient": {
        "resourceType": "Patient",
        "id": "f1938307ae700d9612be61db307a04ed",
        "meta": {"source": "urn:segue:feed:hospa-adt"},
        "extension": [
            {
                "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
                "extension": [
                    {
                        "url": "ombCategory",
                        "valueCoding": {
                            "system": "urn:oid:2.16.840.1.113883.6.238",
                            "code": "2106-3",
                        },
                    },
                    {"url": "text", "valueString": "White"},
                ],
            }
        ],
        "identifier": [
            {
                "use": "usual",
                "type": {"coding": [{"system": V2 + "0203", "code": "MR"}]},
                "system": "urn:oid:2.16.840.1.113883.19.5",
                "value": "100234",
            }
        ],
        "active": True,
        "name": [{"use": "official", "family": "Núñez", "given": ["Ada", "Q"]}],
        "telecom": [{"system": "phone", "value": "555-0100", "use": "home"}],
        "gender": "female",
        "birthDate": "1948-03-12",
        "deceasedBoolean": False,
        "address": [{"line": ["12 Main St"], "city": "Springfield", "postalCode": "62701"}],
        "maritalStatus": {"coding": [{"system": V3 + "MaritalStatus", "code": "M"}]},
        "contact": [{"name": {"family": "Núñez"}, "telecom": [{"system": "phone", "value": "1"}]}],
        "communication": [{"language": {"text": "English"}, "preferred": True}],
        "generalPractitioner": [{"reference": "Practitioner/p1"}],
        "managingOrganization": {"reference": "Organization/hospa"},
    },
    "patient with primitive extensions": {
        "resourceType": "Patient",
        "id": "p2",
        "_birthDate": {
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                    "valueCode": "unknown",
                }
            ]
        },
        "name": [
            {
                "given": ["Ada", None],
                "_given": [
                    None,
                    {"extension": [{"url": "http://example.org/x", "valueBoolean": True}]},
                ],
            }
        ],
    },
    "encounter": {
        "resourceType": "Encounter",
        "id": "e1",
        "identifier": [{"system": "urn:segue:authority:HOSPA", "value": "V78421"}],
        "status": "finished",
        "statusHistory": [
            {
                "status": "in-progress",
                "period": {
                    "start": "2026-07-05T08:12:00-04:00",
                    "end": "2026-07-10T14:05:00-04:00",
                },
            }
        ],
        "class": {"system": V3 + "ActCode", "code": "IMP", "display": "inpatient encounter"},
        "classHistory": [
            {
                "class": {"system": V3 + "ActCode", "code": "EMER"},
                "period": {
                    "start": "2026-07-05T08:12:00-04:00",
                    "end": "2026-07-05T13:42:00-04:00",
                },
            }
        ],
        "subject": {"reference": "Patient/f1938307ae700d9612be61db307a04ed"},
        "participant": [
            {
                "type": [{"coding": [{"system": V3 + "ParticipationType", "code": "ATND"}]}],
                "individual": {"reference": "Practitioner/p1", "display": "Dr. One"},
            }
        ],
        "period": {"start": "2026-07-05T08:12:00-04:00", "end": "2026-07-10T14:05:00-04:00"},
        "hospitalization": {
            "dischargeDisposition": {
                "coding": [{"system": TH + "discharge-disposition", "code": "home"}]
            }
        },
        "location": [
            {
                "location": {"reference": "Location/4w"},
                "status": "completed",
                "period": {"start": "2026-07-05T13:42:00-04:00"},
            }
        ],
        "serviceProvider": {"reference": "Organization/hospa"},
    },
    "condition": {
        "resourceType": "Condition",
        "id": "c1",
        "clinicalStatus": {"coding": [{"system": TH + "condition-clinical", "code": "active"}]},
        "verificationStatus": {
            "coding": [{"system": TH + "condition-ver-status", "code": "confirmed"}]
        },
        "category": [
            {"coding": [{"system": TH + "condition-category", "code": "encounter-diagnosis"}]}
        ],
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "I50.9"}]},
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "onsetDateTime": "2026-07-05",
    },
    "coverage": {
        "resourceType": "Coverage",
        "id": "cov1",
        "status": "active",
        "subscriberId": "M123",
        "beneficiary": {"reference": "Patient/p1"},
        "payor": [{"reference": "Organization/payer"}],
        "class": [{"type": {"text": "plan"}, "value": "A"}],
    },
    "care plan": {
        "resourceType": "CarePlan",
        "id": "cp1",
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Plan</p></div>',
        },
        "status": "active",
        "intent": "plan",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://hl7.org/fhir/us/core/CodeSystem/careplan-category",
                        "code": "assess-plan",
                    }
                ]
            }
        ],
        "subject": {"reference": "Patient/p1"},
        "period": {"start": "2026-07-05"},
        "addresses": [{"reference": "Condition/c1"}],
        "goal": [{"reference": "Goal/g1"}],
        "activity": [{"reference": {"reference": "Task/t1"}}],
    },
    "care team": {
        "resourceType": "CareTeam",
        "id": "ct1",
        "status": "active",
        "subject": {"reference": "Patient/p1"},
        "participant": [{"role": [{"text": "lead"}], "member": {"reference": "Practitioner/p1"}}],
    },
    "goal": {
        "resourceType": "Goal",
        "id": "g1",
        "lifecycleStatus": "active",
        "description": {"text": "Stay at home"},
        "subject": {"reference": "Patient/p1"},
        "target": [{"measure": {"text": "days"}, "detailInteger": 30, "dueDate": "2026-08-09"}],
    },
    "task": {
        "resourceType": "Task",
        "id": "t1",
        "identifier": [{"system": "urn:segue:task-key", "value": "HOSPA|V78421|visit|1"}],
        "instantiatesCanonical": "http://example.org/PlanDefinition/tcm",
        "basedOn": [{"reference": "CarePlan/cp1"}],
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": "urn:segue:task-need", "code": "visit"}]},
        "for": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "authoredOn": "2026-07-05T08:12:00-04:00",
        "lastModified": "2026-07-05T12:13:00Z",
        "owner": {"reference": "Organization/pcpb"},
        "restriction": {"period": {"end": "2026-07-17T23:59:59-04:00"}},
        "input": [
            {
                "type": {"coding": [{"system": "urn:segue:task-input", "code": "clock"}]},
                "valueString": "C-2",
            },
            {
                "type": {"coding": [{"system": "urn:segue:task-input", "code": "noticed-at"}]},
                "valueInstant": "2026-07-05T12:12:30Z",
            },
        ],
    },
    "risk assessment": {
        "resourceType": "RiskAssessment",
        "id": "r1",
        "status": "preliminary",
        "subject": {"reference": "Patient/p1"},
        "method": {"text": "LACE"},
        "basis": [{"reference": "Observation/o1"}],
        "prediction": [
            {
                "qualitativeRisk": {
                    "coding": [{"system": TH + "risk-probability", "code": "high"}]
                },
                "probabilityRange": {
                    "low": {
                        "value": 12,
                        "unit": "%",
                        "system": "http://unitsofmeasure.org",
                        "code": "%",
                    },
                    "high": {
                        "value": 17,
                        "unit": "%",
                        "system": "http://unitsofmeasure.org",
                        "code": "%",
                    },
                },
            }
        ],
    },
    "observation": {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-07-05T08:30:00.5Z",
        "valueQuantity": {
            "value": 72,
            "unit": "/min",
            "system": "http://unitsofmeasure.org",
            "code": "/min",
        },
    },
    "appointment": {
        "resourceType": "Appointment",
        "id": "a1",
        "status": "booked",
        "start": "2026-07-16T09:00:00Z",
        "end": "2026-07-16T09:30:00Z",
        "participant": [{"actor": {"reference": "Patient/p1"}, "status": "accepted"}],
    },
    "episode of care": {
        "resourceType": "EpisodeOfCare",
        "id": "ep1",
        "status": "active",
        "patient": {"reference": "Patient/p1"},
        "period": {"start": "2026-07-05"},
    },
    "provenance": {
        "resourceType": "Provenance",
        "id": "pr1",
        "target": [{"reference": "Patient/p1/_history/2"}],
        "recorded": "2026-07-05T12:12:30.123456Z",
        "agent": [{"who": {"display": "ADT|HOSPA"}}],
        "entity": [{"role": "source", "what": {"identifier": {"value": "HA1"}}}],
    },
    "organization": {
        "resourceType": "Organization",
        "id": "hospa",
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
        "active": True,
        "name": "Hospital A",
    },
    "location": {
        "resourceType": "Location",
        "id": "4w",
        "name": "4 West",
        "mode": "instance",
        "managingOrganization": {"reference": "Organization/hospa"},
    },
    "practitioner": {
        "resourceType": "Practitioner",
        "id": "p1",
        "identifier": [{"value": "77"}],
        "name": [{"family": "One", "prefix": ["Dr."]}],
    },
    "related person": {
        "resourceType": "RelatedPerson",
        "id": "rp1",
        "patient": {"reference": "Patient/p1"},
        "relationship": [{"text": "sister"}],
    },
    "allergy": {
        "resourceType": "AllergyIntolerance",
        "id": "al1",
        "clinicalStatus": {
            "coding": [{"system": TH + "allergyintolerance-clinical", "code": "active"}]
        },
        "code": {"text": "penicillin"},
        "patient": {"reference": "Patient/p1"},
    },
    "consent": {
        "resourceType": "Consent",
        "id": "co1",
        "status": "active",
        "scope": {"text": "privacy"},
        "category": [{"text": "opt out"}],
        "policyRule": {"text": "deny"},
    },
    "contained": {
        "resourceType": "MedicationRequest",
        "id": "mr1",
        "contained": [{"resourceType": "Medication", "id": "m", "code": {"text": "aspirin"}}],
        "status": "active",
        "intent": "order",
        "medicationReference": {"reference": "#m"},
        "subject": {"reference": "Patient/p1"},
    },
    "transaction": {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": "urn:uuid:5a1b7c6e-0000-4000-8000-000000000001",
                "resource": {
                    "resourceType": "Basic",
                    "code": {"text": "x"},
                    "subject": {"reference": "Patient?identifier=a|b"},
                },
                "request": {"method": "POST", "url": "Basic"},
            }
        ],
    },
    "parameters": {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "resource", "resource": {"resourceType": "Basic", "code": {"text": "x"}}},
            {"name": "mode", "valueCode": "create"},
        ],
    },
}


def changed(name: str, path: str, value: Any) -> dict[str, Any]:
    """An example with one place set (`contact.0.name`), or removed where value is `...`."""
    resource = deepcopy(EXAMPLES[name])
    *steps, last = path.split(".")
    spot: Any = resource
    for step in steps:
        spot = spot[int(step)] if step.isdecimal() else spot[step]
    if value is ...:
        del spot[int(last) if last.isdecimal() else last]
    elif last.isdecimal():
        spot[int(last)] = value
    else:
        spot[last] = value
    return resource
