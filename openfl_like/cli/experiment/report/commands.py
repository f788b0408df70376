"""``fx experiment report`` and ``fx experiment compare``."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.experiment.named import id_argument, one_experiment
from openfl_like.cli.options import FILE, check_output, director_options, own_certificates, write_file
from openfl_like.cli.output.console import emit, file_facts, json_option, say, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openfl_like.cli.experiment.report.course import ExperimentCourse
    from openfl_like.drawing.placed import PageFigure

FEWEST = 2
MOST = 10
"""So many experiments can be told apart in a figure."""


@click.command()
@id_argument
@click.option("-o", "--output", type=FILE, help="The page to write.  [default: ID.html]")
@director_options
@json_option
def report(experiment_id: str, output: Path | None, director: str, certificates: Path | None, *, as_json: bool) -> None:
    """Write a page about an experiment: its plan, who took part, its metrics and models, where the time went.

    The page is one HTML file that needs nothing besides itself, and prints well. Of an experiment that failed it names
    the first cause. One that still runs is told as far as it is. Figures need matplotlib (the extra studies).

    Example: fx experiment report last -o heart_disease.html
    """
    from openfl_like.cli.experiment.report.course import course_of
    from openfl_like.cli.experiment.report.page import page_of
    from openfl_like.cli.output.page import html_of

    check_output(output)
    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        course = course_of(federation, found_id)
    path = output or Path(f"{found_id}.html")
    check_output(path)
    write_file(path, html_of(page_of(course, _drawn([course]))).encode())
    tell(f"the report is in {path}", {"experiment": found_id, **file_facts(path)}, as_json=as_json)


@click.command()
@click.argument("experiment_ids", metavar="ID...", nargs=-1, required=True)
@click.option("-o", "--output", type=FILE, help="Write a page with the tables and a figure of the metrics: .html.")
@director_options
@json_option
def compare(
    experiment_ids: tuple[str, ...], output: Path | None, director: str, certificates: Path | None, *, as_json: bool
) -> None:
    """Compare experiments: how they ended, and in what their plans differ.

    Example: fx experiment compare digits-1a2b3c4d digits-5e6f7a8b -o both.html
    """
    from openfl_like.api.federation import Federation
    from openfl_like.api.naming import experiment_id, is_whole
    from openfl_like.cli.experiment.report.course import course_of
    from openfl_like.cli.experiment.report.page import comparison_of
    from openfl_like.cli.experiment.report.tables import compared
    from openfl_like.cli.output.page import html_of
    from openfl_like.errors import UsageError

    check_output(output)
    with Federation(director, own_certificates(certificates, "user")) as federation:
        known = () if all(map(is_whole, experiment_ids)) else federation.experiments()
        found = [name if is_whole(name) else experiment_id(name, known) for name in experiment_ids]
        if not FEWEST <= len(set(found)) <= MOST or len(set(found)) < len(found):
            cure = f"name {FEWEST} to {MOST} different ones"
            raise UsageError("these experiments cannot be compared", place=", ".join(experiment_ids), cure=cure)
        courses = [course_of(federation, name) for name in found]
    tables = compared(courses)
    if output is not None:
        write_file(output, html_of(comparison_of(courses, _drawn(courses))).encode())
        say(f"the comparison is in {output}")
    if as_json:
        emit({table.name: list(table.data) for table in tables}, as_json=True)
        return
    for table in tables:
        emit(list(table.data), as_json=False, title=table.caption)


def _drawn(courses: "Sequence[ExperimentCourse]") -> "list[PageFigure] | None":
    """Draw the figures of one experiment, or of several; None: matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return None
    from openfl_like.cli.experiment.report.figures import compared, figures_of

    found = figures_of(courses[0]) if len(courses) == 1 else compared(courses)
    return [figure.on_page() for figure in found]
