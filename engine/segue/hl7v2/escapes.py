r"""Escape sequences: `\F\ \S\ \T\ \R\ \E\ \P\ \Xdd..\ \.br\` and their kin.

Source: HL7 v2.5.1 section 2.7 (escape sequences, formatted text).
"""

from functools import lru_cache
from typing import Final

from segue.hl7v2.separators import STANDARD, Separators

MOST_BLANKS: Final = 40
"""`\\.sp999\\` gives this many line ends; more would only fill memory."""

# What a segment's text cannot hold: its own end, MLLP's marks and control characters.
_CONTROLS = [*range(0x09), *range(0x0A, 0x20), 0x7F]


def escape(text: str, separators: Separators = STANDARD) -> str:
    r"""Make text safe to stand in a field.

    >>> escape("AT&T | x^2")
    'AT\\T\\T \\F\\ x\\S\\2'
    """
    return text.translate(_escapes(separators))


@lru_cache(maxsize=64)
def _escapes(separators: Separators) -> dict[int, str]:
    mark = separators.escape
    table = {code: f"{mark}X{code:02X}{mark}" for code in _CONTROLS}
    letters = "FSRETP"
    for letter, separator in zip(letters, separators, strict=True):
        if separator:
            table[ord(separator)] = f"{mark}{letter}{mark}"
    return table


def unescape(
    text: str,
    separators: Separators = STANDARD,
    charset: str = "utf-8",
    codes: list[str] | None = None,
) -> str:
    r"""Read text as it stands in a leaf of the message.

    Line formatting becomes line ends and blanks, highlighting goes. A sequence that
    is unknown or has no end stays as it is. Warning codes `unknown-escape` and
    `escape-capped` are added to `codes`.

    >>> unescape("AT\\T\\T\\.br\\C:\\temp")
    'AT&T\nC:\\temp'
    """
    mark = separators.escape
    start = text.find(mark)
    if start < 0:
        return text
    out = [text[:start]]
    while start >= 0:
        end = text.find(mark, start + 1)
        if end < 0:
            if codes is not None:
                codes.append("unknown-escape")
            out.append(text[start:])
            break
        meaning = _meaning(text[start + 1 : end], separators, charset, codes)
        if meaning is None:
            if codes is not None:
                codes.append("unknown-escape")
            # The second mark may open a sequence of its own: C:\dir\F\
            out.append(text[start:end])
            start = end
            continue
        out.append(meaning)
        start = text.find(mark, end + 1)
        out.append(text[end + 1 : start] if start >= 0 else text[end + 1 :])
    return "".join(out)


def _meaning(
    body: str, separators: Separators, charset: str, codes: list[str] | None
) -> str | None:
    match body:
        case "F":
            return separators.field
        case "S":
            return separators.component
        case "T":
            return separators.subcomponent
        case "R":
            return separators.repetition
        case "E":
            return separators.escape
        case "P":
            return separators.truncation or None
        case "H" | "N":
            return ""
        case _:
            pass
    if body[:1] == "X":
        try:
            return bytes.fromhex(body[1:]).decode(charset) if len(body) > 1 else None
        except ValueError:
            return None
    if body[:1] == ".":
        return _formatting(body[1:3].lower(), body[3:].strip(), codes)
    return None


def _formatting(command: str, argument: str, codes: list[str] | None) -> str | None:
    if command in ("br", "ce"):
        return "\n"
    if command in ("fi", "nf", "in", "ti"):
        return ""
    if command not in ("sp", "sk"):
        return None
    digits = argument.removeprefix("+") or "1"
    if not (digits.isascii() and digits.isdigit()):
        return None
    # The length is looked at first: int() of a million digits takes its time.
    count = int(digits) if len(digits) < 6 else MOST_BLANKS + 1
    if count > MOST_BLANKS:
        count = MOST_BLANKS
        if codes is not None:
            codes.append("escape-capped")
    return ("\n" if command == "sp" else " ") * count
