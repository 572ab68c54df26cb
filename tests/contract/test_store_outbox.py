"""Leases, the outbox and the inbox, on both databases."""

import threading
from pathlib import Path

import pytest

from segue.model.deliveries import QueuedDelivery, Receipt
from segue.model.issues import Issue
from segue.store.listings import DeliveryFilter, DeliveryState, EntryFilter
from segue.store.outbox import Outbox
from segue.store.records import Commit, CursorMove, Lease, RevisionConflict, Setback, Settlement
from segue.store.store import Store
from tests.support.rows import (
    NOW_US,
    commit_one,
    deliver,
    entry,
    opened,
    opened_journal,
    step,
    write,
)

Where = str | Path


def queue(store: Store, *lanes: int, destination: str = "lab") -> None:
    """One commit with a delivery for each lane, in this order."""
    store.commit(Commit(steps=[step(1, deliveries=[deliver(destination, one) for one in lanes])]))


def spot(queued: QueuedDelivery) -> int:
    return queued.position << 20 | queued.ordinal


def lease_of(outbox: Outbox, lane: int, destination: str = "lab") -> Lease:
    return next(
        one for one in outbox.lease(destination) if one.partition == f"{destination}/{lane % 8}"
    )


def sent(queued: QueuedDelivery, attempts: int = 1) -> tuple[QueuedDelivery, Receipt, int]:
    return queued, Receipt(NOW_US + 9, "200", None), attempts


def setback(queued: QueuedDelivery, state: str, not_before: int | None = None) -> Setback:
    return Setback(queued, state, 1, not_before, "refused", 422, "no")  # type: ignore[arg-type]


# --- leases ------------------------------------------------------------------------------


def test_partitions_are_shared_fairly_and_each_has_one_holder(where: Where) -> None:
    with opened(where) as store:
        one, two = store.leases("one"), store.leases("two")
        assert len(one.hold("journal")) == 64
        assert two.hold("journal") == [], "nothing is free yet"
        first = one.hold("journal")
        second = two.hold("journal")
        assert (len(first), len(second)) == (32, 32)
        held = {lease.partition for lease in first} | {lease.partition for lease in second}
        assert held == {str(lane) for lane in range(64)}


def test_a_new_holder_has_a_higher_token_and_fences_the_old_one_off(where: Where) -> None:
    with opened(where) as store:
        one, two = store.leases("one"), store.leases("two")
        old = one.hold("journal", ["5"])[0]
        assert two.hold("journal", ["5"]) == []
        one.release("journal", ["5"])
        new = two.hold("journal", ["5"])[0]
        assert new.token > old.token
        with pytest.raises(RevisionConflict):
            store.commit(Commit(moves=[CursorMove("journal", "5", old.token, 0, 1)]))
        store.commit(Commit(moves=[CursorMove("journal", "5", new.token, 0, 1)]))
        assert two.hold("journal", ["5"])[0].cursor == 1


def test_a_holder_that_prolongs_keeps_its_token(where: Where) -> None:
    with opened(where) as store:
        leases = store.leases("one")
        assert leases.hold("journal") == leases.hold("journal")


def test_a_lease_that_was_not_prolonged_is_taken_over(where: Where) -> None:
    with opened(where) as store:
        old = store.leases("dead").hold("journal", ["5"])[0]
        with store.database.write() as session:
            session.run("UPDATE lease SET expires = 1")
            session.run("UPDATE holder SET expires = 1")
        assert store.leases("heir").hold("journal", ["5"])[0].token == old.token + 1


def test_clearing_frees_everything_at_once(where: Where) -> None:
    with opened(where) as store:
        store.leases("dead").hold("journal")
        store.clear_leases()
        assert len(store.leases("new").hold("journal")) == 64


# --- lanes of merged persons -------------------------------------------------------------


def test_a_delivery_waits_for_the_lane_of_the_person_that_was_merged(where: Where) -> None:
    with opened(where) as store:
        outbox = store.outbox("s")
        queue(store, 3, 4)
        merge = deliver("lab", 5, "Patient/p", after=(3, 12), notice="identity-merged")
        store.commit(Commit(steps=[step(2, deliveries=[merge, deliver("lab", 3)])]))
        lease, other = lease_of(outbox, 5), lease_of(outbox, 3)
        (held,) = outbox.read(lease, lease.cursor, 10)
        assert (held.delivery.after, held.delivery.notice) == ((3, 12), "identity-merged")
        assert outbox.waits(held)
        first, later = outbox.read(other, other.cursor, 10)
        outbox.settle([Settlement(other, setbacks=[setback(first, "dead")], cursor=spot(first))])
        assert outbox.waits(held), "a dead letter holds up what comes after it, here too"
        outbox.settle([Settlement(other, sent=[sent(first)], cursor=spot(first))])
        assert not outbox.waits(held), "what was queued for that lane later does not count"
        assert outbox.waits(held._replace(position=later.position, ordinal=later.ordinal + 1))


