"""Order per lane, and nothing else: the bookkeeping of a sender."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from segue.model.deliveries import Delivery, QueuedDelivery
from segue.pipeline.lanes import Held, Lanes, Progress


def held(id_: int, lane: int, what: str | None = None, *, row: bool = False) -> Held:
    delivery = Delivery("pcpb", lane, "fhir", what or f"Task/{id_}", 1, "1")
    return Held(QueuedDelivery(id_, delivery, id_, 0, 0), f"pcpb/{lane % 8}", row=row)


def ids(ones: list[Held]) -> list[int]:
    return [one.queued.id for one in ones]


def test_a_parcel_takes_many_lanes_and_keeps_each_in_order():
    lanes = Lanes()
    lanes.add([held(1, 1), held(2, 2), held(3, 1), held(4, 3)])
    assert ids(lanes.pick(10, 0.0)) == [1, 3, 2, 4]


def test_a_lane_in_a_parcel_is_not_in_the_next_one():
    lanes = Lanes()
    lanes.add([held(1, 1), held(2, 1), held(3, 2)])
    assert ids(lanes.pick(1, 0.0)) == [1]
    assert ids(lanes.pick(5, 0.0)) == [3]
    lanes.done(1)
    assert ids(lanes.pick(5, 0.0)) == [2]


def test_one_resource_goes_into_a_parcel_once():
    lanes = Lanes()
    lanes.add([held(1, 1, "CarePlan/a"), held(2, 1, "CarePlan/a"), held(3, 2)])
    assert ids(lanes.pick(5, 0.0)) == [1, 3]
    lanes.done(1)
    assert ids(lanes.pick(5, 0.0)) == [2]


def test_what_is_put_back_comes_first_and_waits():
    lanes = Lanes()
    lanes.add([held(1, 1), held(2, 1), held(3, 2)])
    picked = lanes.pick(2, 0.0)
    lanes.add([held(4, 1)])
    stuck = lanes.done(1, picked, due=10.0)
    assert ids(stuck) == [1, 2, 4]
    assert ids(lanes.pick(5, 9.0)) == [3]
    assert lanes.next_due() == 10.0
    assert ids(lanes.pick(5, 10.0)) == [1, 2, 4]


def test_a_dead_letter_stops_its_own_lane_alone():
    lanes = Lanes()
    lanes.add([held(1, 1), held(2, 1), held(3, 2)])
    picked = lanes.pick(1, 0.0)
    assert ids(lanes.done(1, picked, due=inf)) == [1, 2]
    assert ids(lanes.add([held(4, 1)])) == [4]
    assert ids(lanes.pick(5, 1e9)) == [3]
    assert lanes.held == 0


def test_a_lane_goes_on_when_an_operator_has_dropped_its_dead_letter():
    lanes = Lanes()
    lanes.add([held(1, 1), held(2, 1)])
    lanes.done(1, lanes.pick(1, 0.0), due=inf)
    lanes.add([held(3, 1)])
    lanes.reload("pcpb/1", {1: ([held(2, 1, row=True), held(3, 1, row=True)], 0.0)})
    assert ids(lanes.pick(5, 0.0)) == [2, 3]


def test_a_reload_leaves_lanes_alone_whose_end_the_store_does_not_know_yet():
    lanes = Lanes()
    lanes.add([held(1, 1)])
    lanes.pick(5, 0.0)
    lanes.done(1)
    lanes.reload("pcpb/1", {1: ([held(1, 1, row=True)], 0.0)}, moved={1})
    assert lanes.pick(5, 0.0) == []


def test_a_hurried_lane_stays_free_at_the_next_reload():
    lanes = Lanes()
    lanes.add([held(1, 1)])
    picked = lanes.pick(5, 0.0)
    picked[0].row = True
    lanes.done(1, picked, due=900.0)
    lanes.hurry()
    lanes.reload("pcpb/1", {1: ([held(1, 1, row=True)], 900.0)})
    assert ids(lanes.pick(5, 1.0)) == [1]


def test_a_suspect_travels_alone():
    lanes = Lanes()
    lanes.add([held(1, 1), held(2, 2), held(3, 3)])
    picked = lanes.pick(1, 0.0)
    picked[0].alone = True
    lanes.done(1, picked, due=1.0)
    assert ids(lanes.pick(5, 0.0)) == [2, 3]
    lanes.done(2)
    lanes.done(3)
    lanes.add([held(4, 1), held(5, 4)])
    assert sorted(map(tuple, [ids(lanes.pick(5, 2.0)), ids(lanes.pick(5, 2.0))])) == [(1,), (5,)]


def test_a_partition_that_is_lost_leaves_nothing_behind():
    lanes = Lanes()
    lanes.add([held(1, 1), held(2, 2), held(3, 9)])
    lanes.forget("pcpb/1")
    assert ids(lanes.pick(5, 0.0)) == [2]
    assert lanes.held == 0


@given(st.permutations(list(range(1, 9))))
def test_the_cursor_never_passes_what_is_not_over(order):
    progress = Progress(0)
    progress.read(list(range(1, 9)))
    over: set[int] = set()
    for spot in order:
        progress.over(spot)
        over.add(spot)
        expected = next((n - 1 for n in range(1, 9) if n not in over), 8)
        assert progress.cursor == expected
    assert progress.unsettled == 0


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=40), st.randoms())
def test_each_lane_is_sent_in_order_whatever_fails_and_whenever(events, random):
    """A delivery fails at most twice, then goes; parcels end in any order."""
    lanes = Lanes()
    sent: dict[int, list[int]] = {}
    lanes.add([held(n, lane) for n, (lane, _) in enumerate(events, 1)])
    fails = {n: 2 for n, (_, bad) in enumerate(events, 1) if bad}
    now, flying = 0.0, []
    for _ in range(1000):
        picked = lanes.pick(3, now)
        if picked:
            flying.append(picked)
        if not flying:
            if lanes.next_due() == inf:
                break
            now = lanes.next_due()
            continue
        parcel = flying.pop(random.randrange(len(flying)))
        by_lane: dict[int, list[Held]] = {}
        for one in parcel:
            by_lane.setdefault(one.queued.delivery.lane, []).append(one)
        for number, ones in by_lane.items():
            bad = next((i for i, one in enumerate(ones) if fails.get(one.queued.id)), None)
            good = ones if bad is None else ones[:bad]
            sent.setdefault(number, []).extend(ids(good))
            if bad is None:
                lanes.done(number)
            else:
                fails[ones[bad].queued.id] -= 1
                for stuck in lanes.done(number, ones[bad:], now + 1 + random.random()):
                    stuck.row = True
    assert lanes.held == 0
    for number, got in sent.items():
        assert got == [n for n, (lane, _) in enumerate(events, 1) if lane == number]
    assert sum(map(len, sent.values())) == len(events)
