"""``fx experiment``: submit experiments, follow and end them."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.experiment.list import list_
from openfl_like.cli.experiment.metrics import metrics
from openfl_like.cli.experiment.named import id_argument, one_experiment
from openfl_like.cli.experiment.outcome import best_text
from openfl_like.cli.experiment.progress import Screen
from openfl_like.cli.experiment.report.commands import compare, report
from openfl_like.cli.experiment.results import results
from openfl_like.cli.experiment.show import show
from openfl_like.cli.experiment.why import why
from openfl_like.cli.options import (
    FILE,
    HELP,
    check_dry_run,
    check_model_output,
    check_output,
    complete_plans,
    director_options,
    dry_run_options,
    initial_model_option,
    overrides_option,
    own_certificates,
    tags_option,
    with_tags,
)
from openfl_like.cli.output.console import emit, emit_line, file_facts, json_option, put, say
from openfl_like.cli.output.packing import tell_packing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from openfl_like.api.federation import Federation
    from openfl_like.federation.announcements import Announced
    from openfl_like.federation.parties import ExperimentSummary

ROLES = ("aggregator", "collaborator", "worker", "envoy", "director")
TAG_HELP = "A word by which to find it again; may be given again. Replaces the tags of the plan."
FOLLOW_HELP = "Follow it to its end; the exit code tells how it ended."
follow_option = click.option("-w", "--watch", "follow", is_flag=True, help=FOLLOW_HELP)


@click.group(context_settings=HELP)
def experiment() -> None:
    """Submit experiments to a Director, follow and end them.

    ID is that of an experiment, a beginning of it that no other one has, or 'last' for the newest that you may see.

    Example: fx experiment submit plan.yaml --watch

    Example: fx experiment why last
    """


experiment.add_command(list_)
experiment.add_command(show)
experiment.add_command(why)
experiment.add_command(metrics)
experiment.add_command(report)
experiment.add_command(results)
experiment.add_command(compare)


@experiment.command()
@click.argument("plan", type=FILE, shell_complete=complete_plans)
@overrides_option
@initial_model_option
@tags_option(TAG_HELP)
@follow_option
@dry_run_options
@director_options
@json_option
def submit(
    plan: Path,
    overrides: tuple[str, ...],
    initial_model: Path | None,
    tags: tuple[str, ...],
    limit_s: float | None,
    director: str,
    certificates: Path | None,
    *,
    follow: bool,
    dry: bool,
    as_json: bool,
) -> int:
    """Pack a plan's workspace, sign it and queue it; list the files that are sent.

    With --dry-run nothing is sent: the Director is asked which sites are connected and what they publish of their data,
    and the code does two rounds here, on data that is invented from that. Every mistake that shows is listed, and every
    site that would refuse. The exit code is 1 if there is one.

    Example: fx experiment submit plan.yaml -s seed=1 --watch

    Example: fx experiment submit plan.yaml --initial-model pretrained.pt

    Example: fx experiment submit plan.yaml -s seed=2 --tag sweep --tag seed=2

    Example: fx experiment submit plan.yaml --dry-run
    """
    from openfl_like.api.federation import Federation

    check_dry_run(dry=dry, limit_s=limit_s, also=("director", "certificates", "tags"))
    with Federation(director, own_certificates(certificates, "user")) as federation:
        if dry:
            from openfl_like.cli.dry_run import submission_dry_run

            changes = with_tags(overrides, tags)
            return submission_dry_run(federation, plan, initial_model, changes, limit_s, as_json=as_json)
        summary = federation.submit(
            plan, with_tags(overrides, tags), initial_model=initial_model, on_packed=tell_packing
        )
        _queued(federation, summary, follow=follow, as_json=as_json)
        return 0


@experiment.command()
@click.argument("plan", type=FILE, shell_complete=complete_plans)
@click.option("-m", "--model", "models", multiple=True, required=True, metavar="NAME=FILE", help="May be given again.")
@overrides_option
@tags_option(TAG_HELP)
@follow_option
@director_options
@json_option
def evaluate(
    plan: Path,
    models: tuple[str, ...],
    overrides: tuple[str, ...],
    tags: tuple[str, ...],
    director: str,
    certificates: Path | None,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Queue an experiment that trains nothing: every site evaluates the given models with the plan's validations.

    The models are sent to every site. 'fx experiment show' has the matrix of sites and models.

    Example: fx experiment evaluate plan.yaml -m all=federated.safetensors -m bern=bern.safetensors --watch
    """
    from openfl_like.api.federation import Federation
    from openfl_like.cli.options import named_files

    files = named_files(models, "--model")
    with Federation(director, own_certificates(certificates, "user")) as federation:
        summary = federation.submit(plan, with_tags(overrides, tags), evaluate=files, on_packed=tell_packing)
        _queued(federation, summary, follow=follow, as_json=as_json)


