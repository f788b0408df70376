"""The epoch of every commit, and checksums of the rows that nothing else can prove."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer

revision = "e0003"
down_revision = "e0002"


def upgrade() -> None:
    """Adds the columns; of rows that are there neither is known."""
    for table in ("events", "versions"):
        op.add_column(table, Column("epoch", Integer, nullable=False, server_default="0"))
    for table in ("snapshot", "events", "versions"):
        op.add_column(table, Column("checksum", BigInteger, nullable=True))
