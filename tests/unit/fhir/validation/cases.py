"""What `$validate` says, rule by rule of the specification.

A row: the rule (page and anchor below https://hl7.org/fhir/R4/, key of an invariant, or a
profile), the sample, the place that is changed (`a.0.b`; the last step may be new), its new
value (`...` removes it), and what must be found: `severity place`, or "" where all is right.
"""

from copy import deepcopy
from typing import Any, NamedTuple

from tests.unit.fhir.examples import EXAMPLES, TH, V2
from tests.unit.fhir.validation.samples import LOINC, SAMPLES, SCT, UCUM, US, XHTML

_CORE = "http://hl7.org/fhir/StructureDefinition/"
_OWN = {"url": "http://example.org/own", "valueString": "x"}
_NODE = {"code": {"text": "x"}, "resourceType": "Basic"}
_QUESTION = {"linkId": "9", "type": "display", "text": "x"}


class Case(NamedTuple):
    """One row."""

    rule: str
    sample: str
    path: str
    value: Any
    found: str

    @property
    def resource(self) -> dict[str, Any]:
        """The changed sample."""
        return changed(self.sample, self.path, self.value)


def changed(sample: str, path: str, value: Any) -> dict[str, Any]:
    """A sample with one place set, or removed where the value is `...`."""
    resource = deepcopy(SAMPLES.get(sample) or EXAMPLES[sample])
    if not path:
        return resource
    *steps, last = path.split(".")
    spot: Any = resource
    for step in steps:
        spot = spot[int(step)] if step.isdecimal() else spot[step]
    key: Any = int(last) if last.isdecimal() else last
    if value is ...:
        del spot[key]
    elif isinstance(spot, list) and key == len(spot):
        spot.append(value)
    else:
        spot[key] = value
    return resource


def _extension(url: str, **value: Any) -> list[dict[str, Any]]:
    return [{"url": url, **value}]


def _div(inner: str) -> str:
    return f"{XHTML}{inner}</div>"