def _queued(federation: "Federation", summary: "ExperimentSummary", *, follow: bool, as_json: bool) -> None:
    """Tell that an experiment is queued, or follow it from here on, without how it ended before."""
    from openfl_like.federation.announcements import Announced
    from openfl_like.federation.history.life import end_of_former_life

    if not follow:
        _one(summary, summary.id, as_json=as_json)
        return
    say(f"experiment {summary.id} is queued")
    stored = federation.watch(summary.id, stored=True) if summary.resumed_by else ()
    former = end_of_former_life(item for item in stored if isinstance(item, Announced))
    _follow(partial(federation.watch, summary.id, former), as_json=as_json)


def _follow(watch: "Callable[..., Iterable[Announced | ExperimentSummary]]", *, as_json: bool) -> None:
    """Show what happens, and end as the experiment ends."""
    from openfl_like.cli.experiment.outcome import raise_unless_finished

    screen = Screen(as_json=as_json)
    last = screen.follow(watch(progress=screen.has_bar))
    raise_unless_finished(last, seen=screen.end_was_seen)


def _one(summary: "ExperimentSummary", text: str, *, as_json: bool) -> None:
    """Tell where an experiment stands: a text for people, or all of it."""
    from dataclasses import asdict

    if as_json:
        emit(asdict(summary), as_json=True)
    else:
        put(text)


@experiment.command()
@id_argument
@director_options
@json_option
def rounds(experiment_id: str, director: str, certificates: Path | None, *, as_json: bool) -> None:
    """List the rounds that are over: who contributed with which weight, who was absent and why; in JSON also digests.

    Rounds that went alike share a row. The last one has the status FAILED or CANCELLED if the experiment ended in it.

    Example: fx experiment rounds heart_disease-1a2b3c4d
    """
    from dataclasses import asdict

    from openfl_like.cli.experiment.round_table import round_rows

    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        records = federation.rounds(found_id)
        rows = [asdict(one) for one in records] if as_json else round_rows(records)
    emit(rows, as_json=as_json, title="rounds")


@experiment.command()
@id_argument
@click.option("--after", type=int, default=0, help="Leave out the events up to this sequence number.")
@director_options
@json_option
def watch(experiment_id: str, after: int, director: str, certificates: Path | None, *, as_json: bool) -> None:
    """Follow an experiment: its history, then what happens; the exit code tells how it ended.

    Example: fx experiment watch heart_disease-1a2b3c4d
    """
    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        _follow(partial(federation.watch, found_id, after), as_json=as_json)


