"""What must be written so that the stored resources are as they should be."""

from itertools import count

import pytest

from segue.fhir.canonical import content_hash
from segue.model.changes import Head, SearchTerms
from segue.pipeline.compare import TAG, content_of, deletion, differing, key_of, retracted, write

STAY = {
    "resourceType": "Encounter",
    "id": "e1",
    "status": "in-progress",
    "class": {"code": "IMP"},
    "location": [{"location": {"display": "4W"}}],
}


def head(resource: dict, version: int = 1) -> Head:
    made = content_of(resource)
    return Head(7, version, made.digest, made.digest, SearchTerms(), "fold", owner=1)


def test_equal_content_makes_no_version() -> None:
    heads = {key_of(STAY): head(STAY)}
    assert differing([STAY], heads) == []
    assert differing([dict(reversed(STAY.items()))], heads) == []
    assert len(differing([{**STAY, "status": "finished"}], heads)) == 1


def test_a_new_narrative_or_source_makes_no_version() -> None:
    told = {**STAY, "text": {"status": "generated", "div": "a"}, "meta": {"source": "x"}}
    assert content_of(told).digest == content_of(STAY).digest == content_hash(STAY)
    assert '"div"' in content_of(told).body


def test_what_was_deleted_is_written_again() -> None:
    gone = deletion(key_of(STAY), head(STAY), 1).head()
    assert gone.deleted
    assert gone.version == 2
    assert len(differing([STAY], {key_of(STAY): gone})) == 1


def test_a_change_of_place_alone_keeps_the_gist() -> None:
    numbers = count(100)
    moved = {**STAY, "location": [{"location": {"display": "CCU"}}]}
    left = {**STAY, "status": "finished"}
    made = [
        write(r, key_of(r), content_of(r).digest, None, lambda: next(numbers))
        for r in (STAY, moved, left)
    ]
    assert made[0].gist == made[1].gist != made[2].gist
    assert len({one.content for one in made}) == 3
    assert [one.pk for one in made] == [100, 101, 102]


def test_a_version_follows_its_head() -> None:
    made = write(STAY, key_of(STAY), b"d", head(STAY, 3), lambda: pytest.fail("it has a pk"))
    assert (made.pk, made.version, made.base) == (7, 4, head(STAY, 3))


def test_what_the_fold_yields_no_more_ends_and_says_so() -> None:
    ended = retracted(STAY)
    assert ended["status"] == "entered-in-error"
    assert ended["meta"]["tag"] == [TAG]
    assert retracted(ended) == ended
