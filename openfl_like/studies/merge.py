"""What several machines ran of one study becomes one folder."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openfl_like.errors import ConflictError, UsageError
from openfl_like.services.daemon.lock import holder
from openfl_like.studies.folder import StudyFolder
from openfl_like.studies.results import RunState, StudyRunResult
from openfl_like.studies.study import StudyDesign, StudyRun

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class MergedStudy:
    """What was put together.

    Attributes:
        study: The study.
        taken: Folder -> how many of its runs were taken.
        results: What came of all runs.
    """

    study: StudyDesign
    taken: Mapping[Path, int]
    results: Mapping[str, StudyRunResult]


def merge(named: Sequence[Path], target: Path) -> MergedStudy:
    """Put the runs of several folders of one study into a new folder.

    A run that several of them have finished must be the same in all: its model by SHA-256, and its rows.

    Raises:
        UsageError: If there are not two, or the same folder is named twice.
        NotFoundError: If one has no study.
        ConflictError: If one is of another study or somebody is at work in it, they do not agree on a run, or the
            target is not empty.
    """
    places = [place.resolve() for place in named]
    if len(places) < 2 or len(set(places)) < len(places):
        raise UsageError("a merge needs two different folders, or more", cure="name each once")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConflictError("there is something already", place=str(target), cure="name a new folder with -o")
    for at in places:
        if at.is_dir() and holder(at) is not None:
            cure = "wait until it has ended, or end it"
            raise ConflictError("'fx study run' is at work in this folder", place=str(at), cure=cure)
    folders = [StudyFolder(place) for place in named]
    study = _common(folders)
    found = [folder.results(study) for folder in folders]
    _refuse_conflicts(study, folders, found)
    chosen = {run.id: place for run in study.runs if (place := _best(run, found)) is not None}
    result = StudyFolder(target)
    target.mkdir(parents=True, exist_ok=True)
    for name, place in chosen.items():
        shutil.copytree(folders[place].run(name), result.run(name))
    results = {name: found[place][name] for name, place in chosen.items()}
    result.write_rows(study, results)
    result.take(study)  # last: without it the folder is none of a study
    counts = {
        folder.directory: sum(place == number for place in chosen.values()) for number, folder in enumerate(folders)
    }
    return MergedStudy(study, counts, results)


def _common(folders: Sequence[StudyFolder]) -> StudyDesign:
    first = folders[0].read()
    for folder in folders[1:]:
        other = folder.read()
        if other.digest != first.digest:
            told = f"'{other.name}' here is another study than '{first.name}' in {folders[0].directory}"
            cure = "merge what was run of the same file, with the same code"
            raise ConflictError(told, place=str(folder.directory), cure=cure)
    return first


def _refuse_conflicts(
    study: StudyDesign, folders: Sequence[StudyFolder], found: Sequence[Mapping[str, StudyRunResult]]
) -> None:
    conflicts = list[str]()
    for run in study.runs:
        there = [(place, results[run.id]) for place, results in enumerate(found) if _counts(results.get(run.id))]
        for place, result in there[1:]:
            first, known = there[0]
            if not _same(known, result):
                one, other = folders[first].run(run.id), folders[place].run(run.id)
                conflicts.append(f"{one} ({_shown(known)}) and {other} ({_shown(result)})")
    if conflicts:
        more = f", and {len(conflicts) - _SHOWN} more" if len(conflicts) > _SHOWN else ""
        told = f"the folders do not agree on {len(conflicts)} runs: {'; '.join(conflicts[:_SHOWN])}{more}"
        cure = "find out which machine is right: data or packages differ"
        raise ConflictError(told, place=study.name, cure=cure)


def _counts(result: StudyRunResult | None) -> bool:
    return result is not None and result.state in {RunState.FINISHED, RunState.STOPPED}


def _same(one: StudyRunResult, other: StudyRunResult) -> bool:
    return (one.state, one.sha256, one.rows) == (other.state, other.sha256, other.rows)


def _shown(result: StudyRunResult) -> str:
    return f"SHA-256 {result.sha256[:12]}…" if result.sha256 else f"{result.state.value} after {result.rounds} rounds"


def _best(run: StudyRun, found: Sequence[Mapping[str, StudyRunResult]]) -> int | None:
    """Return which folder has come farthest with a run; None: none has begun it."""
    order = [RunState.FINISHED, RunState.STOPPED, RunState.FAILED, RunState.PAUSED, RunState.KILLED]
    there = [(order.index(results[run.id].state), place) for place, results in enumerate(found) if run.id in results]
    return min(there)[1] if there else None
