"""Hints that there is something new to read; whoever waits also polls.

A lost hint costs one polling interval, a false one an empty query. Embedded: an empty
datagram to the Unix sockets of all who wait; PostgreSQL: LISTEN and NOTIFY.
"""

# ruff: noqa: D102 - the protocol says it

import contextlib
import hashlib
import os
import select
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import psycopg

Channel = Literal["journal", "outbox"]


class Bell(Protocol):
    """What tells other processes that they may read on."""

    def ring(self, channel: Channel) -> None:
        """Wake all who wait; call it after the commit."""
        ...

    def wait(self, channel: Channel, timeout: float) -> bool:
        """Wait for a ring since the last call, at most `timeout` seconds; whether one came."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class SocketBell:
    """Rings over Unix datagram sockets in one directory of this machine."""

    def __init__(self, data_dir: Path) -> None:
        """Take the data directory that the ringing and the waiting processes share."""
        folder = data_dir.resolve() / "wake"
        if len(str(folder)) > 70:  # a socket's address has 108 bytes at most, 104 on macOS
            name = hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()
            folder = Path(tempfile.gettempdir()) / f"segue-{os.getuid()}-{name}"
        self._folder = folder
        self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setblocking(False)
        self._local = threading.local()
        self._bound: list[tuple[socket.socket, Path]] = []

    def ring(self, channel: Channel) -> None:
        for name in self._listening():
            if name.startswith(channel):
                path = f"{self._folder}/{name}"
                try:
                    self._out.sendto(b"!", path)
                except BlockingIOError:
                    pass  # it has rings enough to wake up by
                except (ConnectionRefusedError, FileNotFoundError):
                    with contextlib.suppress(FileNotFoundError):
                        Path(path).unlink()
                except OSError:
                    pass

    def _listening(self) -> list[str]:
        try:
            return os.listdir(self._folder)  # noqa: PTH208 - once for each commit
        except FileNotFoundError:
            return []

    def wait(self, channel: Channel, timeout: float) -> bool:
        ear = self._ear(channel)
        ready, _, _ = select.select([ear], [], [], timeout)
        if not ready:
            return False
        with contextlib.suppress(BlockingIOError):
            while ear.recv(16):
                pass
        return True

    def _ear(self, channel: Channel) -> socket.socket:
        ears: dict[str, socket.socket] | None = getattr(self._local, "ears", None)
        if ears is None:
            ears = self._local.ears = {}
        if channel not in ears:
            ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            path = self._folder / f"{channel}.{os.getpid()}.{threading.get_ident()}"
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            ear.bind(str(path))
            ear.setblocking(False)
            ears[channel] = ear
            self._bound.append((ear, path))
        return ears[channel]

    def close(self) -> None:
        for ear, path in self._bound:
            ear.close()
            path.unlink(missing_ok=True)
        self._bound.clear()
        self._out.close()
        # It fails, as it should, while others listen.
        with contextlib.suppress(OSError):
            self._folder.rmdir()


class NotifyBell:
    """Rings through PostgreSQL."""

    def __init__(self, url: str) -> None:
        """Take the URL of the database that ringing and waiting processes share."""
        self._url = url
        self._local = threading.local()
        self._all: list[psycopg.Connection] = []

    def _connection(self, channel: str | None) -> "psycopg.Connection":
        import psycopg

        kept: dict[str | None, psycopg.Connection] | None = getattr(self._local, "kept", None)
        if kept is None:
            kept = self._local.kept = {}
        if channel not in kept or kept[channel].closed:
            kept[channel] = psycopg.connect(self._url, autocommit=True)
            self._all.append(kept[channel])
            if channel is not None:
                kept[channel].execute(f"LISTEN segue_{channel}")
        return kept[channel]

    def ring(self, channel: Channel) -> None:
        import psycopg

        # What was committed stays so, whether or not anybody hears of it.
        with contextlib.suppress(psycopg.OperationalError):
            self._connection(None).execute(f"NOTIFY segue_{channel}")

    def wait(self, channel: Channel, timeout: float) -> bool:
        import psycopg

        try:
            heard = list(self._connection(channel).notifies(timeout=timeout, stop_after=1))
        except psycopg.OperationalError:
            threading.Event().wait(timeout)
            return False
        return bool(heard)

    def close(self) -> None:
        for connection in self._all:
            connection.close()
        self._all.clear()
