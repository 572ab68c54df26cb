"""Messages and settings that the mapping tests share; all of it made up."""

from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from segue.hl7v2.parse import parse
from segue.mapping.apply import apply
from segue.mapping.context import Context, Mapped, SiteRules
from segue.mapping.load import MappingSet, load

MAPPINGS = Path(__file__).parents[3] / "mappings"
HOSPA = SiteRules(
    name="hospa",
    authority="HOSPA",
    system="urn:oid:2.16.840.1.113883.19.5",
    zone=ZoneInfo("America/New_York"),
    practices={"PCPB": "pcpb"},
)


@lru_cache
def core() -> MappingSet:
    """The shipped maps."""
    return load(MAPPINGS / "core")


def segment(name: str, **fields: str) -> str:
    """A segment by field number: segment("PV1", f2="I")."""
    numbered = {int(key[1:]): value for key, value in fields.items()}
    return "|".join([name, *(numbered.get(n, "") for n in range(1, max(numbered) + 1))])


def message(
    event: str = "A01",
    *segments: str,
    sent: str = "20260705134212-0400",
    evn: str = "",
    control_id: str = "HA1",
) -> str:
    """A message; without segments, of a patient and a visit."""
    header = rf"MSH|^~\&|ADT|HOSPA|HUB|HIE|{sent}||ADT^{event}|{control_id}|P|2.5.1"
    return "\r".join([header, evn or f"EVN|{event}|20260705134200-0400", *(segments or (PID, PV1))])


PID = segment("PID", f1="1", f3="100234^^^HOSPA^MR", f5="DOE^JANE", f7="19550214", f8="F")
PV1 = segment("PV1", f1="1", f2="I", f3="4W^412^1^HOSPA", f19="V78421^^^HOSPA^VN")


def mapped(text: str, site: SiteRules = HOSPA, **context: object) -> Mapped:
    """Map a message with the core maps."""
    given = {"site": site, "feed": "test", "received": 1_000_000, **context}
    return apply(core(), parse(text), Context(**given))  # type: ignore[arg-type]
