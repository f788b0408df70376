"""The newest epoch beside the snapshot: only the process that holds it may commit."""

from alembic import op
from sqlalchemy import Column, Integer

revision = "e0002"
down_revision = "e0001"


def upgrade() -> None:
    """Adds the column; a record that no process has taken yet has epoch 0."""
    op.add_column("snapshot", Column("epoch", Integer, nullable=False, server_default="0"))
