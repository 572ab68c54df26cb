"""What messages would make of an empty store: for trying mappings without an engine."""

from collections.abc import Sequence
from typing import Any

from segue.care.assemble import resources
from segue.care.fold import fold_visit
from segue.care.person import fold_person, note_visit
from segue.care.view import CareSetting
from segue.mapping.context import Mapped


def fold_alone(mapped: Sequence[Mapped]) -> list[dict[str, Any]]:
    """All resources that an empty store would hold after these messages alone."""
    facts = [fact for one in mapped for fact in one.facts]
    persons: dict[str, list[Any]] = {}
    joined: dict[str, str] = {}
    for fact in facts:
        keys = [key for key in (*fact.links, fact.prior) if key]
        home = next((joined[key] for key in keys if key in joined), fact.identity)
        for key in keys:
            joined[key] = home
        persons.setdefault(home, []).append(fact)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for told in persons.values():
        person = fold_person(told)
        visits = {}
        for key in dict.fromkeys(fact.visit for fact in told if fact.visit):
            visits[key] = fold_visit(fact for fact in told if fact.visit == key)
            person = note_visit(person, visits[key])
        for resource in resources(person, visits, CareSetting(sites={})):
            found[resource["resourceType"], resource["id"]] = resource
    for one in mapped:
        for fragment in one.directory:
            resource = {"resourceType": fragment.type, "id": fragment.id, **fragment.elements}
            found.setdefault((fragment.type, fragment.id), resource)
    return list(found.values())
