"""How each kind of source answers: a table that every kind runs, and MLLP's own.

Source: HL7 v2.5.1 sections 2.9.2 and 2.9.3, tables 0008, 0155, 0357.
"""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from segue.adapters.tls import TlsConfig
from segue.hl7v2.ack import read_ack
from segue.hl7v2.mllp import frame
from segue.hl7v2.parse import parse
from segue.hl7v2.peek import peek
from segue.pipeline.acceptance import FeedPolicy
from segue.pipeline.answers import Judge, mapping_judge
from tests.contract.test_sources import HARNESSES, GatedJournal, MllpHarness, running
from tests.support.hub import hub


def adt(
    control_id: str = "7",
    *,
    kind: str = "ADT^A01^ADT_A01",
    accept: str = "",
    application: str = "",
    processing_id: str = "P",
    version: str = "2.5.1",
    charset: str = "",
    marks: str = "|^~\\&",
    pid: str = "100^^^HOSPA^MR",
    more: str = "",
) -> bytes:
    text = (
        f"MSH|^~\\&|ADT|HOSPA|SEGUE|HUB|20260705134200||{kind}|{control_id}|{processing_id}"
        f"|{version}|||{accept}|{application}||{charset}".rstrip("|")
        + f"\rEVN|{kind[4:7]}|20260705134200\rPID|1||{pid}||M\u00fcller\r{more}"
    )
    return text.translate(str.maketrans("|^~\\&", marks)).encode()


