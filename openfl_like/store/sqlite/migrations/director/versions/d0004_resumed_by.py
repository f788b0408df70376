"""Who resumed an experiment has a column, which was a prefix of the reason; so has why it FAILED."""

import zlib

from alembic import op
from sqlalchemy import Column, String, Text, text

revision = "d0004"
down_revision = "d0003"

_PREFIX = "resumed by "
_BEFORE = (
    "position", "id", "request_id", "name", "owner", "plan_digest", "bundle", "signature", "certificates",
    "status", "reason", "submitted_at", "started_at", "ended_at", "shortfalls",
)  # fmt: skip
"""The columns that a checksum was of."""


def upgrade() -> None:
    """Adds the column and moves what it holds; a row gets the checksum of its new form if it is as it was written."""
    with op.batch_alter_table("experiments", recreate="always") as table:  # the checksum is the last column
        table.add_column(_new("resumed_by", String(64)), insert_after="shortfalls")
        table.add_column(_new("failure", Text()), insert_after="resumed_by")
    connection = op.get_bind()
    for row in connection.execute(text("SELECT * FROM experiments")).mappings().all():
        values = {name: row[name] for name in _BEFORE}
        resumed = row["status"] == "QUEUED" and str(row["reason"]).startswith(_PREFIX)
        moved = {
            "reason": "" if resumed else row["reason"],
            "resumed_by": str(row["reason"]).removeprefix(_PREFIX) if resumed else "",
        }
        sound = row["checksum"] is not None and row["checksum"] == _checksum(list(values.values()))
        checksum = _checksum([*{**values, **moved}.values(), ""]) if sound else row["checksum"]
        statement = "UPDATE experiments SET reason = :reason, resumed_by = :resumed_by, checksum = :sum WHERE id = :id"
        connection.execute(text(statement), {**moved, "sum": checksum, "id": row["id"]})


def _new(name: str, kind: String | Text) -> "Column[str]":
    return Column(name, kind, nullable=False, server_default="")


def _checksum(values: list[object]) -> int:
    return zlib.crc32("\x1f".join(map(str, values)).encode())
