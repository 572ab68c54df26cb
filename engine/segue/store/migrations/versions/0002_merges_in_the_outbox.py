"""Deliveries may wait for the lane of a merged person, and carry a notice."""

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns; deliveries that are there wait for nobody."""
    if "store" in context.config.attributes["parts"]:
        op.add_column("outbox", sa.Column("after", sa.Text(), nullable=True))
        op.add_column("outbox", sa.Column("notice", sa.Text(), nullable=True))
