"""The first schema of `director.db`."""

from alembic import op
from sqlalchemy import Column, Float, Integer, PrimaryKeyConstraint, String, Text, UniqueConstraint

revision = "d0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "experiments",
        Column("position", Integer, primary_key=True),
        Column("id", String(96), nullable=False),
        Column("request_id", String(64), nullable=False),
        Column("name", String(64), nullable=False),
        Column("owner", String(64), nullable=False),
        Column("plan_digest", String(64), nullable=False),
        Column("bundle", String(64), nullable=False),
        Column("signature", Text, nullable=False),
        Column("certificates", Text, nullable=False),
        Column("status", String(16), nullable=False),
        Column("reason", Text, nullable=False),
        Column("submitted_at", Float, nullable=False),
        Column("started_at", Float, nullable=False),
        Column("ended_at", Float, nullable=False),
        UniqueConstraint("id"),
    )
    op.create_table(
        "requests",
        Column("owner", String(64), nullable=False),
        Column("request_id", String(64), nullable=False),
        Column("experiment", String(96), nullable=False),
        PrimaryKeyConstraint("owner", "request_id"),
    )
    op.create_table(
        "envoys",
        Column("name", String(64), primary_key=True),
        Column("last_seen", Float, nullable=False),
        Column("shard", Text, nullable=False),
    )
