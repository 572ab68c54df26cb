"""What real senders do, row by row: each way in which messages are not as they should be.

The rows and their numbers are those of docs/messages.md.
"""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import structlog

from segue.hl7v2.ack import AckError, ack, read_ack
from segue.hl7v2.batch import split
from segue.hl7v2.mllp import FrameError, Unframer, frame
from segue.hl7v2.parse import parse
from segue.hl7v2.peek import peek
from segue.hl7v2.times import moment
from segue.hl7v2.write import amended, write
from segue.mapping.apply import apply
from segue.mapping.context import Context, Mapped, SiteRules
from segue.mapping.load import load
from segue.model.issues import Issue
from segue.model.messages import RawMessage
from segue.pipeline.acceptance import FeedPolicy, refusal
from segue.pipeline.discard import discard
from segue.pipeline.process import process
from segue.pipeline.receive import IntakeSite, Receiver
from segue.pipeline.replay import replay
from segue.pipeline.requeue import requeue
from segue.pipeline.wanted import ADD_CODE
from tests.support.hub import ROOT, ZONE, Bench, core_mapping, hub

SITE = SiteRules("hospa", "HOSPA", "urn:segue:authority:HOSPA", ZONE)
Case = Callable[[Bench], None]
CASES: dict[str, Case] = {}


def row(number: int, name: str) -> Callable[[Case], Case]:
    """Make a function the case of a row."""

    def note(case: Case) -> Case:
        key = f"{number:02d}-{name.replace(' ', '-')}"
        assert key not in CASES
        CASES[key] = case
        return case

    return note


def adt(
    event: str = "A01",
    *segments: str,
    evn: str = "20260705134200-0400",
    happened: str = "",
    control_id: str = "",
    pid: str = "PID|1||100^^^HOSPA^MR||DOE^JANE||19550214|F",
    pv1: str | None = "PV1|1|I|4W^1^A||||||||||||||||V1^^^HOSPA^VN",
    charset: str = "",
    kind: str | None = None,
    sent: str = "20260705134212-0400",
) -> str:
    """A message; what a case needs is put in."""
    said = f"ADT^{event}" if kind is None else kind
    end = f"||||||{charset}" if charset else ""
    header = rf"MSH|^~\&|ADT|HOSPA|HUB|HIE|{sent}||{said}|{control_id or event}|P|2.5.1{end}"
    stated = f"EVN|{event}|{evn}||||{happened}".rstrip("|") if evn else ""
    lines = [header, stated, pid, pv1 or "", *segments]
    return "".join(line + "\r" for line in lines if line)


def codes(issues: list[Issue]) -> list[str]:
    return [issue.code for issue in issues]


def mapped(raw: bytes | str, site: SiteRules = SITE) -> Mapped:
    return apply(core_mapping(), parse(raw), Context(site, "adt", 1))


def only(bench: Bench, kind: str) -> dict[str, Any]:
    """The one stored resource of a type."""
    (found,) = bench.resources(kind)
    return found


def visit(bench: Bench, number: str = "V1") -> dict[str, Any]:
    """The Encounter with a visit number."""
    (found,) = [
        one
        for one in bench.resources("Encounter")
        if any(i.get("value") == number for i in one.get("identifier", []))
    ]
    return found


def state(bench: Bench, raw: bytes | str) -> tuple[str, list[str]]:
    """Process one message: the state of its entry and the codes of its issues."""
    entry = bench.entry(raw)
    process(bench.hub, [entry])
    found = bench.exceptions().get(entry.id)
    if found is None:
        return "processed", []
    return found[0], [issue["code"] for issue in json.loads(found[1])]


# --- the payload -------------------------------------------------------------------------


@row(1, "line ends of any kind")
def _(bench: Bench) -> None:
    clean = adt()
    lines = clean.split("\r")[:-1]
    for end, code in (("\n", "line-ends-lf"), ("\r\n", "line-ends-crlf"), (" \r", None)):
        message = parse("".join(line + end for line in lines))
        assert [s.name for s in message.segments] == ["MSH", "EVN", "PID", "PV1"]
        assert codes(message.issues) == ([code] if code else [])
        assert message.get("PV1-19") == "V1"
    mixed = parse(clean.replace("\r", "\r\n", 1).replace("\rPV1", "\r\r\nPV1"))
    assert len(mixed.segments) == 4
    assert codes(mixed.issues) == ["line-ends-mixed", "blank-line"]


