"""What a draft leaves to the end, and does for all versions together."""

import pytest

from segue.fhir.search.values import terms
from segue.model.changes import SearchTerms, Write
from segue.model.identity import ResourceKey
from segue.pipeline.compare import InvalidError, content_of, write
from segue.pipeline.finish import Unfinished
from tests.support.hub import gate

GOOD = {"resourceType": "Basic", "id": "a", "code": {"coding": [{"code": "one"}]}}
BAD = {"resourceType": "Basic", "id": "a", "code": 7}
KEY = ResourceKey("Basic", "a")


def made(resource: dict, version: int) -> Write:
    content = content_of(resource)
    found = write(resource, KEY, content.digest, None, lambda: 1, body=content.body)
    found.version = version
    return found


def test_an_impatient_draft_refuses_what_is_not_valid_at_once() -> None:
    with pytest.raises(InvalidError):
        Unfinished().check(gate(), BAD, KEY)


def test_a_patient_draft_judges_all_together() -> None:
    unfinished = Unfinished(patient=True)
    unfinished.check(gate(), GOOD, KEY)
    unfinished.check(gate(), BAD, KEY)
    assert not unfinished.are_valid(gate())
    unfinished.check(gate(), GOOD, KEY)
    assert unfinished.are_valid(gate())


def test_the_last_version_of_a_resource_is_indexed_and_its_head_too() -> None:
    unfinished = Unfinished()
    first, last = made(GOOD, 1), made(GOOD | {"identifier": [{"value": "x"}]}, 2)
    head = last.head()
    unfinished.index(first, None, GOOD)
    unfinished.index(last, head, GOOD | {"identifier": [{"value": "x"}]})
    unfinished.finish()
    assert first.terms == SearchTerms()
    assert last.terms is head.terms
    assert last.terms == terms(GOOD | {"identifier": [{"value": "x"}]})


def test_what_is_undone_is_neither_checked_nor_signed() -> None:
    unfinished, signed = Unfinished(patient=True), list[str]()
    mark = unfinished.mark()
    unfinished.check(gate(), BAD, KEY)
    unfinished.sign(lambda: signed.append("no"))
    unfinished.undo(mark)
    unfinished.sign(lambda: signed.append("yes"))
    assert unfinished.are_valid(gate())
    unfinished.finish()
    assert signed == ["yes"]
