"""Faults that a peer can be told to show, so that tests see how the engine bears them."""

from dataclasses import dataclass, field
from typing import Literal

FaultKind = Literal["status", "silence", "delay", "hang-up", "ack", "wrong-id", "junk", "late"]


@dataclass(slots=True)
class Fault:
    """One kind of misbehaviour, for a number of requests.

    Attributes:
        kind: `status` (HTTP), `ack` (MSA-1, with `error` as ERR-3), `silence` (no
            answer), `late` (the answer comes after `seconds`, the next is served
            meanwhile), `delay` (the answer comes after `seconds`), `hang-up` (the
            connection is closed), `wrong-id` (MSA-2 of another message), `junk`.
        times: for how many requests that match; -1 for ever.
        match: bytes that the request must contain; b"" matches all.
        status: HTTP status. code: MSA-1. error: ERR-3.
        after: whether the peer does its work first, and only the answer suffers.
    """

    kind: FaultKind
    times: int = 1
    match: bytes = b""
    status: int = 503
    code: str = "AE"
    error: str = ""
    seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False


class Faults:
    """The faults that are still to be shown, first come first served."""

    def __init__(self) -> None:
        self.planned: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.planned.append(fault)

    def clear(self) -> None:
        self.planned.clear()

    def take(self, request: bytes) -> Fault | None:
        """The fault for this request, if one is due."""
        for fault in self.planned:
            if fault.times and fault.match in request:
                if fault.times > 0:
                    fault.times -= 1
                    if not fault.times:
                        self.planned.remove(fault)
                return fault
        return None
