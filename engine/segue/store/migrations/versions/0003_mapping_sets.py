"""The mapping sets that messages were read by, once each."""

import sqlalchemy as sa
from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; sets of before are not known."""
    if "store" in context.config.attributes["parts"]:
        op.create_table(
            "mapping_set",
            sa.Column("digest", sa.Text(), nullable=False),
            sa.Column("files", sa.LargeBinary(), nullable=False),
            sa.PrimaryKeyConstraint("digest"),
        )
