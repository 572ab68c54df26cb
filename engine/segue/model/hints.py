"""The end of an error message about a word that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches

_FEW = 12


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or "".

    >>> nearest("ackk", ("ack", "allow"))
    " Did you mean 'ack'?"
    """
    near = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known word, or all of a few.

    >>> did_you_mean("CXX", ["CX", "XPN"])
    " Did you mean 'CX'?"
    >>> did_you_mean("ED", ["CX", "XPN"])
    ' Known: CX, XPN.'
    """
    names = sorted(known)
    some = f" Known: {', '.join(names)}." if 0 < len(names) <= _FEW else ""
    return nearest(word, names) or some
