"""MLLP: bytes to frames and back, without any input or output of its own.

What comes out depends on the bytes only, never on how they were cut on the way.

Source: HL7 v2 transport specification, MLLP release 1: `VT payload FS CR`.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from segue.hl7v2.truncation import last_segment

START: Final = b"\x0b"
END: Final = b"\x1c"
DEFAULT_MAX: Final = 8 * 1024 * 1024
"""Largest payload, in bytes, unless a listener says otherwise."""

_HEAD = 1_048_576
_MOST_CUT = 64
"""Messages cut off in one frame that are told apart; more of them come as one."""
_BEGINS = re.compile(rb"\x0b(?=MSH|FHS|BHS)")
# Between frames these are silently passed over; double framing leaves an FS, too.
_BETWEEN = b"\r\n \t\x00\x1c"


@dataclass(frozen=True, slots=True)
class FrameError:
    """Bytes that are no frame.

    Attributes:
        code: `oversize` (longer than allowed), `truncated` (a new frame begins, or the
            line ends, inside one), `unframed` (bytes outside any frame).
        text: a sentence for a person.
        head: what came of the payload; of an oversize one the first MiB, at most.
    """

    code: Literal["oversize", "truncated", "unframed"]
    text: str
    head: bytes = b""


def frame(payload: bytes) -> bytes:
    r"""Wrap a payload.

    >>> frame(b"MSH|")
    b'\x0bMSH|\x1c\r'
    """
    return START + payload + b"\x1c\r"


class Unframer:
    r"""Takes frames out of a stream of bytes.

    A frame ends at FS; the CR after it may be missing or late. A payload that begins
    with VT was framed twice; VT followed by a header inside a payload means that the
    frame before was cut off; any other VT belongs to the text.

    >>> unframer = Unframer()
    >>> unframer.feed(b"\x0bMSH|1"), unframer.feed(b"23\x1c\r\x0bMSH|4\x1c\r")
    ([], [b'MSH|123', b'MSH|4'])
    """

    __slots__ = ("_buffer", "_inside", "_junk", "_max", "_oversize")

    def __init__(self, max_size: int = DEFAULT_MAX) -> None:
        """Begin outside a frame.

        Args:
            max_size: largest payload in bytes; a longer one becomes an `oversize`
                error as soon as that is known, and its rest is dropped.
        """
        self._max = max_size
        self._buffer = bytearray()
        self._inside = False
        self._junk = False
        self._oversize = False

    @property
    def pending(self) -> int:
        """Bytes of an unfinished frame that are held."""
        return len(self._buffer)

    @property
    def inside(self) -> bool:
        """Whether a frame has begun and not ended: start a timeout."""
        return self._inside

    def feed(self, data: bytes) -> list[bytes | FrameError]:
        """Take bytes as they come; give what is complete, in order."""
        found: list[bytes | FrameError] = []
        start = 0
        while start < len(data):
            if not self._inside:
                start = self._skip(data, start, found)
                continue
            end = data.find(END, start)
            self._take(data[start:] if end < 0 else data[start:end], found)
            if end < 0:
                break
            start = end + 1
            self._finish(found)
        return found

    def close(self) -> list[FrameError]:
        """The line has ended: what is left over, if anything."""
        left, payload = self._inside and not self._oversize, bytes(self._buffer)
        self._buffer.clear()
        self._inside = self._junk = self._oversize = False
        if not left:
            return []
        *cut, last = _parted(payload)
        return [*cut, _truncated("The line ended inside a frame", last)]

    def _skip(self, data: bytes, start: int, found: list[bytes | FrameError]) -> int:
        begin = data.find(START, start)
        between = data[start:begin] if begin >= 0 else data[start:]
        if not self._junk and between.strip(_BETWEEN):
            self._junk = True
            found.append(FrameError("unframed", "Bytes came outside of any frame (no VT)."))
        if begin < 0:
            return len(data)
        self._inside, self._junk = True, False
        return begin + 1

    def _take(self, part: bytes, found: list[bytes | FrameError]) -> None:
        if self._oversize:
            return
        self._buffer += part
        if len(self._buffer) > self._max:
            self._oversize = True
            text = f"The frame is longer than {self._max} bytes."
            found.append(FrameError("oversize", text, bytes(self._buffer[: min(_HEAD, self._max)])))
            self._buffer.clear()

    def _finish(self, found: list[bytes | FrameError]) -> None:
        self._inside = False
        if self._oversize:
            self._oversize = False
            return
        payload = bytes(self._buffer)
        self._buffer.clear()
        *cut, payload = _parted(payload)
        found += [*cut, payload]


def _parted(payload: bytes) -> tuple[*tuple[FrameError, ...], bytes]:
    """What of a payload was cut off by a new frame, and the last, which was not."""
    if START not in payload:
        return (payload,)
    *cut, last = _BEGINS.split(payload.lstrip(START))
    cut[_MOST_CUT:] = [START.join(cut[_MOST_CUT:])] if cut[_MOST_CUT:] else []
    return *(_truncated("A new frame began inside this one", one) for one in cut), last


def _truncated(what: str, payload: bytes) -> FrameError:
    """The end of a frame is missing; its last whole segment says how far it came."""
    name = last_segment(payload)
    return FrameError("truncated", f"{what}, after {name}." if name else f"{what}.", payload)
