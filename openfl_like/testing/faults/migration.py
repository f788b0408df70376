"""A database of the last release is migrated by a process that is broken in the middle of it.

As a program it opens the Director's database below a directory as the next release would.
"""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from openfl_like import failpoints
from openfl_like.federation.parties import ShardFacts
from openfl_like.processes.child import clean_environment
from openfl_like.store import database
from openfl_like.store.database import MIGRATIONS, Database
from openfl_like.store.director import DIRECTOR_DB, METADATA, REVISION, DirectorStore

NEXT = "d9999"
_STEP = '''"""What a next release might add."""

from alembic import op

revision = "NEXT"
down_revision = "LAST"


def upgrade() -> None:
    """Adds a column and fills it."""
    op.execute("ALTER TABLE envoys ADD COLUMN visits INTEGER")
    op.execute("UPDATE envoys SET visits = 1")
'''
MOST_TRIES = 3


def attempt(place: Path, switch: str) -> tuple[bool, list[str]]:
    """Migrate with a failpoint armed, again and again as a daemon would that is started again.

    Returns:
        Whether the point acted, and what is wrong with the database in the end.
    """
    place.mkdir(parents=True)
    with closing(DirectorStore(place)) as store:
        store.record_envoy("bern", ShardFacts((1,), ()), 2.0)
    landed = place / "landed"
    environment = clean_environment({failpoints.SWITCH: switch, failpoints.LANDED: str(landed)})
    command = [sys.executable, "-m", "openfl_like.testing.faults.migration", str(place)]
    for _ in range(MOST_TRIES):
        if subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode == 0:
            break
    with closing(sqlite3.connect(place / DIRECTOR_DB)) as connection:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        rows = connection.execute("SELECT * FROM envoys").fetchall() if found == [(NEXT,)] else []
        sound = connection.execute("PRAGMA integrity_check").fetchone()
    problems = [] if found == [(NEXT,)] else [f"its revision is {found}, not {NEXT}"]
    problems += [] if [row[-1] for row in rows] == [1] or problems else [f"its rows are {rows}"]
    problems += [] if sound == ("ok",) else [f"it is damaged: {sound}"]
    return landed.exists(), problems


def migrate(place: Path) -> None:
    """Open the database as the next release would."""
    folder = place / "migrations"
    if not folder.exists():
        step = _STEP.replace("NEXT", NEXT).replace("LAST", REVISION)
        shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "director" / "versions" / f"{NEXT}_visits.py").write_text(step, encoding="utf-8")
    database.MIGRATIONS = folder
    Database(f"sqlite:///{place / DIRECTOR_DB}", METADATA, NEXT, "director").close()


if __name__ == "__main__":
    migrate(Path(sys.argv[1]))
