"""A database of the last release is migrated by a process that is broken in the middle of it.

As a program it opens the Director's database below a directory as the next release would.
"""

import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from openfl_like import failpoints
from openfl_like.federation.parties import EnvoyRecord, ShardFacts
from openfl_like.processes.child import clean_environment
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.sqlite.database import Database
from openfl_like.store.sqlite.director import SCHEMA, director_database
from openfl_like.store.sqlite.inspection import complaint, rows
from openfl_like.store.sqlite.stores import SQLITE

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
    with closing(SQLITE.director(DirectorFiles(place))) as store:
        store.record_envoy(EnvoyRecord("bern", online=False, last_seen=2.0, shard=ShardFacts((1,), ())))
    landed = place / "landed"
    environment = clean_environment({failpoints.SWITCH: switch, failpoints.LANDED: str(landed)})
    command = [sys.executable, "-m", "openfl_like.testing.faults.migration", str(place)]
    for _ in range(MOST_TRIES):
        if subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode == 0:
            break
    return landed.exists(), _problems(director_database(DirectorFiles(place)))


def _problems(path: Path) -> list[str]:
    damage = complaint(path)
    if damage:
        return [f"it is damaged: {damage}"]
    revisions = [row["version_num"] for row in rows(path, "alembic_version")]
    if revisions != [NEXT]:
        return [f"its revision is {revisions}, not {NEXT}"]
    envoys = rows(path, "envoys")
    return [] if [row["visits"] for row in envoys] == [1] else [f"its rows are {envoys}"]


def migrate(place: Path) -> None:
    """Open the database as the next release would."""
    folder = place / "migrations"
    if not folder.exists():
        step = _STEP.replace("NEXT", NEXT).replace("LAST", SCHEMA.revision)
        shutil.copytree(SCHEMA.migrations, folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "director" / "versions" / f"{NEXT}_visits.py").write_text(step, encoding="utf-8")
    path = director_database(DirectorFiles(place))
    Database(path, replace(SCHEMA, revision=NEXT, migrations=folder)).close()


if __name__ == "__main__":
    migrate(Path(sys.argv[1]))
