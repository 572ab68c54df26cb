"""The rows of the outbox: how a delivery is read, and what is still to be sent."""

from segue.model.deliveries import Delivery, QueuedDelivery
from segue.store.commit import ORDINAL_BITS, SHARDS
from segue.store.dialects import Row

ORDINALS = (1 << ORDINAL_BITS) - 1
COLUMNS = (
    "o.id, o.partition, o.lane, o.form, o.what, o.version, o.cause, o.after, o.notice, "
    "c.position, c.at"
)
WIDTH = 11
"""Columns of `COLUMNS`."""
# What partitions hold beyond (position, ordinal) that was neither sent nor tried.
BEYOND = (
    "FROM commits c CROSS JOIN outbox o "
    "LEFT JOIN outbox_exception x ON x.id = o.id LEFT JOIN outbox_receipt r ON r.id = o.id "
    f"WHERE c.position >= ? AND o.id >= c.tx << {ORDINAL_BITS} "
    f"AND o.id < (c.tx + 1) << {ORDINAL_BITS} "
    f"AND (c.position > ? OR (o.id & {ORDINALS}) > ?) "
    "AND x.id IS NULL AND r.id IS NULL AND "
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
