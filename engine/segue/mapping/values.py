"""A mapping run: the message's delimiters, the site, and the small moves on raw text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from segue.hl7v2.message import NULL, Segment
from segue.hl7v2.normalise import WARNINGS
from segue.hl7v2.times import moment
from segue.mapping.context import SiteRules, Wanted
from segue.mapping.widths import Width, beyond, fits
from segue.model.facts import Fragment
from segue.model.instants import Moment
from segue.model.issues import Issue, Severity

Unescape = Callable[[str], str]
Beside = tuple[dict[str, Any], list[str], dict[str, Fragment]]
Made = tuple[dict[str, Any], list[int], Beside | None]
"""What the rules of a field made: elements, ordinals; and details, labels, directory."""
Memo = dict[str, Made]
CACHE_LIMIT = 4096
MEMO_LIMIT = 1024
_PADDING = [""] * 24
_CONTROLS = dict.fromkeys(code for code in range(32) if code not in b"\t\n\r")


class NoMemo(Memo):
    """Remembers nothing: of messages with delimiters of their own."""

    def __setitem__(self, key: str, value: Made) -> None:
        return


class Run:
    """What a datatype or function may see while one patient group is mapped.

    Attributes:
        component, repetition, subcomponent, escape: the message's delimiters.
        blank: characters that are no content by themselves.
        found: problems of the running rule, (severity, code, text).
        asked: table and code of those that a person must add, of the running rule.
        wanted: the same with field and rule, of all rules.
        directory: directory resources met so far, by id.
        fields: raw fields of the segment that is being mapped.
        segments: the first segment of each name in the patient group.
        doubted: numbers of fields that some rule made nothing of; left: of those that
            a function looked at beside its own, and made nothing of.
        used: segment, number and text of fields that rules of other segments took.
        surplus: place (`3.13`) and text of what fields hold beyond their datatypes.
        identity, visit: keys of patient and visit, "" before they are known.
        made: id of what each map made of the running segment; standing: of what each
            made last before, to `Type/id`.
        memos: what was made of a raw field before, by ordinal of the field's first rule.
        timed: a time was read; odd: something was wrong; touched: directory resources
            that were named. All since a field was last learnt.
    """

    __slots__ = (
        "asked",
        "authorities",
        "authority",
        "blank",
        "cache",
        "component",
        "default_delimiters",
        "details",
        "directory",
        "doubted",
        "escape",
        "fields",
        "fired",
        "found",
        "identity",
        "issues",
        "labels",
        "left",
        "made",
        "memos",
        "never",
        "odd",
        "offset",
        "repetition",
        "segments",
        "site",
        "standing",
        "subcomponent",
        "surplus",
        "systems",
        "timed",
        "touched",
        "unescape",
        "used",
        "visit",
        "wanted",
        "zone",
    )

    def __init__(
        self,
        site: SiteRules,
        *,
        component: str = "^",
        repetition: str = "~",
        subcomponent: str = "&",
        escape: str = "\\",
        unescape: Unescape | None = None,
        offset: str | None = None,
        authorities: Mapping[str, str] | None = None,
        never: frozenset[str] = frozenset(),
        cache: dict[Any, Any] | None = None,
    ) -> None:
        self.site = site
        self.authority = site.authority
        self.systems = site.systems
        self.zone: ZoneInfo | None = site.zone
        self.component = component
        self.repetition = repetition
        self.subcomponent = subcomponent
        self.escape = escape
        self.blank = component + repetition + subcomponent + ' "\t\r\n'
        self.default_delimiters = component == "^" and subcomponent == "&" and repetition == "~"
        self.unescape = unescape or _as_it_is
        self.offset = offset
        self.authorities = authorities or {}
        self.never = never
        self.cache: dict[Any, Any] = {} if cache is None else cache
        self.found: list[tuple[str, str, str]] = []
        self.asked: list[tuple[str, str]] = []
        self.wanted: list[Wanted] = []
        self.issues: list[Issue] = []
        self.fired: list[int] = []
        self.directory: dict[str, Fragment] = {}
        self.details: dict[str, Any] = {}
        self.labels: list[str] = []
        self.doubted: list[int] = []
        self.left: list[int] = []
        self.surplus: list[tuple[str, str]] = []
        self.used: set[tuple[str, int, str]] = set()
        self.made: dict[str, str] = {}
        self.standing: dict[str, str] = {}
        self.memos: Sequence[Memo] = ()
        self.timed = False
        self.odd = False
        self.touched: list[Fragment] = []
        self.fields: list[str] = []
        self.segments: dict[str, Segment] = {}
        self.identity = ""
        self.visit = ""

    def warn(self, code: str, text: str) -> None:
        """Note a problem of the running rule; the text holds no patient data."""
        self.found.append(("warning", code, text))

    def report(self, severity: str, code: str, where: str, text: str, rule: str = "") -> None:
        """Add an issue, once for each place and code."""
        for known in self.issues:
            if known.where == where and known.code == code:
                return
        level: Severity = "error" if severity == "error" else "warning"
        self.issues.append(Issue(level, code, where, text, rule))

    def exceed(self, raw: str, number: int, width: Width) -> None:
        """Keep what a field has beyond its datatype."""
        delimiters = self.component + self.repetition + self.subcomponent
        if not fits(raw, width, delimiters):
            found = [(f"{number}{at}", text) for at, text in beyond(raw, width, delimiters)]
            self.surplus += found
            self.odd = self.odd or bool(found)

    def parts(self, raw: str) -> list[str]:
        """The components of a field or repetition, raw."""
        return raw.split(self.component)

    def text(self, raw: str) -> str:
        """A component as text: unescaped, trimmed; "" for HL7 null."""
        if raw.isalnum():
            return raw
        if self.escape in raw:
            raw = self.unescape(raw)
            if not raw.isprintable():  # `\X0B\` says what no FHIR text may hold
                raw = raw.translate(_CONTROLS)
        raw = raw.strip()
        return "" if raw == NULL else raw

    def texts(self, raw: str, n: int) -> list[str]:
        """The components of a repetition as text, at least n of them.

        >>> scratch().texts(' DOE^""^Q&R', 4)
        ['DOE', '', 'Q', '']
        """
        if self.escape in raw or self.subcomponent in raw or '"' in raw:
            parts = raw.split(self.component)
            texts = [self.part(parts, i) for i in range(1, len(parts) + 1)]
        elif " " in raw or not raw.isprintable():
            texts = [part.strip() for part in raw.split(self.component)]
        else:
            texts = raw.split(self.component)
        short = n - len(texts)
        if short > 0:
            texts += _PADDING[:short]
        return texts

    def part(self, parts: list[str], n: int) -> str:
        """Component n (from 1) as text; of subcomponents the first."""
        if n > len(parts):
            return ""
        raw = parts[n - 1]
        if not raw:
            return ""
        if self.subcomponent in raw:
            raw = raw.split(self.subcomponent, 1)[0]
        return self.text(raw)

    def code(self, parts: list[str], n: int) -> str:
        """Component n (from 1) as a FHIR code: without doubled blanks and line ends."""
        text = self.part(parts, n)
        return text if text.isalnum() else " ".join(text.split())

    def field(self, n: int) -> str:
        """Field n of the running segment, raw; "" where absent or null."""
        raw = self.fields[n] if n < len(self.fields) else ""
        return "" if raw == NULL else raw

    def leave(self, n: int) -> None:
        """Say that field n of the running segment is looked at and nothing is made of it."""
        if self.field(n).strip(self.blank):
            self.left.append(n)
            self.odd = True

    def fields_of(self, name: str) -> list[str]:
        """The raw fields of the first segment of that name in the patient group."""
        segment = self.segments.get(name)
        return segment.fields if segment is not None else []

    def first(self, raw: str) -> str:
        """The first repetition that has content."""
        if self.repetition not in raw:
            return raw
        for one in raw.split(self.repetition):
            if one.strip(self.blank):
                return one
        return ""

    def moment(self, raw: str) -> Moment | None:
        """A DTM; what is odd about it becomes an issue."""
        if self.component in raw:  # TS of older versions: time^precision
            raw = raw.split(self.component, 1)[0]
        raw = raw.strip()
        if not raw or raw == NULL:
            return None
        self.timed = True
        value, code = moment(raw, self.zone, self.offset)
        if code:
            self.found.append(("warning", code, WARNINGS[code]))
        return value

    def authority_of(self, raw: str) -> tuple[str, str, str]:
        """Key, universal id and its type of an HD, `HOSPA&1.2.3&ISO`.

        Other names of an authority (identity.yaml) are replaced by its own.
        """
        if not raw:
            return "", "", ""
        if raw.isalnum():
            return self.authorities.get(raw, raw), "", ""
        hd = raw.split(self.subcomponent)
        name = self.text(hd[0])
        if not name.isprintable():
            name = " ".join(name.split())
        universal = self.text(hd[1]) if len(hd) > 1 else ""
        kind = self.text(hd[2]) if len(hd) > 2 else ""
        key = name or universal
        if self.authorities:
            key = self.authorities.get(key) or self.authorities.get(universal) or key
        return key, universal, kind

    def system_of(self, authority: str, universal: str = "", kind: str = "") -> str:
        """The identifier system of an authority."""
        if authority in self.systems:
            return self.systems[authority]
        if authority == self.site.authority and self.site.system:
            return self.site.system
        if universal and len(universal.split()) > 1:
            universal = ""  # no URI has blanks
        if universal and kind == "ISO":
            return f"urn:oid:{universal}"
        if universal and kind in {"UUID", "GUID"}:
            return f"urn:uuid:{universal.lower()}"
        if universal and kind == "URI":
            return universal
        return f"urn:segue:authority:{slug(authority)}" if authority else ""

    def local_system(self, what: str) -> str:
        """System of numbers that the site uses without naming who assigns them."""
        return f"urn:segue:authority:{slug(self.authority)}:{what}"

    def remember(self, key: Any, value: Any) -> Any:
        """Keep a value that depends on nothing but its key, the site and the mapping."""
        if len(self.cache) >= CACHE_LIMIT:
            self.cache.clear()
        self.cache[key] = value
        return value


def slug(text: str) -> str:
    """A name as part of a URN: what is not allowed there becomes `-`.

    >>> slug("NORTH HOSP")
    'NORTH-HOSP'
    """
    return "".join(c if c.isascii() and (c.isalnum() or c in "-._") else "-" for c in text)


def scratch(**overrides: Any) -> Run:
    """A run of its own, for examples and tests: site `HOSPA`, default delimiters."""
    return Run(SiteRules(name="hospa", authority="HOSPA", system="urn:oid:1.2.3"), **overrides)


def _as_it_is(text: str) -> str:
    return text