# --- sending -----------------------------------------------------------------------------


def test_deliveries_come_in_commit_order_and_only_those_of_the_partition(where: Where) -> None:
    with opened(where) as store:
        queue(store, 3, 11, 4, 3)
        queue(store, 3)
        queue(store, 3, destination="other")
        outbox = store.outbox("s")
        lease = lease_of(outbox, 3)
        found = outbox.read(lease, lease.cursor, 100)
        assert [(one.position, one.delivery.lane) for one in found] == [
            (1, 3),
            (1, 11),
            (1, 3),
            (2, 3),
        ]
        assert [spot(one) for one in found] == sorted(spot(one) for one in found)
        assert len({one.id for one in found}) == 4
        assert found[0].delivery == deliver("lab", 3)
        rest = outbox.read(lease, spot(found[1]), 1)
        assert rest == [found[2]]


def test_reading_goes_on_where_it_stopped_while_others_commit(where: Where) -> None:
    with opened(where) as store:
        outbox = store.outbox("s")
        lease = lease_of(outbox, 0)
        after, seen = lease.cursor, []
        for _ in range(4):
            assert outbox.read(lease, after, 10) == []
            queue(store, 1)
            queue(store, 0)
            found = outbox.read(lease, after, 10)
            seen += [one.position for one in found]
            after = spot(found[-1])
        assert seen == [2, 4, 6, 8]
        again = outbox.read(lease, lease.cursor, 10)
        assert [one.position for one in again] == seen, "from the start, all come again"


def test_a_reader_by_cursor_misses_nothing_that_others_commit_meanwhile(where: Where) -> None:
    with opened(where) as store:
        outbox = store.outbox("s")
        lease = lease_of(outbox, 0)
        writers = [
            threading.Thread(target=lambda: [queue(store, 0, 0) for _ in range(60)])
            for _ in range(4)
        ]
        for thread in writers:
            thread.start()
        seen: list[QueuedDelivery] = []
        after = lease.cursor
        writing = True
        while writing or (found := outbox.read(lease, after, 7)):
            writing = any(thread.is_alive() for thread in writers)
            found = outbox.read(lease, after, 7)
            seen += found
            after = spot(found[-1]) if found else after
        assert len({one.id for one in seen}) == len(seen) == 480
        assert [spot(one) for one in seen] == sorted(spot(one) for one in seen)


def test_what_is_settled_is_not_read_again_and_answers_for_itself(where: Where) -> None:
    with opened(where) as store:
        queue(store, 0, 0)
        queue(store, 0)
        outbox = store.outbox("s")
        lease = lease_of(outbox, 0)
        one, two, three = outbox.read(lease, 0, 10)
        assert store.deliveries().backlog()["lab"].waiting == 3
        outbox.settle([Settlement(lease, sent=[sent(one), sent(three, 2)], cursor=spot(one))])
        assert lease_of(outbox, 0).cursor == spot(one)
        assert outbox.read(lease, spot(one), 10) == [two], "the third was sent out of turn"
        assert store.deliveries().backlog()["lab"].waiting == 1
        item = store.deliveries().get(three.id)
        assert item is not None
        assert (item.state, item.attempts, item.sent, item.status) == ("sent", 2, NOW_US + 9, "200")
        waiting = store.deliveries().get(two.id)
        assert waiting is not None
        assert (waiting.state, waiting.attempts, waiting.sent) == ("waiting", 0, None)


def test_a_setback_is_kept_until_it_is_sent(where: Where) -> None:
    with opened(where) as store:
        queue(store, 0, 0, 8)
        outbox = store.outbox("s")
        lease = lease_of(outbox, 0)
        one, two, three = outbox.read(lease, 0, 10)
        outbox.settle(
            [
                Settlement(
                    lease,
                    sent=[sent(three)],
                    setbacks=[setback(one, "delayed", 77), setback(two, "blocked")],
                    cursor=spot(three),
                )
            ]
        )
        found = outbox.setbacks(lease)
        assert [(s.queued.id, s.state, s.attempts, s.not_before) for s in found] == [
            (one.id, "delayed", 1, 77),
            (two.id, "blocked", 1, None),
        ]
        assert (found[0].category, found[0].status, found[0].text) == ("refused", 422, "no")
        backlog = store.deliveries().backlog()["lab"]
        assert (backlog.waiting, backlog.delayed, backlog.blocked) == (1, 1, 0)
        assert backlog.oldest == NOW_US
        outbox.settle([Settlement(lease, sent=[sent(one, 2)], cursor=spot(three))])
        assert [s.queued.id for s in outbox.setbacks(lease)] == [two.id]
        states = {
            item.queued.id: item.state for item in store.deliveries().page(DeliveryFilter()).items
        }
        assert states == {one.id: "sent", two.id: "waiting", three.id: "sent"}