@row(1, "a line feed inside a text continues the field")
def _(bench: Bench) -> None:
    message = parse(adt("A08", "OBX|1|TX|1^a^L||first\nsecond, no segment\n\nlast||||||F"))
    assert message.get("OBX-5") == "first\nsecond, no segment\n\nlast"
    assert "continuation-line" in codes(message.issues)
    assert len(message.segments) == 5


@row(2, "byte order mark, frame marks, junk, a cut header")
def _(bench: Bench) -> None:
    clean = adt().encode()
    for raw, code in (
        (b"\xef\xbb\xbf" + clean, "byte-order-mark"),
        (b"\x0b" + clean + b"\x1c\r", "frame-marks"),
        (b"Content-Type: text/plain\r\n\r\n" + clean, "junk-before-header"),
        (clean[1:], "header-cut"),
        (b"\x00" * 1000 + clean, None),
    ):
        message = parse(raw)
        assert message.text.encode() == clean
        assert codes(message.issues) == ([code] if code else [])
    assert state(bench, b"x" * 1100 + clean) == ("failed", ["unreadable"])


@row(3, "separators of the sender's own")
def _(bench: Bench) -> None:
    odd = adt().translate(str.maketrans("|^~\\&", "#*!?+"))
    assert state(bench, odd) == ("processed", [])
    assert only(bench, "Patient")["name"][0]["family"] == "DOE"
    answer = ack(peek(odd.encode()), "AA", control_id="1", now="2026")
    assert answer.startswith(b"MSH#*!?+#HUB#HIE#ADT#HOSPA#2026##ACK*A01*ACK#")


@row(3, "five, three or no encoding characters")
def _(bench: Bench) -> None:
    for declared, code in (
        ("^~\\&#", None),
        ("^~\\", "encoding-characters-short"),
        ("", "encoding-characters-missing"),
        ("^~\\&&", "encoding-characters-repeated"),
        ("^^^^^", "encoding-characters-short"),
    ):
        message = parse(adt().replace("^~\\&", declared, 1))
        assert message.get("PID-3.4") == "HOSPA"
        assert codes(message.issues) == ([code] if code else []), declared


@row(4, "escape sequences in text")
def _(bench: Bench) -> None:
    text = r"a\F\b\S\c\T\d\R\e\E\f\X41\g\.br\h\.sp2\i\H\bold\N\j\.in+4\k"
    message = parse(adt("A08", f"OBX|1|FT|1^a^L||{text}||||||F"))
    assert message.get("OBX-5") == "a|b^c&d~e\\fAg\nh\n\niboldjk"
    assert message.issues == []
    assert state(bench, adt("A08", r"OBX|1|TX|1^a^L||one\.br\two \T\ three||||||F"))[1] == []
    texts = [one.get("valueString") for one in bench.resources("Observation")]
    assert "one\ntwo & three" in texts


@row(4, "unknown escape sequences stay as they are")
def _(bench: Bench) -> None:
    for text in (r"\C2842\ ", r"\M2442\ ", r"\Zxy\ ", r"\X4G\ ", r"\.zz\ ", r"no end \F", r"\q"):
        message = parse(adt("A08", f"OBX|1|TX|1^a^L||{text}||||||F"))
        assert message.get("OBX-5") == text.rstrip()
        assert codes(message.issues) == ["unknown-escape"]


@row(4, "what is written is escaped again")
def _(bench: Bench) -> None:
    for text in ("a|b^c~d\\e&f", "line\nline\rline", "\\C2842\\", "\x1b\x00", "Müller 中"):
        message = amended(parse(adt(charset="UNICODE UTF-8")), {"PID-5": (text, "J")})
        assert parse(write(message)).get("PID-5.1") == text


@row(4, "a formatting command cannot fill the memory")
def _(bench: Bench) -> None:
    message = parse(adt("A08", r"OBX|1|FT|1^a^L||\.sp99999999\ ||||||F"))
    assert codes(message.issues) == ["escape-capped"]
    assert len(message.get("OBX-5") or "") <= 40


