"""Plan and workspace of an experiment at the Director, made again from its bundle when they are not what is in it.

A submission is acknowledged when bundle and row are on disk; what follows from the bundle may still be on its way there
when the power goes.
"""

import logging
import os
import secrets
import shutil
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from openfl_like.errors import FederationError
from openfl_like.plan.bundles.bundle import STAGING, holds, unpack
from openfl_like.plan.digest import freeze
from openfl_like.store.contents import put_back
from openfl_like.store.director_files import REMOVING, UNFINISHED, DirectorFiles
from openfl_like.store.files import ExperimentFiles, check_file
from openfl_like.store.ports import KnownExperiments, StoredExperiment, Stores

log = logging.getLogger(__name__)


def mend(experiment: StoredExperiment, files: ExperimentFiles) -> bool:
    """Unpack the bundle again if plan or workspace differ from it; tell whether that was needed.

    Args:
        experiment: As it was submitted.
        files: Its directory.

    Raises:
        DamagedError: If the bundle itself is missing or is not the one that was signed.
    """
    check_file(files.bundle, experiment.bundle)
    workspace = files.directory / "workspace"
    if holds(files.bundle, workspace, files.plan):
        return False
    log.warning("experiment %s: plan and workspace are unpacked again from its bundle", experiment.summary.id)
    files.prepare()
    _unpack(files, workspace)
    return True


def _unpack(files: ExperimentFiles, workspace: Path) -> None:
    fresh = files.directory / f"workspace-{secrets.token_hex(4)}"
    plan = unpack(files.bundle, fresh)
    shutil.rmtree(workspace, ignore_errors=True)
    fresh.rename(workspace)
    written = files.plan.with_suffix(".new")
    with written.open("wb") as file:
        file.write(freeze(plan))
        file.flush()
        os.fsync(file.fileno())
    written.rename(files.plan)


def mend_all(files: DirectorFiles, known: KnownExperiments, stores: Stores) -> list[str]:
    """Mend every experiment that has not ended, and return the ids; one that cannot be mended is left to its turn.

    Args:
        files: The Director's.
        known: What it remembers of them.
        stores: Opens their records, which may have models that a power cut has taken.
    """
    mended = []
    for summary in known.experiments():
        if summary.status.ended:
            continue
        try:
            own = files.experiment(summary.id)
            if mend(known.experiment(summary.id), own):
                mended.append(summary.id)
            if stores.has_record(own):
                with closing(stores.experiment(own)) as record:
                    put_back(record.contents(), own)
        except FederationError as error:
            log.warning("experiment %s: %s", summary.id, error)
    return mended


def remove_leftovers(files: DirectorFiles, known: Collection[str], stores: Stores) -> list[Path]:
    """Remove directories of submissions that were never acknowledged, and return them.

    One whose record has events stays although the Director does not know it: its database may be from a backup. It
    goes if it was just being imported, or removed.

    Args:
        files: The Director's.
        known: Ids of the experiments that it knows.
        stores: Opens the records of others.
    """
    incoming = files.incoming
    staging = sorted([*incoming.glob("unpacked-*"), *incoming.glob(f"{STAGING}*")])
    staging += files.experiments.glob(f"*/{STAGING}*")
    shutil.rmtree(files.outgoing, ignore_errors=True)
    for archive in incoming.glob("*.checkpoint*"):  # complete or not: it would be sent again
        archive.unlink()
    directories = sorted(files.experiments.glob("*"))
    unknown = [path for path in directories if path.name not in known]
    removed = [*staging, *(path for path in unknown if not _has_history(ExperimentFiles(path), stores))]
    for path in removed:
        log.warning("removing what is left of a submission or removal that was broken off: %s", path)
        shutil.rmtree(path, ignore_errors=True)
    for name in known:
        for mark in (UNFINISHED, REMOVING):  # it has a row: only the mark was left
            (files.experiment(name).directory / mark).unlink(missing_ok=True)
    return removed


def _has_history(files: ExperimentFiles, stores: Stores) -> bool:
    if not stores.has_record(files) or any((files.directory / mark).exists() for mark in (UNFINISHED, REMOVING)):
        return False
    try:
        with closing(stores.experiment(files)) as store:
            return bool(store.events())
    except FederationError:
        return True  # damaged or of a newer version: not ours to judge
