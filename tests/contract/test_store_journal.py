"""The journal keeps the promises of its port, on both databases."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from segue.store.listings import EntryFilter
from segue.store.records import NewEntry
from tests.support.rows import NOW_US, entry, opened_journal

Where = str | Path
DAY = 86_400_000_000


def test_entries_are_numbered_densely_and_read_back_as_they_came(where: Where) -> None:
    with opened_journal(where) as journal:
        bodies = ["MSH|a", "MSH|é€\r\n\x0b", "x" * 9000]
        made = journal.append([entry(body, str(n)) for n, body in enumerate(bodies)])
        assert [one.entry for one in made] == [1, 2, 3]
        assert journal.head() == 3
        read = journal.read({3: 0})
        assert [one.raw.body.decode() for one in read] == bodies
        assert read[1].envelope == entry(bodies[1], "1").envelope
        assert read[2].ack == made[2].ack


def test_a_repeat_is_no_new_entry_and_gets_the_first_answer(where: Where) -> None:
    with opened_journal(where) as journal:
        first, repeat = journal.append([entry("MSH|a", "1"), entry("MSH|a", "1")])
        (later,) = journal.append([entry("MSH|a", "1")])
        assert (repeat.entry, repeat.ack, repeat.duplicate) == (1, first.ack, True)
        assert (later.entry, later.ack, later.duplicate) == (1, first.ack, True)
        assert not first.duplicate
        assert journal.head() == 1
        assert journal.duplicates([1]) == {1: 2}


def test_the_same_control_id_with_other_bytes_is_a_new_entry_that_says_so(where: Where) -> None:
    with opened_journal(where) as journal:
        journal.append([entry("MSH|a", "1")])
        other, foreign = journal.append([entry("MSH|b", "1"), entry("MSH|b", "1", sender="X|Y")])
        assert (other.entry, other.duplicate, other.reused) == (2, False, True)
        assert (foreign.entry, foreign.duplicate, foreign.reused) == (3, False, False)


def test_what_did_not_come_whole_takes_no_control_id(where: Where) -> None:
    def half(body: str) -> NewEntry:
        made = entry(body, "1")
        return replace(made, envelope=replace(made.envelope, quarantined="truncated"), ack=b"")

    with opened_journal(where) as journal:
        held, again, whole = journal.append([half("MSH|a"), half("MSH|a"), entry("MSH|a", "1")])
        (other,) = journal.append([half("MSH|ab")])
        (later,) = journal.append([entry("MSH|a", "1")])
    assert (held.entry, held.reused) == (1, False)
    assert (again.entry, again.duplicate) == (1, True)
    assert (whole.entry, whole.duplicate, whole.reused) == (2, False, False)
    assert (other.entry, other.duplicate, other.reused) == (3, False, False)
    assert (later.entry, later.duplicate, later.ack) == (2, True, whole.ack)


def test_another_answer_than_the_stored_one_is_remembered(where: Where) -> None:
    with opened_journal(where) as journal:
        journal.append([entry("MSH|a", "1"), entry("MSH|b", "2")])
        journal.answered({1: "AE"})
        assert journal.answers([1, 2]) == {1: "AE"}
        journal.answered({1: "AA", 2: "AE"})
        assert journal.answers([1, 2]) == {1: "AA", 2: "AE"}
        journal.forget(NOW_US + 1)
        assert journal.answers([1, 2]) == {}


def test_a_control_id_is_forgotten_after_the_horizon(where: Where) -> None:
    with opened_journal(where, duplicates_days=30) as journal:
        journal.append([entry("MSH|a", "1")])
        (near,) = journal.append([entry("MSH|a", "1", received=NOW_US + 29 * DAY)])
        (far,) = journal.append([entry("MSH|a", "1", received=NOW_US + 31 * DAY)])
        assert near.duplicate
        assert (far.entry, far.duplicate, far.reused) == (2, False, False)


def test_a_lane_is_read_in_order_and_without_gaps_however_small_the_pages(where: Where) -> None:
    with opened_journal(where) as journal:
        for start in range(0, 60, 7):
            journal.append(
                [entry(f"m{n}", str(n), lane=n % 5) for n in range(start, min(start + 7, 60))]
            )
        cursors = dict.fromkeys(range(5), 0)
        seen: dict[int, list[int]] = {lane: [] for lane in cursors}
        while found := journal.read(cursors, limit=4):
            for one in found:
                seen[one.envelope.lane].append(one.id)
                cursors[one.envelope.lane] = one.id
        assert seen == {lane: [n + 1 for n in range(60) if n % 5 == lane] for lane in range(5)}


def test_only_the_asked_lanes_are_read(where: Where) -> None:
    with opened_journal(where) as journal:
        journal.append([entry("a", "1", lane=1), entry("b", "2", lane=2)])
        assert [one.id for one in journal.read({2: 0})] == [2]
        assert journal.read({2: 2}) == []
        assert journal.backlog({1: 0, 2: 2}) == (1, NOW_US)


def test_lists_show_the_newest_first_page_by_page(where: Where) -> None:
    with opened_journal(where) as journal:
        journal.append([entry(f"m{n}", str(n % 3), received=NOW_US + n) for n in range(10)])
        page = journal.entries(EntryFilter(), limit=4)
        assert ([one.entry.id for one in page.items], page.total) == ([10, 9, 8, 7], 10)
        assert page.items[0].size == 2
        rest = journal.entries(EntryFilter(), after=page.next, limit=10)
        assert ([one.entry.id for one in rest.items], rest.next) == ([6, 5, 4, 3, 2, 1], None)
        assert journal.entries(EntryFilter(control_id="1")).total == 3
        window = journal.entries(EntryFilter(since=NOW_US + 2, until=NOW_US + 4))
        assert [one.entry.id for one in window.items] == [4, 3]


def test_many_writers_get_dense_numbers_and_one_entry_per_message(where: Where) -> None:
    with opened_journal(where) as journal:
        verdicts = []

        def send() -> None:
            for n in range(0, 40, 4):
                verdicts.extend(journal.append([entry(f"m{k}", str(k)) for k in range(n, n + 4)]))

        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert journal.head() == 40
        assert sum(not one.duplicate for one in verdicts) == 40
        assert len(verdicts) == 120
        assert [one.id for one in journal.read({3: 0}, limit=100)] == list(range(1, 41))


def test_forgetting_old_entries_leaves_the_rest(where: Where) -> None:
    with opened_journal(where) as journal:
        journal.append([entry("a", "1"), entry("b", "2", received=NOW_US + 5)])
        journal.append([entry("a", "1")])
        assert journal.forget(NOW_US + 1) == 1
        assert journal.get(1) is None
        assert journal.get(2) is not None
        assert journal.append([entry("c", "3")])[0].entry == 3


def test_a_message_fits_in_three_kilobytes_with_its_columns(tmp_path: Path) -> None:
    with opened_journal(tmp_path) as journal:
        body = "PID|1||100234^^^HOSPA^MR||" + "ABCDEFGH" * 146
        for start in range(0, 1000, 50):
            journal.append(
                [entry(f"{n}{body}", f"HA{n:06}", lane=n % 64) for n in range(start, start + 50)]
            )
    assert len(body) > 1190
    size = (tmp_path / "journal.db").stat().st_size
    assert size / 1000 <= 3000


def test_nothing_is_kept_if_the_commit_fails(where: Where) -> None:
    with opened_journal(where) as journal:
        broken = entry("b", "2")
        object.__setattr__(broken.envelope, "lane", "no lane")
        object.__setattr__(broken.envelope, "control_id", None)
        with pytest.raises(Exception):  # noqa: B017 - each driver has its own
            journal.append([entry("a", "1"), broken])
        assert journal.head() == 0
        assert journal.append([entry("a", "1")])[0].entry == 1
