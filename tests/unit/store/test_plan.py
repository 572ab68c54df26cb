"""A commit is sorted by table before any lock is taken."""

import pytest

from segue.model.changes import Cause, Head, SearchTerms, Write
from segue.model.identity import ResourceKey
from segue.store.commit import Plan
from segue.store.records import Commit, Step

NONE = SearchTerms()


def version(pk: int, number: int, base: Head | None, **other: object) -> Write:
    content = bytes([number]) * 16
    kind = other.get("kind", "fold")
    return Write(
        other.get("key", ResourceKey("Task", str(pk))),  # type: ignore[arg-type]
        pk,
        number,
        kind,  # type: ignore[arg-type]
        "{}",
        content,
        content,
        SearchTerms((number,)),
        base,
        None,
        other.get("recorded"),  # type: ignore[arg-type]
    )


def plan(*writes: Write) -> Plan:
    steps = [Step(Cause("entry", str(n)), writes=[one]) for n, one in enumerate(writes, 1)]
    return Plan(Commit(steps=steps))


def test_a_resource_created_and_changed_in_one_commit_is_one_new_row_with_two_versions() -> None:
    first = version(1, 1, None)
    second = version(1, 2, first.head())
    made = plan(first, second)
    assert made.created == {1: second}
    assert made.changed == {}
    assert [(pk, number, step) for pk, number, _, step in made.versions] == [(1, 1, 0), (1, 2, 1)]


def test_a_resource_changed_twice_is_compared_with_what_was_stored_before() -> None:
    base = version(1, 4, None).head()
    first = version(1, 5, base)
    second = version(1, 6, first.head())
    assert plan(first, second).changed == {1: (base, second)}


@pytest.mark.parametrize("number", [1, 3])
def test_a_version_that_does_not_follow_its_base_is_a_mistake(number: int) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        plan(version(1, number, version(1, 1, None).head()))


def test_of_two_statements_about_a_directory_resource_the_newer_one_is_kept() -> None:
    key = ResourceKey("Location", "x")
    old = version(1, 1, None, kind="directory", recorded=(5, "9"), key=key)
    new = version(2, 1, None, kind="directory", recorded=(5, "91"), key=key)
    assert plan(new, old).registers == {key: new}
