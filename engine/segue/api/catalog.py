"""The operations that this engine offers: one line for each."""

from segue.api.operations import Operation, Operations
from segue.api.operations_apply import apply_activity_definition, apply_plan_definition
from segue.api.operations_documents import docref
from segue.api.operations_everything import everything
from segue.api.operations_identity import distinct, link, unmerge
from segue.api.operations_match import match
from segue.api.operations_message import process_message
from segue.api.operations_meta import meta, meta_add, meta_delete
from segue.api.operations_terminology import expand, translate_code
from segue.api.operations_timeline import timeline
from segue.api.operations_validate import validate

_R4 = "http://hl7.org/fhir/OperationDefinition/"
_OWN = "urn:segue:operation:"

OFFERED: tuple[Operation, ...] = (
    Operation(
        "everything",
        _R4 + "Patient-everything",
        frozenset({"instance"}),
        everything,
        types=frozenset({"Patient"}),
        documentation="All of a person, and what it refers to: start, end, _since, _type, _count.",
    ),
    Operation(
        "docref",
        "http://hl7.org/fhir/us/core/OperationDefinition/docref",
        frozenset({"type"}),
        docref,
        types=frozenset({"DocumentReference"}),
        documentation="The documents of a patient, of any type; none is made on demand.",
    ),
    Operation(
        "apply",
        _R4 + "PlanDefinition-apply",
        frozenset({"type", "instance"}),
        apply_plan_definition,
        types=frozenset({"PlanDefinition"}),
        documentation="What a protocol proposes for a patient; nothing is stored.",
    ),
    Operation(
        "apply",
        _R4 + "ActivityDefinition-apply",
        frozenset({"type", "instance"}),
        apply_activity_definition,
        types=frozenset({"ActivityDefinition"}),
        documentation="The request that an activity proposes; nothing is stored.",
    ),
    Operation(
        "process-message",
        _R4 + "MessageHeader-process-message",
        frozenset({"system"}),
        process_message,
        writes=True,
        documentation="Takes Da Vinci notifications of admit, transfer and discharge as ADTs.",
    ),
    Operation(
        "match",
        _R4 + "Patient-match",
        frozenset({"type"}),
        match,
        types=frozenset({"Patient"}),
        documentation="Who a Patient may be: graded candidates with a score.",
    ),
    Operation(
        "unmerge",
        _OWN + "Patient-unmerge",
        frozenset({"instance"}),
        unmerge,
        types=frozenset({"Patient"}),
        writes=True,
        documentation="Parts a Patient from the one it was merged into: because, from.",
    ),
    Operation(
        "link",
        _OWN + "Patient-link",
        frozenset({"instance"}),
        link,
        types=frozenset({"Patient"}),
        writes=True,
        documentation="Lets two Patients be one person: other, because.",
    ),
    Operation(
        "distinct",
        _OWN + "Patient-distinct",
        frozenset({"instance"}),
        distinct,
        types=frozenset({"Patient"}),
        writes=True,
        documentation="Lets two Patients stay two, whatever they have in common: other, because.",
    ),
    Operation(
        "timeline",
        _OWN + "Encounter-timeline",
        frozenset({"instance"}),
        timeline,
        types=frozenset({"Encounter"}),
        documentation="How a visit came to be known, message by message: as words or picture.",
    ),
    Operation(
        "expand",
        _R4 + "ValueSet-expand",
        frozenset({"type", "instance"}),
        expand,
        types=frozenset({"ValueSet"}),
        documentation="The codes of a value set that is stored, or that R4 binds as required.",
    ),
    Operation(
        "translate",
        _R4 + "ConceptMap-translate",
        frozenset({"type", "instance"}),
        translate_code,
        types=frozenset({"ConceptMap"}),
        documentation="By stored ConceptMaps, and by the code tables that read messages.",
    ),
    Operation(
        "validate",
        _R4 + "Resource-validate",
        frozenset({"system", "type", "instance"}),
        validate,
        documentation="Judges a resource by FHIR's rules, profiles and value sets.",
    ),
    Operation(
        "meta",
        _R4 + "Resource-meta",
        frozenset({"system", "type", "instance"}),
        meta,
        documentation="The profiles, labels and tags in use.",
    ),
    Operation(
        "meta-add",
        _R4 + "Resource-meta-add",
        frozenset({"instance"}),
        meta_add,
        writes=True,
        documentation="Adds profiles, labels and tags.",
    ),
    Operation(
        "meta-delete",
        _R4 + "Resource-meta-delete",
        frozenset({"instance"}),
        meta_delete,
        writes=True,
        documentation="Takes profiles, labels and tags away.",
    ),
)

OPERATIONS = Operations(OFFERED)