@row(5, "character sets by MSH-18")
def _(bench: Bench) -> None:
    for declared, codec, name in (
        ("8859/1", "iso8859-1", "MÜLLER"),
        ("8859/15", "iso8859-15", "ŒUVRE€"),
        ("UNICODE UTF-8", "utf-8", "中村"),
        ("ISO IR100", "iso8859-1", "MÜLLER"),
        ("GB 18030-2000", "gb18030", "中村"),
        ("~ISO IR87", "iso2022_jp", "中村"),
        ("ISO IR14~ISO IR87", "iso2022_jp", "中村"),
    ):
        raw = adt(charset=declared).replace("DOE", name).encode(codec)
        message = parse(raw)
        assert message.get("PID-5.1") == name
        assert write(message).decode(message.charset) == message.text


@row(5, "a wrong or missing MSH-18 is said and never replaced in silence")
def _(bench: Bench) -> None:
    name = "MÜLLER"
    for declared, codec, code in (
        ("", "utf-8", ["charset-undeclared"]),
        ("", "cp1252", ["charset-undeclared", "charset-fallback"]),
        ("ASCII", "utf-8", ["charset-wrong"]),
        ("UNICODE UTF-8", "cp1252", ["charset-wrong", "charset-fallback"]),
        ("KLINGON", "utf-8", ["charset-unknown"]),
        ("8859/1", "utf-8", ["charset-doubtful"]),
        ("UNICODE UTF-16", "utf-8", ["charset-wrong"]),
    ):
        message = parse(adt(charset=declared).replace("DOE", name).encode(codec))
        assert codes(message.issues) == code, declared
        if code != ["charset-doubtful"]:
            assert message.get("PID-5.1") == name
    unreadable = adt(charset="UNICODE UTF-8").replace("DOE", "M\x81").encode("latin-1")
    assert state(bench, unreadable) == ("failed", ["unreadable"])


@row(6, "more values than FHIR has room for")
def _(bench: Bench) -> None:
    pv1 = "PV1|1|I|4W^1^A|||||||MED~SUR|||||||||V1^^^HOSPA^VN"
    found = mapped(adt(pv1=pv1))
    assert found.verbatim["PV1-10"] == "MED~SUR"
    assert found.unmapped == ["PV1-10"]
    pid = "PID|1||100^^^HOSPA^MR~7^^^HIE^PI||DOE^JANE~ROE^JANE^^^^^M||19550214|F"
    assert state(bench, adt(pid=pid))[1] == []
    patient = only(bench, "Patient")
    assert [n["family"] for n in patient["name"]] == ["DOE", "ROE"]
    assert len(patient["identifier"]) == 2
    # A rule may say which one it wants; the others are kept all the same.
    with TemporaryDirectory() as folder:
        place = Path(folder) / "sites" / "hospa" / "segments"
        place.mkdir(parents=True)
        (place / "PV1_Encounter.yaml").write_text(
            "rules:\n  preadmission: { from: PV1-5, to: hospitalization.preAdmissionIdentifier, "
            "using: preferred, with: { datatype: CX, component: 5, values: [PRN, VN] }, "
            "because: several are sent }\n"
        )
        rules = load(ROOT / "mappings" / "core", [Path(folder)], "hospa")
        sent = adt(pv1="PV1|1|I|4W||1^^^X^AN~2^^^X^VN~3^^^X^PRN" + "|" * 14 + "V1")
        found = apply(rules, parse(sent), Context(SITE, "adt", 1))
        stay = found.facts[0].stay[0].elements
        assert stay["hospitalization.preAdmissionIdentifier"]["value"] == "3"
        assert found.unmapped == ["PV1-5"]


@row(7, "a message that was cut off")
def _(bench: Bench) -> None:
    half = adt().encode()[:-40]
    unframer = Unframer()
    assert unframer.feed(b"\x0b" + half) == []
    (left,) = unframer.close()
    assert left.text == "The line ended inside a frame, after PID."
    (cut, whole) = Unframer().feed(b"\x0b" + half + frame(adt().encode()))
    assert isinstance(cut, FrameError)
    assert cut.code == "truncated"
    assert parse(whole).get("PV1-19") == "V1"


