"""How our MLLP destination asks, and what it makes of every answer: the table of the sender.

The table of the receiver is in `test_acknowledgements`.
Source: HL7 v2.5.1 sections 2.9.2 and 2.9.3, tables 0008, 0155, 0357.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from segue.adapters.destinations.mllp import Mllp, MllpConfig
from segue.adapters.destinations.mllp_line import NOT_TRIED, Line
from segue.hl7v2.ack import read_ack
from segue.hl7v2.mllp import frame
from segue.model.deliveries import (
    Delivery,
    Outcome,
    Parcel,
    QueuedDelivery,
    Refused,
    RetryLater,
    Sent,
)
from segue.model.messages import Envelope, RawMessage
from segue.pipeline.clock import SystemClock
from segue.pipeline.returns import Returns
from segue.store.records import NewEntry
from segue.store.store import open_journal

TIMEOUT = timedelta(milliseconds=250)

Step = bytes | float | None
"""What a peer does: writes (`%b` is the control id), waits, or closes (None)."""


def message(
    control_id: str = "M1", accept: str = "", application: str = "", mark: str = "|"
) -> bytes:
    text = (
        f"MSH|^~\\&|ADT|HOSPA|LAB|LAB|20260705||ADT^A08|{control_id}|P|2.5.1"
        f"|||{accept}|{application}".rstrip("|")
        + "\rPID|1||7^^^HOSPA^MR\r"
    )
    return text.replace("|", mark).encode()


def answer(
    code: str, error: str = "", control_id: str = "%b", version: str = "2.5.1", accept: str = ""
) -> bytes:
    said = f"|||{accept}|NE" if accept else ""
    err = f"ERR|||{error}^x^HL70357|E\r" if error else ""
    if error and version < "2.5":
        err = f"ERR|PID^1^3^{error}&x\r"
    return frame(
        f"MSH|^~\\&|LAB|LAB|ADT|HOSPA|2026||ACK|A1|P|{version}{said}\r"
        f"MSA|{code}|{control_id}\r{err}".encode()
    )


AA, CA, CE, CR = (answer(code) for code in ("AA", "CA", "CE", "CR"))


@dataclass
class Peer:
    """Follows a script: the steps of the first message, of the second, and so on."""

    script: Sequence[Sequence[Step]]
    tls: ssl.SSLContext | None = None
    messages: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.append(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await self.follow(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                body = (await reader.readuntil(b"\x1c\r"))[1:-2]
                if read_ack(body).code:
                    self.answers.append(body)
                    continue
                self.messages.append(body)
                mark = body[3:4]
                control_id = body.split(mark, 10)[9]
                for step in self.script[min(len(self.messages), len(self.script)) - 1]:
                    if step is None:
                        return
                    if isinstance(step, bytes):
                        writer.write(step.replace(b"%b", control_id))
                        await writer.drain()
                    else:
                        await asyncio.sleep(step)


@contextlib.asynccontextmanager
async def sending(
    peer: Peer, returns: Returns | None = None, **options: object
) -> AsyncIterator[Mllp]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=peer.tls)
    peer.port = server.sockets[0].getsockname()[1]
    values = {"host": "127.0.0.1", "timeout": TIMEOUT, **options}
    config = MllpConfig(name="lab", port=peer.port, **values)  # type: ignore[arg-type]
    destination = Mllp(config, SystemClock(), returns)
    try:
        yield destination
    finally:
        await destination.close()
        server.close()
        await asyncio.gather(*peer.tasks)


def parcel(*bodies: bytes, attempts: int = 0, lanes: Sequence[int] = ()) -> Parcel:
    """Messages of one lane, or of the lanes given."""
    queued = [
        QueuedDelivery(n, Delivery("lab", lane, "adt", str(n), 0, "1"), n, 0, 0, attempts)
        for n, (_, lane) in enumerate(zip(bodies, lanes or [8] * len(bodies), strict=True), 1)
    ]
    return Parcel(queued, list(bodies))


def told(outcome: Outcome) -> str:
    """An outcome in a few words."""
    match outcome:
        case Sent():
            return f"sent {outcome.receipt.status}"
        case RetryLater():
            return f"again {outcome.category}: {outcome.reason}"
        case Refused():
            return f"dead {outcome.reason}"


SILENT, ODD = "again timeout: no acknowledgement in time", "again protocol: the answer is no "
UNSURE = "again timeout: no application acknowledgement in time"
CLOSED = "again unreachable: the connection was closed before the answer"
BOTH = message("M1", "AL", "AL")
MARKS = bytes.maketrans(b"|^~\\&", b"#*!?+")


@dataclass(frozen=True)
class Row:
    """A line of the table: what is sent, what the peer does, and what is made of it."""

    name: str
    sent: bytes
    steps: Sequence[Step]
    outcome: str
    asks: str = "as-sent"


def codes(code: str, error: str, outcome: str) -> Row:
    name = f"original mode, {code} {error}".rstrip()
    return Row(name, message(), [answer(code, error)], outcome)


ERRORS = message("M1", "AL", "ER")

ROWS = [
    codes("AA", "", "sent AA"),
    codes("CA", "", "sent CA"),
    codes("AE", "", "again refused: AE"),
    codes("AE", "206", "again refused: AE 206"),
    codes("AE", "207", "again refused: AE 207"),
    codes("AR", "207", "again refused: AR 207"),
    codes("AE", "LOCAL1", "again refused: AE"),
    *(codes("AE", str(n), f"dead AE {n}") for n in (*range(100, 106), 198, 199, *range(200, 206))),
    codes("AR", "", "dead AR"),
    codes("AR", "205", "dead AR 205"),
    codes("AR", "LOCAL1", "dead AR"),
    Row("an error of version 2.3", message(), [answer("AE", "101", version="2.3")], "dead AE 101"),
    Row("accept acknowledgement", message("M1", "AL", "NE"), [CA], "sent CA"),
    Row("accept alone, application empty", message("M1", "AL"), [CA], "sent CA"),
    Row("accept, CE", message("M1", "AL", "NE"), [CE], "again refused: CE"),
    Row("accept, CE for the data", message("M1", "AL"), [answer("CE", "101")], "dead CE 101"),
    Row("accept, CR", message("M1", "AL", "NE"), [CR], "dead CR"),
    Row("accept, CR for now", message("M1", "AL"), [answer("CR", "206")], "again refused: CR 206"),
    Row("application alone", message("M1", "NE", "AL"), [AA], "sent AA"),
    Row("application alone, CA is not it", message("M1", "NE", "AL"), [CA], UNSURE),
    Row("both, CA alone", BOTH, [CA], UNSURE),
    Row("both, CA and AA", BOTH, [CA, 0.05, AA], "sent AA"),
    Row("both in one packet", BOTH, [CA + AA], "sent AA"),
    Row("both, the second one after its own time", BOTH, [0.15, CA, 0.15, AA], "sent AA"),
    Row("both, AA at once", BOTH, [AA], "sent AA"),
    Row("both, CA twice", BOTH, [CA, CA, AA], "sent AA"),
    Row("both, CA for ever", BOTH, [CA, 0.1, CA, 0.1, CA, 0.1, CA, 0.1, CA], UNSURE),
    Row("both, AE for the data", BOTH, [CA, answer("AE", "103")], "dead AE 103"),
    Row("both, AE while busy", BOTH, [CA, answer("AE", "207")], "again refused: AE 207"),
    Row("both, AR", BOTH, [CA, answer("AR")], "dead AR"),
    Row("both, CE", BOTH, [CE], "again refused: CE"),
    Row("both, CR", BOTH, [CR], "dead CR"),
    Row("both, closed between", BOTH, [CA, None], CLOSED),
    Row("both, another's AA between", BOTH, [CA, answer("AA", control_id="X"), AA], "sent AA"),
    Row("application only on errors, CA alone", ERRORS, [CA], UNSURE),
    Row("application only on errors, CA and AA", ERRORS, [CA, AA], "sent AA"),
    Row("application only on errors, AE", ERRORS, [CA, answer("AE", "103")], "dead AE 103"),
    Row("application only on errors, CA is enough", ERRORS, [CA], "sent CA", "accept"),
    Row("application only on success", message("M1", "AL", "SU"), [CA, AA], "sent AA"),
    Row("the message asks, we do not", BOTH, [AA], "sent AA", "original"),
    Row("the message asks for more than we", BOTH, [CA], "sent CA", "accept"),
    Row("we ask for more than the message", message(), [CA], UNSURE, "application"),
    Row("we ask for both", message(), [CA, AA], "sent AA", "application"),
    Row("nobody is to answer", message("M1", "NE", "NE"), [CA], "sent CA"),
    Row("answers only on errors", message("M1", "ER", "ER"), [AA], "sent AA"),
    Row("no answer", message(), [], SILENT),
    Row("closed before the answer", message(), [None], CLOSED),
    Row("closed within the answer", message(), [AA[:-30], None], CLOSED),
    Row("closed after the answer", message(), [AA, None], "sent AA"),
    Row("another control id", message(), [answer("AA", control_id="M10")], SILENT),
    Row("a control id that begins so", message("M10"), [answer("AA", control_id="M1")], SILENT),
    Row("no control id", message(), [answer("AA", control_id="")], SILENT),
    Row("another's refusal, then ours", message(), [answer("AR", control_id="M0"), AA], "sent AA"),
    Row("the same twice", message(), [AA + AA], "sent AA"),
    Row("AA, and AE after it", message(), [AA + answer("AE")], "sent AA"),
    Row("late", message(), [0.4, AA], SILENT),
    Row("no HL7", message(), [b"\x0bnot HL7 at all\x1c\r"], ODD + "acknowledgement"),
    Row("no frame", message(), [b"HTTP/1.1 400 Bad Request\r\n\r\n"], ODD + "MLLP frame"),
    Row("without VT", message(), [AA[1:]], ODD + "MLLP frame"),
    Row("a frame without end", message(), [AA[:-2]], SILENT),
    Row("a frame that is too long", message(), [AA[:-2] + b"x" * 3000], ODD + "MLLP frame"),
    Row("empty", message(), [frame(b"")], ODD + "acknowledgement"),
    Row("a message without MSA", message(), [frame(message())], ODD + "acknowledgement"),
    Row("a code that is none", message(), [answer("OK")], ODD + "acknowledgement"),
    Row("a code in lower case", message(), [answer("aa")], "sent AA"),
    Row("line feeds", message(), [AA.replace(b"\r", b"\n", 2)], "sent AA"),
    Row("blank lines around", message(), [b"\r\n" + AA + b"\r\n"], "sent AA"),
    Row("framed twice", message(), [b"\x0b" + AA + b"\x1c\r"], "sent AA"),
    Row("separators of its own", message(), [AA.translate(MARKS)], "sent AA"),
    Row("separators of the message's own", message(mark="#"), [AA], "sent AA"),
    Row("a wrong character set", message(), [AA.replace(b"LAB", b"L\xc4B")], "sent AA"),
    Row("a control id with an escape", message("A\\T\\1"), [AA], "sent AA"),
    Row("an escape that was read", message("A\\T\\1"), [answer("AA", control_id="A&1")], "sent AA"),
    Row("a control id in UTF-8", message("\u00c41"), [AA], "sent AA"),
    Row("a control id with blanks", message(" M1 "), [answer("AA", control_id="M1")], "sent AA"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_an_answer_means(row: Row) -> None:
    async def story() -> None:
        peer = Peer([row.steps])
        async with sending(peer, asks=row.asks, max_answer_bytes=2000) as destination:
            (outcome,) = await destination.send(parcel(row.sent))
            assert told(outcome) == row.outcome
            # Whatever it was, the next message is answered for itself.
            peer.script = [[answer("AE", "100")]]
            (outcome,) = await destination.send(parcel(message("M2")))
            assert told(outcome) == "dead AE 100"
        assert b"|M2|P|" in peer.messages[-1]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("asks", "sent", "received"),
    [
        ("as-sent", message(), message()),
        ("as-sent", BOTH, BOTH),
        ("as-sent", message("M1", "NE", "NE"), message("M1", "AL", "NE")),
        ("as-sent", message("M1", "ER"), message("M1", "AL")),
        ("as-sent", message("M1", "SU", "ER"), message("M1", "SU", "AL")),
        ("as-sent", message("M1", "SU", "SU"), message("M1", "SU", "SU")),
        ("as-sent", ERRORS, BOTH),
        ("original", BOTH, message()),
        ("original", message(), message()),
        ("accept", message(), message("M1", "AL", "NE")),
        ("application", message("M1", "NE", "ER"), BOTH),
        ("application", message(mark="#"), message("M1", "AL", "AL", "#")),
        ("application", message().replace(b"\r", b"\n"), BOTH.replace(b"\r", b"\n")),
        ("application", answer("AA")[1:-2], answer("AA")[1:-2]),
    ],
)
def test_what_is_asked_for_is_set_and_all_else_goes_as_it_came(asks, sent, received) -> None:
    async def story() -> None:
        peer = Peer([[AA]])
        async with sending(peer, asks=asks) as destination:
            await destination.send(parcel(sent))
        assert [*peer.messages, *peer.answers] == [received]

    asyncio.run(story())


def test_an_answer_cut_at_every_byte_is_one_answer_and_half_of_it_is_none() -> None:
    wire = (CA + answer("AA", accept="AL")).replace(b"%b", b"M1")

    async def story() -> None:
        peer = Peer([[]])
        async with sending(peer) as destination:
            for cut in range(len(wire)):
                peer.script = [[wire[:cut], 0.0, wire[cut:]]]
                (outcome,) = await destination.send(parcel(BOTH))
                assert told(outcome) == "sent AA"
            assert peer.connections == 1
            for cut in range(0, len(wire), 5):
                peer.script = [[wire[:cut], None]]
                (outcome,) = await destination.send(parcel(BOTH))
                assert told(outcome) == ("sent AA" if cut == len(wire) - 1 else CLOSED)

    asyncio.run(story())


def test_an_answer_to_a_message_that_was_given_up_is_not_the_next_ones() -> None:
    async def story() -> None:
        peer = Peer([[0.35, AA], [answer("AE", "101")]])
        async with sending(peer) as destination:
            first = await destination.send(parcel(message("M1")))
            second = await destination.send(parcel(message("M1")))
            assert [told(one) for one in (*first, *second)] == [SILENT, "dead AE 101"]
            assert peer.connections == 2

    asyncio.run(story())


def test_a_second_answer_is_not_the_next_messages() -> None:
    async def story() -> None:
        peer = Peer([[AA + AA], [answer("AE", "101", "M1"), answer("AA", "", "M1"), AA]])
        async with sending(peer) as destination:
            found = await destination.send(parcel(message("M1"), message("M2")))
        assert [told(one) for one in found] == ["sent AA", "sent AA"]

    asyncio.run(story())


def test_a_peer_that_closes_after_each_answer_gets_all_without_a_failure() -> None:
    async def story() -> None:
        peer = Peer([[AA, None]])
        numbers = ["M1", "M2", "M3"]
        async with sending(peer) as destination:
            left = [message(number) for number in numbers]
            while left:
                found = await destination.send(parcel(*left))
                assert isinstance(found[0], Sent)
                behind = [one for one in found if not isinstance(one, Sent)]
                assert all(isinstance(o, RetryLater) and o.after_seconds == 0.0 for o in behind)
                left = left[len(found) - len(behind) :]
        assert peer.connections == 3
        kept = [one for n, one in enumerate(peer.messages) if one not in peer.messages[:n]]
        assert kept == [message(number) for number in numbers]

    asyncio.run(story())


def test_one_that_fails_keeps_its_lane_back_and_no_other() -> None:
    async def story() -> None:
        peer = Peer([[CA, answer("AE", "101")], [CA, AA]])
        bodies = [message(f"M{n}", "AL", "AL") for n in range(3)]
        async with sending(peer, connections=1) as destination:
            found = await destination.send(parcel(*bodies, lanes=[1, 1, 2]))
        assert [type(one) for one in found] == [Refused, RetryLater, Sent]
        assert found[1].after_seconds == 0.0  # type: ignore[union-attr]

    asyncio.run(story())


def test_an_application_acknowledgement_that_asks_for_it_is_confirmed() -> None:
    async def story() -> None:
        peer = Peer([[CA, answer("AA", accept="AL"), 0.1, AA], [AA]])
        async with sending(peer) as destination:
            await destination.send(parcel(BOTH))
            async with asyncio.timeout(5):
                while not peer.answers:
                    await asyncio.sleep(0.01)
        (confirmed,) = map(read_ack, peer.answers)
        assert (confirmed.code, confirmed.control_id) == ("CA", "A1")

    asyncio.run(story())


def test_a_connection_that_was_silent_for_long_is_made_anew() -> None:
    async def story() -> None:
        peer = Peer([[AA]])
        async with sending(peer, idle=timedelta(milliseconds=100)) as destination:
            for pause in (0.0, 0.0, 0.2):
                await asyncio.sleep(pause)
                (outcome,) = await destination.send(parcel(message()))
                assert isinstance(outcome, Sent)
        assert peer.connections == 2

    asyncio.run(story())


# --- over a connection of the peer's own -------------------------------------------------


@dataclass
class ReturnFeed:
    """A journal that takes acknowledgements, and where senders look for them."""

    folder: str

    def __post_init__(self) -> None:
        self.journal = open_journal(self.folder)
        self.opened = 1_000_000
        self.returns = self.reopened()

    def reopened(self) -> Returns:
        async def in_store(call: Callable[[], object]) -> object:
            return call()

        return Returns(self.journal, "lab-acks", in_store, self.opened)

    def take(self, control_id: str, code: str, error: str = "", at: int = 2_000_000) -> None:
        body = answer(code, error, control_id)[1:-2]
        digest = f"{self.journal.head()}".rjust(64, "0")
        raw = RawMessage(body, "lab-acks", at)
        number = f"A{self.journal.head()}"
        lane = self.returns._lane
        sent = Envelope("LAB|LAB", number, "", digest, "lab", lane)
        self.journal.append([NewEntry(raw, sent, b"", "AA")])


@pytest.fixture
def feed(tmp_path) -> ReturnFeed:
    found = ReturnFeed(tmp_path)
    yield found
    found.journal.close()


RETURNED = [
    ("AA", [CA], [("M1", "AA", "")], "sent AA"),
    ("AE", [CA], [("M1", "AE", "101")], "dead AE 101"),
    ("AE while busy", [CA], [("M1", "AE", "207")], "again refused: AE 207"),
    ("another's first", [CA], [("M7", "AR", ""), ("M1", "AA", "")], "sent AA"),
    ("another's alone", [CA], [("M7", "AA", "")], UNSURE),
    ("no CA at all", [], [("M1", "AA", "")], "sent AA"),
    ("closed after CA", [CA, None], [("M1", "AA", "")], "sent AA"),
    ("CR here", [CR], [], "dead CR"),
]


@pytest.mark.parametrize(
    ("steps", "returned", "outcome"), [row[1:] for row in RETURNED], ids=[r[0] for r in RETURNED]
)
def test_the_application_acknowledgement_may_come_back_over_a_feed(
    feed, steps, returned, outcome
) -> None:
    async def story() -> None:
        peer = Peer([steps])
        async with sending(peer, feed.returns) as destination:
            sent = asyncio.create_task(destination.send(parcel(BOTH)))
            while not peer.messages:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            for control_id, code, error in returned:
                feed.take(control_id, code, error)
            assert [told(one) for one in await sent] == [outcome]
            peer.script = [[AA]]
            (outcome_after,) = await destination.send(parcel(message("M2")))
            assert told(outcome_after) == "sent AA"

    asyncio.run(story())


def test_what_was_accepted_while_nobody_waited_is_not_sent_again(feed) -> None:
    """A receiver that knows the repeat may answer it with CA alone."""

    async def story() -> None:
        peer = Peer([[CA]])
        async with sending(peer, feed.returns) as destination:
            (outcome,) = await destination.send(parcel(BOTH))
            assert told(outcome) == UNSURE
            feed.take("M1", "AA")
            (outcome,) = await destination.send(parcel(BOTH, attempts=1))
            assert told(outcome) == "sent AA"
        # After a restart the attempt is forgotten; when it was queued is not.
        async with sending(peer, feed.reopened()) as destination:
            (outcome,) = await destination.send(parcel(BOTH))
            assert told(outcome) == "sent AA"
        assert len(peer.messages) == 1

    asyncio.run(story())


def test_an_error_that_came_before_does_not_decide_the_next_attempt(feed) -> None:
    async def story() -> None:
        feed.take("M1", "AE", "101")
        peer = Peer([[CA]])
        async with sending(peer, feed.returns) as destination:
            sent = asyncio.create_task(destination.send(parcel(BOTH, attempts=1)))
            await asyncio.sleep(0.1)
            feed.take("M1", "AA")
            (outcome,) = await sent
            assert told(outcome) == "sent AA"
        assert len(peer.messages) == 1

    asyncio.run(story())


# --- TLS ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("serves", "mutual", "trusts", "shows", "sent"),
    [
        ("server", False, "server", None, True),
        ("server", False, "other", None, False),
        ("server", False, None, None, False),
        (None, False, "server", None, False),
        ("server", True, "server", "client", True),
        ("server", True, "server", "other", False),
        ("server", True, "server", None, False),
    ],
    ids=["tls", "unknown-server", "we-are-plain", "peer-is-plain", "mutual", "unknown-client",
         "no-client-certificate"],
)  # fmt: skip
def test_whom_we_send_to_over_tls(certificates, serves, mutual, trusts, shows, sent) -> None:
    server = client = None
    if serves:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*certificates(serves))
        if mutual:
            server.load_verify_locations(certificates("client")[0])
            server.verify_mode = ssl.CERT_REQUIRED
    if trusts:
        client = ssl.create_default_context(cafile=str(certificates(trusts)[0]))
        if shows:
            client.load_cert_chain(*certificates(shows))

    async def story() -> None:
        peer = Peer([[AA]], tls=server)
        async with sending(peer, host="localhost", tls=client) as destination:
            (outcome,) = await destination.send(parcel(message()))
            assert isinstance(outcome, Sent) is sent
            assert sent or isinstance(outcome, RetryLater)
        assert bool(peer.messages) is sent

    asyncio.run(story())


@pytest.mark.parametrize(
    ("serves", "host", "says"),
    [
        ("other", "localhost", "TLS: the certificate of the other side: self"),
        ("server", "127.0.0.1", "IP address mismatch, certificate is not valid for"),
    ],
)
def test_the_reason_says_what_is_wrong_with_a_certificate(certificates, serves, host, says) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificates(serves))
    client = ssl.create_default_context(cafile=str(certificates("server")[0]))

    async def story() -> None:
        peer = Peer([[AA]], tls=server)
        async with sending(peer, host=host, tls=client) as destination:
            (outcome,) = await destination.send(parcel(message()))
        assert isinstance(outcome, RetryLater)
        assert outcome.category == "unreachable"
        assert says in outcome.reason

    asyncio.run(story())


def test_the_reason_says_that_the_peer_wants_another_certificate_of_ours() -> None:
    """TLS 1.3: the peer says so after the handshake, as it closes."""
    line = Line(MllpConfig("lab", "127.0.0.1", 1), SystemClock(), None)

    class Refusing:
        lost = False

    async def story() -> Outcome:
        connection = Refusing()
        line._connection = connection  # type: ignore[assignment]
        connection.write = lambda body: None  # type: ignore[attr-defined]
        outcomes: list[Outcome] = [NOT_TRIED]
        line._used_at = asyncio.get_running_loop().time()
        running = asyncio.create_task(line.run(parcel(message()), [0], outcomes))
        await asyncio.sleep(0)
        error = ssl.SSLError(1, "alert")
        error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
        line.lost(connection, error)  # type: ignore[arg-type]
        await running
        return outcomes[0]

    assert told(asyncio.run(story())) == f"{CLOSED}: TLS: tlsv13 alert certificate required"
