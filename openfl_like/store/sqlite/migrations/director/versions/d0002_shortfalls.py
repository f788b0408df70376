"""The sites without which an experiment had to go on."""

from alembic import op
from sqlalchemy import Column, Text

revision = "d0002"
down_revision = "d0001"


def upgrade() -> None:
    """Adds the column; of experiments that have ended before, nothing is known."""
    op.add_column("experiments", Column("shortfalls", Text, nullable=False, server_default="{}"))