@row(7, "what was cut off is held, replayed as far as it came whole, or discarded")
def _(bench: Bench) -> None:
    whole = adt("A01", "DG1|1||I10^^I10||20260705|A").encode()
    receiver = Receiver(bench.hub.journal, {"adt": "hospa"}, [IntakeSite("hospa", "HOSPA")])
    for half in (whole[:-9], whole):  # all but the mark of its end: the same bytes
        receiver.quarantine(RawMessage(half, "adt", 1), "truncated")
    receiver.close()
    bench.work()
    held = bench.exceptions()
    assert [(state, json.loads(said)[0]["code"]) for state, said in held.values()] == [
        ("quarantined", "truncated")
    ] * 2
    assert bench.resources() == []
    assert replay(bench.hub, [1], dry_run=True).changed == 1
    assert discard(bench.hub, [2, 99], "came again") == 1
    assert bench.exceptions()[2][0] == "discarded"
    assert replay(bench.hub, [1]).changed == 1
    assert visit(bench)["status"] == "in-progress"
    assert "I10" not in json.dumps(bench.resources("Condition"))
    bench.work(whole)
    assert "I10" in json.dumps(bench.resources("Condition"))
    assert set(bench.exceptions()) == {1, 2}
    assert bench.exceptions()[1][0] == "processed"
    with TemporaryDirectory() as folder:
        assert bench.rebuilt(Path(folder)).different == []


@row(8, "null deletes and empty keeps")
def _(bench: Bench) -> None:
    full = "PID|1||100^^^HOSPA^MR||DOE^JANE||19550214|F|||1 MAIN ST^^BOSTON||^PRN^PH^^1^617^5550101"
    bench.process(adt(pid=full, control_id="1"))
    later = {"evn": "20260705150000-0400"}
    bench.process(adt("A08", pid="PID|1||100^^^HOSPA^MR||DOE^JANE", control_id="2", **later))
    patient = only(bench, "Patient")
    assert patient["birthDate"] == "1955-02-14"
    assert patient["telecom"]
    nulls = 'PID|1||100^^^HOSPA^MR||DOE^JANE||""|F|||""||""^""'
    later = {"evn": "20260705160000-0400"}
    assert state(bench, adt("A08", pid=nulls, control_id="3", **later))[1] == []
    patient = only(bench, "Patient")
    assert not {"birthDate", "address", "telecom"} & set(patient)
    assert patient["gender"] == "female"
    assert '""' not in json.dumps(bench.resources())


@row(8, "what is deleted and listed again stands again")
def _(bench: Bench) -> None:
    listed = {
        "Condition": ("DG1|1||I50.2^HF^I10", "DG1|1||I50.2^HF^I10" + "|" * 18 + "D"),
        "AllergyIntolerance": ("IAM|1|DA|P^PEN^L|||A", "IAM|1|DA|P^PEN^L|||D"),
    }
    for hour, deleted in enumerate((False, True, False, True), 10):
        segments = [said[deleted] for said in listed.values()]
        evn = f"20260705{hour}0000-0400"
        assert state(bench, adt("A08", *segments, evn=evn, control_id=str(hour))) == (
            "processed",
            [],
        )
        for kind in listed:
            (found,) = [
                one for one in bench.resources(kind) if one["code"].get("text") in ("HF", "PEN")
            ]
            wrong = found.get("verificationStatus", {}).get("coding", [{}])[0].get("code")
            assert (wrong == "entered-in-error") is deleted, (kind, hour)
            assert ("clinicalStatus" in found) is not deleted


@row(9, "partial dates, zones and garbage")
def _(bench: Bench) -> None:
    for sent, offset, text, code in (
        ("2026", None, "2026", None),
        ("202607", None, "2026-07", None),
        ("20260705", "-0400", "2026-07-05", None),
        ("202607051342", "-0400", "2026-07-05T13:42:00-04:00", None),
        ("20260705134201.1234-0500", None, "2026-07-05T13:42:01.1234-05:00", None),
        ("20260705134201+00", None, "2026-07-05T13:42:01+00:00", None),
        ("20260705240000", None, "2026-07-06T00:00:00-04:00", "hour-24"),
        ("20261101013000", None, "2026-11-01T01:30:00-04:00", "ambiguous-local-time"),
        ("20261031233000", "-0500", "2026-10-31T23:30:00-04:00", "offset-disagrees"),
        ("00000000", None, None, "bad-time"),
        ("20260230", None, None, "bad-time"),
    ):
        found, said = moment(sent, ZONE, offset)
        assert (found.text if found else None, said) == (text, code), sent
    assert moment("20260705134201", None, "-0300")[0].text == "2026-07-05T13:42:01-03:00"  # type: ignore[union-attr]
    assert moment("20260705134201")[1] == "no-zone"
    pid = "PID|1||100^^^HOSPA^MR||DOE^JANE||1955|F"
    assert state(bench, adt(pid=pid, pv1="PV1|1|I|4W|" + "|" * 15 + "V1" + "|" * 25 + "00000000"))[
        1
    ] == ["bad-time"]
    assert only(bench, "Patient")["birthDate"] == "1955"


