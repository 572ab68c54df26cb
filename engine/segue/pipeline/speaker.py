"""Who writes over REST."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Speaker:
    """A client, as far as it matters for what its writes mean.

    Attributes:
        name: of the client.
        site: the site that it speaks for, "" where it speaks for none.
        history: what it writes only fills the index: no tasks, no deliveries.
        anonymous: nobody is asked for a token (loopback only).
        may_write: False for a client that may only read.
        operates: whether it may also do what stewards do: decide who is who.
        others: sites whose own resources it may change, `*` for everybody's.
    """

    name: str
    site: str = ""
    history: bool = False
    anonymous: bool = False
    may_write: bool = True
    operates: bool = False
    others: frozenset[str] = frozenset()

    def edits(self, author: str) -> bool:
        """Whether it may change what an author stored, by configuration.

        >>> Speaker("steward", others=frozenset({"*"})).edits("pcpb")
        True
        """
        return author in self.others or "*" in self.others

    @property
    def source(self) -> str:
        """Under which name its statements are kept: of its site, else its own.

        >>> Speaker("pcpb-post", "pcpb").source, Speaker("hospa").source
        ('pcpb', 'client:hospa')
        """
        return self.site or f"client:{self.name}"
