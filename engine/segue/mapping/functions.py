"""The named functions that a rule may call with `using:`, and those of general use.

A function sees the field as sent and, through the run, the other fields of its
segment. Each one's docstring shows what it makes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from segue.mapping.clinical_functions import (
    VALUE_TYPES,
    allergy_reaction,
    coded_component,
    further_causes,
    observation_components,
    observation_value,
    onset,
    producer,
    reference_range,
)
from segue.mapping.coverage_functions import (
    coverage_class,
    deductible,
    numbered,
    organization_of_plan,
    policy_holder,
    subscriber,
)
from segue.mapping.datatypes import Factory
from segue.mapping.directory import DATATYPES
from segue.mapping.document_functions import (
    document_content,
    plain_identifier,
    related_document,
    report_attachment,
)
from segue.mapping.order_functions import (
    appointment_actor,
    appointment_end,
    appointment_minutes,
    appointment_place,
    appointment_resource,
    container_type,
    goal_target,
    observed,
    order_detail,
    order_performer,
    provider,
    specimen_number,
    specimen_reference,
)
from segue.mapping.patient_functions import (
    animal,
    birth_time,
    communication,
    contact,
    contact_relationship,
    county_alone,
    deceased,
    deceased_flag,
    multiple_birth,
    name_display,
    patient_address,
    practice,
    us_core_category,
)
from segue.mapping.role_functions import (
    case_manager,
    medical_director,
    role_participant,
    role_performer,
    role_practitioner,
    team_member,
)
from segue.mapping.tables import NOTHING, Convert, Tools
from segue.mapping.values import Run, scratch
from segue.mapping.visit_functions import (
    assigned_place,
    diagnosis_code,
    encounter_diagnosis,
    participant,
    performer,
    procedure_code,
    procedure_time,
    sent_episode,
)
from segue.model.hints import did_you_mean


def example(name: str, raw: str, **options: Any) -> Any:
    """Call a datatype or function by name, outside of any message; for examples.

    >>> example("CX", "100234^^^HOSPA^MR")["system"]
    'urn:oid:1.2.3'
    """
    factory = FUNCTIONS.get(name) or DATATYPES[name]
    return factory(Tools(), **options)(raw, scratch())


def constant(tools: Tools, *, value: Any) -> Convert:
    """A fixed value, when the field has content.

    >>> example("constant", "D", value="entered-in-error")
    'entered-in-error'
    """

    def convert(raw: str, run: Run) -> Any:
        return value

    return convert


def nothing(tools: Tools) -> Convert:
    """Deletes the element, when the field has content.

    >>> example("nothing", "D") is NOTHING
    True
    """

    def convert(raw: str, run: Run) -> Any:
        return NOTHING

    return convert


def padded(tools: Tools, *, digits: int = 2) -> Convert:
    """A numeric code with leading zeros; others as sent.

    >>> example("padded", "1"), example("padded", "SNF")
    ('01', 'SNF')
    """

    def convert(raw: str, run: Run) -> str | None:
        code = run.part(run.parts(raw), 1)
        return (code.zfill(digits) if code.isdigit() else code) or None

    return convert


def reference_to(tools: Tools, *, map: str, element: str) -> Convert:  # noqa: A002
    """An item that refers to what another map made of this segment: `{element: Reference}`.

    >>> run = scratch()
    >>> run.made["IN1_Coverage"] = "Coverage/7"
    >>> reference_to(Tools(), map="IN1_Coverage", element="coverage")("X", run)
    {'coverage': {'reference': 'Coverage/7'}}
    """

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        made = run.made.get(map)
        return {element: {"reference": made}} if made else None

    return convert


def made_reference(tools: Tools, *, map: str) -> Convert:  # noqa: A002
    """A Reference to what another map made of this segment.

    >>> run = scratch()
    >>> run.made["OBX_Observation"] = "Observation/7"
    >>> made_reference(Tools(), map="OBX_Observation")("X", run)
    {'reference': 'Observation/7'}
    """

    def convert(raw: str, run: Run) -> dict[str, str] | None:
        made = run.made.get(map)
        return {"reference": made} if made else None

    return convert


def standing_reference(tools: Tools, *, map: str) -> Convert:  # noqa: A002
    """A Reference to what another map made last, of a segment before this one.

    Never to what this segment itself speaks of.

    >>> run = scratch()
    >>> run.standing["PRB_Condition"] = "Condition/7"
    >>> standing_reference(Tools(), map="PRB_Condition")("X", run)
    {'reference': 'Condition/7'}
    """

    def convert(raw: str, run: Run) -> dict[str, str] | None:
        made = run.standing.get(map)
        return {"reference": made} if made and made not in run.made.values() else None

    return convert


def lines(tools: Tools) -> Convert:
    r"""TX, FT: all repetitions as the lines of one text.

    >>> example("lines", "Bring your~medication list")
    'Bring your\nmedication list'
    """

    def convert(raw: str, run: Run) -> str | None:
        found = [run.text(one.replace(run.component, " ")) for one in raw.split(run.repetition)]
        return "\n".join(found).strip() or None

    return convert


def annotation(tools: Tools) -> Convert:
    r"""NTE-3 as an Annotation, with who entered it (NTE-5) and when (NTE-6).

    >>> example("annotation", "Haemolysed~repeat")
    {'text': 'Haemolysed\nrepeat'}
    """
    read, person = lines(tools), DATATYPES["XCN_Practitioner"](tools)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        text = read(raw, run)
        if text is None:
            return None
        made: dict[str, Any] = {"text": text}
        author = run.first(run.field(5))
        if author and (who := person(author, run)):
            made["authorReference"] = who
        entered = run.moment(run.field(6)) if run.field(6) else None
        if entered:
            made["time"] = entered.text
        return made

    return convert


def listed(tools: Tools, *, datatype: str, **options: Any) -> Convert:
    """A list of the one value that the first of several fields holds.

    >>> example("listed", "7^OE", datatype="EI")[0]["value"]
    '7'
    """
    read = DATATYPES[datatype](tools, **options)

    def convert(raw: str, run: Run) -> list[Any] | None:
        made = read(run.first(raw), run)
        return [made] if made is not None else None

    return convert


def preferred(
    tools: Tools, *, datatype: str, component: int, values: Sequence[str], **options: Any
) -> Convert:
    """Of several repetitions the best one: by the first of `values` that a component holds.

    Where none holds any, the first repetition. `datatype` says how it is read.

    >>> wanted = {"datatype": "CX", "component": 5, "values": ["MR"]}
    >>> example("preferred", "1^^^X^PI~2^^^X^MR", **wanted)["value"]
    '2'
    """
    read = DATATYPES[datatype](tools, **options)
    rank = {str(value): n for n, value in enumerate(values)}
    worst = len(rank)

    def convert(raw: str, run: Run) -> Any:
        sent = [one for one in raw.split(run.repetition) if one.strip(run.blank)]
        if not sent:
            return None
        best = min(sent, key=lambda one: rank.get(run.part(run.parts(one), component), worst))
        return read(best, run)

    return convert


def extension(
    tools: Tools,
    *,
    url: str,
    value: str,
    datatype: str | None = None,
    inner: str | None = None,
    **options: Any,
) -> Convert:
    """An extension: `value` is `valueString`, `datatype` how the field is read.

    With `inner` the value sits in a nested extension of that name.

    >>> example("extension", "CAT", url="urn:x", value="valueString", datatype="ST")
    {'url': 'urn:x', 'valueString': 'CAT'}
    """
    kind = datatype or "ST"
    if kind != "Annotation" and kind not in DATATYPES:
        message = f"datatype: no datatype '{kind}'.{did_you_mean(kind, DATATYPES)}"
        raise ValueError(message)
    read = annotation(tools) if kind == "Annotation" else DATATYPES[kind](tools, **options)

    def convert(raw: str, run: Run) -> dict[str, Any] | None:
        made = read(raw, run)
        if made is None:
            return None
        if inner:
            return {"url": url, "extension": [{"url": inner, value: made}]}
        return {"url": url, value: made}

    return convert


def listed_extension(tools: Tools, *, url: str, value: str, datatype: str) -> Convert:
    """A list of one `extension`, of a field that stands in another segment.

    >>> example("listed_extension", "CAT", url="urn:x", value="valueString", datatype="ST")
    [{'url': 'urn:x', 'valueString': 'CAT'}]
    """
    read = extension(tools, url=url, value=value, datatype=datatype)

    def convert(raw: str, run: Run) -> list[dict[str, Any]] | None:
        made = read(run.first(raw), run)
        return [made] if made is not None else None

    return convert


def text_only(tools: Tools) -> Convert:
    """ST: a CodeableConcept of nothing but text.

    >>> example("text_only", "Annual check")
    {'text': 'Annual check'}
    """
    read = DATATYPES["ST"](tools)

    def convert(raw: str, run: Run) -> dict[str, str] | None:
        text = read(raw, run)
        return {"text": text} if text else None

    return convert


def positive(tools: Tools) -> Convert:
    """A positive whole number.

    >>> example("positive", "0") is None, example("positive", "01")
    (True, 1)
    """

    def convert(raw: str, run: Run) -> int | None:
        text = run.part(run.parts(raw), 1)
        if not (text.isascii() and text.isdigit()) or len(text) > 9:
            return None
        return int(text) or None

    return convert


def label(tools: Tools, *, code: str) -> Convert:
    """A security label code, when the field has content.

    >>> example("label", "Y", code="R")
    'R'
    """
    return constant(tools, value=code)


FUNCTIONS: dict[str, Factory] = {
    function.__name__: function
    for function in (
        constant,
        nothing,
        padded,
        participant,
        role_participant,
        role_practitioner,
        assigned_place,
        performer,
        role_performer,
        team_member,
        case_manager,
        procedure_time,
        sent_episode,
        text_only,
        reference_to,
        made_reference,
        standing_reference,
        lines,
        annotation,
        appointment_end,
        appointment_minutes,
        appointment_actor,
        appointment_place,
        appointment_resource,
        document_content,
        report_attachment,
        order_detail,
        order_performer,
        observed,
        specimen_number,
        specimen_reference,
        container_type,
        listed_extension,
        preferred,
        medical_director,
        deductible,
        goal_target,
        provider,
        related_document,
        plain_identifier,
        listed,
        encounter_diagnosis,
        diagnosis_code,
        procedure_code,
        allergy_reaction,
        us_core_category,
        patient_address,
        county_alone,
        animal,
        name_display,
        extension,
        birth_time,
        communication,
        organization_of_plan,
        subscriber,
        policy_holder,
        numbered,
        coverage_class,
        contact,
        contact_relationship,
        observation_value,
        observation_components,
        producer,
        further_causes,
        coded_component,
        onset,
        reference_range,
        deceased,
        deceased_flag,
        multiple_birth,
        positive,
        practice,
        label,
    )
}

WHOLE = frozenset(
    {"us_core_category", "practice", "contact", "observation_value", "lines", "annotation"}
    | {"document_content", "observed", "provider", "report_attachment", "preferred"}
)
"""Functions that get the field with all its repetitions."""

ONE_OF_ALL = frozenset({"preferred"})
"""Those of them that use one repetition and leave the others."""

CHOICES: dict[str, tuple[str, ...]] = {
    "observation_value": VALUE_TYPES,
    "onset": ("DateTime", "String"),
    "procedure_time": ("DateTime", "Period"),
    "observed": ("DateTime", "Period"),
    "deceased": ("DateTime", "Boolean"),
    "multiple_birth": ("Integer", "Boolean"),
}
"""Functions for `value[x]`: the types that they choose between."""

ALSO_READS: dict[str, tuple[int, ...]] = {
    "encounter_diagnosis": (6, 15, 21),
    "diagnosis_code": (2, 4),
    "procedure_code": (2, 4),
    "allergy_reaction": (4,),
    "organization_of_plan": (3, 4),
    "subscriber": (17,),
    "policy_holder": (10, 11),
    "contact": (2, 3, 4, 5, 6, 7, 8, 9, 13, 15, 30, 31, 32, 40, 41),
    "observation_value": (2, 6),
    "observation_components": (2, 3, 5, 6),
    "patient_address": (11, 12),
    "county_alone": (11,),
    "animal": (36,),
    "procedure_time": (7,),
    "sent_episode": (53,),
    "further_causes": (1,),
    "annotation": (5, 6),
    "observed": (8,),
    "medical_director": (23,),
    "provider": (2, 7, 10),
    "document_content": (2, 3),
    "report_attachment": (2, 3),
    "appointment_minutes": (10,),
    "appointment_actor": (4, 6, 7, 8, 9, 10, 12),
    "appointment_place": (6, 7, 8, 9, 10, 12),
    "appointment_resource": (4, 8, 9, 10, 11, 12, 14),
}
"""Functions that look at other fields of their segment: which ones."""

FIELDS_IN_OPTIONS = frozenset(
    {"role_participant", "role_practitioner", "team_member", "role_performer", "coverage_class"}
    | {"order_detail"}
)
"""Functions whose options are the numbers of the other fields that they look at."""


def also_reads(target: str, options: Mapping[str, Any]) -> tuple[int, ...]:
    """The other fields of its segment that a function looks at.

    >>> also_reads("subscriber", {})
    (17,)
    """
    if options.get("datatype") == "Annotation":
        return ALSO_READS["annotation"]
    if target in FIELDS_IN_OPTIONS:
        return tuple(number for number in options.values() if isinstance(number, int))
    return ALSO_READS.get(target, ())


STANDING = frozenset({"standing_reference"})
"""Functions that look at what other segments made before."""

DEPENDENT = STANDING | frozenset(
    {"encounter_diagnosis", "reference_to", "made_reference", "subscriber", "annotation"}
    | {"appointment_end", "appointment_actor", "appointment_place", "appointment_resource"}
    | {"document_content", "nothing", "birth_time", "deceased"}
    | {"procedure_time", "onset", "patient_address", "county_alone", "contact"}
)
"""Functions whose value is not that of the field and the site alone."""
