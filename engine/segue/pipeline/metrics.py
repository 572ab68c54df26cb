"""Figures for operators; names, feeds and destinations only, never patient data."""

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics(Protocol):
    """What intake and delivery report. Called once per batch, not per message."""

    def received(self, feed: str, code: str, count: int) -> None:
        """Messages answered: MSA-1, or `duplicate`, or `none` where nothing was answered."""
        ...

    def cut(self, feed: str, cut: str, *, kept: bool) -> None:
        """What did not come whole (`truncated`, `oversize`): kept in quarantine, or not."""
        ...

    def committed(self, entries: int, seconds: float) -> None:
        """A group commit of the journal."""
        ...

    def waiting(self, count: int) -> None:
        """Messages that were taken and are not answered yet."""
        ...

    def delivered(self, destination: str, outcome: str, count: int) -> None:
        """Deliveries by outcome: `sent`, `retry`, `refused`."""
        ...

    def sent(self, destination: str, seconds: float) -> None:
        """A parcel's round trip."""
        ...

    def halted(self, destination: str, halted: bool) -> None:
        """Whether a destination is paused: by its breaker, or by 401 and 403."""
        ...


class NoMetrics:
    """Reports to nobody."""

    def received(self, feed: str, code: str, count: int) -> None:
        """Nothing."""

    def cut(self, feed: str, cut: str, *, kept: bool) -> None:
        """Nothing."""

    def committed(self, entries: int, seconds: float) -> None:
        """Nothing."""

    def waiting(self, count: int) -> None:
        """Nothing."""

    def delivered(self, destination: str, outcome: str, count: int) -> None:
        """Nothing."""

    def sent(self, destination: str, seconds: float) -> None:
        """Nothing."""

    def halted(self, destination: str, halted: bool) -> None:
        """Nothing."""


class PrometheusMetrics:
    """Reports to a Prometheus registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._received = Counter(
            "segue_received_messages", "Messages answered.", ["feed", "code"], registry=registry
        )
        self._cut = Counter(
            "segue_cut_messages",
            "Messages that did not come whole.",
            ["feed", "cut", "outcome"],
            registry=registry,
        )
        self._commit = Histogram(
            "segue_journal_commit_seconds",
            "Group commits of the journal.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._entries = Histogram(
            "segue_journal_commit_entries",
            "Messages per group commit.",
            buckets=_SIZES,
            registry=registry,
        )
        self._waiting = Gauge(
            "segue_unanswered_messages", "Messages taken, not answered.", registry=registry
        )
        self._deliveries = Counter(
            "segue_deliveries", "Deliveries.", ["destination", "outcome"], registry=registry
        )
        self._sent = Histogram(
            "segue_delivery_seconds",
            "Round trips of parcels.",
            ["destination"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._halted = Gauge(
            "segue_destination_halted",
            "1 while a destination is paused.",
            ["destination"],
            registry=registry,
        )

    def received(self, feed: str, code: str, count: int) -> None:
        """Messages answered."""
        self._received.labels(feed, code).inc(count)

    def cut(self, feed: str, cut: str, *, kept: bool) -> None:
        """What did not come whole."""
        self._cut.labels(feed, cut, "kept" if kept else "dropped").inc()

    def committed(self, entries: int, seconds: float) -> None:
        """A group commit of the journal."""
        self._commit.observe(seconds)
        self._entries.observe(entries)

    def waiting(self, count: int) -> None:
        """Messages that were taken and are not answered yet."""
        self._waiting.set(count)

    def delivered(self, destination: str, outcome: str, count: int) -> None:
        """Deliveries by outcome."""
        self._deliveries.labels(destination, outcome).inc(count)

    def sent(self, destination: str, seconds: float) -> None:
        """A parcel's round trip."""
        self._sent.labels(destination).observe(seconds)

    def halted(self, destination: str, halted: bool) -> None:
        """Whether a destination is paused."""
        self._halted.labels(destination).set(1 if halted else 0)
