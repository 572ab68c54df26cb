"""The code systems and codes that more than one floor speaks of."""

V2 = "http://terminology.hl7.org/CodeSystem/v2-"
"""Prefix of HL7 v2 tables: `V2 + "0203"`."""

V3 = "http://terminology.hl7.org/CodeSystem/v3-"
"""Prefix of HL7 v3 code systems: `V3 + "ActCode"`."""

ACT_CODE = V3 + "ActCode"
PARTICIPATION = V3 + "ParticipationType"
MARITAL_STATUS = V3 + "MaritalStatus"
NULL_FLAVOR = V3 + "NullFlavor"
ROLE_CODE = V3 + "RoleCode"
CONFIDENTIALITY = V3 + "Confidentiality"
OBSERVATION_VALUE = V3 + "ObservationValue"
IDENTIFIER_TYPE = V2 + "0203"
CONTACT_ROLE = V2 + "0131"
ADMISSION_TYPE = V2 + "0007"

ADMIT_SOURCE = "http://terminology.hl7.org/CodeSystem/admit-source"
DISCHARGE_DISPOSITION = "http://terminology.hl7.org/CodeSystem/discharge-disposition"
DIAGNOSIS_ROLE = "http://terminology.hl7.org/CodeSystem/diagnosis-role"
CONDITION_CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"
CONDITION_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CONDITION_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
ALLERGY_CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
ALLERGY_VERIFICATION = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
PROVENANCE_AGENT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
RISK_PROBABILITY = "http://terminology.hl7.org/CodeSystem/risk-probability"
FLAG_CATEGORY = "http://terminology.hl7.org/CodeSystem/flag-category"
SERVICE_TYPE = "http://terminology.hl7.org/CodeSystem/service-type"

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
ICD9CM = "http://hl7.org/fhir/sid/icd-9-cm"
ICD10PCS = "http://www.cms.gov/Medicare/Coding/ICD10"
CPT = "http://www.ama-assn.org/go/cpt"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
CVX = "http://hl7.org/fhir/sid/cvx"
NPI = "http://hl7.org/fhir/sid/us-npi"
SSN = "http://hl7.org/fhir/sid/us-ssn"
LANGUAGE = "urn:ietf:bcp:47"
CDC_RACE = "urn:oid:2.16.840.1.113883.6.238"
NUBC_DISCHARGE = "https://www.nubc.org/CodeSystem/PatDischargeStatus"

US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
"""Prefix of US Core profiles and extensions."""

CAREPLAN_CATEGORY = "http://hl7.org/fhir/us/core/CodeSystem/careplan-category"
ASSESS_PLAN = "assess-plan"

ENCOUNTER_CLASS = {
    "AMB": "ambulatory",
    "EMER": "emergency",
    "FLD": "field",
    "HH": "home health",
    "IMP": "inpatient encounter",
    "ACUTE": "inpatient acute",
    "NONAC": "inpatient non-acute",
    "OBSENC": "observation encounter",
    "PRENC": "pre-admission",
    "SS": "short stay",
    "VR": "virtual",
}
"""ActEncounterCode to its display."""

INPATIENT = frozenset({"IMP", "ACUTE", "NONAC"})
"""Encounter classes of an inpatient admission."""

HUB = "urn:segue"
"""System of the ids that the hub gives: `urn:segue|<id>`."""

TAG = "urn:segue:tag"
TASK_NEED = "urn:segue:task-need"
TASK_KEY = "urn:segue:task-key"
TASK_INPUT = "urn:segue:task-input"
TASK_OUTPUT = "urn:segue:task-output"
TASK_REASON = "urn:segue:task-reason"
BUSINESS_STATUS = "urn:segue:business-status"


def authority(name: str) -> str:
    """The identifier system of an assigning authority without one of its own.

    >>> authority("HOSPA")
    'urn:segue:authority:HOSPA'
    """
    return f"urn:segue:authority:{name}"


def coding(system: str, code: str, display: str | None = None) -> dict[str, str]:
    """A Coding.

    >>> coding(ACT_CODE, "IMP")["code"]
    'IMP'
    """
    found = {"system": system, "code": code}
    if display is not None:
        found["display"] = display
    return found


def concept(system: str, code: str, display: str | None = None) -> dict[str, object]:
    """A CodeableConcept of one Coding."""
    return {"coding": [coding(system, code, display)]}