@row(10, "batches are taken apart and counted")
def _(bench: Bench) -> None:
    one, two = adt(control_id="1").encode(), adt("A08", control_id="2").encode()
    batch = split(b"FHS|^~\\&\rBHS|^~\\&\r" + one + two + b"BTS|2\rFTS|1\r")
    assert (batch.messages, batch.issues) == ([one, two], [])
    wrong = split(b"BHS|^~\\&\r" + one + two + b"BTS|3\r")
    assert wrong.messages == [one, two]
    assert [(i.code, i.where) for i in wrong.issues] == [("batch-count", "BTS-1")]
    stray = split(one + b"BHS|^~\\&\rPID|1||lost\rBTS|0\r")
    assert "batch-stray" in codes(stray.issues)
    assert split(one + two).messages == [one, two]
    bench.process(*split(one + two).messages)
    assert visit(bench)["status"] == "in-progress"


@row(11, "control ids that repeat or are missing")
def _(bench: Bench) -> None:
    first = adt(control_id="7")
    assert bench.append(first) == bench.append(first)
    other = adt("A08", control_id="7")
    assert bench.append(other) != bench.append(first)
    nameless = adt().replace("|A01|P|", "||P|", 1)
    assert bench.append(nameless) == bench.append(nameless)
    assert bench.append(nameless) != bench.append(nameless + "NTE|1||more\r")
    entry = bench.append(other.replace("JANE", "JOAN"))
    (found,) = bench.hub.journal.get_many([entry])
    assert found.reused
    process(bench.hub, [found])
    assert "control-id-reused" in bench.exceptions()[entry][1]


# --- what depends on other messages ------------------------------------------------------

ADMIT = {"evn": "20260705080500-0400", "happened": "20260705080000-0400", "control_id": "1"}
MOVE = {"evn": "20260706090500-0400", "happened": "20260706090000-0400", "control_id": "2"}
LEAVE = {"evn": "20260710140600-0400", "happened": "20260710140500-0400", "control_id": "3"}
CCU = "PV1|1|I|CCU^2^B||||||||||||||||V1^^^HOSPA^VN"


@row(12, "messages in any order")
def _(bench: Bench) -> None:
    late = adt("A08", pv1=CCU, evn="20260709100000-0400", control_id="4")
    bench.process(adt("A03", pv1=CCU, **LEAVE), late, adt("A02", pv1=CCU, **MOVE), adt(**ADMIT))
    encounter = visit(bench)
    assert encounter["status"] == "finished"
    assert encounter["period"]["start"].startswith("2026-07-05T08:00")
    assert encounter["period"]["end"].startswith("2026-07-10T14:05")
    assert len(encounter["location"]) == 2


@row(13, "an update before the admission")
def _(bench: Bench) -> None:
    assert state(bench, adt("A08", evn="20260706100000-0400", control_id="2"))[0] == "processed"
    assert visit(bench)["status"] == "in-progress"
    bench.process(adt(**ADMIT))
    assert len(bench.resources("Encounter")) == 1
    assert visit(bench)["period"]["start"].startswith("2026-07-05T08:00")


def merge(survivor: str, loser: str, control_id: str, minute: int) -> str:
    return adt(
        "A40",
        f"MRG|{loser}^^^HOSPA^MR",
        pid=f"PID|1||{survivor}^^^HOSPA^MR||DOE^JANE",
        pv1=None,
        control_id=control_id,
        evn=f"2026070510{minute:02d}00-0400",
    )


@row(14, "merges in a chain, before first sight, and late news of the merged")
def _(bench: Bench) -> None:
    bench.process(merge("2", "1", "m1", 10), merge("3", "2", "m2", 20))
    one = "PID|1||1^^^HOSPA^MR||DOE^JANE"
    bench.process(adt(pid=one, control_id="late", evn="20260705200000-0400"))
    patients = bench.resources("Patient")
    active = [p for p in patients if p.get("active") is not False]
    assert len(active) == 1
    assert any(i["value"] == "3" for i in active[0]["identifier"])
    (encounter,) = bench.resources("Encounter")
    assert encounter["subject"]["reference"] == f"Patient/{active[0]['id']}"