_ROWS: list[tuple[str, str, str, Any, str]] = [
    # Structure: json.html, resource.html
    ("json.html#unknown", "us patient", "colour", "red", "error Patient.colour"),
    ("json.html#unknown", "us patient", "birthdate", "1957", "error Patient.birthdate"),
    ("json.html#null", "us patient", "gender", None, "error Patient.gender"),
    ("json.html#repeat", "us patient", "name", {"family": "Roe"}, "error Patient.name"),
    ("json.html#repeat", "us patient", "gender", ["female"], "error Patient.gender"),
    ("json.html#empty", "us patient", "telecom", [], "error Patient.telecom"),
    ("json.html#empty", "us patient", "maritalStatus", {}, "error Patient.maritalStatus"),
    ("json.html#primitive", "us patient", "active", "true", "error Patient.active"),
    ("json.html#primitive", "us patient", "active", 1, "error Patient.active"),
    ("json.html#primitive", "group", "actual", "yes", "error Group.actual"),
    ("formats.html#choice", "us weight", "valueString", "x", "error Observation.value"),
    ("formats.html#choice", "us patient", "deceasedBoolean", False, ""),
    ("resource.html#id", "us patient", "id", "a_b", "error Patient.id"),
    ("resource.html#id", "us patient", "id", "a" * 64, ""),
    (
        "element ids",
        "with extensions",
        "name.1",
        {"id": "n1", "text": "x"},
        "error Patient.name[1]",
    ),
    ("element ids", "with extensions", "name.1", {"id": "n2", "text": "x"}, ""),
    # Cardinality
    ("encounter.html 1..1", "us encounter", "status", ..., "error Encounter.status"),
    ("encounter.html 1..1", "us encounter", "class", ..., "error Encounter.class"),
    ("slot.html 1..1", "slot", "end", ..., "error Slot.end"),
    ("claim.html 1..*", "claim", "insurance", ..., "error Claim.insurance"),
    ("slot.html 0..1", "slot", "overbooked", True, ""),
    # Primitive types: datatypes.html#primitive
    ("datatypes.html#date", "us patient", "birthDate", "1957-02-30", "error Patient.birthDate"),
    ("datatypes.html#date", "us patient", "birthDate", "1957-13", "error Patient.birthDate"),
    ("datatypes.html#date", "us patient", "birthDate", "06/01/1957", "error Patient.birthDate"),
    ("datatypes.html#date", "us patient", "birthDate", "1957", ""),
    (
        "datatypes.html#dateTime",
        "us lab",
        "effectiveDateTime",
        "2026-03-02T07:10:00",
        "error Observation.effectiveDateTime",
    ),
    ("datatypes.html#dateTime", "us lab", "effectiveDateTime", "2026-03-02T07:10:00-05:00", ""),
    ("datatypes.html#instant", "slot", "start", "2026-03-05", "error Slot.start"),
    (
        "datatypes.html#time",
        "us practitioner role",
        "availableTime.0.availableStartTime",
        "8:00",
        "error PractitionerRole.availableTime[0].availableStartTime",
    ),
    ("datatypes.html#code", "us patient", "gender", " female", "error Patient.gender"),
    (
        "datatypes.html#uri",
        "us patient",
        "identifier.0.system",
        "urn:a b",
        "error Patient.identifier[0].system",
    ),
    (
        "datatypes.html#uri",
        "us patient",
        "identifier.0.system",
        "urn:oid:2.x",
        "error Patient.identifier[0].system",
    ),
    (
        "datatypes.html#uri",
        "us patient",
        "identifier.0.system",
        "urn:uuid:1",
        "error Patient.identifier[0].system",
    ),
    ("datatypes.html#string", "us patient", "name.0.family", "", "error Patient.name[0].family"),
    (
        "datatypes.html#string",
        "us patient",
        "name.0.family",
        "a\u0002",
        "error Patient.name[0].family",
    ),
    ("datatypes.html#string", "us patient", "name.0.family", " ", "warning Patient.name[0].family"),
    ("datatypes.html#string", "us patient", "name.0.family", "Ōé ß", ""),
    (
        "datatypes.html#positiveInt",
        "claim",
        "insurance.0.sequence",
        0,
        "error Claim.insurance[0].sequence",
    ),
    (
        "datatypes.html#decimal",
        "us weight",
        "valueQuantity.value",
        "81",
        "error Observation.valueQuantity.value",
    ),
    (
        "datatypes.html#base64Binary",
        "us document",
        "content.0.attachment.data",
        "@@",
        "error DocumentReference.content[0].attachment.data",
    ),
    # Data types
    ("per-1", "us encounter", "period.end", "2026-02-01", "error Encounter.period"),
    ("per-1", "us encounter", "period.end", "2026-03", ""),
    (
        "att-1",
        "us document",
        "content.0.attachment",
        {"data": "QQ=="},
        "error DocumentReference.content[0].attachment",
    ),
    ("cpt-2", "us patient", "telecom.0.system", ..., "error Patient.telecom[0]"),
    ("qty-3", "us weight", "valueQuantity.system", ..., "error Observation.valueQuantity"),
    (
        "sqty-1",
        "us lab",
        "referenceRange.0.low.comparator",
        "<",
        "error Observation.referenceRange[0].low",
    ),
    ("sqty-1", "us lab", "valueQuantity.comparator", "<", ""),
    ("rng-2", "us lab", "referenceRange.0.low.value", 99, ""),
    ("age-1", "family history", "ageAge.value", -1, "error FamilyMemberHistory.ageAge"),
    (
        "tim-2",
        "us medication request",
        "dosageInstruction.0.timing.repeat.periodUnit",
        ...,
        "error MedicationRequest.dosageInstruction[0].timing.repeat",
    ),
    (
        "tim-10",
        "us medication request",
        "dosageInstruction.0.timing.repeat",
        {"when": ["C"], "timeOfDay": ["08:00:00"]},
        "error MedicationRequest.dosageInstruction[0].timing.repeat",
    ),
    # Bindings: terminologies.html#strength
    ("terminologies.html#required", "us patient", "gender", "F", "error Patient.gender"),
    (
        "terminologies.html#required",
        "us patient",
        "telecom.0.system",
        "pigeon",
        "error Patient.telecom[0].system",
    ),
    (
        "terminologies.html#required",
        "us problem",
        "clinicalStatus.coding.0.code",
        "ill",
        "error Condition.clinicalStatus",
    ),
    (
        "terminologies.html#extensible",
        "us patient",
        "maritalStatus.coding.0",
        {"system": "http://example.org/x", "code": "m"},
        "warning Patient.maritalStatus",
    ),
    ("terminologies.html#extensible", "us patient", "maritalStatus", {"text": "wed"}, ""),
    (
        "terminologies.html#preferred",
        "us lab",
        "category.1",
        {"coding": [{"system": "http://example.org/x", "code": "m"}]},
        "information Observation.category[1]",
    ),
    (
        "codesystem.html",
        "us patient",
        "identifier.0.type.coding.0.code",
        "ZZZ",
        "error Patient.identifier[0].type",
    ),
    (
        "codesystem.html",
        "us location",
        "physicalType.coding.0.code",
        "zz",
        "error Location.physicalType",
    ),
    # References and contained resources: references.html
    (
        "references.html#Reference",
        "us encounter",
        "subject.reference",
        "Device/1",
        "error Encounter.subject.reference",
    ),
    (
        "references.html#Reference",
        "us encounter",
        "subject.type",
        "Device",
        "error Encounter.subject.type",
    ),
    (
        "references.html#Reference",
        "us encounter",
        "subject.reference",
        "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
        "",
    ),
    (
        "references.html#literal",
        "us encounter",
        "subject.reference",
        "somebody",
        "warning Encounter.subject.reference",
    ),
    (
        "references.html#absolute",
        "us encounter",
        "subject.reference",
        "http://example.org/fhir/Device/1",
        "error Encounter.subject.reference",
    ),
    (
        "references.html#absolute",
        "us encounter",
        "subject.reference",
        "http://example.org/fhir/Patient/1",
        "",
    ),
    ("references.html#logical", "us encounter", "subject", {"identifier": {"value": "1"}}, ""),
    ("ref-1", "signed", "owner.reference", "#none", "error Device.owner.reference"),
    (
        "dom-2",
        "signed",
        "contained.0.contained",
        [{**_NODE, "id": "n"}],
        "error Device.contained[0]",
    ),
    ("dom-3", "signed", "owner", ..., "error Device.contained[0]"),
    ("dom-4", "signed", "contained.0.meta", {"versionId": "1"}, "error Device.contained[0]"),
    (
        "dom-5",
        "signed",
        "contained.0.meta",
        {"security": [{"code": "R"}]},
        "error Device.contained[0]",
    ),
    # Extensions: extensibility.html, defining-extensions.html#context
    (
        "ext-1",
        "with extensions",
        "extension.1",
        {**_OWN, "extension": [_OWN]},
        "error Patient.extension[1]",
    ),
    (
        "ext-1",
        "with extensions",
        "extension.1",
        {"url": "http://example.org/own"},
        "error Patient.extension[1]",
    ),
    (
        "extensibility.html#url",
        "with extensions",
        "extension.1.url",
        ...,
        "error Patient.extension[1].url",
    ),
    (
        "extensibility.html",
        "with extensions",
        "extension.1",
        _OWN,
        "information Patient.extension[1]",
    ),
    (
        "extensibility.html#modifier",
        "with extensions",
        "modifierExtension",
        [_OWN],
        "warning Patient.modifierExtension[0]",
    ),
    (
        "defining-extensions.html#context",
        "us encounter",
        "extension",
        _extension(_CORE + "patient-birthPlace", valueAddress={"city": "x"}),
        "error Encounter.extension[0]",
    ),
    (
        "defining-extensions.html#context",
        "with extensions",
        "name.0.extension",
        _extension(_CORE + "patient-birthTime", valueDateTime="1957-06-01T04:00:00Z"),
        "error Patient.name[0].extension[0]",
    ),
    (
        "defining-extensions.html value[x]",
        "with extensions",
        "extension.0",
        {"url": _CORE + "patient-birthPlace", "valueString": "Salem"},
        "error Patient.extension[0].valueString",
    ),
    (
        "defining-extensions.html 0..0",
        "us patient",
        "extension.0.valueString",
        "x",
        "error Patient.extension[0]",
    ),
    (
        "data-absent-reason",
        "us patient",
        "_birthDate",
        {"extension": _extension(_CORE + "data-absent-reason", valueCode="masked")},
        "",
    ),
    (
        "data-absent-reason binding",
        "us patient",
        "_birthDate",
        {"extension": _extension(_CORE + "data-absent-reason", valueCode="shy")},
        "error Patient.birthDate.extension[0].valueCode",
    ),
    # Narrative: narrative.html
    ("txt-1", "us patient", "text.div", _div("<script>x</script>"), "error Patient.text"),
    ("txt-1", "us patient", "text.div", _div('<p onclick="x()">x</p>'), "error Patient.text"),
    ("txt-1", "us patient", "text.div", _div("<p>x"), "error Patient.text"),
    ("txt-1", "us patient", "text.div", "<div><p>x</p></div>", "error Patient.text"),
    ("txt-1", "us patient", "text.div", _div("<table><tr><td>x</td></tr></table>"), ""),
    ("txt-2", "us patient", "text.div", _div(" "), "error Patient.text"),
    ("txt-2", "us patient", "text.div", _div('<img src="#x" alt="x"/>'), ""),
    # Invariants of resources
    ("ait-1", "us allergy", "clinicalStatus", ..., "error AllergyIntolerance"),
    ("con-4", "us problem", "abatementDateTime", "2026", "error Condition"),
    (
        "con-5",
        "us problem",
        "verificationStatus.coding.0.code",
        "entered-in-error",
        "error Condition",
    ),
    ("pat-1", "us patient", "contact.0.name", ..., "error Patient.contact[0]"),
    ("org-1", "signed", "contained.0.name", ..., "error Device.contained[0]"),
    ("org-2", "us organization", "address.0.use", "home", "error Organization"),
    ("obs-6", "us lab", "dataAbsentReason", {"text": "lost"}, "error Observation"),
    (
        "obs-3",
        "us lab",
        "referenceRange.0",
        {"appliesTo": [{"text": "x"}]},
        "error Observation.referenceRange[0]",
    ),
    (
        "cpl-3",
        "us care plan",
        "activity.0.reference",
        {"reference": "Task/1"},
        "error CarePlan.activity[0]",
    ),
    ("gol-1", "us goal", "target.0.detailString", "x", "error Goal.target[0]"),
    ("prr-1", "us service request", "code", ..., "error ServiceRequest.code"),
    ("prr-1", "us service request", "orderDetail", [{"text": "x"}], ""),
    ("inv-1", "task", "lastModified", "2020-01-01", "error Task"),
    ("grp-1", "group", "actual", False, "error Group"),
    ("lst-1", "list", "emptyReason", {"text": "x"}, "error List"),
    ("lst-3", "list", "mode", "snapshot", "error List"),
    ("fhs-2", "family history", "estimatedAge", True, ""),
    ("que-1", "questionnaire", "item.0.item", ..., "error Questionnaire.item[0]"),
    ("que-2", "questionnaire", "item.1.linkId", "1", "error Questionnaire"),
    (
        "que-4",
        "questionnaire",
        "item.1.answerValueSet",
        "http://example.org/vs",
        "error Questionnaire.item[1]",
    ),
    (
        "que-6",
        "questionnaire",
        "item.3",
        {**_QUESTION, "required": True},
        "error Questionnaire.item[3]",
    ),
    (
        "que-7",
        "questionnaire",
        "item.1.enableWhen.0",
        {"question": "1.1", "operator": "exists", "answerString": "x"},
        "error Questionnaire.item[1].enableWhen[0]",
    ),
    ("que-12", "questionnaire", "item.3", _QUESTION, ""),
    (
        "questionnaire.html#enableWhen",
        "questionnaire",
        "item.1.enableWhen.0.question",
        "7",
        "error Questionnaire.item[1].enableWhen[0].question",
    ),
    ("que-0", "questionnaire", "name", "my questions", "warning Questionnaire"),
    (
        "qrs-1",
        "answers",
        "item.0.answer",
        [{"valueString": "x"}],
        "error QuestionnaireResponse.item[0]",
    ),
    (
        "vsd-1",
        "value set",
        "compose.include.0",
        {"version": "1"},
        "error ValueSet.compose.include[0]",
    ),
    (
        "vsd-3",
        "value set",
        "compose.include.0.filter",
        [{"property": "x", "op": "=", "value": "y"}],
        "error ValueSet.compose.include[0]",
    ),
    ("csd-1", "code system", "concept.1.code", "a", "error CodeSystem"),
    ("cmd-2", "concept map", "group.0.unmapped.code", ..., "error ConceptMap.group[0].unmapped"),
    ("spd-1", "search parameter", "xpath", "f:Patient", "error SearchParameter"),
    (
        "opd-3",
        "operation",
        "parameter.0.targetProfile",
        ["http://example.org/p"],
        "error OperationDefinition.parameter[0]",
    ),
    (
        "trd-3",
        "plan definition",
        "action.0.trigger.0.name",
        ...,
        "error PlanDefinition.action[0].trigger[0]",
    ),
    # Bundles: bundle.html, documents.html
    ("bdl-1", "message", "total", 1, "error Bundle"),
    ("bdl-2", "document", "entry.0.search", {"mode": "match"}, "error Bundle"),
    ("bdl-3", "search set", "entry.0.request", {"method": "GET", "url": "x"}, "error Bundle"),
    ("bdl-4", "message answer", "entry.0.response", ..., "error Bundle"),
    ("bdl-5", "search set", "entry.1", {"search": {"mode": "match"}}, "error Bundle.entry[1]"),
    ("bdl-7", "search set", "entry.1", SAMPLES["search set"]["entry"][0], "error Bundle"),
    (
        "bdl-8",
        "search set",
        "entry.0.fullUrl",
        "http://example.org/fhir/Basic/b1/_history/1",
        "error Bundle.entry[0]",
    ),
    ("bdl-9", "document", "identifier", ..., "error Bundle"),
    ("bdl-10", "document", "timestamp", ..., "error Bundle"),
    ("bdl-11", "document", "entry.0", ..., "error Bundle"),
    ("bdl-12", "message", "entry.0.resource", _NODE, "error Bundle"),
    (
        "bundle.html#bundle-unique",
        "search set",
        "entry.0.fullUrl",
        "http://example.org/fhir/Basic/z",
        "error Bundle.entry[0].fullUrl",
    ),
    (
        "documents.html#content",
        "document",
        "entry.1",
        ...,
        "error Bundle.entry[0].resource.subject",
    ),
    (
        "bundle.html#links",
        "search set",
        "link.1",
        {"relation": "self", "url": "http://x.org"},
        "error Bundle.link[1].relation",
    ),
    # Profiles: profiling.html, US Core 6.1.0
    (
        "profiling.html#resources",
        "us patient",
        "meta.profile.0",
        "http://example.org/none",
        "warning Patient.meta.profile[0]",
    ),
    (
        "profiling.html#resources",
        "us patient",
        "meta.profile.0",
        US + "us-core-encounter",
        "error Patient",
    ),
    ("us-core-patient", "us patient", "identifier", ..., "error Patient.identifier"),
    (
        "us-core-patient",
        "us patient",
        "identifier.0.system",
        ...,
        "error Patient.identifier[0].system",
    ),
    ("us-core-patient", "us patient", "gender", ..., "error Patient.gender"),
    ("us-core-patient", "us patient", "birthDate", ..., ""),
    ("us-core-6", "us patient", "name.0", {"text": "Ada"}, "error Patient.name[0]"),
    (
        "us-core-race",
        "us patient",
        "extension.0.extension.1",
        ...,
        "error Patient.extension[0].extension",
    ),
    (
        "us-core-race",
        "us patient",
        "extension.1",
        SAMPLES["us patient"]["extension"][0],
        "error Patient.extension",
    ),
    ("us-core-encounter", "us encounter", "type", ..., "error Encounter.type"),
    (
        "us-core-encounter",
        "us encounter",
        "subject.reference",
        "Group/1",
        "error Encounter.subject",
    ),
    (
        "us-core-condition",
        "us problem",
        "category.0.coding.0.code",
        "encounter-diagnosis",
        "error Condition.category",
    ),
    ("us-core-allergyintolerance", "us allergy", "code", ..., "error AllergyIntolerance.code"),
    (
        "us-core-blood-pressure",
        "us blood pressure",
        "component.1",
        ...,
        "error Observation.component",
    ),
    (
        "us-core-blood-pressure",
        "us blood pressure",
        "component.0.valueQuantity.code",
        "kPa",
        "error Observation.component[0].valueQuantity.code",
    ),
    (
        "us-core-vital-signs",
        "us weight",
        "category.0.coding.0.code",
        "exam",
        "error Observation.category",
    ),
    ("us-core-body-weight", "us weight", "code.coding.0.code", "8302-2", "error Observation.code"),
    ("vs-2", "us weight", "valueQuantity", ..., "error Observation"),
    (
        "us-core-smokingstatus",
        "us smoking",
        "code.coding.0",
        {"system": "http://example.org/x", "code": "smokes"},
        "warning Observation.code",
    ),
    (
        "bodyweight",
        "core weight",
        "valueQuantity.system",
        "http://example.org/units",
        "error Observation.valueQuantity.system",
    ),
    ("us-core-careplan", "us care plan", "text.status", "empty", "error CarePlan.text.status"),
    (
        "us-core-careplan",
        "us care plan",
        "category.0",
        {"coding": [{"system": SCT, "code": "734163000"}]},
        "error CarePlan.category",
    ),
    (
        "us-core-careplan",
        "us care plan",
        "category.1",
        {"coding": [{"system": SCT, "code": "734163000"}]},
        "",
    ),
    ("us-core-15", "us coverage", "subscriberId", ..., ""),
    (
        "us-core-documentreference",
        "us document",
        "category",
        ...,
        "error DocumentReference.category",
    ),
    (
        "us-core-documentreference",
        "us document",
        "type.coding.0",
        {"system": "http://example.org/x", "code": "x"},
        "error DocumentReference.type",
    ),
    (
        "us-core-6 attachment",
        "us document",
        "content.0.attachment",
        {"contentType": "text/plain"},
        "error DocumentReference.content[0].attachment",
    ),
    ("us-core-7", "us procedure", "performedDateTime", ..., "error Procedure"),
    (
        "us-core-16",
        "us organization",
        "identifier.0.value",
        "12345",
        "error Organization.identifier[0]",
    ),
    ("us-core-17", "us practitioner", "identifier.0.value", "1245319599", ""),
    (
        "us-core-17",
        "us organization",
        "identifier.0.value",
        "1234567890",
        "error Organization.identifier[0]",
    ),
    ("us-core-21", "us medication request", "requester", ..., "error MedicationRequest"),
    ("us-core-8", "us report", "effectiveDateTime", ..., "error DiagnosticReport"),
    (
        "us-core-diagnosticreport-lab",
        "us report",
        "category.0.coding.0.system",
        "http://example.org/x",
        "error DiagnosticReport.category",
    ),
    (
        "us-core-diagnosticreport-lab",
        "us report",
        "category.1",
        {"coding": [{"system": V2 + "0074", "code": "CH"}]},
        "",
    ),
    ("us-core-relatedperson", "us related person", "active", ..., "error RelatedPerson.active"),
    ("us-core-13", "us practitioner role", "practitioner", ..., ""),
    ("pd-1", "us practitioner role", "telecom", ..., "error PractitionerRole"),
    (
        "us-core-immunization",
        "us immunization",
        "statusReason",
        {"coding": [{"system": TH + "v3-ActReason", "code": "x"}]},
        "error Immunization.statusReason",
    ),
    (
        "us-core-observation-lab",
        "us lab",
        "code",
        {"coding": [{"system": LOINC, "code": "2-1"}]},
        "",
    ),
    ("us-core-3", "us lab", "valueQuantity.system", UCUM, ""),
]

CASES = [Case(*row) for row in _ROWS]