@experiment.command()
@id_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the experiment has ended.")
@click.option("--site", default="", help="Only this site, or 'aggregator'.")
@click.option("--role", type=click.Choice(ROLES), help="Only lines that these processes wrote.")
@director_options
@json_option
def logs(
    experiment_id: str,
    site: str,
    role: str | None,
    director: str,
    certificates: Path | None,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Print what the sites and the Aggregator logged; with --follow what they log, while they do.

    The lines of one source are in their order; those of different sources come as they arrive.

    Example: fx experiment logs heart_disease-1a2b3c4d --site cleveland

    Example: fx experiment logs -f heart_disease-1a2b3c4d --role worker
    """
    from dataclasses import asdict

    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        for lines in federation.logs(found_id, site, role=role or "", follow=follow):
            if as_json:
                emit_line({key: value for key, value in asdict(lines).items() if key != "complete"})
                continue
            writer = (
                f"{lines.role}: " if lines.role in {"worker", "envoy"} else ""
            )  # the others are known by the source
            for line in lines.lines:
                put(f"{lines.source}: {writer}{line}")


@experiment.command()
@id_argument
@director_options
@json_option
def cancel(experiment_id: str, director: str, certificates: Path | None, *, as_json: bool) -> None:
    """End a queued or running experiment.

    Example: fx experiment cancel heart_disease-1a2b3c4d
    """
    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        summary = federation.cancel(found_id)
    _one(summary, f"{summary.id}: {summary.status.value}: {summary.reason}", as_json=as_json)


@experiment.command()
@id_argument
@follow_option
@director_options
@json_option
def resume(experiment_id: str, director: str, certificates: Path | None, *, follow: bool, as_json: bool) -> None:
    """Queue an experiment again that FAILED or was cancelled; it goes on after its last finished round.

    With --watch, what it told before is not told again; 'fx experiment watch' has all of it.

    Example: fx experiment resume heart_disease-1a2b3c4d --watch
    """
    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        _queued(federation, federation.resume(found_id), follow=follow, as_json=as_json)


@experiment.command()
@id_argument
@click.option("-y", "--yes", is_flag=True, help="Also if ID is 'last' or only the beginning of an id.")
@director_options
@json_option
def remove(experiment_id: str, director: str, certificates: Path | None, *, yes: bool, as_json: bool) -> None:
    """Remove an experiment that has ended from the Director: record, models, logs and bundle; there is no way back.

    Example: fx experiment remove heart_disease-1a2b3c4d
    """
    from dataclasses import asdict

    from openfl_like.errors import UsageError

    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        if not yes and found_id != experiment_id:
            cure = f"fx experiment remove {found_id}, or --yes"
            raise UsageError(f"'{experiment_id}' means {found_id}, which would be gone for good", cure=cure)
        removed = federation.remove(found_id)
    if as_json:
        emit(asdict(removed), as_json=True)
    else:
        put(f"{removed.experiment}: removed: {removed}")


@experiment.command(name="export")
@id_argument
@click.option("-o", "--output", type=FILE, help="The file to write.  [default: ID.tar]")
@director_options
@json_option
def export_(
    experiment_id: str, output: Path | None, director: str, certificates: Path | None, *, as_json: bool
) -> None:
    """Fetch an experiment that has ended as one file: plan, code, history, models and what a resumption needs.

    Example: fx experiment export heart_disease-1a2b3c4d -o checkpoint.tar
    """
    check_output(output)
    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        target = output or Path(f"{found_id}.tar")
        federation.checkpoints.fetch(found_id, target)
    emit(file_facts(target), as_json=as_json)


@experiment.command(name="import")
@click.argument("checkpoint", type=FILE)
@director_options
@json_option
def import_(checkpoint: Path, director: str, certificates: Path | None, *, as_json: bool) -> None:
    """Take an exported experiment in, under the same id; you sign its code and answer for it from now on.

    Example: fx experiment import checkpoint.tar
    """
    from openfl_like.api.federation import Federation

    with Federation(director, own_certificates(certificates, "user")) as federation:
        summary = federation.checkpoints.deliver(checkpoint)
    _one(summary, summary.id, as_json=as_json)


@experiment.command()
@id_argument
@click.option("--which", default="best", show_default=True, help="best, last, or a round number.")
@click.option("-o", "--output", type=FILE, help="The file to write.  [default: ID-WHICH.safetensors]")
@director_options
@json_option
def model(
    experiment_id: str, which: str, output: Path | None, director: str, certificates: Path | None, *, as_json: bool
) -> None:
    """Fetch a model as a safetensors file, while the experiment runs, too.

    Example: fx experiment model heart_disease-1a2b3c4d --which last -o model.safetensors
    """
    check_model_output(output)
    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        target = output or Path(f"{found_id}-{which}.safetensors")
        federation.model(found_id, which, target)
        told = best_text(federation.experiment(found_id)) if which == "best" else ""
    if told:
        say(told)
    emit(file_facts(target), as_json=as_json)
