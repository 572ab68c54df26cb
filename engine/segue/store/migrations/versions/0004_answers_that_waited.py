"""What was answered where the answer waited, and was not the one that was stored."""

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; of answers of before nothing is known."""
    if "journal" in context.config.attributes["parts"]:
        op.create_table(
            "entry_answer",
            sa.Column(
                "entry",
                sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
                autoincrement=False,
                nullable=False,
            ),
            sa.Column("code", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint("entry"),
        )
