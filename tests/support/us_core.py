"""What US Core 6.1 asks of a server's searches, and charts of made-up people to search in.

Source: http://hl7.org/fhir/us/core/STU6.1/CapabilityStatement-us-core-server.html
"""

from typing import Any
from urllib.parse import quote

Resource = dict[str, Any]

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
HL7 = "http://terminology.hl7.org/CodeSystem/"
CORE = "http://hl7.org/fhir/us/core/CodeSystem/"
NPI = "http://hl7.org/fhir/sid/us-npi"
MRN = "urn:example:mrn"

# Type, SHALL and SHOULD: parameters that are searched by together, `_id` alone among them.
TABLE: dict[str, tuple[str, str]] = {
    "AllergyIntolerance": ("patient", "patient+clinical-status"),
    "CarePlan": (
        "patient+category",
        "patient+category+status patient+category+status+date patient+category+date",
    ),
    "CareTeam": ("patient+status", "role patient+role"),
    "Condition": (
        "patient patient+category",
        "patient+clinical-status patient+category+clinical-status patient+category+encounter"
        " patient+code patient+onset-date patient+asserted-date patient+recorded-date"
        " patient+abatement-date",
    ),
    "Coverage": ("patient", ""),
    "Device": ("patient", "patient+type patient+status"),
    "DiagnosticReport": (
        "patient patient+category patient+code patient+category+date",
        "patient+status patient+code+date",
    ),
    "DocumentReference": (
        "_id patient patient+category patient+category+date patient+type",
        "patient+status patient+type+period",
    ),
    "Encounter": (
        "_id patient date+patient",
        "identifier class+patient patient+type patient+status patient+location"
        " patient+discharge-disposition",
    ),
    "Goal": ("patient", "patient+lifecycle-status patient+target-date patient+description"),
    "Immunization": ("patient", "patient+date patient+status"),
    "Location": ("name address", "address-city address-state address-postalcode"),
    "MedicationDispense": ("patient", "patient+status patient+status+type"),
    "MedicationRequest": (
        "patient+intent patient+intent+status",
        "patient+intent+encounter patient+intent+authoredon",
    ),
    "Observation": (
        "patient+category patient+code patient+category+date",
        "patient+category+status patient+code+date",
    ),
    "Organization": ("name address", ""),
    "Patient": (
        "_id identifier name birthdate+name gender+name",
        "birthdate+family family+gender death-date+family",
    ),
    "Practitioner": ("name identifier", "_id"),
    "PractitionerRole": ("specialty practitioner", ""),
    "Procedure": ("patient patient+date", "patient+status patient+code+date"),
    "QuestionnaireResponse": (
        "_id patient",
        "patient+questionnaire patient+authored patient+status",
    ),
    "RelatedPerson": ("_id", "patient name patient+name"),
    "ServiceRequest": (
        "_id patient patient+category patient+code patient+category+authored",
        "patient+status patient+code+authored",
    ),
    "Specimen": ("_id", "patient"),
}  # fmt: skip

INCLUDES = (
    "CareTeam:participant:Practitioner",
    "CareTeam:participant:PractitionerRole",
    "CareTeam:participant:Patient",
    "CareTeam:participant:RelatedPerson",
    "MedicationDispense:medication",
    "MedicationRequest:medication",
    "PractitionerRole:endpoint",
    "PractitionerRole:practitioner",
)


def combinations() -> list[tuple[str, tuple[str, ...]]]:
    """Every (type, parameters) of the table."""
    return [
        (type_, tuple(one.split("+")))
        for type_, both in TABLE.items()
        for one in " ".join(both).split()
    ]


