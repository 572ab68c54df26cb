"""A bounded memory of what was made before."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps about as many values as it is told to, those asked for last.

    Two dicts take turns: a full one becomes the older one, and what nobody asks for
    until the next turn is gone. That is nearly "least recently used", and costs a hit
    one look-up instead of the moving of a list.

    >>> known = Recent[str, int](4)
    >>> for n, name in enumerate("abcde"):
    ...     known.put(name, n)
    ...     _ = known.get("a")
    >>> [known.get(name) for name in "abcde"]
    [0, None, None, 3, 4]
    """

    __slots__ = ("_half", "_newer", "_older")

    def __init__(self, most: int) -> None:
        self._half = max(1, most // 2)
        self._newer: dict[K, V] = {}
        self._older: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value, None where it is not known (any more)."""
        found = self._newer.get(key)
        if found is None:
            found = self._older.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Remember a value, which is not None."""
        if len(self._newer) >= self._half:
            self._older, self._newer = self._newer, {}
        self._newer[key] = value

    def forget(self, key: K) -> None:
        """Know it no more."""
        self._newer.pop(key, None)
        self._older.pop(key, None)

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)
