"""Conditions of protocols: a subset of FHIRPath, compiled once to closures.

The subset: paths, literals, `%variables`, `=`, `!=`, `<`, `>`, `<=`, `>=`, `in`,
`and`, `or`, `xor`, `implies`, `|`, parentheses, `not()`, `exists()`, `empty()`,
`count()` and `first()`. Empty is neither true nor false, as FHIRPath says
(http://hl7.org/fhirpath/N1/, sections 5 and 6). What is outside the subset is
refused when a protocol is loaded, not when a patient is discharged.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

Values = list[Any]
Condition = Callable[[Any, Mapping[str, Any]], Values]
"""Takes the resource and the variables, gives a collection."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<string>'[^']*')|(?P<variable>%[A-Za-z_]\w*)"
    r"|(?P<name>[A-Za-z_]\w*|`[^`]+`)|(?P<operator><=|>=|!=|[=<>|().{},]))"
)

_BINDING = {
    "implies": 1,
    "or": 2,
    "xor": 2,
    "and": 3,
    "in": 4,
    "=": 5,
    "!=": 5,
    "<": 6,
    ">": 6,
    "<=": 6,
    ">=": 6,
    "|": 7,
}


class UnsupportedError(ValueError):
    """An expression outside the subset; the message shows where."""


def compile_condition(expression: str) -> Condition:
    """Compile an expression.

    Raises:
        UnsupportedError: it is not in the subset.

    >>> adult = compile_condition("%age.empty() or %age >= 18")
    >>> adult({}, {"age": 17}), adult({}, {"age": 18}), adult({}, {"age": None})
    ([False], [True], [True])
    >>> compile_condition("class.code in ('IMP' | 'ACUTE')")({"class": {"code": "IMP"}}, {})
    [True]
    """
    return _Parser(expression).parse()


def holds(condition: Condition, resource: Any, variables: Mapping[str, Any]) -> bool:
    """Whether a condition is true (empty is not)."""
    return condition(resource, variables) == [True]


class _Parser:
    """Precedence climbing over the tokens of one expression."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.tokens = self._tokens()
        self.at = 0

    def _tokens(self) -> list[tuple[str, str]]:
        found = []
        position = 0
        text = self.expression.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise UnsupportedError(f"cannot read '{text[position:]}' in: {text}")
            found.append((match.lastgroup, match.group(match.lastgroup)))
            position = match.end()
        return found

    def parse(self) -> Condition:
        compiled = self._binary(0)
        if self.at != len(self.tokens):
            raise UnsupportedError(f"unexpected '{self._peek()}' in: {self.expression}")
        return compiled

    def _peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def _take(self, wanted: str | None = None) -> tuple[str, str]:
        if self.at >= len(self.tokens):
            raise UnsupportedError(f"ends too early: {self.expression}")
        token = self.tokens[self.at]
        if wanted is not None and token[1] != wanted:
            raise UnsupportedError(f"expected '{wanted}', not '{token[1]}' in: {self.expression}")
        self.at += 1
        return token

    def _binary(self, floor: int) -> Condition:
        left = self._postfix()
        while (binding := _BINDING.get(self._peek(), 0)) > floor:
            _, operator = self._take()
            left = _operation(operator, left, self._binary(binding))
        return left

    def _postfix(self) -> Condition:
        value = self._primary()
        while self._peek() == ".":
            self._take(".")
            kind, name = self._take()
            if kind != "name":
                raise UnsupportedError(f"'{name}' is no name in: {self.expression}")
            value = self._call(value, name) if self._peek() == "(" else _member(value, name)
        return value

    def _call(self, subject: Condition, name: str) -> Condition:
        self._take("(")
        self._take(")")
        try:
            function = _FUNCTIONS[name]
        except KeyError:
            raise UnsupportedError(f"no function '{name}()' in: {self.expression}") from None
        return lambda resource, variables: function(subject(resource, variables))

    def _primary(self) -> Condition:
        kind, text = self._take()
        if kind == "string":
            return _constant([text[1:-1]])
        if kind == "number":
            return _constant([float(text) if "." in text else int(text)])
        if kind == "variable":
            return _variable(text[1:])
        if kind == "name":
            if text in ("true", "false"):
                return _constant([text == "true"])
            return _root(text)
        if text == "(":
            inner = self._binary(0)
            self._take(")")
            return inner
        if text == "{":
            self._take("}")
            return _constant([])
        raise UnsupportedError(f"unexpected '{text}' in: {self.expression}")


def _constant(values: Values) -> Condition:
    return lambda _resource, _variables: values


def _variable(name: str) -> Condition:
    def read(_resource: Any, variables: Mapping[str, Any]) -> Values:
        return _collection(variables.get(name))

    return read


def _root(name: str) -> Condition:
    """A name at the start: the type of the resource, or one of its elements."""
    plain = name.strip("`")

    def read(resource: Any, _variables: Mapping[str, Any]) -> Values:
        if resource.get("resourceType") == plain:
            return [resource]
        return _collection(resource.get(plain))

    return read


def _member(subject: Condition, name: str) -> Condition:
    plain = name.strip("`")

    def read(resource: Any, variables: Mapping[str, Any]) -> Values:
        found: Values = []
        for value in subject(resource, variables):
            if isinstance(value, Mapping):
                found.extend(_collection(value.get(plain)))
        return found

    return read


def _collection(value: Any) -> Values:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


_FUNCTIONS: dict[str, Callable[[Values], Values]] = {
    "exists": lambda values: [bool(values)],
    "empty": lambda values: [not values],
    "count": lambda values: [len(values)],
    "first": lambda values: values[:1],
    "not": lambda values: [not values[0]] if values else [],
}


def _operation(operator: str, left: Condition, right: Condition) -> Condition:
    combine = _OPERATORS[operator]
    return lambda resource, variables: combine(
        left(resource, variables), right(resource, variables)
    )


def _equal(left: Values, right: Values) -> Values:
    return [left == right] if left and right else []


def _unequal(left: Values, right: Values) -> Values:
    return [left != right] if left and right else []


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Values, Values], Values]:
    return lambda left, right: [test(left[0], right[0])] if left and right else []


def _in(left: Values, right: Values) -> Values:
    return [left[0] in right] if left else []


def _and(left: Values, right: Values) -> Values:
    if left == [False] or right == [False]:
        return [False]
    return [True] if left and right else []


def _or(left: Values, right: Values) -> Values:
    if left == [True] or right == [True]:
        return [True]
    return [False] if left and right else []


def _xor(left: Values, right: Values) -> Values:
    return [left != right] if left and right else []


def _implies(left: Values, right: Values) -> Values:
    return _or([not left[0]] if left else [], right)


def _union(left: Values, right: Values) -> Values:
    return left + [value for value in right if value not in left]


_OPERATORS: dict[str, Callable[[Values, Values], Values]] = {
    "=": _equal,
    "!=": _unequal,
    "<": _compare(lambda left, right: bool(left < right)),
    ">": _compare(lambda left, right: bool(left > right)),
    "<=": _compare(lambda left, right: bool(left <= right)),
    ">=": _compare(lambda left, right: bool(left >= right)),
    "in": _in,
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": _implies,
    "|": _union,
}
