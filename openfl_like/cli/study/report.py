"""Writing a report: figures, a page, Markdown, and a CSV of each table and of all rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from openfl_like import __version__
from openfl_like.cli.output.page import ReportPage, ReportTable, html_of, markdown_of
from openfl_like.cli.output.spreadsheet import write_csv
from openfl_like.cli.study.export import export
from openfl_like.cli.study.figures import figures
from openfl_like.cli.study.sentences import counted, problem_text
from openfl_like.cli.study.tables import tables
from openfl_like.drawing.figure import DrawnFigure
from openfl_like.errors import UsageError
from openfl_like.studies.results import RunState, StudyRunResult
from openfl_like.studies.statistics import comparisons
from openfl_like.studies.study import StudyDesign
from openfl_like.studies.summary import ConfigurationSummary, is_fatal, problems, summaries


def write_report(study: StudyDesign, results: Mapping[str, StudyRunResult], folder: Path) -> list[str]:
    """Write the report of a study into a folder; return the names of the files.

    Raises:
        UsageError: If it cannot be written.
    """
    found = summaries(study, results)
    tested = comparisons(study, found)
    drawn, listed = figures(study, found), tables(study, found, tested)
    try:
        return _written(study, results, folder, drawn, listed, found)
    except OSError as error:
        raise UsageError(f"the report cannot be written: {error.strerror}", place=str(folder)) from error


def _written(
    study: StudyDesign,
    results: Mapping[str, StudyRunResult],
    folder: Path,
    drawn: Sequence[DrawnFigure],
    listed: Sequence[ReportTable],
    found: Sequence[ConfigurationSummary],
) -> list[str]:
    names = [name for figure in drawn for name in figure.save(folder)]
    on_page = tuple(one.on_page() for one in drawn)
    page = ReportPage(
        study.name,
        _summary(study, results, found),
        tuple(problem_text(problem, study) for problem in problems(study, results) if is_fatal(problem, study)),
        tuple(problem_text(problem, study) for problem in problems(study, results) if not is_fatal(problem, study)),
        on_page,
        tuple(listed),
        _facts(study),
    )
    (folder / "report.html").write_text(html_of(page), encoding="utf-8")
    (folder / "report.md").write_text(markdown_of(page), encoding="utf-8")
    for table in (one for one in listed if one.data):
        with (folder / f"{table.name}.csv").open("w", encoding="utf-8", newline="") as file:
            write_csv(file, list(table.data[0]), table.data)
        names.append(f"{table.name}.csv")
    return ["report.html", "report.md", *names, *(path.name for path in export(study, results, folder))]


def _summary(
    study: StudyDesign, results: Mapping[str, StudyRunResult], found: Sequence[ConfigurationSummary]
) -> tuple[str, ...]:
    total = len(study.runs)
    finished = sum(result.state is RunState.FINISHED for result in results.values())
    stopped = sum(result.state is RunState.STOPPED for result in results.values())
    swept = _swept_text(study)
    seeds = "the same seed" if study.seeds == "same" else "a seed of its own each time"
    better = "more" if study.mode == "max" else "less"
    rounds = sorted({one.configuration.rounds for one in found})
    length = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
    sentences = [
        f"Simulations of the plan {study.base}: {counted(len(study.configurations), 'configuration')}"
        f"{f' ({swept})' if swept else ''}, each run {_often(study.repetitions)} for {length} rounds, with {seeds}. "
        f"{finished} of {total} runs are finished{f', {stopped} were stopped early' if stopped else ''}. "
        f"What counts is {study.metric}; {better} is better.",
    ]
    if study.halving is not None:
        sentences.append(
            f"Successive halving (Jamieson and Talwalkar 2016) kept one configuration in {study.halving.factor}, by "
            f"the mean over the seeds, for the first time after round {study.halving.first}."
        )
    if study.seeds == "sequence" and study.repetitions < _FEW:
        sentences.append(
            f"With {study.repetitions} seeds, intervals are wide and only large differences can be significant."
            if study.repetitions > 1
            else "With one seed nothing can be said of chance: no interval, no test."
        )
    return tuple(sentences)


_FEW = 5


def _often(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _swept_text(study: StudyDesign) -> str:
    """Return how many levels the axes have that are crossed, and how many points were drawn for the others."""
    parts = [f"{len(axis.levels)} {axis.name}" for axis in study.axes if not axis.drawn]
    drawn = [axis.name for axis in study.axes if axis.drawn]
    if drawn:
        points = len({tuple(one.levels[name] for name in drawn) for one in study.configurations})
        parts.append(f"{counted(points, 'draw')} of {' and '.join(drawn)}")
    return " \N{MULTIPLICATION SIGN} ".join(parts)


def _facts(study: StudyDesign) -> tuple[tuple[str, str], ...]:
    seeds = sorted({run.seed for run in study.runs})
    return (
        ("study", study.digest),
        ("code", study.workspace),
        ("seeds", ", ".join(map(str, seeds))),
        ("openfl_like", __version__),
    )
