"""The first schema of `site.db`."""

from alembic import op
from sqlalchemy import BigInteger, Column, Float, ForeignKey, Integer, String, Text

revision = "s0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "parts",
        Column("number", Integer, primary_key=True),
        Column("experiment", String(96), nullable=False),
        Column("identity", Text, nullable=False),
        Column("bundle", String(64), nullable=False),
        Column("began_at", Float, nullable=False),
        Column("ended_at", Float, nullable=False),
        Column("end", String(16), nullable=False),
        Column("reason", Text, nullable=False),
        Column("checksum", BigInteger, nullable=True),
    )
    op.create_table(
        "performed",
        Column("id", Integer, primary_key=True),
        Column("part", Integer, ForeignKey("parts.number"), nullable=False, index=True),
        Column("time", Float, nullable=False),
        Column("round", Integer, nullable=False),
        Column("phase", String(16), nullable=False),
        Column("tasks", Text, nullable=False),
        Column("failure", Text, nullable=False),
    )
