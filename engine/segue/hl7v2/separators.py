"""The five characters a message declares for itself in MSH-1 and MSH-2."""

from functools import lru_cache
from typing import Final, NamedTuple

NULL: Final = '""'
"""The explicit null: the sender wants the element deleted (v2.5.1 section 2.6)."""

_DEFAULTS = "^~\\&"
# Noncharacters of Unicode: stand for a separator that a message has not got.
_UNUSED = "\ufdd0\ufdd1\ufdd2\ufdd3"


class Separators(NamedTuple):
    r"""Field separator (MSH-1) and encoding characters (MSH-2).

    Attributes:
        truncation: the fifth encoding character (v2.7), "" where none is declared.

    Source: HL7 v2.5.1 section 2.5.4; truncation character: v2.7 section 2.5.5.2.

    >>> STANDARD.encoding_characters
    '^~\\&'
    """

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""

    @property
    def encoding_characters(self) -> str:
        """What belongs in MSH-2."""
        return "".join(self[1:])


STANDARD = Separators()


@lru_cache(maxsize=256)
def read_separators(field: str, declared: str) -> tuple[Separators, str | None]:
    r"""Read MSH-1 and MSH-2; say with a warning code what had to be assumed.

    A missing MSH-2 gives the defaults, a short one is filled up with those defaults
    that are still free, a character that is repeated counts once.

    >>> read_separators("|", "^~\\&")[1] is None
    True
    >>> separators, code = read_separators("|", "^~")
    >>> separators.encoding_characters, code
    ('^~\\&', 'encoding-characters-short')
    """
    code: str | None = None
    if any(c.isalnum() or c.isspace() for c in declared) or not declared:
        code = "encoding-characters-missing" if not declared else "encoding-characters-odd"
        chosen = [c if c != field else _UNUSED[i] for i, c in enumerate(_DEFAULTS)]
        return Separators(field, *chosen), code
    distinct = list(dict.fromkeys(c for c in declared if c != field))
    found = distinct[:5]
    if len(distinct) != len(declared) or len(distinct) > 5:
        code = "encoding-characters-repeated" if len(distinct) <= 5 else "encoding-characters-odd"
    if len(found) < 4:
        code = "encoding-characters-short"
        for place in range(len(found), 4):
            default = _DEFAULTS[place]
            free = default not in found and default != field
            found.append(default if free else _UNUSED[place])
    return Separators(field, *found), code
