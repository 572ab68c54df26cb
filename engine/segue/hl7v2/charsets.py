"""MSH-18 to text: the declared character set first, then a fallback, never in silence.

Source: HL7 table 0211; section 2.15.9.18 (MSH-18) of v2.5.1.
"""

from collections.abc import Sequence

# Keys: upper case, without blanks, hyphens, underscores, slashes and dots.
_CODECS = {
    "ASCII": "ascii",
    "USASCII": "ascii",
    "ISOIR6": "ascii",
    "UNICODE": "utf-8",
    "UNICODEUTF8": "utf-8",
    "UTF8": "utf-8",
    "ISOIR192": "utf-8",
    "UNICODEUTF16": "utf-16",
    "UTF16": "utf-16",
    "UNICODEUTF32": "utf-32",
    "UTF32": "utf-32",
    "GB180302000": "gb18030",
    "GB18030": "gb18030",
    "GBK": "gbk",
    "GB2312": "gb2312",
    "BIG5": "big5",
    "KSX1001": "euc_kr",
    "EUCKR": "euc_kr",
    "SHIFTJIS": "cp932",
    "SJIS": "cp932",
    "EUCJP": "euc_jp",
    "ISOIR13": "cp932",
    "ISOIR14": "iso2022_jp_ext",
    "ISOIR87": "iso2022_jp_ext",
    "ISOIR159": "iso2022_jp_ext",
    "ISOIR100": "iso8859-1",
    "ISOIR101": "iso8859-2",
    "ISOIR109": "iso8859-3",
    "ISOIR110": "iso8859-4",
    "ISOIR144": "iso8859-5",
    "ISOIR127": "iso8859-6",
    "ISOIR126": "iso8859-7",
    "ISOIR138": "iso8859-8",
    "ISOIR148": "iso8859-9",
    "ISOIR166": "tis_620",
    "LATIN1": "iso8859-1",
} | {
    name: f"iso8859-{n}"
    for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)
    for name in (f"8859{n}", f"ISO8859{n}", f"ISOIR8859{n}")
}
_CODECS |= {
    name: f"cp{n}" for n in range(1250, 1259) for name in (f"CP{n}", f"WINDOWS{n}", f"WIN{n}")
}

_STRIP = str.maketrans("", "", " -_/.")
_WIDE = frozenset(("utf-16", "utf-32"))
_JAPANESE = frozenset(("ISOIR14", "ISOIR87", "ISOIR159"))
ISO_2022 = "iso2022_jp_ext"
"""The codec whose text holds escape characters until it is decoded."""
_ESCAPE = 0x1B
_C1 = bytes(range(0x80, 0xA0))


def codec_of(declared: str, repetition: str = "~") -> str | None:
    """Name the Python codec of an MSH-18 as sent, None where there is none.

    The first repetition is the set that the message starts in. Japanese two-byte
    sets are switched to by ISO 2022 escape sequences, so they count wherever they
    are listed.

    >>> codec_of("8859/1"), codec_of("UNICODE UTF-8"), codec_of("~ISO IR87")
    ('iso8859-1', 'utf-8', 'iso2022_jp_ext')
    """
    names = [part.translate(_STRIP).upper() for part in declared.split(repetition)]
    if not _JAPANESE.isdisjoint(names):
        return ISO_2022
    return _CODECS.get(names[0])


def decode(
    raw: bytes, declared: str, repetition: str, fallback: Sequence[str]
) -> tuple[str | None, str, list[str]]:
    """Decode a payload by its MSH-18.

    Order: the declared set; else UTF-8, which other text hardly ever satisfies by
    chance; else each set of `fallback`. Decoding is strict throughout, so a character
    is never replaced. UTF-16 and UTF-32 are known before MSH-18 can be read, so where it
    names them here it is wrong. ISO 8859/1 with bytes 80–9F is read as Windows-1252, as those
    bytes are control characters that nobody sends.

    Returns:
        The text (None: no set fits), the codec used, and warning codes.
    """
    codes: list[str] = []
    codec = codec_of(declared, repetition) if declared else None
    if codec in _WIDE:  # such text does not begin with the three bytes MSH
        codes.append("charset-wrong")
        codec = declared = ""
    if raw.isascii() and not (codec == ISO_2022 and _ESCAPE in raw):
        if declared and codec is None:
            codes.append("charset-unknown")
        return raw.decode("ascii"), codec if codec and codec != "ascii" else "utf-8", codes
    if not declared:
        if not codes:
            codes.append("charset-undeclared")
    elif codec is None:
        codes.append("charset-unknown")
    else:
        text = _strict(raw, codec)
        if text is not None:
            if codec == "iso8859-1" and raw.translate(None, _C1) != raw:
                windows = _strict(raw, "cp1252")
                if windows is not None and _strict(raw, "utf-8") is None:
                    return windows, "cp1252", ["charset-windows"]
            if codec != "utf-8" and not raw.isascii() and _strict(raw, "utf-8") is not None:
                codes.append("charset-doubtful")
            return text, codec, codes
        codes.append("charset-wrong")
    for other in ("utf-8", *fallback):
        text = _strict(raw, other)
        if text is not None:
            if other != "utf-8":
                codes.append("charset-fallback")
            return text, other, codes
    codes.append("charset-unreadable")
    return None, "utf-8", codes


def _strict(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except (UnicodeError, LookupError):
        return None
