"""The load generator of the benchmark: a process of its own that sends ADT over MLLP.

Each connection has one message under way and sends the next when the acknowledgement
is there, as hospitals' interfaces do. Messages are made beforehand, so that the time
measured is the engine's. Prints one JSON line: counts and acknowledgement latencies.
"""

import argparse
import asyncio
import json
import sys
import time
from array import array
from collections import Counter

from benchmarks.mix import DISORDER, messages

END = b"\x1c\r"


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: "_Load") -> None:
        self.load = load
        self.buffer = b""
        self.sent = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.next()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.buffer.endswith(END):
            return
        accepted = b"\rMSA|AA|" in self.buffer or b"\rMSA|CA|" in self.buffer
        self.load.answered(time.perf_counter() - self.sent, accepted)
        self.buffer = b""
        self.next()

    def next(self) -> None:
        frame, delay = self.load.take()
        if frame is None:
            self.load.idle(self)
        elif delay > 0:
            asyncio.get_running_loop().call_later(delay, self.write, frame)
        else:
            self.write(frame)

    def write(self, frame: bytes) -> None:
        assert self.transport is not None
        self.sent = time.perf_counter()
        self.transport.write(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost()


class _Load:
    def __init__(self, frames: list[bytes], rate: float) -> None:
        self.frames = frames
        self.rate = rate
        self.position = 0
        self.latencies = array("d")
        self.refused = 0
        self.begin = time.perf_counter()
        self.finished = asyncio.Event()

    def take(self) -> tuple[bytes | None, float]:
        if self.position == len(self.frames):
            return None, 0.0
        frame = self.frames[self.position]
        due = self.begin + self.position / self.rate if self.rate else 0.0
        self.position += 1
        return frame, max(0.0, due - time.perf_counter()) if self.rate else 0.0

    def answered(self, seconds: float, accepted: bool) -> None:
        self.latencies.append(seconds)
        if not accepted:
            self.refused += 1
        if len(self.latencies) == len(self.frames):
            self.finished.set()

    def idle(self, _line: _Line) -> None:
        """Nothing is left for this connection."""

    def lost(self) -> None:
        if len(self.latencies) < len(self.frames):
            sys.exit("the engine closed a connection")


async def run(port: int, connections: int, frames: list[bytes], rate: float) -> dict[str, object]:
    """Send all frames; the figures."""
    load = _Load(frames, rate)
    loop = asyncio.get_running_loop()
    first = time.time()
    for _ in range(min(connections, len(frames))):
        await loop.create_connection(lambda: _Line(load), "127.0.0.1", port)
    await load.finished.wait()
    seconds = time.perf_counter() - load.begin
    ordered = sorted(load.latencies)
    return {
        "messages": len(ordered),
        "refused": load.refused,
        "first_sent_at": first,
        "seconds": seconds,
        "p50": ordered[len(ordered) // 2] * 1000,
        "p99": ordered[int(len(ordered) * 0.99)] * 1000,
        "max": ordered[-1] * 1000,
        "bytes": sum(len(frame) - 3 for frame in frames),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--messages", type=int, default=10000)
    parser.add_argument("--patients", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="messages per second; 0: full speed"
    )
    for name in DISORDER:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=0.0)
    options = parser.parse_args()
    disorder = {name: getattr(options, name) for name in DISORDER}
    frames = [
        b"\x0b" + body + END
        for body in messages(
            options.messages, patients=options.patients, seed=options.seed, **disorder
        )
    ]
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    cpu = time.process_time()
    try:
        import uvloop

        result = uvloop.run(run(options.port, options.connections, frames, options.rate))
    except ImportError:
        result = asyncio.run(run(options.port, options.connections, frames, options.rate))
    result["cpu_seconds"] = time.process_time() - cpu
    events = Counter(frame.split(b"|", 9)[8].split(b"^")[1].decode() for frame in frames)
    result["events"] = {event: n / len(frames) for event, n in sorted(events.items())}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
