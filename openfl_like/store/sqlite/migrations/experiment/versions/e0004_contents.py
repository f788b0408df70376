"""The bytes of small files that are not on disk by themselves yet."""

from alembic import op
from sqlalchemy import Boolean, Column, Integer, LargeBinary, String

revision = "e0004"
down_revision = "e0003"


def upgrade() -> None:
    """Adds the table; every file of an older record is on disk."""
    op.create_table(
        "contents",
        Column("round", Integer, primary_key=True),
        Column("is_state", Boolean, primary_key=True),
        Column("digest", String(64), nullable=False),
        Column("data", LargeBinary, nullable=False),
    )
