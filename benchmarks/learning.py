"""Every algorithm and server optimizer on three federations: chooses settings, runs them, and writes docs/learning.md.

The runs are studies (`fx study run`); what was interrupted goes on when it is started again. Each method has as many
settings to choose from as any other, and is chosen by other seeds than those of the result.

Example: python benchmarks/learning.py --write docs/learning.md
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from learning_cases import (
    CASES,
    METHODS,
    SAMPLE,
    WHOLE,
    Case,
    Extent,
    Stage,
    level_name,
    result_study,
    study_path,
    study_text,
    tried,
    tuning_study,
)
from learning_figures import Curve, chosen, curves_of, read_curves, write_curves
from learning_page import shortfalls, write_page

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs/benchmarks/learning.jsonl"
_NOT_ALL_WELL = 1
"""What `fx study run` ends with when something is to be said of its runs; whether they are there is looked at."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where runs are kept, and how they are performed.

    Attributes:
        kept: Folder with a folder for each study.
        workers: Runs at once.
        extent: How much of it is run. The studies of a sample are written beside its runs.
    """

    kept: Path
    workers: int
    extent: Extent = WHOLE

    def curves(
        self, case: Case, stage: Stage, study: Mapping[str, object], named: Mapping[str, tuple[str, str]]
    ) -> list[Curve]:
        """Run a study, or go on with it, and return what came of its runs."""
        seeds = case.tuned_with if stage is Stage.TUNING else self.extent.seeds
        file, place = study_path(case, stage), self.kept / f"{case.name}_{stage}"
        if self.extent is not WHOLE:
            file = self.kept / file.name
        file.write_text(study_text(study), encoding="utf-8")
        options = ["--directory", str(place), "--workers", str(self.workers)]
        command = [sys.executable, "-m", "openfl_like.cli", "study", "run", str(file), *options]
        done = subprocess.run(command, check=False)
        if done.returncode not in {0, _NOT_ALL_WELL}:
            raise SystemExit(f"{file} ended with exit code {done.returncode}")
        return curves_of(case, stage, place / "rows.jsonl", named, seeds)

    def run(self, case: Case) -> list[Curve]:
        """Choose the settings of every method, and run them."""
        names = {level: (method.name, name) for level, (method, name) in tried(self.extent).items()}
        tuned = self.curves(case, Stage.TUNING, tuning_study(case, self.extent), names)
        best = chosen(tuned)
        taken = {level_name(method): (method.name, best[method.name]) for method in METHODS}
        return [*tuned, *self.curves(case, Stage.RESULT, result_study(case, best, self.extent), taken)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything that is not kept yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=ROOT / "build/learning", help="where runs are kept")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="file of the figures")
    parser.add_argument("--write", type=Path, help="page to put tables and pictures into, between its marks")
    parser.add_argument("--workers", type=int, default=2, help="runs at once")
    parser.add_argument("--sample", action="store_true", help="two rounds, one setting and two seeds, to see it work")
    parser.add_argument("--page-only", action="store_true", help="run nothing: write the page from the figures")
    given = parser.parse_args(arguments)
    if given.sample and given.figures == FIGURES:
        parser.error("a sample would overwrite the figures of the page: give it --directory and --figures of its own")
    if not given.page_only:
        given.directory.mkdir(parents=True, exist_ok=True)
        bench = Bench(given.directory, given.workers, SAMPLE if given.sample else WHOLE)
        write_curves(given.figures, [curve for case in CASES for curve in bench.run(case)])
    curves = read_curves(given.figures)
    if given.write is not None:
        write_page(given.write, curves)
    broken = [] if given.sample else shortfalls(curves)
    for each in broken:
        print(f"not as it should be: {each}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
