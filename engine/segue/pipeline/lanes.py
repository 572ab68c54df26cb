"""The deliveries that a sender holds, in the order in which they may go.

Order is kept per lane (destination, person) and nowhere else: a lane whose first
delivery is delayed or dead waits, and no other lane notices. Pure bookkeeping:
nothing here sends, stores or knows the time.

Source: docs/architecture.md, "Outbound".
"""

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from segue.model.deliveries import QueuedDelivery


@dataclass(slots=True)
class Held:
    """One delivery in hand.

    Attributes:
        attempts: how often it was tried before.
        row: whether the store has an exception row for it.
        alone: whether it must travel without other lanes, because a parcel that it
            was in failed as a whole and it may be the cause.
    """

    queued: QueuedDelivery
    partition: str
    attempts: int = 0
    row: bool = False
    alone: bool = False

    @property
    def spot(self) -> int:
        """Its place in the one commit order, as the cursor counts."""
        return self.queued.position << 20 | self.queued.ordinal


@dataclass(slots=True)
class _Lane:
    """`due`: 0 free, `inf` behind a dead letter, else when it may go on."""

    partition: str
    items: deque[Held] = field(default_factory=deque)
    due: float = 0.0
    busy: bool = False
    ready: bool = False


class Lanes:
    """The lanes of one destination.

    Times are seconds of the caller's monotonic clock. A lane behind a dead letter keeps
    nothing in memory: its deliveries have rows, and `reload` brings them back.
    """

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}
        self._ready: deque[int] = deque()
        self._later: list[tuple[float, int]] = []
        self.held = 0

    def add(self, held: Iterable[Held]) -> list[Held]:
        """Take fresh deliveries in commit order; return those stuck in a lane that waits."""
        stuck = []
        for one in held:
            number = one.queued.delivery.lane
            lane = self._lanes.get(number)
            if lane is None:
                lane = self._lanes[number] = _Lane(one.partition)
            if lane.due != inf:
                lane.items.append(one)
                self.held += 1
            if lane.due:
                stuck.append(one)
            else:
                self._make_ready(number, lane)
        return stuck

    def pick(self, limit: int, now: float) -> list[Held]:
        """Take up to `limit` deliveries of free lanes, each lane's in order.

        The lanes are busy until `done`. No resource occurs twice, as FHIR forbids it
        in one transaction (https://hl7.org/fhir/R4/http.html#trules).
        """
        self._wake(now)
        picked: list[Held] = []
        resources: set[str] = set()
        passed: list[int] = []
        while self._ready and len(picked) < limit:
            number = self._ready.popleft()
            lane = self._lanes[number]
            if lane.items[0].alone:
                if picked:
                    passed.append(number)
                    continue
                picked.append(lane.items.popleft())
                lane.busy, lane.ready = True, False
                break
            before = len(picked)
            while lane.items and len(picked) < limit and not lane.items[0].alone:
                delivery = lane.items[0].queued.delivery
                if delivery.form == "fhir":
                    if delivery.what in resources:
                        break
                    resources.add(delivery.what)
                picked.append(lane.items.popleft())
            if len(picked) > before:
                lane.busy, lane.ready = True, False
            else:
                passed.append(number)
        self._ready.extendleft(reversed(passed))
        self.held -= len(picked)
        return picked

    def done(self, number: int, back: Sequence[Held] = (), due: float = 0.0) -> list[Held]:
        """Free a lane: put back, first, what did not go; wait until `due`.

        Returns:
            what is stuck in the lane now and has no row yet, `back` among it.
        """
        lane = self._lanes[number]
        lane.busy = False
        lane.items.extendleft(reversed(back))
        self.held += len(back)
        if due:
            stuck = [one for one in lane.items if not one.row]
            self._park(number, lane, due)
            return stuck
        self._make_ready(number, lane)
        return []

    def hurry(self, limit: int | None = None) -> None:
        """Make delayed lanes due at once, the earliest first: all, or up to a number."""
        released = 0
        while self._later and (limit is None or released < limit):
            due, number = heapq.heappop(self._later)
            released += self._release(number, due)

    def reload(
        self,
        partition: str,
        found: Mapping[int, tuple[Sequence[Held], float]],
        moved: Collection[int] = (),
    ) -> None:
        """Put the partition's deliveries that have rows as the store says they are.

        What a lane holds without a row comes after them. A lane that was let go earlier
        than its row says stays free.

        Args:
            partition: whose lanes are meant; busy lanes are left alone.
            found: lane to (deliveries with rows, in order; its `due`).
            moved: lanes of which the store does not know the latest yet; left alone too.
        """
        for number, lane in list(self._lanes.items()):
            if lane.partition != partition or lane.busy or number in moved:
                continue
            if number not in found:
                self._refill(number, lane, (), 0.0)
        for number, (rows, due) in found.items():
            lane = self._lanes.setdefault(number, _Lane(partition))
            if lane.busy or number in moved:
                continue
            same = lane.items and rows and lane.items[0].queued.id == rows[0].queued.id
            self._refill(number, lane, rows, min(due, lane.due) if same else due)

    def _refill(self, number: int, lane: _Lane, rows: Sequence[Held], due: float) -> None:
        items = deque((*rows, *(one for one in lane.items if not one.row)))
        self.held += len(items) - len(lane.items)
        lane.items = items
        if due and due == lane.due != inf:
            return
        if due or not items:
            self._park(number, lane, due)
        if not due:
            lane.due = 0.0
            self._make_ready(number, lane)

    def forget(self, partition: str) -> None:
        """Let go of a partition that another sender has now; what is under way stays so."""
        for number, lane in list(self._lanes.items()):
            if lane.partition == partition:
                self.held -= len(lane.items)
                lane.items.clear()
                if not lane.busy:
                    del self._lanes[number]
        self._ready = deque(number for number in self._ready if number in self._lanes)

    def ready(self, now: float) -> bool:
        """Whether any lane may go."""
        self._wake(now)
        return bool(self._ready)

    def next_due(self) -> float:
        """When the next delayed lane is due, `inf` if none is."""
        return self._later[0][0] if self._later else inf

    def _park(self, number: int, lane: _Lane, due: float) -> None:
        lane.due = due
        if lane.ready:
            lane.ready = False
            self._ready.remove(number)
        if due == inf:
            self.held -= len(lane.items)
            lane.items.clear()
        elif due:
            heapq.heappush(self._later, (due, number))

    def _wake(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            due, number = heapq.heappop(self._later)
            self._release(number, due)

    def _release(self, number: int, due: float) -> bool:
        lane = self._lanes.get(number)
        if lane is None or lane.due != due:
            return False
        lane.due = 0.0
        self._make_ready(number, lane)
        return True

    def _make_ready(self, number: int, lane: _Lane) -> None:
        if lane.busy or lane.ready or lane.due:
            return
        if lane.items:
            lane.ready = True
            self._ready.append(number)
        else:
            del self._lanes[number]


class Progress:
    """How far a leased partition is settled, though its deliveries end in any order.

    >>> progress = Progress(0)
    >>> progress.read([10, 20, 30])
    >>> progress.over(20), progress.cursor
    (False, 0)
    >>> progress.over(10), progress.cursor
    (True, 20)
    """

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor
        self.read_to = cursor
        self._open: deque[int] = deque()
        self._over: set[int] = set()

    def read(self, spots: Sequence[int]) -> None:
        """Deliveries were read, in order, beyond all that were read before."""
        self._open.extend(spots)
        if spots:
            self.read_to = spots[-1]

    def over(self, spot: int) -> bool:
        """A delivery is sent or has a row; say whether the cursor moved."""
        if spot <= self.cursor:
            return False
        self._over.add(spot)
        moved = False
        while self._open and self._open[0] in self._over:
            self.cursor = self._open.popleft()
            self._over.discard(self.cursor)
            moved = True
        return moved

    @property
    def unsettled(self) -> int:
        """How many were read and are not over."""
        return len(self._open) - len(self._over)