def concept(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


def at(reference: str) -> Resource:
    return {"reference": reference}


def day(n: int, offset: int = 0) -> str:
    """A day of 2024 or 2025, as n wants it."""
    n = (n * 17 + offset) % 600
    return f"{2024 + n // 300}-{n % 300 // 28 + 1:02d}-{n % 28 + 1:02d}"


def place(n: int) -> list[Resource]:
    """An organization, its location, a practitioner with a role, all with ids of `n`."""
    return [
        {"resourceType": "Organization", "id": f"org{n}", "active": True, "name": f"Clinic {n}",
         "address": [{"line": [f"{n} Main St"], "city": f"Town{n}", "postalCode": f"{n:05d}"}]},
        {"resourceType": "Location", "id": f"loc{n}", "status": "active", "name": f"Ward {n}",
         "address": {"line": [f"{n} Oak"], "city": f"City{n}", "state": f"S{n}",
                     "postalCode": f"{n:05d}"}},
        {"resourceType": "Endpoint", "id": f"end{n}", "status": "active",
         "connectionType": {"system": HL7 + "endpoint-connection-type", "code": "hl7-fhir-rest"},
         "payloadType": [{"text": "any"}], "address": f"https://example.org/{n}"},
        {"resourceType": "Practitioner", "id": f"doc{n}",
         "identifier": [{"system": NPI, "value": f"9{n:09d}"}],
         "name": [{"family": f"Doctor{n}", "given": ["Ann"]}]},
        {"resourceType": "PractitionerRole", "id": f"role{n}",
         "practitioner": at(f"Practitioner/doc{n}"), "endpoint": [at(f"Endpoint/end{n}")],
         "specialty": [concept("http://nucc.org/provider-taxonomy", f"20{n:07d}")]},
        {"resourceType": "Medication", "id": f"med{n}", "code": concept(SNOMED, f"38{n}")},
    ]  # fmt: skip


def chart(n: int, places: int = 1, values: int = 1) -> list[Resource]:
    """The chart of person `n`: 18 resources and `values` Observations."""
    pat, enc = f"Patient/pat{n}", f"Encounter/enc{n}"
    near = n % places
    doc, subject = at(f"Practitioner/doc{near}"), {"subject": at(pat)}

    def made(type_: str, **parts: Any) -> Resource:
        short = "".join(c for c in type_ if c.isupper()).lower() + type_[-3:].lower()
        return {"resourceType": type_, "id": f"{short}{n}", **parts}

    return [
        {"resourceType": "Patient", "id": f"pat{n}", "gender": ("female", "male")[n % 2],
         "identifier": [{"system": MRN, "value": f"M{n:07d}"}],
         "name": [{"family": f"Family{n % 997}", "given": [f"Given{n % 89}"]}],
         "birthDate": f"{1930 + n % 80}-{n % 12 + 1:02d}-{n % 28 + 1:02d}",
         **({} if n % 7 else {"deceasedDateTime": day(n)})},
        {"resourceType": "Encounter", "id": f"enc{n}", "status": "finished", **subject,
         "identifier": [{"system": "urn:example:visit", "value": f"V{n:07d}"}],
         "class": {"system": HL7 + "v3-ActCode", "code": ("AMB", "VR")[n % 2]},
         "type": [concept(SNOMED, "308335008")],
         "period": {"start": f"{day(n)}T08:00:00Z", "end": f"{day(n)}T10:00:00Z"},
         "location": [{"location": at(f"Location/loc{near}")}],
         "hospitalization": {
             "dischargeDisposition": concept(HL7 + "discharge-disposition", "home")}},
        made("RelatedPerson", patient=at(pat), name=[{"family": f"Kin{n % 997}"}], active=True),
        made("CarePlan", **subject, status="active", intent="plan",
             period={"start": day(n)}, category=[concept(
                 CORE + "careplan-category", "assess-plan")]),
        made("CareTeam", **subject, status="active", participant=[
            {"role": [concept(SNOMED, "17561000")], "member": doc},
            {"role": [concept(SNOMED, "17561001")],
             "member": at(f"PractitionerRole/role{near}")},
            {"role": [concept(SNOMED, "116154003")], "member": at(pat)}]),
        made("Goal", **subject, lifecycleStatus="active",
             description={**concept(SNOMED, f"7{n}"), "text": "Walk"},
             target=[{"dueDate": day(n)}]),
        made("Condition", **subject, encounter=at(enc), code=concept(SNOMED, f"44054{n % 50:03d}"),
             clinicalStatus=concept(HL7 + "condition-clinical", "resolved"),
             category=[concept(HL7 + "condition-category", "problem-list-item")],
             onsetDateTime=day(n), abatementDateTime=day(n, 5), recordedDate=day(n, 1),
             extension=[{"url": "http://hl7.org/fhir/StructureDefinition/condition-assertedDate",
                         "valueDateTime": day(n, 2)}]),
        made("Coverage", status="active", beneficiary=at(pat),
             payor=[at(f"Organization/org{near}")]),
        made("AllergyIntolerance", patient=at(pat), code=concept(SNOMED, "91936005"),
             clinicalStatus=concept(HL7 + "allergyintolerance-clinical", "active")),
        made("Device", patient=at(pat), status="active", type=concept(SNOMED, "272265001")),
        made("DiagnosticReport", **subject, status="final", effectiveDateTime=day(n),
             category=[concept(HL7 + "v2-0074", "LAB")], code=concept(LOINC, "58410-2")),
        made("DocumentReference", **subject, status="current", date=f"{day(n)}T09:00:00Z",
             type=concept(LOINC, "18842-5"), content=[{"attachment": {"url": "urn:x"}}],
             category=[concept(CORE + "us-core-documentreference-category", "clinical-note")],
             context={"period": {"start": day(n)}}),
        made("Immunization", patient=at(pat), status="completed", occurrenceDateTime=day(n),
             vaccineCode=concept("http://hl7.org/fhir/sid/cvx", "140")),
        made("MedicationDispense", **subject, status="completed",
             type=concept(HL7 + "v3-ActCode", "FF"),
             medicationReference=at(f"Medication/med{near}")),
        made("MedicationRequest", **subject, status="active", intent="order", encounter=at(enc),
             authoredOn=day(n), medicationReference=at(f"Medication/med{near}")),
        made("Procedure", **subject, status="completed", code=concept(SNOMED, "430193006"),
             performedDateTime=day(n)),
        made("QuestionnaireResponse", **subject, status="completed", authored=f"{day(n)}T09:30:00Z",
             questionnaire="http://example.org/phq-9"),
        made("ServiceRequest", **subject, status="active", intent="order", authoredOn=day(n),
             category=[concept(SNOMED, "386053000")], code=concept(LOINC, "24356-8")),
        made("Specimen", **subject, type=concept(SNOMED, "119297000")),
        *({"resourceType": "Observation", "id": f"obs{n}-{k}", **subject, "status": "final",
           "category": [concept(HL7 + "observation-category",
                                ("vital-signs", "laboratory")[k % 2])],
           "code": concept(LOINC, ("85354-9", "8867-4", "2339-0", "718-7", "4548-4")[k % 5]),
           "effectiveDateTime": f"{day(n, k)}T08:30:00Z", "encounter": at(enc),
           "valueQuantity": {"value": 60 + (n + k) % 90, "unit": "1", "code": "1",
                             "system": "http://unitsofmeasure.org"}}
          for k in range(values)),
    ]  # fmt: skip


def values(n: int, places: int = 1) -> dict[str, dict[str, str]]:
    """Type to parameter to a value that finds what `chart(n)` and its place hold."""
    near, on = n % places, day(n)
    found: dict[str, dict[str, str]] = {}
    for one in (*place(near), *chart(n, places)):
        found.setdefault(one["resourceType"], {"patient": f"Patient/pat{n}", "_id": one["id"]})
    more: dict[str, dict[str, str]] = {
        "AllergyIntolerance": {"clinical-status": "active"},
        "CarePlan": {"category": "assess-plan", "status": "active", "date": f"ge{on}"},
        "CareTeam": {"status": "active,inactive", "role": f"{SNOMED}|17561000"},
        "Condition": {
            "category": f"{HL7}condition-category|problem-list-item", "clinical-status": "resolved",
            "encounter": f"Encounter/enc{n}", "code": f"{SNOMED}|44054{n % 50:03d}",
            "onset-date": on, "asserted-date": day(n, 2), "recorded-date": day(n, 1),
            "abatement-date": day(n, 5)},
        "Device": {"type": "272265001", "status": "active"},
        "DiagnosticReport": {"category": "LAB", "code": f"{LOINC}|58410-2", "date": f"ge{on}",
                             "status": "final"},
        "DocumentReference": {"category": "clinical-note", "date": f"ge{on}", "type": "18842-5",
                              "status": "current", "period": f"ge{on}"},
        "Encounter": {"date": f"ge{on}", "identifier": f"urn:example:visit|V{n:07d}",
                      "class": ("AMB", "VR")[n % 2], "type": f"{SNOMED}|308335008",
                      "status": "finished,in-progress", "location": f"Location/loc{near}",
                      "discharge-disposition": "home"},
        "Goal": {"lifecycle-status": "active", "target-date": f"le{on}",
                 "description": f"{SNOMED}|7{n}"},
        "Immunization": {"date": on, "status": "completed"},
        "Location": {"name": f"ward {near}", "address": f"city{near}",
                     "address-city": f"city{near}", "address-state": f"S{near}",
                     "address-postalcode": f"{near:05d}"},
        "MedicationDispense": {"status": "completed", "type": "FF"},
        "MedicationRequest": {"intent": "order,plan", "status": "active", "authoredon": f"ge{on}",
                              "encounter": f"Encounter/enc{n}"},
        "Observation": {"category": "vital-signs", "code": f"{LOINC}|85354-9",
                        "date": f"ge{on}", "status": "final"},
        "Organization": {"name": f"clinic {near}", "address": f"town{near}"},
        "Patient": {"identifier": f"{MRN}|M{n:07d}", "name": f"family{n % 997}",
                    "family": f"Family{n % 997}", "gender": ("female", "male")[n % 2],
                    "birthdate": f"{1930 + n % 80}-{n % 12 + 1:02d}-{n % 28 + 1:02d}",
                    "death-date": day(n)},
        "Practitioner": {"name": f"doctor{near}", "identifier": f"{NPI}|9{near:09d}"},
        "PractitionerRole": {"specialty": f"20{near:07d}",
                             "practitioner": f"Practitioner/doc{near}"},
        "Procedure": {"date": on, "status": "completed", "code": "430193006"},
        "QuestionnaireResponse": {"questionnaire": "http://example.org/phq-9",
                                  "authored": f"ge{on}", "status": "completed"},
        "RelatedPerson": {"name": f"kin{n % 997}"},
        "ServiceRequest": {"category": "386053000", "code": "24356-8", "status": "active",
                           "authored": f"ge{on}"},
    }  # fmt: skip
    for type_, given in more.items():
        found[type_] |= given
    return found


def query(parameters: tuple[str, ...], given: dict[str, str]) -> str:
    """The search as it stands in a URL."""
    return "&".join(f"{name}={quote(given[name], safe='')}" for name in parameters)
