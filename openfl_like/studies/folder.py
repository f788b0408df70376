"""The folder of a study: what it is, and what came of each run; all of it is written whole or not at all.

<folder>/study.json  rows.jsonl  runs/<run>/plan.json  runs/<run>/result.json  runs/<run>/log.txt
runs/<run>/record/  (of `fx simulate --directory`)
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from openfl_like.errors import ConflictError, DamagedError, NotFoundError
from openfl_like.studies.results import RunState, StudyRunResult, result_from, result_json
from openfl_like.studies.rows import line_of, rows_of_run
from openfl_like.studies.study import StudyDesign, StudyRun, study_from, study_json

STUDY = "study.json"
ROWS = "rows.jsonl"


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """Names and life of the files of a study."""

    directory: Path

    def read(self) -> StudyDesign:
        """Return the study.

        Raises:
            NotFoundError: If there is none.
            DamagedError: If it cannot be read.
        """
        path = self.directory / STUDY
        try:
            return study_from(path.read_bytes(), str(path))
        except (FileNotFoundError, NotADirectoryError):
            cure = "name the folder that 'fx study run' made"
            raise NotFoundError("there is no study", place=str(self.directory), cure=cure) from None

    def take(self, study: StudyDesign) -> None:
        """Remember a study here, or see that it is the one that was here before.

        Raises:
            ConflictError: If it is another one.
        """
        path = self.directory / STUDY
        if not path.exists():
            write_whole(path, study_json(study))
            return
        before = self.read()
        if before.digest != study.digest:
            told = f"the folder holds another study than '{study.name}' is now: {_changed(before, study)}"
            cure = "name another --directory, or undo the change"
            raise ConflictError(told, place=str(self.directory), cure=cure)
        if before != study:  # only what is shown
            write_whole(path, study_json(study))

    def run(self, run: str) -> Path:
        """The folder of a run."""
        return self.directory / "runs" / run

    def record(self, run: str) -> Path:
        """The record of a run's simulation."""
        return self.run(run) / "record"

    def log(self, run: str) -> Path:
        """What a run's code wrote."""
        return self.run(run) / "log.txt"

    def plan(self, run: str) -> Path:
        """The frozen plan of a run."""
        return self.run(run) / "plan.json"

    def prepare(self, run: str, plan: bytes) -> None:
        """Make the folder of a run and write its plan."""
        self.run(run).mkdir(parents=True, exist_ok=True)
        write_whole(self.plan(run), plan)

    def result(self, run: StudyRun) -> StudyRunResult | None:
        """Return what came of a run; None: nothing yet.

        Raises:
            DamagedError: If it cannot be read.
        """
        path = self.run(run.id) / "result.json"
        try:
            result = result_from(path.read_bytes(), str(path))
        except FileNotFoundError:
            return None
        if result.run != run.id:
            raise DamagedError(f"this is the result of {result.run}", place=str(path), cure="remove this file")
        return result

    def results(self, study: StudyDesign) -> dict[str, StudyRunResult]:
        """Return what came of the runs, by their ids, in their order."""
        found = ((run.id, self.result(run)) for run in study.runs)
        return {name: result for name, result in found if result is not None}

    def write_result(self, result: StudyRunResult) -> None:
        """Write what came of a run."""
        self.run(result.run).mkdir(parents=True, exist_ok=True)
        write_whole(self.run(result.run) / "result.json", result_json(result))

    def begun(self, run: StudyRun) -> bool:
        """Whether a run has a record."""
        return self.record(run.id).exists()

    def retry(self, study: StudyDesign) -> None:
        """Forget the runs that have failed; it is decided anew then which configurations are stopped."""
        results = self.results(study)
        failed = [name for name, result in results.items() if result.state is RunState.FAILED]
        for name in failed:
            shutil.rmtree(self.run(name), ignore_errors=True)
        for result in results.values() if failed else ():
            if result.state is RunState.STOPPED:
                self.write_result(replace(result, state=RunState.PAUSED))

    def add_rows(self, study: StudyDesign, run: StudyRun, result: StudyRunResult) -> None:
        """Add the rows of a run to those of the study, as it ends."""
        with (self.directory / ROWS).open("a", encoding="utf-8") as file:
            file.writelines(_lines(study, run, result))

    def write_rows(self, study: StudyDesign, results: Mapping[str, StudyRunResult]) -> None:
        """Write the rows of all runs that have ended, in the order of the runs, whichever ended first."""
        ended = ((run, results[run.id]) for run in study.runs if run.id in results)
        lines = (line for run, result in ended for line in _lines(study, run, result))
        write_whole(self.directory / ROWS, "".join(lines).encode())


def _lines(study: StudyDesign, run: StudyRun, result: StudyRunResult) -> Iterable[str]:
    if not result.state.settled:
        return
    for row in rows_of_run(study, run, result):
        yield line_of(row)


def _changed(before: StudyDesign, now: StudyDesign) -> str:
    return ", ".join(_differences(before, now)) or "other plans"


def _differences(before: StudyDesign, now: StudyDesign) -> Iterator[str]:
    if before.workspace != now.workspace:
        yield "the code of its workspace has changed"
    if len(before.configurations) != len(now.configurations):
        yield f"{len(before.configurations)} configurations became {len(now.configurations)}"
    if before.repetitions != now.repetitions:
        yield f"{before.repetitions} repetitions became {now.repetitions}"
    if before.halving != now.halving:
        yield "early_stop has changed"
    if (before.metric, before.mode) != (now.metric, now.mode):
        yield "another metric counts"
    mine, others = ({run.plan_digest for run in study.runs} for study in (before, now))
    if not mine & others:
        yield "no plan is as it was"
    elif mine != others and len(mine) == len(others):
        yield f"{len(mine - others)} of {len(mine)} plans have changed"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole, or not at all; it is on the disk then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
