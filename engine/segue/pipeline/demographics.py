"""What a client's write to a Patient that is there already says anew.

A Patient is folded from all that its sources say. A client reads the whole and writes
the whole, so what it says is what differs from what it read; the rest stays the others'.
"""

from collections.abc import Mapping
from typing import Any

from segue.care.consent import labels
from segue.care.states import PersonState
from segue.pipeline.identities import elements_of, name_of, told_by

DEATH = frozenset({"deceasedBoolean", "deceasedDateTime"})
"""Death is no register: it sticks until its source takes it back."""

_HUBS = frozenset({"active", "link"})


def updated(
    person: PersonState,
    patient: str,
    sent: Mapping[str, Any],
    stored: Mapping[str, Any],
    source: str,
) -> dict[str, Any]:
    """What an update says, by element path; None takes back what the source said before.

    Args:
        patient: id of the Patient; where it is not the survivor's, what is stored of it
            is only a pointer, and everything sent is a statement.
        sent: the resource as sent. stored: as it was read.
        source: the client's site.
    """
    elements, current = elements_of(sent), elements_of(stored)
    if current.get("active") is True and "active" not in elements:
        del current["active"]
    said = _said(person, source, sent)
    if patient == person.patient:
        news = {path: value for path, value in elements.items() if current.get(path) != value}
    else:
        hubs = {path for path in elements if name_of(path) in _HUBS}
        news = {p: v for p, v in elements.items() if said.get(p) != v and p not in hubs}
    names = {name_of(path) for path in elements}
    for path, value in said.items():
        if value is not None and name_of(path) not in names:
            news[path] = None
    if any(death.site == source for death in person.deaths):
        news |= dict.fromkeys((DEATH & current.keys()) - elements.keys())
    return news


def restated(
    person: PersonState, sent: Mapping[str, Any], stored: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """What a second create of an identity says anew, by element path; it takes nothing back."""
    said, current = _said(person, source, sent), elements_of(stored)
    return {
        path: value
        for path, value in elements_of(sent).items()
        if (current if path in DEATH else said).get(path) != value
    }


def _said(person: PersonState, source: str, sent: Mapping[str, Any]) -> dict[str, Any]:
    marks = sorted(labels(sent))
    return told_by(person, f"{source}#{','.join(marks)}" if marks else source)


def details(elements: Mapping[str, Any]) -> dict[str, Any]:
    """What the fold must know beside the elements: that a death is taken back."""
    gone = any(name in elements and elements[name] is None for name in DEATH)
    stated = any(elements.get(name) for name in DEATH)
    return {"deceased": ""} if gone and not stated else {}


def may_state(person: PersonState, identity: str, own: str, source: str) -> bool:
    """Whether a client may change a Patient by its id: its authority's, or its own one.

    Args:
        identity: source identity of the Patient. own: authority of the client's site.
        source: under which name the client's statements are kept.
    """
    if own and identity.partition("|")[0] == own:
        return True
    known = person.patients.get(identity)
    spoke = any(told.site == source for told in person.sources.values())
    return known is not None and known.stated and spoke
