"""What a visit's facts state: elements of the Encounter, and the visit's other resources.

The statement that was recorded last holds; an absent element keeps its value, a null
deletes it. What depends on the order of events is no statement (`segue.care.movements`).
"""

from segue.care.listed import LISTED, forget_references, relist
from segue.care.movements import DISCHARGE, PLAIN, kind_of
from segue.care.states import VisitState
from segue.model.facts import Fact


def tell(state: VisitState, fact: Fact, discharge_void: bool, *, note: bool = False) -> None:
    """Take over what a fact states, as the last one that was recorded so far.

    Args:
        state: is changed; of what it shares with other states only `elements` is.
        fact: what to take over.
        discharge_void: leave out what the fact says of a discharge.
        note: the fact is no ADT's: of the Encounter it only says which appointment led
            to it, and the visit stays the site's that speaks of it in ADT.
    """
    if fact.visit:
        state.key = fact.visit
    if not note:
        state.identity = fact.identity
        state.site = fact.site
        state.history = state.history and fact.history
    if fact.labels and not set(fact.labels) <= set(state.labels):
        state.labels = sorted({*state.labels, *fact.labels})
    details = {} if note else fact.details
    past = "historic" in details  # what is said of the past fills gaps, and corrects nothing
    if "admission_type" in details and not (past and state.admission_type):
        state.admission_type = details["admission_type"] or None
    if "service" in details and not (past and state.service):
        state.service = details["service"] or None
    if not discharge_void and "disposition" in details:
        state.disposition = details["disposition"] or None
    for fragment in fact.stay:
        if fragment.type == "Encounter":
            if fragment.id:
                state.encounter = fragment.id
            elements = state.elements
            for path, value in fragment.elements.items():
                if note and not path.startswith("appointment"):
                    continue
                kind = kind_of(path)
                if past and kind == PLAIN and path in elements:
                    continue
                if kind == PLAIN or (kind == DISCHARGE and not discharge_void):
                    if value is None:
                        _forget(elements, path)
                    else:
                        elements[path] = value
                elif path == "class" and value:
                    state.fallback = value
        else:
            key = f"{fragment.type}/{fragment.id}"
            known = state.others.get(key)
            if known is None:
                _withdraw_or_add(state, key, fragment.elements)
            elif known != (known | fragment.elements):
                _withdraw_or_add(state, key, known | fragment.elements)
    if LISTED in details:
        _relist(state, fact)


def _relist(state: VisitState, fact: Fact) -> None:
    state.listed, gone = relist(state.listed, fact.site, fact, state.others)
    if gone:
        state.others = {name: one for name, one in state.others.items() if name not in gone}
        forget_references(state.elements, gone)


def _withdraw_or_add(state: VisitState, key: str, elements: dict[str, object]) -> None:
    """Keep a resource's elements; a null at the path "" takes the resource away."""
    others = dict(state.others)
    others.pop(key, None)
    if "" not in elements:
        kept: dict[str, object] = dict(elements)
        for path in [path for path, value in elements.items() if value is None]:
            _forget(kept, path)
        others[key] = kept
    state.others = others


def _forget(elements: dict[str, object], path: str) -> None:
    """Delete an element, and with a list all that was added to it."""
    elements.pop(path, None)
    if "#" not in path:
        labelled = path + "#"
        for other in [other for other in elements if other.startswith(labelled)]:
            del elements[other]
