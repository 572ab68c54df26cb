"""Compartments: what belongs to a patient, an encounter, a practitioner.

Source: https://hl7.org/fhir/R4/compartmentdefinition.html
"""

import json
from functools import lru_cache

from segue.fhir.outcomes import fhir_error
from segue.fhir.profiles import shipped
from segue.fhir.search import matching
from segue.fhir.search.conditions import (
    Condition,
    EvaluatedCondition,
    IdCondition,
    TokenCondition,
)
from segue.fhir.search.hashes import reference_hash
from segue.fhir.search.parameters import parameter
from segue.model.identity import ResourceKey


@lru_cache(maxsize=1)
def compartments() -> dict[str, dict[str, list[str]]]:
    """Compartment to type to the parameters that put a resource into it.

    >>> compartments()["Patient"]["Encounter"]
    ['subject']
    """
    text = (shipped() / "definitions" / "compartments.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, list[str]]] = json.loads(text)
    return found


def compartment_condition(
    owner: ResourceKey, type_: str, others: tuple[str, ...] = ()
) -> Condition:
    """What resources of a type have to meet to be in a compartment.

    A patient's is answered by the index alone.

    Args:
        owner: `Patient/1`.
        type_: of the resources.
        others: ids that stand for the owner, too: other Patients of the same person.

    Raises:
        FhirError: 404; there is no such compartment, or the type is never in it.
    """
    ids = (owner.id, *others)
    codes = compartments().get(owner.type, {}).get(type_, [])
    if type_ == owner.type and not codes:
        return IdCondition(ids)
    if not codes:
        text = f"{type_} is not in the compartment of a {owner.type}"
        raise fhir_error("not-found", "not-supported", text)
    known = [one for code in codes if (one := parameter(type_, code)) is not None]
    numbers = [
        reference_hash(type_, one.code, f"{owner.type}/{id_}") for one in known for id_ in ids
    ]
    whole = TokenCondition(tuple(sorted(set(numbers))))
    if all(one.indexed and not one.mark for one in known):
        return whole
    tests = [matching.holds(one, whole) for one in known]
    return EvaluatedCondition(owner.type, lambda node: any(test(node) for test in tests))
