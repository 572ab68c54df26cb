"""What is left of a message that did not come whole.

Its last line may end anywhere, in the middle of a code or a number: only what a line end
follows was said.
"""


def whole_segments(raw: bytes) -> bytes:
    r"""The segments that came whole: all up to the last line end.

    >>> whole_segments(b"MSH|^~\\&|A\rPID|1||77\rPV1|1|I|4W^40"), whole_segments(b"MSH|^~")
    (b'MSH|^~\\&|A\rPID|1||77\r', b'')
    """
    return raw[: max(raw.rfind(b"\r"), raw.rfind(b"\n")) + 1]


def last_segment(raw: bytes) -> str:
    r"""Name of the last segment that came whole, "" where none did.

    >>> last_segment(b"MSH|^~\\&|A\rPID|1||77\rPV1|1|I"), last_segment(b"MSH|^~")
    ('PID', '')
    """
    lines = whole_segments(raw).splitlines()
    name = lines[-1][:3].decode("ascii", "replace") if lines else ""
    return name if name.isalnum() else ""
