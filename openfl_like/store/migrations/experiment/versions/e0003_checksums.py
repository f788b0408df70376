"""Checksums of the rows that nothing else can prove."""

from alembic import op
from sqlalchemy import BigInteger, Column

revision = "e0003"
down_revision = "e0002"


def upgrade() -> None:
    """Adds the columns; rows that are there have no checksum until they are changed."""
    for table in ("snapshot", "events", "versions"):
        op.add_column(table, Column("checksum", BigInteger, nullable=True))