@row(14, "a merge with itself merges nothing")
def _(bench: Bench) -> None:
    kind, said = state(bench, merge("1", "1", "m1", 10))
    assert (kind, said) == ("parked", ["merge-with-itself"])


@row(15, "a cancel restores what was before")
def _(bench: Bench) -> None:
    bench.process(adt(**ADMIT), adt("A02", pv1=CCU, **MOVE), adt("A03", pv1=CCU, **LEAVE))
    assert visit(bench)["status"] == "finished"
    cancel = {"evn": "20260710150000-0400", "happened": "20260710140500-0400"}
    unplaced = "PV1|1|I|||||||||||||||||V1^^^HOSPA^VN"
    bench.process(adt("A13", pv1=unplaced, control_id="5", **cancel))
    encounter = visit(bench)
    assert encounter["status"] == "in-progress"
    assert "end" not in encounter["period"]
    cancel = {"evn": "20260710151000-0400", "happened": "20260706090000-0400"}
    bench.process(adt("A12", control_id="6", **cancel))
    assert [one["location"]["display"] for one in visit(bench)["location"]] == ["4W 1 A"]
    cancel = {"evn": "20260710152000-0400", "happened": "20260705080000-0400"}
    bench.process(adt("A11", control_id="7", **cancel))
    assert visit(bench)["status"] == "cancelled"


@row(16, "two patients exchange their beds")
def _(bench: Bench) -> None:
    two = "PID|1||200^^^HOSPA^MR||ROE^BEA"
    other = "PV1|1|I|5E^9^A||||||||||||||||V2^^^HOSPA^VN"
    bench.process(adt(**ADMIT), adt(pid=two, pv1=other, **{**ADMIT, "control_id": "b"}))
    swap = adt(
        "A17",
        two.replace("PID|1", "PID|2"),
        "PV1|2|I|4W^1^A||||||||||||||||V2^^^HOSPA^VN",
        pv1="PV1|1|I|5E^9^A||||||||||||||||V1^^^HOSPA^VN",
        evn="20260706120000-0400",
        control_id="s",
    )
    assert state(bench, swap)[0] == "processed"
    for number, place in (("V1", "5E 9 A"), ("V2", "4W 1 A")):
        assert visit(bench, number)["location"][-1]["location"]["display"] == place


@row(16, "an exchange of places waits for both visits")
def _(bench: Bench) -> None:
    two = "PID|1||200^^^HOSPA^MR||ROE^BEA"
    moved = adt("A17", two, "PV1|2|I|4W^1^A", pv1="PV1|1|I|5E^9^A", evn="20260706120000-0400")
    other = {"pid": two, "pv1": "PV1|1|I|5E^9^A||||||||||||||||V2^^^HOSPA^VN"}
    last = adt(**{**ADMIT, "control_id": "b"}, **other)
    swap = bench.entry(moved)
    process(bench.hub, [swap, bench.entry(adt(**ADMIT))])
    assert bench.exceptions()[swap.id][0] == "parked"
    bench.process(last)
    assert bench.exceptions()[swap.id][0] == "processed"
    for number, place in (("V1", "5E 9 A"), ("V2", "4W 1 A")):
        assert visit(bench, number)["location"][-1]["location"]["display"] == place


@row(17, "each patient of a message has its own segments")
def _(bench: Bench) -> None:
    message = adt(
        "A24",
        "NK1|1|DOE^JOHN|SPO",
        "PID|2||200^^^HOSPA^MR||ROE^BEA",
        "NK1|1|ROE^BOB|SPO",
        pv1=None,
    )
    first, second = mapped(message).facts
    assert (first.identity, second.identity) == ("HOSPA|100", "HOSPA|200")
    names = [
        [f.elements["name#name"][0]["family"] for f in fact.person if f.type == "RelatedPerson"]
        for fact in (first, second)
    ]
    assert names == [["DOE"], ["ROE"]]


