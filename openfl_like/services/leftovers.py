"""What a Director that was killed while it took a submission left behind: nobody was told of it, so it goes."""

import logging
import shutil
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from openfl_like.errors import FederationError
from openfl_like.plan.bundle import STAGING
from openfl_like.store.experiment import EXPERIMENT_DB, ExperimentStore

log = logging.getLogger(__name__)
INCOMING, OUTGOING = "incoming", "outgoing"
UNFINISHED = "import.unfinished"
"""In the directory of an experiment that was imported, until it has a row."""


def remove_leftovers(state: Path, known: Collection[str]) -> list[Path]:
    """Removes directories of submissions that were never acknowledged, and gives them.

    One whose record has events stays although the Director does not know it: its database may be from a backup. It
    goes if it was just being imported.

    Args:
        state: The Director's state directory.
        known: Ids of the experiments that it knows.
    """
    incoming = state / INCOMING
    staging = sorted([*incoming.glob("unpacked-*"), *incoming.glob(f"{STAGING}*")])
    staging += (state / "experiments").glob(f"*/{STAGING}*")
    shutil.rmtree(state / OUTGOING, ignore_errors=True)
    for archive in incoming.glob("*.checkpoint*"):  # complete or not: it would be sent again
        archive.unlink()
    directories = sorted((state / "experiments").glob("*"))
    removed = [*staging, *(path for path in directories if path.name not in known and not _has_history(path))]
    for path in removed:
        log.warning("removing what is left of a submission that was broken off: %s", path)
        shutil.rmtree(path, ignore_errors=True)
    for name in known:
        (state / "experiments" / name / UNFINISHED).unlink(missing_ok=True)  # it has a row: only the mark was left
    return removed


def _has_history(directory: Path) -> bool:
    if not (directory / EXPERIMENT_DB).exists() or (directory / UNFINISHED).exists():
        return False
    try:
        with closing(ExperimentStore(directory)) as store:
            return bool(store.events())
    except FederationError:
        return True  # damaged or of a newer version: not ours to judge
