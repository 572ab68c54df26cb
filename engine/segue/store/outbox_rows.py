"""The rows of the outbox: how a delivery is read, and what is still to be sent."""

from segue.model.deliveries import Delivery, QueuedDelivery
from segue.store.commit import ORDINAL_BITS, SHARDS, of_commit
from segue.store.dialects import Row, Session

ORDINALS = (1 << ORDINAL_BITS) - 1
COLUMNS = (
    "o.id, o.partition, o.lane, o.form, o.what, o.version, o.cause, o.after, o.notice, "
    "c.position, c.at"
)
WIDTH = 11
"""Columns of `COLUMNS`."""
# LIMIT and OFFSET have each row looked up, where all receipts would be read else.
UNSETTLED = (
    "NOT EXISTS (SELECT 1 FROM outbox_exception x WHERE x.id = o.id LIMIT 1 OFFSET 0) "
    "AND NOT EXISTS (SELECT 1 FROM outbox_receipt r WHERE r.id = o.id LIMIT 1 OFFSET 0)"
)
EXCEPTION = (
    "id",
    "spot",
    "partition",
    "lane",
    "state",
    "attempts",
    "not_before",
    "category",
    "status",
    "text",
)


def beyond(session: Session, where: str) -> str:
    """FROM and WHERE of what lies beyond a spot of the log and was neither sent nor tried.

    Its parameters are those of `where`, then the spot's position, twice, and its ordinal.

    Args:
        session: whose SQL it is.
        where: which rows `o` of the outbox.
    """
    outbox = session.lookup_join("outbox", "o", f"{of_commit('o')} AND {where}")
    return (
        f"FROM commits c {outbox} "
        f"WHERE c.position >= ? AND (c.position > ? OR (o.id & {ORDINALS}) > ?) AND {UNSETTLED}"
    )


def partitions_of(destination: str) -> list[str]:
    """The partitions of a destination.

    >>> partitions_of("lab")[:2]
    ['lab/0', 'lab/1']
    """
    return [f"{destination}/{n}" for n in range(SHARDS)]


def partition_of(delivery: Delivery) -> str:
    """The partition that a delivery belongs to."""
    return f"{delivery.destination}/{delivery.lane % SHARDS}"


def queued_of(row: Row, attempts: int = 0) -> QueuedDelivery:
    """The delivery of a row of `COLUMNS`."""
    id_, partition, lane, form, what, version, cause, after, notice, position, at = row
    delivery = Delivery(
        partition.rpartition("/")[0],
        lane,
        form,
        what,
        version,
        cause,
        tuple(map(int, after.split())) if after else (),
        notice or "",
    )
    return QueuedDelivery(id_, delivery, position, id_ & ORDINALS, at, attempts)
