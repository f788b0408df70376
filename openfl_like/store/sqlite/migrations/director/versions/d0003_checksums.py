"""Checksums of the rows that nothing else can prove."""

from alembic import op
from sqlalchemy import BigInteger, Column

revision = "d0003"
down_revision = "d0002"


def upgrade() -> None:
    """Adds the column; rows that are there have no checksum until they are changed."""
    op.add_column("experiments", Column("checksum", BigInteger, nullable=True))
