"""Reads one selecting parameter of a search into conditions.

Source: https://hl7.org/fhir/R4/search.html#ptypes, https://hl7.org/fhir/R4/search.html#modifiers
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import cast

from segue.fhir.datetimes import interval
from segue.fhir.expansion import Expander
from segue.fhir.outcomes import FhirError, fhir_error
from segue.fhir.references import parse_reference
from segue.fhir.search import matching
from segue.fhir.search.amounts import PREFIXES, Amount, amount
from segue.fhir.search.conditions import (
    ChainCondition,
    Condition,
    DateCondition,
    EvaluatedCondition,
    HasCondition,
    IdCondition,
    Interval,
    LastUpdatedCondition,
    MarkedCondition,
    Prefix,
    Query,
    StringCondition,
    TokenCondition,
)
from segue.fhir.search.hashes import reference_hash, token_hash
from segue.fhir.search.parameters import COMPARTMENT, Parameter, indexed_of, parameter, types
from segue.fhir.search.values import STRING_PARTS, folded
from segue.fhir.vocabulary import ICD10CM

Inner = Callable[[str, list[tuple[str, str]]], Query]
"""Reads the search of a chain: resource type, names and values."""

MOST_CODES = 1_000
"""So many codes of a value set are looked up in the index; more are compared."""

MOST_VALUES = 1_000
"""Alternatives of a token, a reference or `_id`; of others a fifth of that."""

_TARGETS_WITHOUT_TYPE = 20
_PREFIXED = frozenset({ICD10CM, "http://hl7.org/fhir/sid/icd-10"})
"""Code systems in which a code stands below what it begins with."""

_UNKNOWN = ("_filter", "_query", "_list", "_contained", "_containedType")
_MODIFIERS = {
    "token": ("not", "text", "in", "not-in", "above", "below", "of-type", "missing"),
    "reference": ("identifier", "text", "missing"),
    "string": ("exact", "contains", "missing"),
    "uri": ("above", "below", "missing"),
}

Indexed = TokenCondition | DateCondition | StringCondition


def split(text: str, mark: str) -> list[str]:
    """Split at a mark that no backslash precedes; escapes stay."""
    if "\\" not in text:
        return text.split(mark)
    parts, part, escaped = [], "", False
    for char in text:
        if char == mark and not escaped:
            parts.append(part)
            part = ""
        else:
            part += char
        escaped = char == "\\" and not escaped
    return [*parts, part]


def unescape(text: str) -> str:
    r"""Undo the escapes of a value.

    >>> unescape(r"a\,b\\c")
    'a,b\\c'
    """
    return re.sub(r"\\([\\,|$])", r"\1", text) if "\\" in text else text


def refused(name: str, text: str) -> FhirError:
    """The error of a parameter that cannot be honoured."""
    return fhir_error("incorrect", "not-supported", text, name)


class Criteria:
    """Reads the selecting parameters of one resource type."""

    def __init__(self, type_: str, inner: Inner, base: str | None, expander: Expander) -> None:
        """Take what chains, references and value sets are read with."""
        self.type = type_
        self._inner = inner
        self._base = base
        self._expander = expander

    def read(self, name: str, value: str) -> list[Condition] | None:
        """The conditions of a parameter, None where the type has none of that name.

        Raises:
            FhirError: 400; a value, a modifier or a prefix that cannot be honoured.
        """
        if name.startswith("_has:"):
            return [self._has(name, value)]
        head, dot, rest = name.partition(".")
        if dot:
            return self._chain(name, head, rest, value)
        code, _, modifier = name.partition(":")
        if code in _UNKNOWN:
            raise refused(name, f"{code} is not supported: write out what it stands for")
        values = [v for v in split(value, ",") if v]
        known = parameter(self.type, code)
        listed = code == "_id" or (known is not None and known.kind in ("token", "reference"))
        most = MOST_VALUES if listed else MOST_VALUES // 5
        if len(values) > most:
            raise refused(name, f"{code} takes {most} alternatives at most: ask in parts")
        if code in ("_id", "_lastUpdated", "_text", "_content"):
            return [_special(name, code, modifier, values)]
        if known is None or code == COMPARTMENT:
            return None
        return self._criterion(name, known, modifier, values)

    def _criterion(
        self, name: str, known: Parameter, modifier: str, values: list[str]
    ) -> list[Condition]:
        allowed = _MODIFIERS.get(known.kind, ("missing",))
        of_type = known.kind == "reference" and modifier in types()
        if modifier and modifier not in allowed and not of_type:
            words = ", ".join(allowed)
            raise refused(name, f"{known.code} does not know :{modifier}, but {words}")
        if modifier == "missing":
            if values not in (["true"], ["false"]):
                raise refused(name, f"{known.code}:missing is true or false")
            return [_test(name, matching.missing(known, wanted=values == ["true"]))]
        match known.kind:
            case "token":
                return self._token(name, known, modifier, values)
            case "reference":
                return self._reference(name, known, modifier, values)
            case "uri":
                return self._uri(name, known, modifier, values)
            case "string":
                return _string(name, known, modifier, values)
            case "date":
                ranges = tuple(date_range(name, v) for v in values)
                return [_placed(name, known, DateCondition(known.number, ranges))]
            case "number" | "quantity":
                wanted = [self._amount(name, known, v) for v in values]
                return [_test(name, matching.measured(known, wanted))]
            case "composite":
                return [_test(name, matching.composed(known, self._tuples(name, known, values)))]
            case "special":
                try:
                    places = [matching.place(unescape(v)) for v in values]
                except ValueError:
                    text = f"{known.code} is written latitude|longitude|distance|unit (km)"
                    raise refused(name, text) from None
                return [_test(name, matching.near(known, places))]

    # --- token and uri -------------------------------------------------------------------

    def _token(
        self, name: str, known: Parameter, modifier: str, values: list[str]
    ) -> list[Condition]:
        if modifier == "text":
            return [_test(name, matching.text(known, [unescape(v) for v in values]))]
        if modifier in ("in", "not-in"):
            return [self._member(name, known, values, negate=modifier == "not-in")]
        if modifier in ("above", "below"):
            return [self._subsumed(name, known, modifier, values)]
        if modifier == "of-type":
            return self._of_type(name, known, values)
        numbers: list[int] = []
        systems: set[str] = set()
        for value in values:
            parts = [unescape(part) for part in split(value, "|")]
            if known.systemless:
                # The system of a code element is known to all and stored by nobody.
                numbers.append(token_hash(self.type, known.code, None, parts[-1]))
            elif len(parts) == 1:
                numbers.append(token_hash(self.type, known.code, None, parts[0]))
            elif parts[1]:
                code = "|".join(parts[1:])
                numbers.append(token_hash(self.type, known.code, parts[0], code))
            else:
                systems.add(parts[0])
        negate = modifier == "not"
        if not systems:
            return [_placed(name, known, TokenCondition(_sorted(numbers), negate))]
        indexed = TokenCondition(_sorted(numbers))
        whole = matching.holds(known, indexed)
        of_system = matching.coded(known, lambda system, _: system in systems)
        return [_test(name, lambda node: (whole(node) or of_system(node)) != negate)]

    def _member(self, name: str, known: Parameter, values: list[str], *, negate: bool) -> Condition:
        members: set[tuple[str, str]] = set()
        for url in values:
            found = self._expander.of_url(unescape(url))
            if found is None:
                raise refused(
                    name, f"{unescape(url)} is no value set that this server can expand: store it"
                )
            members |= found.keys()
        codes = {code for _, code in members}
        if known.systemless:
            return _test(name, matching.coded(known, lambda _, code: code in codes, negate=negate))
        if members and len(members) <= MOST_CODES:
            numbers = [token_hash(self.type, known.code, *one) for one in members]
            return _placed(name, known, TokenCondition(_sorted(numbers), negate))
        return _test(
            name,
            matching.coded(known, lambda system, code: (system, code) in members, negate=negate),
        )

    def _subsumed(self, name: str, known: Parameter, modifier: str, values: list[str]) -> Condition:
        prefixes: set[tuple[str, str]] = set()
        codes: set[tuple[str, str]] = set()
        for value in values:
            system, _, code = (unescape(part) for part in _bar(value))
            if system in _PREFIXED:
                prefixes.add((system, code))
                continue
            found = (
                self._expander.below(system, code)
                if modifier == "below"
                else self._expander.above(system, code)
            )
            if found is None:
                raise refused(name, f"the code system {system or '(none)'} is not stored here")
            codes |= {(system, one) for one in found}

        def fits(system: str, code: str) -> bool:
            if (system, code) in codes:
                return True
            if modifier == "below":
                return any(system == own and code.startswith(one) for own, one in prefixes)
            return any(system == own and code and one.startswith(code) for own, one in prefixes)

        return _test(name, matching.coded(known, fits))

    def _of_type(self, name: str, known: Parameter, values: list[str]) -> list[Condition]:
        wanted = []
        for value in values:
            parts = [unescape(part) for part in split(value, "|")]
            if len(parts) != 3 or not all(parts[1:]):
                raise refused(name, f"{known.code}:of-type is written system|code|value")
            wanted.append((parts[0], parts[1], parts[2]))
        numbers = [token_hash(self.type, known.code, None, value) for _, _, value in wanted]
        test = _test(name, matching.of_type(known, wanted))
        return [_placed(name, known, TokenCondition(_sorted(numbers))), test]

    def _uri(
        self, name: str, known: Parameter, modifier: str, values: list[str]
    ) -> list[Condition]:
        plain = [unescape(v) for v in values]
        if modifier:
            test = matching.below if modifier == "below" else matching.above
            return [_test(name, test(known, plain))]
        numbers = [token_hash(self.type, known.code, None, v) for v in plain]
        return [_placed(name, known, TokenCondition(_sorted(numbers)))]

    # --- references ----------------------------------------------------------------------

    def _reference(
        self, name: str, known: Parameter, modifier: str, values: list[str]
    ) -> list[Condition]:
        if modifier == "identifier":
            wanted = [
                (system if bar else None, code)
                for system, bar, code in (tuple(unescape(part) for part in _bar(v)) for v in values)
            ]
            return [_test(name, matching.identified(known, wanted))]
        if modifier == "text":
            return [_test(name, matching.text(known, [unescape(v) for v in values]))]
        canonical = known.paths[0].datatype not in ("Reference", "Resource", "fhirpath")
        numbers = []
        for raw in values:
            value = unescape(raw)
            if canonical:
                numbers.append(token_hash(self.type, known.code, None, value))
                continue
            for text in self._targets(name, known, modifier, value):
                numbers.append(reference_hash(self.type, known.code, text))
        return [_placed(name, known, TokenCondition(_sorted(numbers)))]

    def _targets(self, name: str, known: Parameter, modifier: str, value: str) -> Iterable[str]:
        if value.startswith(("http://", "https://")) and self._base:
            value = value.removeprefix(self._base.rstrip("/") + "/")
        if "/" in value or ":" in value:
            key = parse_reference(value) if ":" not in value else None
            return (key.reference if key else value,)
        named = (modifier,) if modifier else known.targets
        if not named or len(named) > _TARGETS_WITHOUT_TYPE:
            raise refused(name, f"{known.code} may point to many types: write Type/id")
        return [f"{type_}/{value}" for type_ in named]

    def _chain(self, name: str, head: str, rest: str, value: str) -> list[Condition] | None:
        code, _, target = head.partition(":")
        known = parameter(self.type, code)
        if known is None:
            return None
        if known.kind != "reference" or known.paths[0].datatype != "Reference":
            raise refused(name, f"{code} is no reference, so nothing can be chained to it")
        if target and (target not in types() or (known.targets and target not in known.targets)):
            raise refused(name, f"{code} does not point to {target}")
        queries, first = [], None
        for one in (target,) if target else known.targets or sorted(types()):
            try:
                queries.append(self._inner(one, [(rest, value)]))
            except FhirError as error:
                first = first or error
        if not queries:
            raise first or refused(name, f"{code} points to nothing that is searched by {rest}")
        return [ChainCondition(known, tuple(queries))]

    def _has(self, name: str, value: str) -> Condition:
        _, *parts = name.split(":", 3)
        if len(parts) < 3 or parts[0] not in types():
            raise refused(name, "_has is written _has:Type:reference:parameter")
        source, code, rest = parts
        known = parameter(source, code)
        if known is None or known.kind != "reference":
            raise refused(name, f"{source} has no reference parameter {code}")
        if known.targets and self.type not in known.targets:
            raise refused(name, f"{code} of {source} does not point to {self.type}")
        return HasCondition(known, self._inner(source, [(rest, value)]))

    # --- amounts and composites ----------------------------------------------------------

    def _amount(self, name: str, known: Parameter, value: str) -> Amount:
        parts = [unescape(part) for part in split(value, "|")]
        most = 1 if known.kind == "number" else 3
        try:
            system, code = ([*parts[1:], "", ""])[:2]
            found = amount(parts[0], system, code)
        except ValueError:
            found = None
        if found is None or len(parts) > most:
            form = "number" if most == 1 else "number|system|code"
            raise refused(name, f"{known.code} is written {form}, with a prefix or not")
        return found

    def _tuples(
        self, name: str, known: Parameter, values: Sequence[str]
    ) -> list[list[matching.Test]]:
        found = []
        for value in values:
            parts = split(value, "$")
            if len(parts) != len(known.components):
                count = len(known.components)
                raise refused(name, f"{known.code} is written as {count} values with $ between")
            found.append(
                [
                    self._component(name, component, part)
                    for component, part in zip(known.components, parts, strict=True)
                ]
            )
        return found

    def _component(self, name: str, component: Parameter, value: str) -> matching.Test:
        tests = []
        for condition in self._criterion(name, component, "", [value]):
            assert isinstance(condition, EvaluatedCondition)
            tests.append(condition.test)
        return tests[0]


def _special(name: str, code: str, modifier: str, values: list[str]) -> Condition:
    if modifier:
        raise refused(name, f"{code} takes no modifier")
    if code == "_id":
        return IdCondition(tuple(dict.fromkeys(values)))
    if code == "_lastUpdated":
        return LastUpdatedCondition(tuple(date_range(name, v) for v in values))
    test = matching.narrative if code == "_text" else matching.content
    return _test(name, test([unescape(v) for v in values]))


def _string(name: str, known: Parameter, modifier: str, values: list[str]) -> list[Condition]:
    plain = [unescape(v) for v in values]
    prefixes = tuple(dict.fromkeys(folded(v) for v in plain))
    contains = modifier == "contains"
    found = [_placed(name, known, StringCondition(known.number, prefixes, contains))]
    whole = None if known.indexed else _whole(known)
    if whole is not None:
        found.append(StringCondition(whole.number, prefixes, contains))
    if modifier == "exact":
        found.append(_test(name, matching.exact(known, plain)))
    return found


@lru_cache(maxsize=256)
def _whole(known: Parameter) -> Parameter | None:
    """The indexed parameter that a part belongs to, and that finds all that the part finds.

    >>> found = _whole(cast(Parameter, parameter("Location", "address-city")))
    >>> found and found.code
    'address'
    """
    for one in indexed_of(known.type):
        parts = {
            (*path.steps, part)
            for path in one.paths
            for part in STRING_PARTS.get(path.datatype, ())
        }
        if not one.mark and parts.issuperset(path.steps for path in known.paths):
            return one
    return None


def _placed(name: str, known: Parameter, condition: Indexed) -> Condition:
    """The condition where it is answered: by the index, or from the bodies."""
    if known.indexed and not known.mark:
        return condition
    evaluated = EvaluatedCondition(name, matching.holds(known, condition))
    return MarkedCondition(known.mark, condition, evaluated) if known.mark else evaluated


def _test(name: str, test: matching.Test) -> EvaluatedCondition:
    return EvaluatedCondition(name, test)


def _bar(value: str) -> tuple[str, str, str]:
    """System, bar and code; a value without bar is a code."""
    parts = split(value, "|")
    return ("", "", value) if len(parts) == 1 else (parts[0], "|", "|".join(parts[1:]))


def _sorted(numbers: list[int]) -> tuple[int, ...]:
    return tuple(sorted(set(numbers)))


def date_range(name: str, text: str) -> Interval:
    """Read a date with its prefix.

    Raises:
        FhirError: 400; it is none.
    """
    prefix, value = text[:2], text[2:]
    if prefix not in PREFIXES:
        prefix, value = "eq", text
    try:
        # A plus sign that was not encoded arrives as a space.
        low, high = interval(value.strip().replace(" ", "+"))
    except (ValueError, OverflowError):
        message = f"{name}: not a FHIR date; write YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz"
        raise refused(name, message) from None
    if prefix == "ap":
        low, high = low - (high - low), high + (high - low)
    return Interval(cast("Prefix", prefix), low, high)
