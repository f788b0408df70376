"""``fx experiment results``: what the callbacks of an experiment have written."""

from pathlib import Path

import click

from openfl_like.cli.experiment.named import id_argument, one_experiment
from openfl_like.cli.options import FOLDER, director_options
from openfl_like.cli.output.console import emit, json_option, say
from openfl_like.printable import printable_line


@click.command()
@id_argument
@click.option("-o", "--output", type=FOLDER, help="The folder to write, new or empty.  [default: ID-results]")
@director_options
@json_option
def results(
    experiment_id: str, output: Path | None, director: str, certificates: Path | None, *, as_json: bool
) -> None:
    """Fetch what an experiment's callbacks have written, while it runs, too: tables, pictures, copies of models.

    Example: fx experiment results heart_disease-1a2b3c4d -o results
    """
    from openfl_like.cli.experiment.sentences import sentence
    from openfl_like.federation.announcements import Announced
    from openfl_like.federation.callback_end import CallbackEnded
    from openfl_like.store.results import LEFT_OUT

    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        folder = output or Path(f"{found_id}-results")
        files = federation.checkpoints.results(found_id, folder)
        history = [item for item in federation.watch(found_id, stored=True) if isinstance(item, Announced)]
    for event in history:
        if isinstance(event.announcement, CallbackEnded):
            say(sentence(event.announcement))
    if (left_out := folder / LEFT_OUT) in files:
        say(f"Left out, since an archive cannot hold them (see {left_out}):")
        for line in left_out.read_text(encoding="ascii", errors="replace").splitlines()[:5]:
            say(f"  {printable_line(line)}")
    found = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    if as_json:
        emit({"folder": str(folder), "files": found}, as_json=True)
    else:
        emit({"folder": str(folder), **{name: f"{size:,} bytes" for name, size in found.items()}}, as_json=False)