@row(18, "the patient's identifier wherever it stands")
def _(bench: Bench) -> None:
    for pid in (
        "PID|1||100^^^HOSPA^MR~7^^^HIE^PI~999-99-9999^^^SSA^SS",
        "PID|1||999-99-9999^^^SSA^SS~7^^^HIE^PI~100^^^HOSPA^MR",
        "PID|1||100^^^^MR",
        "PID|1|100",
        "PID|1|||100",
    ):
        assert mapped(adt(pid=pid)).facts[0].identity == "HOSPA|100", pid
    assert mapped(adt(pid="PID|1||||||||||||||||A1^^^HOSPA")).facts == []


@row(19, "a visit without a number is sought among the open ones")
def _(bench: Bench) -> None:
    nameless = "PV1|1|I|CCU^2^B"
    kind, said = state(bench, adt("A02", pv1=nameless, **MOVE))
    assert kind == "parked"
    assert "visit-unidentified" in said
    bench.process(adt(**ADMIT))
    assert visit(bench)["location"][-1]["location"]["display"] == "CCU 2 B"
    assert {s for s, _ in bench.exceptions().values()} <= {"processed"}
    by_account = adt(
        pid="PID|1||300^^^HOSPA^MR|||||||||||||||A77", pv1=nameless + "|" * 41 + "20260705"
    )
    assert mapped(by_account).facts[0].visit is not None


@row(20, "the event however MSH-9 spells it")
def _(bench: Bench) -> None:
    for kind in ("ADT", "adt^a01", "ADT^A01^ADT_A99", "ADT_A01", "A01", "ADT^ADT_A01", ""):
        message = parse(adt(kind=kind))
        assert (message.type, message.event, message.structure) == ("ADT", "A01", "ADT_A01"), kind
    nothing = adt(kind="ADT", evn="")
    assert codes(parse(nothing).issues) == ["event-missing"]
    assert state(bench, nothing) == ("processed", ["event-missing", "unsupported-event"])


# --- content -----------------------------------------------------------------------------


@row(21, "a local code waits for a person, and then for nothing")
def _(bench: Bench) -> None:
    local = adt(pv1="PV1|1|LOCAL|4W||||||||||||||||V1^^^HOSPA^VN")
    again = adt("A08", pv1="PV1|1|LOCAL|4W||||||||||||||||V1^^^HOSPA^VN")
    other = adt("A03", pv1="PV1|1|ELSE|4W||||||||||||||||V1^^^HOSPA^VN", **LEAVE)
    bench.work(local, again, other)
    assert [s for s, _ in bench.exceptions().values()] == ["parked"] * 3
    assert visit(bench)["class"]["code"] == "UNK"
    wanted = {t["identifier"][0]["value"]: t for t in analyst_tasks(bench)}
    assert set(wanted) == {"hospa|HL70004_ActCode|LOCAL", "hospa|HL70004_ActCode|ELSE"}
    assert {t["status"] for t in wanted.values()} == {"requested"}
    assert requeue(bench.hub) == 3  # nothing has changed: all of them still wait
    assert {t["status"] for t in analyst_tasks(bench)} == {"requested"}
    with_code(bench, "LOCAL", "SS")
    bench.clock.us += 60_000_000
    requeue(bench.hub)
    assert visit(bench)["class"]["code"] == "SS"
    states = {number: state for number, (state, _) in bench.exceptions().items()}
    assert [states.get(n, "processed") for n in (1, 2, 3)] == ["processed", "processed", "parked"]
    assert {
        t["identifier"][0]["value"].rpartition("|")[2]: t["status"] for t in analyst_tasks(bench)
    } == {
        "LOCAL": "completed",
        "ELSE": "requested",
    }


def analyst_tasks(bench: Bench) -> list[dict[str, Any]]:
    """The Tasks that ask an analyst for a code."""
    return [t for t in bench.resources("Task") if t["code"]["coding"][0]["code"] == ADD_CODE]


def with_code(bench: Bench, code: str, meaning: str) -> None:
    """Give the site a table that has a code."""
    with TemporaryDirectory() as layers:
        folder = Path(layers) / "sites" / "hospa" / "tables"
        folder.mkdir(parents=True)
        (folder / "HL70004_ActCode.yaml").write_text(
            f"because: a test\ncodes:\n  {code}: {{ code: {meaning}, "
            'system: "http://terminology.hl7.org/CodeSystem/v3-ActCode" }\n'
        )
        changed = load(ROOT / "mappings" / "core", [Path(layers)], "hospa")
    bench.hub.mapping_for = lambda _: changed


