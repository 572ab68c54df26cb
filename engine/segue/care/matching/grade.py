"""From agreement to a grade: rules that link at once, weights that only suggest.

Two Patients are `certain` to be one person only by a rule: the same names, birth date
and sex and one more thing that strangers do not share, and nothing that speaks against
it. All else is weighed as Fellegi and Sunter proposed (A Theory for Record Linkage,
JASA 64, 1969): each level of agreement adds log2(m/u), where m is how often it occurs
among pairs that are one person and u among pairs that are not. What weighs enough is
`probable` or `possible`: a question for a person, never an answer.

Grades: http://terminology.hl7.org/CodeSystem/match-grade
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import log2
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from segue.care.matching.comparison import LEVELS, Agreement, compare
from segue.care.matching.traits import Traits

Grade = Literal["certain", "probable", "possible", "certainly-not"]

CHECKS: Final = frozenset(
    {
        "same-authority",
        "multiple-birth",
        "newborn",
        "placeholder",
        "generation-differs",
        *(f"{f}-differs" for f in LEVELS),
    }
)
"""What may speak against linking at once."""

_NEWBORN_YEARS: Final = 1


class MatchingError(ValueError):
    """The matching rules cannot be used; the message names file and place."""


@dataclass(frozen=True, slots=True)
class LinkRule:
    """Links at once: `agree` at level `exact` all, and any of `one_of`."""

    name: str
    agree: tuple[str, ...]
    one_of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MatchingRules:
    """All that grading needs, as `matching.yaml` states it.

    Attributes:
        weights: field to level to log2(m/u).
        prior: log2 odds that two Patients that were looked at together are one person.
        probable, possible: least weight (bits, with the prior) of the grade.
        against: checks that keep a rule from linking; a rule that is kept so makes the
            pair `probable` at most.
        nicknames: given name to the groups that it belongs to.
    """

    rules: tuple[LinkRule, ...]
    against: frozenset[str]
    weights: Mapping[str, Mapping[str, float]]
    prior: float
    probable: float
    possible: float
    nicknames: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Match:
    """How two Patients compare, with the evidence.

    Attributes:
        score: probability that they are one person, 0 to 1.
        bits: the same as a weight.
        rule: the rule that links them, None unless `certain`.
        against: what speaks against linking at once, sorted.
    """

    grade: Grade
    score: float
    bits: float
    rule: str | None
    agreement: Mapping[str, str]
    against: tuple[str, ...]


def grade(one: Traits, other: Traits, rules: MatchingRules, *, newborn: bool = False) -> Match:
    """Compare two Patients.

    Args:
        one, other: their traits; their order does not matter.
        rules: as read by `load`.
        newborn: whether either was first recorded within a year of birth, when names and
            numbers are still on their way.
    """
    agreement = compare(one, other, rules.nicknames)
    bits = rules.prior + sum(
        rules.weights[field][level] for field, level in agreement.items() if field in rules.weights
    )
    score = 1 / (1 + 2 ** -max(-60.0, min(60.0, bits)))
    against = tuple(sorted(_against(one, other, agreement, newborn=newborn) & rules.against))
    rule = next((r.name for r in rules.rules if _holds(r, agreement)), None)
    if rule is not None and not against:
        return Match("certain", score, bits, rule, agreement, ())
    if "same-authority" in against:
        # One authority gives one number to a person: whether it did, is its own question.
        named: Grade = "possible" if bits >= rules.possible else "certainly-not"
        return Match(named, score, bits, None, agreement, against)
    if "multiple-birth" in against and agreement.get("given") == "other":
        return Match("certainly-not", min(score, 0.01), bits, None, agreement, against)
    if bits >= rules.probable:
        return Match("probable", score, bits, None, agreement, against)
    if bits >= rules.possible or rule is not None:
        return Match("possible", score, bits, None, agreement, against)
    return Match("certainly-not", score, bits, None, agreement, against)


def _holds(rule: LinkRule, agreement: Agreement) -> bool:
    return all(agreement.get(field) == "exact" for field in rule.agree) and any(
        agreement.get(field) == "exact" for field in rule.one_of
    )


def _against(one: Traits, other: Traits, agreement: Agreement, *, newborn: bool) -> set[str]:
    found = {f"{field}-differs" for field, level in agreement.items() if level == "other"}
    if one.authorities & other.authorities:
        found.add("same-authority")
    twin = one.order is not None or other.order is not None
    if twin and (one.order != other.order or not one.order):
        found.add("multiple-birth")
    if one.generation and other.generation and one.generation != other.generation:
        found.add("generation-differs")
    if one.placeholder or other.placeholder:
        found.add("placeholder")
    if newborn:
        found.add("newborn")
    return found


def first_seen_newborn(traits: Traits, first_year: int) -> bool:
    """Whether a Patient was first recorded in the year of birth or the one after.

    >>> first_seen_newborn(Traits(birth="2026-06-16"), 2026)
    True
    """
    year = traits.birth[:4]
    return year.isdigit() and 0 <= first_year - int(year) <= _NEWBORN_YEARS


# --- the file ------------------------------------------------------------------------------


def load(folder: Path) -> MatchingRules:
    """Read `matching.yaml` and `nicknames.yaml`.

    Args:
        folder: `fhir_profiles/matching`, or a site's own.

    Raises:
        MatchingError: a field, level or number is missing or unknown.
    """
    file = folder / "matching.yaml"
    told = yaml.safe_load(file.read_text(encoding="utf-8"))
    try:
        rules = tuple(_rule(file, row) for row in told["link"])
        against = frozenset(told["unless"])
        if unknown := sorted(against - CHECKS):
            raise MatchingError(f"{file}: unless: unknown {unknown}; known: {sorted(CHECKS)}")
        return MatchingRules(
            rules,
            against,
            _weights(file, told["weights"]),
            log2(told["prior"] / (1 - told["prior"])),
            float(told["probable"]),
            float(told["possible"]),
            nicknames(folder / "nicknames.yaml"),
        )
    except (KeyError, TypeError) as error:
        raise MatchingError(f"{file}: {error} is missing or not as it should be") from error


@lru_cache(maxsize=4)
def rules_in(folder: Path) -> MatchingRules:
    """`load`, once per process."""
    return load(folder)


def _rule(file: Path, row: Mapping[str, Any]) -> LinkRule:
    rule = LinkRule(row["name"], tuple(row["agree"]), tuple(row["one_of"]))
    if unknown := sorted({*rule.agree, *rule.one_of} - set(LEVELS)):
        raise MatchingError(f"{file}: link.{rule.name}: unknown fields {unknown}")
    return rule


def _weights(file: Path, rows: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    weights: dict[str, dict[str, float]] = {}
    for field, levels in rows.items():
        if field not in LEVELS or set(levels) != set(LEVELS[field]):
            raise MatchingError(
                f"{file}: weights.{field}: the levels must be {list(LEVELS.get(field, ()))}"
            )
        weights[field] = {level: log2(pair["m"] / pair["u"]) for level, pair in levels.items()}
    return weights


def nicknames(file: Path) -> dict[str, frozenset[str]]:
    """Given name to the groups (named by their first member) that it belongs to."""
    groups: dict[str, set[str]] = {}
    for line in yaml.safe_load(file.read_text(encoding="utf-8")):
        names = line.split()
        for name in names:
            groups.setdefault(name, set()).add(names[0])
    return {name: frozenset(found) for name, found in groups.items()}
