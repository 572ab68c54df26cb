"""Search terms: kept with the head of their resource, and as rows to search by.

A new version writes only the difference to the terms that are stored.
"""

from operator import itemgetter
from typing import Any

import msgspec

from segue.model.changes import SearchTerms
from segue.store.dialects import Session

_Rows = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], list[tuple[Any, ...]]]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(SearchTerms).decode
NO_TERMS = SearchTerms()


def pack(terms: SearchTerms) -> bytes | None:
    """The terms as a blob; None where there are none."""
    if terms.tokens or terms.dates or terms.strings:
        return _encode(terms)
    return None


def unpack(packed: bytes | None) -> SearchTerms:
    """The terms of a blob.

    >>> unpack(pack(SearchTerms((1, 2), ((3, 0, 9),), ((4, "smith"),)))).strings
    ((4, 'smith'),)
    """
    return NO_TERMS if packed is None else _decode(packed)


class TermRows:
    """The rows to add and to take away in one commit."""

    def __init__(self) -> None:
        self._more: _Rows = ([], [], [])
        self._less: _Rows = ([], [], [])

    def add(self, pk: int, terms: SearchTerms) -> None:
        """Note the terms of a new resource."""
        tokens, dates, strings = self._more
        tokens += [(token, pk) for token in terms.tokens]
        if terms.dates:
            dates += [(*date, pk) for date in terms.dates]
        if terms.strings:
            strings += [(*string, pk) for string in terms.strings]

    def change(self, pk: int, before: SearchTerms, after: SearchTerms) -> None:
        """Note what changes for one resource."""
        if before.tokens != after.tokens:
            old, new = set(before.tokens), set(after.tokens)
            self._more[0].extend([(token, pk) for token in new - old])
            self._less[0].extend([(token, pk) for token in old - new])
        if before.dates != after.dates:
            old_dates, new_dates = set(before.dates), set(after.dates)
            self._more[1].extend([(*date, pk) for date in new_dates - old_dates])
            self._less[1].extend([(*date, pk) for date in old_dates - new_dates])
        if before.strings != after.strings:
            old_strings, new_strings = set(before.strings), set(after.strings)
            self._more[2].extend([(*string, pk) for string in new_strings - old_strings])
            self._less[2].extend([(*string, pk) for string in old_strings - new_strings])

    def write(self, session: Session) -> None:
        """Write them, sorted as the indexes are."""
        for (table, columns, order), more, less in zip(
            _TABLES, self._more, self._less, strict=True
        ):
            if less:
                session.delete(table, columns, sorted(less, key=order))
            if more:
                session.insert(table, columns, sorted(more, key=order))


# Resources are numbered as they come, so tokens need to be sorted by their hash alone:
# half the work.
_TABLES = (
    ("search_token", ("hash", "resource"), itemgetter(0)),
    ("search_date", ("param", "low", "high", "resource"), None),
    ("search_string", ("param", "value", "resource"), None),
)
