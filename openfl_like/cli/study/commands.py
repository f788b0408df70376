"""``fx study``: many simulations of a plan, side by side, and what they show together."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.options import FOLDER, HELP
from openfl_like.cli.output.console import emit, emit_line, json_option, put, say, tell
from openfl_like.cli.study.options import STUDY_FILE, complete_studies, read_share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openfl_like.studies.results import StudyRunResult
    from openfl_like.studies.study import StudyDesign

SHOWN_BEST = 3
"""So many configurations that are the best alike are named."""


@click.group(context_settings=HELP)
def study() -> None:
    """Run many simulations of a plan, compare them, report them.

    STUDY is a file, or the name of a ready-made study; FOLDER is where 'fx study run' keeps one.

    Example: fx study run digits_skew
    """


@study.command()
@click.argument("study_file", metavar="STUDY", type=STUDY_FILE, shell_complete=complete_studies)
@click.option("--directory", type=FOLDER, help="Where it is kept; an interrupted study goes on.  [default: NAME.study]")
@click.option("--workers", type=click.IntRange(1, 256), help="Runs at once.  [default: the processors]")
@click.option(
    "--share", callback=read_share, metavar="K/N", help="Only the K-th of N shares of the runs, for one of N machines."
)
@click.option("--retry-failed", is_flag=True, help="Begin runs anew that have failed.")
@json_option
def run(
    study_file: Path,
    directory: Path | None,
    workers: int | None,
    share: tuple[int, int] | None,
    *,
    retry_failed: bool,
    as_json: bool,
) -> None:
    """Run a study, or go on with one.

    Every plan is checked before the first run. Runs that are finished are not repeated, and one that was interrupted
    goes on from its record, with the same bytes. Each is what 'fx simulate' would do.

    Example: fx study run digits_skew --workers 2
    """
    import asyncio

    from openfl_like.cli.study.export import export
    from openfl_like.cli.study.progress import StudyScreen
    from openfl_like.cli.study.running import WORKER, opened, raise_unless_fine, refuse_share
    from openfl_like.cli.study.sentences import counted
    from openfl_like.studies.load import load_study
    from openfl_like.studies.schedule import RunShare, StudySchedule, processors

    runnable = load_study(study_file)
    refuse_share(runnable.study, share)
    mine = RunShare(*share) if share is not None else RunShare()
    with opened(runnable.study, directory, retry_failed=retry_failed) as folder:
        runs = mine.runs(runnable.study.runs)
        count = min(workers or processors(), len(runs))
        if not as_json:
            put(f"{runnable.study.name}: {counted(len(runs), 'run')}, {count} at once; kept in {folder.directory}")
        screen = StudyScreen(runnable.study, runs, folder.results(runnable.study), as_json=as_json)
        schedule = StudySchedule(runnable, folder, WORKER, screen)
        try:
            results = asyncio.run(schedule.run(count, mine))
        except KeyboardInterrupt:
            screen.close()
            say("interrupted: what is finished is kept, and the same command goes on")
            raise
        finally:
            screen.close()
        export(runnable.study, results, folder.directory)
    _show(runnable.study, results, set(), as_json=as_json, stream=True)
    if not as_json and all(one.id in results for one in runnable.study.runs):
        say(f"fx study report {folder.directory} -o FOLDER draws it")
    raise_unless_fine(runnable.study, results)


@study.command()
@click.argument("folder", metavar="FOLDER", type=FOLDER)
@json_option
def show(folder: Path, *, as_json: bool) -> None:
    """Show a study: each configuration with mean ± standard deviation over its repetitions, and how it stands.

    Example: fx study show digits_skew.study
    """
    from openfl_like.cli.study.running import under_way
    from openfl_like.studies.folder import StudyFolder

    kept = StudyFolder(folder)
    found = kept.read()
    results = kept.results(found)
    _show(found, results, under_way(kept, found, results), as_json=as_json)


@study.command()
@click.argument("folder", metavar="FOLDER", type=FOLDER)
@click.option("-o", "--output", type=FOLDER, required=True, help="Write the report into this folder.")
@json_option
def report(folder: Path, output: Path, *, as_json: bool) -> None:
    """Write a report: figures (PNG, SVG), tables with significance, as HTML, Markdown and CSV.

    It needs matplotlib and SciPy: pip install 'openfl_like[studies]'.

    Example: fx study report digits_skew.study -o report
    """
    from openfl_like.cli.study.running import raise_unless_fine, require_packages, written_folder
    from openfl_like.studies.folder import StudyFolder

    kept = StudyFolder(folder)
    found = kept.read()
    results = kept.results(found)
    require_packages()
    written_folder(output)
    from openfl_like.cli.study.report import write_report

    files = write_report(found, results, output)
    tell(
        f"the report is in {output}: {', '.join(files)}",
        {"folder": str(output), "files": list(files)},
        as_json=as_json,
    )
    raise_unless_fine(found, results, explain=True)


@study.command()
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=FOLDER)
@click.option("-o", "--output", type=FOLDER, required=True, help="The new folder of the whole study.")
@json_option
def merge(folders: tuple[Path, ...], output: Path, *, as_json: bool) -> None:
    """Put together what several machines ran of one study.

    A run that several folders have finished must have the same bytes in all of them.

    Example: fx study merge first.study second.study -o whole.study
    """
    from openfl_like.cli.study.export import export
    from openfl_like.studies.merge import merge as merged

    found = merged(folders, output)
    export(found.study, found.results, output)
    missing = len(found.study.runs) - len(found.results)
    counts = {str(place): count for place, count in found.taken.items()}
    words = ", ".join(f"{count} from {place}" for place, count in counts.items())
    lack = f"; {missing} of {len(found.study.runs)} are in none of them" if missing else ""
    tell(
        f"{output} has {len(found.results)} runs: {words}{lack}",
        {"folder": str(output), "runs": len(found.results), "missing": missing, "taken": counts},
        as_json=as_json,
    )


def _show(
    found: "StudyDesign",
    results: "Mapping[str, StudyRunResult]",
    running: set[str],
    *,
    as_json: bool,
    stream: bool = False,
) -> None:
    """Print the table of a study, and what is not as it should be; or a document, or its line in a stream."""
    from openfl_like.cli.output.colours import BAD, ODD
    from openfl_like.cli.study.sentences import problem_text, spread_text
    from openfl_like.cli.study.table import document, table_of
    from openfl_like.studies.summary import best_among, is_fatal, problems, summaries

    if as_json:
        told = document(found, results, running)
        emit_line({"kind": "result", **told}) if stream else emit(told, as_json=True)
        return
    better = "more" if found.mode == "max" else "less"
    emit(table_of(found, results, running), as_json=False, title=f"{found.name}: {found.metric}, {better} is better")
    best = best_among(found, summaries(found, results))
    if best and len(found.configurations) > 1:
        names = " and ".join(one.configuration.title for one in best[:SHOWN_BEST])
        more = f" and {len(best) - SHOWN_BEST} more" if len(best) > SHOWN_BEST else ""
        put(f"best: {names}{more}, {found.metric} {spread_text(best[0].spread)}", hang=2)
    for problem in problems(found, results):
        put(problem_text(problem, found), style=BAD if is_fatal(problem, found) else ODD, hang=2)
