"""The first schema of `experiment.db`."""

from alembic import op
from sqlalchemy import Boolean, Column, Float, Integer, String, Text

revision = "e0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "snapshot",
        Column("id", Integer, primary_key=True),
        Column("state", Text, nullable=False),
    )
    op.create_table(
        "events",
        Column("sequence", Integer, primary_key=True),
        Column("time", Float, nullable=False),
        Column("kind", String(64), nullable=False),
        Column("fields", Text, nullable=False),
    )
    op.create_table(
        "versions",
        Column("round", Integer, primary_key=True),
        Column("digest", String(64), nullable=False),
        Column("sha256", String(64), nullable=False),
        Column("metrics", Text, nullable=False),
        Column("best", Boolean, nullable=False),
        Column("published_at", Float, nullable=False),
    )
