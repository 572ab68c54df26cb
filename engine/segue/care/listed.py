"""Lists that replace the one before: what is no longer in them goes.

Segments add up: a diagnosis that a later message leaves out is not taken back. Where a
site sends all of them every time (`snapshot:` of its site.yaml), a fact says what each
such segment lists, and what the same source listed before and does not list now is
withdrawn. A message without any such segment changes nothing.

Source: HL7 v2.5.1 section 2.10.4 (modes for updating via repeating segments).
"""

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from segue.model.facts import Fact

LISTED = "listed"
"""Key in `Fact.details`: name of a segment to the resources that it lists, `Type/id`."""

Lists = dict[str, list[str]]
"""Whose list of which segment, to what is in it, sorted."""


def relist(lists: Lists, whose: str, fact: Fact, known: Iterable[str]) -> tuple[Lists, set[str]]:
    """Take over the lists of a fact.

    Args:
        lists: as they were; not changed.
        whose: sets lists of different sources or patients apart.
        fact: has `LISTED` in its details.
        known: the resources that are kept where the lists are; others are left out.

    Returns:
        The lists as they are now, and what is withdrawn.
    """
    new, gone = dict(lists), set[str]()
    held = set(known)
    said: Mapping[str, list[str]] = fact.details[LISTED]
    for segment, references in said.items():
        name = f"{whose} {segment}"
        now = sorted(held.intersection(references))
        gone.update(set(lists.get(name, ())) - set(now))
        if now or name in lists:
            new[name] = now
    return new, gone


def forget_references(elements: MutableMapping[str, Any], gone: Iterable[str]) -> None:
    """Drop the list items that stand for withdrawn resources: `diagnosis#` and its id."""
    ends = tuple(f"#{reference.partition('/')[2]}" for reference in gone)
    for path in [path for path in elements if path.endswith(ends)]:
        del elements[path]