@row(22, "local segments and fields beyond the standard are kept")
def _(bench: Bench) -> None:
    found = mapped(adt("A01", "ZPD|1|yes^no|", "ZPD|2||x", pv1="PV1|1|I|4W" + "|" * 57 + "extra"))
    assert found.verbatim["ZPD-2"] == "yes^no"
    assert found.verbatim["ZPD[2]-3"] == "x"
    assert found.verbatim["PV1-60"] == "extra"
    assert {"ZPD-2", "ZPD-3", "PV1-60"} <= set(found.unmapped)
    bench.process(adt("A01", "ZPD|1|yes^no|"))
    assert "yes^no" in json.dumps(bench.resources("Provenance"))


@row(23, "fields of nothing but delimiters")
def _(bench: Bench) -> None:
    pv1 = 'PV1|1|I|^^^|^|||^^|^^^^&|""^""|||||||||^^~^^|V1^^^HOSPA^VN'
    blank = adt("A01", "NK1|1|^^|^", "AL1|1|^|^^", "DG1|1||^^", pv1=pv1)
    (fact,) = mapped(blank).facts
    assert [one.type for one in (*fact.person, *fact.stay)] == ["Patient", "Encounter"]
    assert mapped(blank).directory == []
    assert state(bench, blank) == ("processed", [])
    assert "participant" not in visit(bench)


@row(24, "processing ids")
def _(bench: Bench) -> None:
    taken = FeedPolicy(processing_ids=frozenset({"P"}))
    for sent, code in (("P", None), ("T", "202"), ("D", "202"), ("", "202"), ("P^T", None)):
        seen = peek(adt().replace("|P|2.5.1", f"|{sent}|2.5.1").encode())
        found = refusal(seen, taken)
        assert (found and found.code) == code, sent
        assert refusal(seen, FeedPolicy()) is None


@row(25, "historic movements")
def _(bench: Bench) -> None:
    bench.process(adt(**ADMIT))
    now = "20260708100000-0400"
    past = adt(
        "A02", "ZBE|M2^HOSPA|20260706090000-0400||INSERT|Y|", pv1=CCU, evn=now, control_id="h1"
    )
    assert state(bench, past) == ("processed", [])
    places = visit(bench)["location"]
    assert [one["location"]["display"] for one in places] == ["4W 1 A", "CCU 2 B"]
    assert places[1]["period"]["start"].startswith("2026-07-06T09:00")
    other = CCU.replace("CCU^2^B", "ICU^7^C")
    corrected = adt(
        "Z99", "ZBE|M2^HOSPA|20260706073000-0400||UPDATE|Y|A02", evn="20260708103000-0400",
        pv1=other, control_id="h2",
    )  # fmt: skip
    assert state(bench, corrected) == ("processed", [])
    places = visit(bench)["location"]
    assert [one["location"]["display"] for one in places] == ["4W 1 A", "ICU 7 C"]
    assert places[1]["period"]["start"].startswith("2026-07-06T07:30")
    undone = adt(
        "Z99", "ZBE|M2^HOSPA|20260706073000-0400||CANCEL|Y|A02", evn="20260708110000-0400",
        control_id="h3",
    )  # fmt: skip
    assert state(bench, undone) == ("processed", [])
    assert [one["location"]["display"] for one in visit(bench)["location"]] == ["4W 1 A"]


@row(26, "no patient data in a log or an issue")
def _(bench: Bench) -> None:
    with structlog.testing.capture_logs() as logs:
        state(bench, adt(pid="PID|1||SECRET1^^^HOSPA^MR||SECRET2^JANE||SECRET3|SECRET4"))
        state(bench, adt("A40", "MRG|SECRET1^^^HOSPA^MR", pid="PID|1||SECRET1^^^HOSPA^MR"))
        state(bench, "SECRET5 no message")
        state(bench, adt(pid="PID|1||^^^SECRET6||SECRET2"))
    said = json.dumps(logs) + "".join(issues for _, issues in bench.exceptions().values())
    assert "SECRET" not in said
    error = ack(peek(adt().encode()), "AE", control_id="1", now="2026", errors=[AckError("207")])
    assert b"DOE" not in error
    assert read_ack(error).error_codes == ("207",)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_real_senders_do(case: Case, tmp_path: Path) -> None:
    with hub(tmp_path) as bench:
        case(bench)