ONLY = FeedPolicy(
    processing_ids=frozenset({"P"}),
    types=frozenset({"ADT", "ORU^R01"}),
    versions=frozenset({"2.5.1", "2.3"}),
)
MAPPED = FeedPolicy(ack="mapped")


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        answer: MSA-1, None where no answer is due. error: ERR-3.
        where: ERR-2. severity: ERR-4 of the first.
        stored: whether the message is kept.
    """

    name: str
    sent: bytes
    answer: str | None
    error: str = ""
    where: str = ""
    policy: FeedPolicy = field(default=FeedPolicy())
    stored: bool = True
    severity: str = "E"


MRG = "MRG|100^^^HOSPA^MR\r"
PV1 = "PV1|1|I|4W||||||||||||||||V1\r"
OLD = adt(processing_id="T", version="2.3")
NEW = adt(accept="AL", version="2.8")
ENHANCED = adt(accept="AL").replace(b"\xc3\xbc", b"\xfc\x81")
NO_CHARSET = adt().replace(b"\xc3\xbc", b"\xfc\x81")
NOT_ON_ERROR = adt(pid="", accept="NE", application="SU")
ROWS = [
    Row("original mode", adt(), "AA"),
    Row("original mode, said", adt(accept="NE", application="AL"), "AA"),
    Row("original mode, only on errors", adt(accept="NE", application="ER"), None),
    Row("original mode, only on success", adt(accept="NE", application="SU"), "AA"),
    Row("nobody wants an answer", adt(accept="NE", application="NE"), None),
    Row("enhanced mode, always", adt(accept="AL", application="AL"), "CA"),
    Row("enhanced mode, application empty", adt(accept="AL"), "CA"),
    Row("enhanced mode, only on success", adt(accept="SU", application="NE"), "CA"),
    Row("enhanced mode, only on errors", adt(accept="ER", application="AL"), None),
    Row("enhanced mode, accept empty", adt(application="AL"), "AA"),
    Row("a condition in lower case", adt(accept="al"), "CA"),
    Row("a condition that is none", adt(accept="XX"), "CA"),
    Row("no message", b"not HL7", "AR", "100", "MSH^1", stored=False),
    Row("a header alone", b"MSH|", "AA"),
    Row("the event unknown", adt(kind="ADT^A99"), "AA"),
    Row("the type unknown", adt(kind="XXX^X01"), "AA"),
    Row("another processing id", adt(processing_id="T"), "AR", "202", "MSH^1^11", ONLY, False),
    Row("no processing id", adt(processing_id=""), "AR", "202", "MSH^1^11", ONLY, False),
    Row("another version", adt(version="2.8"), "AR", "203", "MSH^1^12", ONLY, False),
    Row("another type", adt(kind="SIU^S12"), "AR", "200", "MSH^1^9", ONLY, False),
    Row("another event", adt(kind="ORU^R30"), "AR", "201", "MSH^1^9^1^2", ONLY, False),
    Row("what is taken", adt(kind="ORU^R01", version="2.3"), "AA", "", "", ONLY),
    Row("a refusal in enhanced mode", NEW, "CR", "203", "MSH^1^12", ONLY, False),
    Row("a refusal that is not wanted", adt(accept="SU", version="2.8"), None, "", "", ONLY, False),
    Row("an error in version 2.3", OLD, "AR", "202", "", ONLY, False),
    Row("mapped and well", adt(more=PV1), "AA", "", "", MAPPED),
    Row("mapped, no patient", adt(pid=""), "AE", "101", "PID^1^3", MAPPED),
    Row("mapped, merge with itself", adt(kind="ADT^A40", more=MRG), "AE", "205", "MRG^1^1", MAPPED),
    Row("mapped, unknown event", adt(kind="ADT^A99"), "AA", "201", "MSH^1^9", MAPPED, severity="W"),
    Row("mapped, enhanced mode", adt(pid="", accept="AL"), "CA", "", "", MAPPED),
    Row("mapped, not wanted on errors", NOT_ON_ERROR, None, "", "", MAPPED),
    Row("an acknowledgement", adt(kind="ACK^A01"), None),
    Row("an acknowledgement that wants one", adt(kind="ACK^A01", accept="AL"), "CA"),
    Row("separators of the sender's own", adt(marks="#*!?+"), "AA"),
    Row("a wrong character set", adt(charset="ASCII"), "AA"),
    Row("an unknown character set", adt(charset="KLINGON"), "AA"),
    Row("no character set fits", NO_CHARSET, "AR", "102", "MSH^1^18", stored=False),
    Row("no character set fits, enhanced", ENHANCED, "CE", "102", "MSH^1^18", stored=False),
    Row("a character set of Japan", adt(charset="~ISO IR87"), "AA"),
]  # fmt: skip


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> Judge:
    """What feeds with `ack: mapped` ask."""
    with hub(tmp_path_factory.mktemp("judge")) as bench:
        yield mapping_judge(bench.hub)


@pytest.mark.parametrize("kind", sorted(HARNESSES))
def test_every_kind_of_source_answers_by_the_table(kind: str, judge: Judge, tmp_path: Path) -> None:
    """All rows in one go: each kind starts once for each policy."""

    async def story(policy: FeedPolicy, folder: Path) -> None:
        rows = [row for row in ROWS if row.policy == policy]
        journal = GatedJournal()
        habits = {"policies": {"feed": policy}, "judge": judge}
        async with running(HARNESSES[kind], journal, folder, {}, **habits) as source:
            for row in rows:
                before = len(journal.stored)
                wait = 5.0 if row.answer or kind != "mllp" else 0.15
                answers = [a for a in await source.send(row.sent, wait=wait) if a]
                found = [read_ack(answer) for answer in answers]
                assert [one.code for one in found] == ([row.answer] if row.answer else []), row.name
                assert (len(journal.stored) > before) is row.stored, row.name
                if found:
                    check(row, answers[0])

    for number, policy in enumerate((FeedPolicy(), ONLY, MAPPED)):
        asyncio.run(story(policy, tmp_path / str(number)))


def check(row: Row, answer: bytes) -> None:
    """The answer goes back, in the sender's separators and version, and says what is wrong."""
    message = parse(answer)
    found = read_ack(answer)
    assert found.error_codes == ((row.error,) if row.error else ()), row.name
    if b"MSH" not in row.sent or row.sent == b"MSH|":
        return
    sent = peek(row.sent)
    assert message.separators == sent.separators
    assert found.control_id == sent.control_id
    assert message.version == sent.version
    assert message.get("MSH-5") == "ADT"
    assert message.get("MSH-6") == "HOSPA"
    assert message.get("MSH-9") == "ACK"
    assert message.control_id not in ("", sent.control_id)
    if row.error and sent.version == "2.3":
        assert found.text != ""
    elif row.error:
        assert (message.segments[2].raw(2), message.get("ERR-4")) == (row.where, row.severity)
        assert message.get("ERR-3.3") == "HL70357"


# --- MLLP alone --------------------------------------------------------------------------


def mllp(journal, **options):
    return running(MllpHarness, journal, Path(), options)


