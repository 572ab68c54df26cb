"""Takes files of HL7 v2 from a directory: one message, many, or a batch (FHS, BHS).

A file is read once it has not changed for a moment, each of its messages is an entry of
its own, and the file moves to `done/` with the acknowledgements beside it (`<name>.ack`),
or to `failed/` where any message was rejected. A crash in between reads the file again;
its messages are then duplicates and get the same answers. A batch that ends in the middle
of a message, without its trailer, was cut off: that message is held in quarantine.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from segue.adapters.sources.payload import HEAD, Payloads
from segue.hl7v2.ack import read_ack
from segue.hl7v2.batch import split, split_cut
from segue.model.instants import Clock
from segue.pipeline.ports import Intake

log = structlog.get_logger(__name__)

_ACCEPTED = ("AA", "CA", "")


@dataclass(frozen=True, slots=True)
class FolderConfig:
    """A directory for one feed.

    Attributes:
        poll: between two looks. settle: a file must not have changed for so long.
        pattern: names that are read; hidden files never are.
        window: messages that wait for their answer at once.
        max_bytes: a longer message is answered AR. max_file_bytes: a larger file is
            answered AR unread.
    """

    feed: str
    path: Path
    poll: timedelta = timedelta(seconds=1)
    settle: timedelta = timedelta(milliseconds=500)
    pattern: str = "*"
    window: int = 1000
    max_bytes: int = 16 * 1_048_576
    max_file_bytes: int = 256 * 1_048_576


class Folder:
    """The source kind `folder`."""

    def __init__(self, config: FolderConfig, intake: Intake, clock: Clock) -> None:
        """Take the parts; nothing is read before `start`."""
        self.config = config
        self._payloads = Payloads(config.feed, intake, clock, config.max_bytes)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poller: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._sizes: dict[str, tuple[int, int, float]] = {}

    @property
    def feed(self) -> str:
        """Name of the feed."""
        return self.config.feed

    async def start(self) -> None:
        """Begin to look.

        Raises:
            OSError: the directory cannot be made or written to.
        """
        self._loop = asyncio.get_running_loop()
        for name in ("done", "failed"):
            (self.config.path / name).mkdir(parents=True, exist_ok=True)
        self._stopping.clear()
        self._poller = asyncio.create_task(self._poll())
        log.info("feed.watching", feed=self.feed)

    async def stop(self) -> None:
        """Finish the file that is being read."""
        self._stopping.set()
        if self._poller is not None:
            await self._poller
            self._poller = None

    async def _poll(self) -> None:
        while not self._stopping.is_set():
            try:
                for file in self._settled():
                    await self._read(file)
                    if self._stopping.is_set():
                        return
            except OSError as error:
                log.error("folder.failed", feed=self.feed, error=error.strerror)  # noqa: TRY400
            try:
                async with asyncio.timeout(self.config.poll.total_seconds()):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    def _settled(self) -> list[Path]:
        """Files that have not changed for `settle`, oldest first."""
        assert self._loop is not None
        now = self._loop.time()
        seen: dict[str, tuple[int, int, float]] = {}
        ready: list[tuple[int, Path]] = []
        for file in self.config.path.glob(self.config.pattern):
            if file.name.startswith(".") or not file.is_file():
                continue
            status = file.stat()
            size, changed, since = self._sizes.get(file.name, (-1, -1, now))
            if (size, changed) != (status.st_size, status.st_mtime_ns):
                since = now
            seen[file.name] = (status.st_size, status.st_mtime_ns, since)
            if now - since >= self.config.settle.total_seconds():
                ready.append((status.st_mtime_ns, file))
        self._sizes = seen
        return [file for _, file in sorted(ready)]

    async def _read(self, file: Path) -> None:
        if file.stat().st_size > self.config.max_file_bytes:
            log.error("file.refused", feed=self.feed, reason="too large")
            with file.open("rb") as handle:
                head = handle.read(HEAD)
            self._file_away(file, await self._payloads.refuse(head), accepted=False)
            return
        raw = await asyncio.to_thread(file.read_bytes)
        batch = split(raw)
        messages = split_cut(raw) if batch.cut else batch.messages
        acks: list[bytes] = []
        for start in range(0, len(messages), self.config.window):
            end = start + self.config.window
            last = batch.cut and end >= len(messages)
            answers = await self._payloads.submit(messages[start:end], cut=last)
            if None in answers:
                # The journal failed: the file stays, and is read again.
                log.warning("file.kept", feed=self.feed)
                return
            acks += [answer for answer in answers if answer is not None]
        for issue in batch.issues:
            log.warning("file.doubtful", feed=self.feed, code=issue.code)
        accepted = bool(acks) and all(read_ack(ack).code in _ACCEPTED for ack in acks)
        self._file_away(file, self._payloads.whole(batch, acks), accepted=accepted)
        log.info("file.received", feed=self.feed, messages=len(acks), accepted=accepted)

    def _file_away(self, file: Path, acks: bytes, *, accepted: bool) -> None:
        """Write the answers, then move the file: a crash in between repeats both."""
        folder = self.config.path / ("done" if accepted else "failed")
        target, number = folder / file.name, 1
        while target.exists():
            number += 1
            target = folder / f"{file.name}.{number}"
        target.with_name(target.name + ".ack").write_bytes(acks)
        file.rename(target)
        self._sizes.pop(file.name, None)
