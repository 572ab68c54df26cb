"""Which identifier is the patient's, which number is the visit's.

The choice looks at assigner and type, never at the order of repetitions, and at no
text that changes: the same person and visit get the same keys from every message.
"""

from collections.abc import Sequence
from typing import NamedTuple

from segue.hl7v2.message import Segment
from segue.mapping.fields import split_field
from segue.mapping.language import IdentityRules
from segue.mapping.values import Run

OWN = "own"


class PatientIdentifier(NamedTuple):
    """An identifier of a patient: key of the assigner, type (CX.5), value."""

    authority: str
    type: str
    value: str

    @property
    def key(self) -> str:
        """`HOSPA|100234`."""
        return f"{self.authority}|{self.value}"


def identifiers(raw: str, run: Run) -> list[PatientIdentifier]:
    """The identifiers of a repeating CX.

    >>> from segue.mapping.values import scratch
    >>> [i.key for i in identifiers("7^^^HIE^PI~100234^^^^MR~^^^HOSPA", scratch())]
    ['HIE|7', 'HOSPA|100234']
    """
    found = []
    for repetition in raw.split(run.repetition) if raw else ():
        parts = repetition.split(run.component)
        value = run.part(parts, 1)
        if value:
            count = len(parts)
            authority = run.authority_of(parts[3])[0] if count > 3 else ""
            kind = run.part(parts, 5).upper() if count > 4 else ""
            found.append(PatientIdentifier(authority or run.authority, kind, value))
    return found


def choose(
    rules: IdentityRules, candidates: Sequence[PatientIdentifier], own: str
) -> PatientIdentifier | None:
    """The identifier that the first matching rule chooses; of several the smallest.

    >>> rules = IdentityRules([{"authority": "own", "type": "MR"}, {"any": True}])
    >>> a, b = PatientIdentifier("HIE", "PI", "7"), PatientIdentifier("HOSPA", "MR", "100234")
    >>> choose(rules, [a, b], "HOSPA") == choose(rules, [b, a], "HOSPA") == b
    True
    """
    usable = [c for c in candidates if c.type not in rules.never]
    for rule in rules.patient:
        authority, kind = rule.get("authority"), rule.get("type")
        if authority == OWN:
            authority = own
        matching = [
            c
            for c in usable
            if (authority is None or c.authority == authority) and (kind is None or c.type == kind)
        ]
        if matching:
            return min(matching)
    return None


def patient_identity(
    rules: IdentityRules, segment: Segment | None, fields: Sequence[str], run: Run
) -> tuple[str | None, list[str]]:
    """Key of the source identity and all keys that name the same person, sorted."""
    if segment is None:
        return None, []
    key = (patient_identity, *[segment.raw(split_field(path)[1]) for path in fields])
    known = run.cache.get(key) if run.default_delimiters else None
    if known is None:
        known = _patient_identity(rules, segment, fields, run)
        if run.default_delimiters:
            run.remember(key, known)
    return known[0], list(known[1])


def _patient_identity(
    rules: IdentityRules, segment: Segment, fields: Sequence[str], run: Run
) -> tuple[str | None, list[str]]:
    for path in fields:
        candidates = identifiers(segment.raw(split_field(path)[1]), run)
        chosen = choose(rules, candidates, run.authority)
        if chosen is not None:
            linking = set(run.site.links_by)
            links = {c.key for c in candidates if c.type in linking and c.type not in rules.never}
            return chosen.key, sorted(links | {chosen.key})
    return None, []


def prior_identities(
    rules: IdentityRules, merge: Segment, fields: Sequence[str], run: Run
) -> list[str]:
    """Keys of all identities that MRG names as one prior person's, the chosen one first.

    MRG-1 repeats: all identifiers of the list go. Those of types that identify nobody by
    themselves are left out, unless the chosen one is of that type, too.
    Source: HL7 v2.9.1 section 3.4.9.1.
    """
    for path in fields:
        candidates = identifiers(merge.raw(split_field(path)[1]), run)
        chosen = choose(rules, candidates, run.authority)
        if chosen is not None:
            kinds = {*run.site.links_by, chosen.type} - set(rules.never)
            others = {c.key for c in candidates if c.type in kinds} - {chosen.key}
            return [chosen.key, *sorted(others)]
    return []


def visit_identity(rules: IdentityRules, run: Run) -> str | None:
    """Key of the visit, `HOSPA|V78421`; None where the message has no number for it."""
    for fields in rules.visit:
        values = []
        for place, path in enumerate(fields):
            name, number, _, _ = split_field(path)
            fields_here = run.fields_of(name)
            raw = run.first(fields_here[number]) if number < len(fields_here) else ""
            parts = raw.split(run.component)
            value = run.part(parts, 1)
            if not value:
                break
            if place == 0:
                authority = run.authority_of(parts[3])[0] if len(parts) > 3 else ""
                value = f"{authority or run.authority}|{value}"
            values.append(value)
        if len(values) == len(fields):
            return "@".join(values)
    return None