async def dialogue(port: int, wire: bytes, count: int, *, step: int = 0) -> list[str]:
    """Write bytes, whole or `step` at a time; the control ids of the answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for start in range(0, len(wire), step or len(wire)):
        writer.write(wire[start : start + (step or len(wire))])
        await asyncio.sleep(0)
    answers = []
    async with asyncio.timeout(10):
        while len(answers) < count:
            answers.append(read_ack((await reader.readuntil(b"\x1c\r"))[1:-2]))
    writer.write(frame(adt("last")))
    async with asyncio.timeout(10):
        answers.append(read_ack((await reader.readuntil(b"\x1c\r"))[1:-2]))
    writer.close()
    return [f"{one.code} {one.control_id}" for one in answers]


MIXED = b"".join(
    (
        frame(adt("1")),
        frame(b"junk"),
        b"\r\n" + frame(adt("2", accept="AL")),
        frame(adt("3", accept="NE", application="NE")),
        frame(frame(adt("4"))[:-2]),
        frame(adt("5") + adt("6")),
        b"\x0b" + adt("cut off")[:60] + frame(adt("7", charset="UNICODE UTF-8")),
        frame(adt("8", more="NTE|1||" + "x" * 3000)),
        frame(adt("9")).replace(b"\x1c\r", b"\x1c"),
        frame(adt("10", charset="8859/1")),
    )
)
TAKEN = ["1", "2", "3", "4", "5", "6", "7", "9", "10", "last"]
ANSWERS = ["AA 1", "AR ", "CA 2", "AA 4", "AA 5", "AA 6", "AA 7", "AR 8", "AA 9", "AA 10"]


@pytest.mark.parametrize("step", [0, 1, 2, 3, 7, 64, 1000])
def test_one_answer_for_each_message_in_order_however_the_bytes_come(step: int) -> None:
    async def story() -> None:
        journal = GatedJournal()
        async with mllp(journal, max_frame_bytes=3000) as source:
            found = await dialogue(source.source.port, MIXED, len(ANSWERS), step=step)
        assert found == [*ANSWERS, "AA last"]
        assert [name for name, why in journal.held if why is None] == TAKEN
        # What was cut off has no control id to speak of, what is too long has its own.
        assert [why for _, why in journal.held if why] == ["truncated", "oversize"]

    asyncio.run(story())


def test_a_frame_cut_at_every_byte_is_answered_once() -> None:
    async def story() -> None:
        journal = GatedJournal()
        wire = frame(adt("1")) + frame(adt("2"))
        async with mllp(journal) as source:
            reader, writer = await asyncio.open_connection("127.0.0.1", source.source.port)
            for cut in range(len(wire) + 1):
                writer.write(wire[:cut])
                await asyncio.sleep(0)
                writer.write(wire[cut:])
                for expected in ("1", "2"):
                    answer = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 5)
                    assert read_ack(answer[1:-2]).control_id == expected
            writer.close()
        assert journal.control_ids == ["1", "2"] * (len(wire) + 1)

    asyncio.run(story())


def test_a_batch_in_one_frame_is_answered_in_one_frame() -> None:
    async def story() -> None:
        journal = GatedJournal()
        batch = b"BHS|^~\\&|ADT|HOSPA|||||||B1\r" + adt("1") + adt("2") + b"BTS|9\r"
        async with mllp(journal) as source:
            reader, writer = await asyncio.open_connection("127.0.0.1", source.source.port)
            writer.write(frame(batch) + frame(adt("3")))
            first = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 5)
            second = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 5)
            writer.close()
        lines = first[1:-2].decode().split("\r")
        assert lines[0].startswith("BHS|^~\\&|||ADT|HOSPA|")
        assert lines[0].endswith("|B1")
        assert [line for line in lines if line[:3] == "MSA"] == ["MSA|AA|1", "MSA|AA|2"]
        assert lines[-2].startswith("BTS|2|A batch or file trailer counts otherwise")
        assert read_ack(second[1:-2]).control_id == "3"

    asyncio.run(story())


def test_a_batch_that_is_not_durable_is_not_answered() -> None:
    async def story() -> None:
        journal = GatedJournal(broken=True)
        batch = b"BHS|^~\\&\r" + adt("1") + adt("2") + b"BTS|2\r"
        async with mllp(journal) as source:
            assert await source.send(batch, wait=0.5) == []

    asyncio.run(story())


@pytest.mark.parametrize(
    ("mutual", "trusts", "shows", "taken"),
    [
        (False, "server", None, True),
        (False, "other", None, False),
        (False, None, None, False),
        (True, "server", "client", True),
        (True, "server", "other", False),
        (True, "server", None, False),
    ],
    ids=["tls", "unknown-server", "plain", "mutual", "unknown-client", "no-client-certificate"],
)
def test_who_may_speak_over_tls(certificates, mutual, trusts, shows, taken) -> None:
    cert, key = certificates("server")
    config = TlsConfig(cert, key, certificates("client")[0] if mutual else None)
    client = None
    if trusts:
        client = ssl.create_default_context(cafile=str(certificates(trusts)[0]))
        if shows:
            client.load_cert_chain(*certificates(shows))

    async def story() -> None:
        journal = GatedJournal()
        async with mllp(journal, tls=config) as source:
            answer = b""
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                async with asyncio.timeout(2):
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1",
                        source.source.port,
                        ssl=client,
                        server_hostname="localhost" if client else None,
                    )
                    try:
                        writer.write(frame(adt("1")))
                        answer = await reader.readuntil(b"\x1c\r")
                    finally:
                        writer.close()
                        await writer.wait_closed()
            assert (b"MSA|AA|1" in answer) is taken
        assert journal.control_ids == (["1"] if taken else [])

    asyncio.run(story())


def test_a_slow_sender_is_not_taken_for_a_silent_one() -> None:
    async def story() -> None:
        journal = GatedJournal()
        quick = timedelta(milliseconds=300)
        async with mllp(journal, frame_timeout=quick, idle_timeout=quick) as source:
            reader, writer = await asyncio.open_connection("127.0.0.1", source.source.port)
            wire = frame(adt("1"))
            for start in range(0, len(wire), 20):
                writer.write(wire[start : start + 20])
                await asyncio.sleep(0.05)
            answer = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 5)
            assert read_ack(answer[1:-2]).code == "AA"
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("shows", "says"),
    [
        ("plain", "TLS: wrong version number"),
        (None, "TLS: peer did not return a certificate"),
        ("other", "TLS: the certificate of the other side: self"),
    ],
)
def test_who_is_turned_away_over_tls_is_told_to_the_operator(certificates, shows, says) -> None:
    cert, key = certificates("server")
    config = TlsConfig(cert, key, certificates("client")[0])
    client = None
    if shows != "plain":
        client = ssl.create_default_context(cafile=str(cert))
        if shows:
            client.load_cert_chain(*certificates(shows))

    async def story() -> None:
        async with mllp(GatedJournal(), tls=config) as source:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1",
                    source.source.port,
                    ssl=client,
                    server_hostname="localhost" if client else None,
                )
                writer.write(frame(adt("1")))
                await reader.read()
                writer.close()

    with structlog.testing.capture_logs() as logs:
        asyncio.run(story())
    reasons = [one["reason"] for one in logs if one["event"] == "connection.refused"]
    assert len(reasons) == 1
    assert reasons[0].startswith(says)


def test_who_sends_no_more_still_gets_its_answers() -> None:
    """As `nc` does at the end of its input: the connection is closed after the last answer."""

    async def story() -> None:
        journal = GatedJournal()
        async with mllp(journal) as source:
            reader, writer = await asyncio.open_connection("127.0.0.1", source.source.port)
            writer.write(frame(adt("1")) + frame(adt("2")))
            writer.write_eof()
            answers = await asyncio.wait_for(reader.read(), 5)
            writer.close()
        assert [read_ack(one).control_id for one in answers.split(b"\x1c\r")[:-1]] == ["1", "2"]

    asyncio.run(story())


def test_who_reads_no_answers_is_not_listened_to() -> None:
    async def story() -> None:
        journal = GatedJournal()
        async with mllp(journal, idle_timeout=timedelta(seconds=1)) as source:
            _, writer = await asyncio.open_connection("127.0.0.1", source.source.port)
            writer.write(frame(adt("1")))
            while not journal.stored:
                await asyncio.sleep(0.01)
            (connection,) = source.source._connections
            connection.pause_writing()  # as the transport says when its buffer is full
            writer.write(frame(adt("2")))
            await asyncio.sleep(0.1)
            assert journal.control_ids == ["1"]
            connection.resume_writing()
            while len(journal.stored) < 2:
                await asyncio.sleep(0.01)
            connection.pause_writing()
            while source.source._connections:  # silent for too long, it is given up
                await asyncio.sleep(0.05)
            writer.close()

    asyncio.run(story())