def test_a_delivery_is_blocked_behind_a_dead_one_and_waits_behind_a_delayed_one(
    where: Where,
) -> None:
    with opened(where) as store:
        queue(store, 0, 0, 8, 8)
        outbox, deliveries = store.outbox("s"), store.deliveries()
        lease = lease_of(outbox, 0)
        dead, behind_dead, delayed, behind_delayed = outbox.read(lease, 0, 10)
        behind = [setback(one, "blocked") for one in (behind_dead, behind_delayed)]
        first = [setback(dead, "dead"), setback(delayed, "delayed", 77)]
        outbox.settle([Settlement(lease, setbacks=first + behind, cursor=spot(behind_delayed))])

        def in_state(state: DeliveryState) -> list[int]:
            page = deliveries.page(DeliveryFilter(state=state))
            assert page.total == len(page.items)
            assert {item.state for item in page.items} <= {state}
            return sorted(item.queued.id for item in page.items)

        assert in_state("blocked") == [behind_dead.id]
        assert in_state("waiting") == [behind_delayed.id]
        backlog = deliveries.backlog()["lab"]
        counted = (backlog.waiting, backlog.delayed, backlog.blocked, backlog.dead)
        assert counted == (1, 1, 1, 1)

        deliveries.retry(DeliveryFilter(ids=(dead.id,)), "they are back", NOW_US)
        assert in_state("blocked") == []
        assert in_state("waiting") == sorted([behind_dead.id, behind_delayed.id])


def test_a_sender_whose_lease_is_lost_writes_nothing(where: Where) -> None:
    with opened(where) as store:
        queue(store, 0, 1)
        late, new = store.outbox("late"), store.outbox("new")
        leases = {one.partition: one for one in late.lease("lab")}
        (zero,) = late.read(leases["lab/0"], 0, 10)
        (one,) = late.read(leases["lab/1"], 0, 10)
        store.clear_leases()
        new.lease("lab")
        with pytest.raises(RevisionConflict) as conflict:
            late.settle(
                [
                    Settlement(leases["lab/0"], sent=[sent(zero)], cursor=spot(zero)),
                    Settlement(leases["lab/1"], sent=[sent(one)], cursor=spot(one)),
                ]
            )
        assert conflict.value.moves == {"lab/0", "lab/1"}
        assert store.deliveries().backlog()["lab"].waiting == 2


def test_a_paused_destination_has_no_partitions_to_lease(where: Where) -> None:
    with opened(where) as store:
        outbox = store.outbox("s")
        assert len(outbox.lease("lab")) == 8
        store.deliveries().pause("lab", "maintenance", NOW_US)
        assert outbox.lease("lab") == []
        assert store.deliveries().paused() == {"lab": ("maintenance", NOW_US)}
        store.deliveries().resume("lab")
        assert len(outbox.lease("lab")) == 8


def test_the_cursor_of_an_idle_partition_moves_along(where: Where) -> None:
    with opened(where) as store:
        outbox = store.outbox("s")
        lease = lease_of(outbox, 0)
        assert outbox.read(lease, lease.cursor, 10) == []
        with store.database.write() as session:
            session.run("UPDATE head SET position = 5000")
        assert outbox.read(lease, lease.cursor, 10) == []
        outbox.lease("lab")
        moved = lease_of(outbox, 0)
        assert moved.cursor >> 20 == 5000
        queue(store, 0)
        assert len(outbox.read(moved, lease.cursor, 10)) == 1
        assert len(outbox.read(moved, moved.cursor, 10)) == 1


# --- operators ---------------------------------------------------------------------------


def test_dead_letters_are_retried_or_dropped_with_a_reason(where: Where) -> None:
    with opened(where) as store:
        queue(store, 0, 8, 16)
        outbox = store.outbox("s")
        lease = lease_of(outbox, 0)
        one, two, three = outbox.read(lease, 0, 10)
        outbox.settle(
            [
                Settlement(
                    lease,
                    setbacks=[setback(one, "dead"), setback(two, "dead")],
                    cursor=spot(two),
                )
            ]
        )
        dead = DeliveryFilter(state="dead", destination="lab")
        assert store.deliveries().page(dead).total == 2
        assert store.deliveries().drop(DeliveryFilter(ids=(two.id,)), "wrong patient") == 1
        assert store.deliveries().retry(dead, "peer repaired", NOW_US) == 1
        (back,) = outbox.setbacks(lease)
        assert (back.queued.id, back.state, back.not_before) == (one.id, "delayed", NOW_US)
        dropped = store.deliveries().get(two.id)
        assert dropped is not None
        assert (dropped.state, dropped.because) == ("dropped", "wrong patient")
        assert dropped.error == ("refused", 422, "no")
        assert store.deliveries().drop(DeliveryFilter(ids=(three.id,)), "not wanted") == 1
        assert outbox.read(lease, spot(two), 10) == []
        late = Settlement(lease, setbacks=[setback(three, "delayed", 5)], cursor=spot(three))
        outbox.settle([late])
        assert store.deliveries().get(three.id).state == "dropped"  # type: ignore[union-attr]


