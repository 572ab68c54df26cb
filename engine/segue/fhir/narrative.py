"""Is a narrative safe and proper? FHIR allows formatting elements only.

Source: https://hl7.org/fhir/R4/narrative.html#xhtml
"""

from xml.parsers import expat

XHTML = "http://www.w3.org/1999/xhtml"
"""The namespace that the outermost div names."""

_ELEMENT_NAMES = (
    "a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2"
    " h3 h4 h5 h6 hr i img li ol p pre q samp small span strong sub sup table tbody td tfoot th"
    " thead tr tt ul var"
)
_ATTRIBUTE_NAMES = (
    "abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign"
    " char charoff charset cite class colspan compact coords dir frame headers height href"
    " hreflang hspace id idref lang longdesc name nowrap rel rev rowspan rules scope shape span"
    " src start style summary tabindex title type valign value vspace width xml:lang xmlns"
    " xml:base xml:space"
)
_TEXT = r"[^<>&\x00-\x20](?:[^<>&\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&(?:amp|lt|gt|quot);)*"
_BLOCKS = "|".join(f"<{name}>{_TEXT}</{name}>" for name in ("p", "h1", "h2", "h3", "h4"))
PLAIN = (
    r'^<div xmlns="http://www\.w3\.org/1999/xhtml">'
    f"(?:{_BLOCKS}|<ul>(?:<li>{_TEXT}</li>)+</ul>)+</div>$"
)
"""The pattern of headings, paragraphs and lists of text: such a narrative needs no parser.

In the syntax of JSON Schema, so that it is judged without leaving the compiled schema.
"""

_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split())


def narrative_fault(div: str) -> str | None:
    """What is wrong with the XHTML of a narrative, None where nothing is.

    >>> narrative_fault('<div xmlns="http://www.w3.org/1999/xhtml"><p>Seen.</p></div>')
    >>> narrative_fault('<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div>')
    'the element script is not allowed'
    """
    faults: list[str] = []
    depth = 0
    content = False

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, content
        if depth == 0 and name != "div":
            faults.append("the outermost element is not div")
        elif depth == 0 and attributes.get("xmlns") != XHTML:
            faults.append(f'the div says no xmlns="{XHTML}"')
        if name not in _ELEMENTS:
            faults.append(f"the element {name} is not allowed")
        for attribute, value in attributes.items():
            if attribute not in _ATTRIBUTES and not attribute.startswith("xmlns:"):
                faults.append(f"the attribute {attribute} is not allowed")
            if attribute in ("href", "src") and value.strip().lower().startswith("javascript:"):
                faults.append("a link must not run a script")
        content = content or name == "img"
        depth += 1

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def text(data: str) -> None:
        nonlocal content
        content = content or not data.isspace()

    def doctype(*_: object) -> None:
        faults.append("a document type is not allowed")

    parser = expat.ParserCreate()
    # HTML's named entities (&nbsp;) are then skipped, not refused.
    parser.UseForeignDTD(True)
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(div, True)
    except expat.ExpatError:
        return "it is not well-formed XML"
    if not faults and not content:
        faults.append("it has no text")
    return faults[0] if faults else None
