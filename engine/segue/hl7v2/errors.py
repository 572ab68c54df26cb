"""What this floor raises; all else that goes wrong is returned as an `Issue`.

Hl7Error
├── NoHeader     there is no MSH to read
├── BadPath      a path such as `PV1-19.1` is misspelt
└── Unwritable   a value has no place in the message that is being written
"""


class Hl7Error(ValueError):
    """The text is no HL7 v2, or something cannot be said in HL7 v2."""


class NoHeader(Hl7Error):  # noqa: N818  - reads as what is wrong
    """There is no MSH segment within the first 1,024 bytes, or it cannot be decoded."""


class BadPath(Hl7Error):  # noqa: N818
    """A path is not of the form `SEG(n)-field(n).component.subcomponent`."""


class Unwritable(Hl7Error):  # noqa: N818
    """A segment name, a field number or a character that HL7 v2 cannot carry."""