def test_lists_of_deliveries_are_filtered_and_paged(where: Where) -> None:
    with opened(where) as store:
        for lane in range(5):
            queue(store, lane)
        queue(store, 1, destination="pcpb")
        page = store.deliveries().page(DeliveryFilter(destination="lab"), limit=3)
        assert ([one.queued.position for one in page.items], page.total) == ([5, 4, 3], 5)
        rest = store.deliveries().page(DeliveryFilter(destination="lab"), after=page.next, limit=3)
        assert ([one.queued.position for one in rest.items], rest.next) == ([2, 1], None)
        assert store.deliveries().page(DeliveryFilter(lane=1)).total == 2
        assert store.deliveries().page(DeliveryFilter(state="waiting", cause="1")).total == 6
        assert store.deliveries().page(DeliveryFilter(since=NOW_US + 4)).total == 2


def test_the_inbox_shows_what_became_of_each_entry(where: Where) -> None:
    with opened(where) as store, opened_journal(where) as journal:
        journal.append([entry(f"m{n}", str(n), lane=n % 2) for n in range(1, 7)])
        journal.append([entry("m1", "1", lane=1)])
        issue = Issue("error", "visit-unidentified", "PV1-19", "no visit number", "core/r")
        note = Issue("warning", "unknown-code", "PV1-36", "no such code")
        task = write(store, "Task/a")
        leases = {lease.partition: lease for lease in store.leases("w").hold("journal")}
        store.commit(
            Commit(
                steps=[
                    step(1, task, write(store, "Task/b"), issues=[note]),
                    step(2, state="parked", issues=[issue]),
                    step(3, state="failed", issues=[issue, note]),
                    step(4, write(store, "Flag/c")),
                ],
                moves=[
                    CursorMove("journal", "0", leases["0"].token, 0, 4),
                    CursorMove("journal", "1", leases["1"].token, 0, 3),
                ],
            )
        )
        inbox = store.inbox(journal)
        page = inbox.messages(EntryFilter())
        assert [(m.entry.id, m.state, m.issues, m.changes, m.position) for m in page.items] == [
            (6, "waiting", 0, 0, None),
            (5, "waiting", 0, 0, None),
            (4, "processed", 0, 1, 1),
            (3, "failed", 2, 0, None),
            (2, "parked", 1, 0, None),
            (1, "processed", 1, 2, 1),
        ]
        assert page.items[-1].duplicates == 1

        def ids(asked: EntryFilter, **paging: int) -> tuple[list[int], int]:
            found = inbox.messages(asked, **paging)  # type: ignore[arg-type]
            return [m.entry.id for m in found.items], found.total

        assert ids(EntryFilter(state="waiting")) == ([6, 5], 2)
        assert ids(EntryFilter(state="waiting"), limit=1, after=6) == ([5], 2)
        assert ids(EntryFilter(state="processed")) == ([4, 1], 2)
        assert ids(EntryFilter(state="processed"), limit=1) == ([4], 2)
        assert ids(EntryFilter(state="processed"), limit=1, after=4) == ([1], 2)
        assert ids(EntryFilter(state="failed")) == ([3], 1)
        assert ids(EntryFilter(state="failed", control_id="2")) == ([], 0)
        assert list(inbox.numbers(EntryFilter())) == [1, 2, 3, 4, 5, 6]
        assert list(inbox.numbers(EntryFilter(state="parked"))) == [2]
        assert list(inbox.numbers(EntryFilter(state="processed"))) == [1, 4]
        assert inbox.counts() == {"parked": 1, "failed": 1}
        assert inbox.backlog() == (2, NOW_US)

        shown = inbox.show(1)
        assert shown is not None
        assert shown.issues == [note]
        assert [(key.id, version) for key, version in shown.versions] == [("a", 1), ("b", 1)]
        assert shown.listed.entry.raw.body == b"m1"
        assert inbox.show(99) is None
        assert commit_one(store, write(store, "Task/a", base=task.head()), 1).version == 2
        assert inbox.show(1).versions[-1] == (task.key, 2)  # type: ignore[union-attr]
