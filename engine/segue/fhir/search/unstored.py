"""Whether a resource that is not stored yet meets a search."""

from typing import Any

from segue.fhir.search.conditions import (
    Condition,
    DateCondition,
    EvaluatedCondition,
    IdCondition,
    MarkedCondition,
    Query,
    StringCondition,
    TokenCondition,
)
from segue.fhir.search.values import terms
from segue.model.changes import SearchTerms


def meets(resource: dict[str, Any], query: Query) -> bool:
    """Whether a resource of the query's type meets all of its conditions.

    What only the store can tell, chains, `_has` and `_lastUpdated`, it does not meet.

    >>> from segue.fhir.search.query import parse
    >>> query = parse("Patient", [("identifier", "urn:a|7"), ("birthdate", "ge1950")])
    >>> known = {"system": "urn:a", "value": "7"}
    >>> patient = {"resourceType": "Patient", "identifier": [known], "birthDate": "1950-01-02"}
    >>> meets(patient, query), meets({**patient, "birthDate": "1949"}, query)
    (True, False)
    """
    rows = terms(resource)
    return all(_holds(one, resource, rows) for one in query.conditions)


def _holds(condition: Condition, resource: dict[str, Any], rows: SearchTerms) -> bool:
    match condition:
        case TokenCondition():
            return condition.holds(rows)
        case DateCondition(number):
            dates = tuple(row for row in rows.dates if row[0] == number)
            return condition.holds(SearchTerms((), dates, ()))
        case StringCondition(number):
            strings = tuple(row for row in rows.strings if row[0] == number)
            return condition.holds(SearchTerms((), (), strings))
        case IdCondition(ids):
            return resource.get("id") in ids
        case EvaluatedCondition():
            return condition.holds(resource)
        case MarkedCondition():
            return condition.evaluated.holds(resource)
        case _:
            return False
