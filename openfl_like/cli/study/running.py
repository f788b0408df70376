"""Around a study: its folder while it runs, who is at work in one, and its end as an exit code."""

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from openfl_like.cli.study.sentences import problem_text
from openfl_like.errors import StudyError, UsageError
from openfl_like.services.daemon.lock import holder, only_one
from openfl_like.studies.folder import StudyFolder
from openfl_like.studies.results import StudyRunResult
from openfl_like.studies.study import StudyDesign
from openfl_like.studies.summary import is_fatal, problems

WORKER = (sys.executable, "-P", "-m", "openfl_like.cli.study.worker")
_REPORTS_NEED = ("matplotlib", "scipy")


@contextmanager
def opened(study: StudyDesign, directory: Path | None, *, retry_failed: bool) -> Iterator[StudyFolder]:
    """Take the folder of a study while the block runs.

    Args:
        study: The study.
        directory: Its folder; None: one in the present folder that is called after it.
        retry_failed: Whether runs are forgotten that have failed.

    Raises:
        ConflictError: If another process runs it, or another study is in the folder.
        UsageError: If the folder cannot be made.
    """
    folder = StudyFolder(directory or Path(f"{study.name}.study"))
    try:
        folder.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder cannot be made: {error.strerror}", place=str(folder.directory)) from error
    with only_one(folder.directory, "fx study run"):
        folder.take(study)
        if retry_failed:
            folder.retry(study)
        yield folder


def refuse_share(study: StudyDesign, share: tuple[int, int] | None) -> None:
    """Refuse a share of a study whose runs are stopped by what all of them have come to."""
    if share is not None and share[1] > len(study.runs):
        told = f"--share: there are not more than {len(study.runs)} runs"
        raise UsageError(told, cure="make as many shares as there are runs, or fewer")
    if share is not None and study.halving is not None:
        cure = "leave --share out, or early_stop"
        raise UsageError("--share: early_stop compares all runs, and a share does not have them", cure=cure)


def under_way(folder: StudyFolder, study: StudyDesign, results: Mapping[str, StudyRunResult]) -> set[str]:
    """Return the runs that are performed now: nobody at work in the folder, none."""
    if holder(folder.directory) is None:
        return set()
    return {run.id for run in study.runs if run.id not in results and folder.begun(run)}


def raise_unless_fine(study: StudyDesign, results: Mapping[str, StudyRunResult], *, explain: bool = False) -> None:
    """Raise the error of a study that has not succeeded.

    Args:
        study: The study.
        results: What came of its runs.
        explain: Whether the error says all: nothing was said before.

    Raises:
        StudyError: If runs failed, or nothing was learnt.
    """
    fatal = [problem for problem in problems(study, results) if is_fatal(problem, study)]
    if not fatal:
        return
    runs = {name for problem in fatal for name in problem.runs}
    words = f"{len(runs)} of {len(study.runs)} runs are not as they should be"
    if explain:
        words = f"{words}: {'; '.join(problem_text(problem, study) for problem in fatal)}"
    raise StudyError(words, place=study.name, cure="fx study show has each")


def require_packages() -> None:
    """Raise UsageError if a report cannot be made here."""
    missing = [name for name in _REPORTS_NEED if importlib.util.find_spec(name) is None]
    if missing:
        cure = "pip install 'openfl_like[studies]'"
        raise UsageError(f"a report needs {' and '.join(missing)}, which is not installed", cure=cure)


def written_folder(folder: Path) -> None:
    """Make a folder for what is written; raises UsageError if that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder cannot be made: {error.strerror}", place=str(folder)) from error
