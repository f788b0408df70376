"""``fx demo``: a whole federation on this machine, from keys to the result."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.experiment.progress import Screen
from openfl_like.cli.options import FOLDER, HELP, complete_plans, overrides_option
from openfl_like.cli.output.console import emit, emit_line, file_facts, json_option, put, say
from openfl_like.cli.output.program import program
from openfl_like.errors import ExperimentCancelledError, UsageError

if TYPE_CHECKING:
    from openfl_like.authoring.baselines import Row
    from openfl_like.federation.parties import ExperimentSummary
    from openfl_like.services.local_federation import LocalFederation

ALIASES = {"digits": "digits_fedavg"}
MODEL = "federated.safetensors"
"""The file of the last model, in the demo's directory."""


@click.command(context_settings=HELP)
@click.option(
    "--plan",
    "plan_name",
    default="heart_disease",
    show_default=True,
    help="An installed plan's name.",
    shell_complete=complete_plans,
)
@click.option(
    "--directory",
    type=FOLDER,
    help="Keep everything here.  [default: a temporary directory, of which only the model stays]",
)
@click.option("--chaos", is_flag=True, help="Run it twice; kill Director and Aggregator in the second run.")
@overrides_option
@json_option
def demo(plan_name: str, directory: Path | None, overrides: tuple[str, ...], *, chaos: bool, as_json: bool) -> None:
    """Start a Director and an Envoy per site as processes over mTLS, run a plan, compare the result.

    The plans come with real data: heart_disease has the records of four hospitals, digits three sites that see very
    different digits, breast_cancer three sites.

    With --chaos nothing is trained to compare. Instead the plan is run twice with the same seed, the second time with
    the Director and then the Aggregator killed (kill -9) in mid-round, and both models must have the same SHA-256; if
    they differ the exit code is 1.

    Example: fx demo --chaos
    """
    import asyncio
    import tempfile

    from openfl_like.plan.workspace import plan_path
    from openfl_like.services.daemon.run import until_signalled

    name = ALIASES.get(plan_name, plan_name)
    plan_path(name)  # a name that does not exist is told before anything is made
    place = directory or Path(tempfile.mkdtemp(prefix="fx-demo-"))
    try:
        finished = asyncio.run(until_signalled(_demo(name, place.resolve(), overrides, chaos=chaos, as_json=as_json)))
    except Exception:
        say(f"keys, state and logs are kept in {place}")
        raise
    if directory is None:
        _remove_all_but_model(place)
    if not finished:
        raise ExperimentCancelledError("stopped by a signal before the demo ended")


def _remove_all_but_model(place: Path) -> None:
    """Remove the keys, the state and the logs of a demo that has ended; its model stays, if there is one."""
    import shutil

    if not (place / MODEL).exists():
        shutil.rmtree(place, ignore_errors=True)
        return
    for entry in place.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != MODEL:
            entry.unlink(missing_ok=True)


async def _demo(name: str, place: Path, overrides: tuple[str, ...], *, chaos: bool, as_json: bool) -> bool:
    import time

    from openfl_like.authoring.baselines import compare, load_shards
    from openfl_like.cli.demo.chaos import run_chaos
    from openfl_like.cli.plan_file import read_plan
    from openfl_like.plan.workspace import plan_path
    from openfl_like.services.local_federation import LocalFederation
    from openfl_like.services.simulation import shards_of
    from openfl_like.store.sqlite.stores import SQLITE

    begin = time.monotonic()
    path = plan_path(name)
    plan, workspace = read_plan(path, None, overrides)
    if plan.simulation.sites is not None:
        cure = f"fx simulate {name}; or write shard files for Envoys of your own: fx plan sites {name} --shards FOLDER"
        raise UsageError("this plan makes its sites from one data set, and a demo has real ones", place=name, cure=cure)
    files = shards_of(workspace, plan)
    shards = load_shards(files)
    first = next(iter(shards.values()))
    say(f"starting a director and {len(files)} envoys over mTLS: {', '.join(files)}")
    federation = LocalFederation(place, files, first.sample_shape, first.target_shape, name="demo")
    if chaos:
        async with federation:
            await run_chaos(federation, plan, path, overrides, as_json=as_json)
        say(f"done in {time.monotonic() - begin:.0f} s")
        return True
    async with federation:
        say(f"director on {federation.director}; submitting {path.name}")
        summary, model = await _run(federation, path, overrides, as_json=as_json)
    say("the federation has ended; training each site alone and all data pooled, to compare")
    rows = await compare(plan, workspace, shards, model, SQLITE)
    _print(rows, summary, as_json=as_json)
    _tell_next(model, program(), as_json=as_json)
    say(f"done in {time.monotonic() - begin:.0f} s")
    return True


def _tell_next(model: Path, fx: str, *, as_json: bool) -> None:
    """Say where the model is, and what somebody who has seen the demo types next.

    Args:
        model: The file.
        fx: How this program is called.
        as_json: For a program instead.
    """
    if as_json:
        emit_line({"kind": "model", **file_facts(model)})
        return
    put(f"\nthe federated model is in {model}; what to type next:\n")
    put("# the same model for PyTorch")
    put(f"{fx} model export {shlex.quote(str(model))} -o model.pt")
    put("# the same run, with its Director and its Aggregator killed in the middle")
    put(f"{fx} demo --chaos")
    put("# a plan, code and data of your own, tried on this machine")
    put(f"{fx} workspace create study -t torch_heart_disease")
    put(f"{fx} simulate study/plan.yaml")


async def _run(
    federation: "LocalFederation", path: Path, overrides: tuple[str, ...], *, as_json: bool
) -> "tuple[ExperimentSummary, Path]":
    from openfl_like.api.reconnect import watch
    from openfl_like.cli.demo.chaos import finished, submit
    from openfl_like.pki.files import load_credentials
    from openfl_like.wire.client import director_peer
    from openfl_like.wire.experiments import ExperimentsClient

    screen, last = Screen(as_json=as_json), None
    async with ExperimentsClient(
        director_peer(federation.director, load_credentials(federation.user_certificates))
    ) as client:
        experiment = await submit(federation, path, overrides)
        async for item in watch(client.watch, experiment):
            last = item
            screen.item(item)
        ended, model = finished(last), federation.directory / MODEL
        await client.model(experiment, "last", model)
    return ended, model


def _print(rows: "list[Row]", summary: "ExperimentSummary", *, as_json: bool) -> None:
    if as_json:
        emit_line({"kind": "comparison", "experiment": summary.id, "rows": [_values(row) for row in rows]})
        return
    click.echo()
    shown = [{**_values(row), **{name: f"{value:.3f}" for name, value in row.metrics.items()}} for row in rows]
    emit(shown, as_json=False, title="on the held-out samples of all sites together")


def _values(row: "Row") -> dict[str, object]:
    metrics = {name: round(value, 6) for name, value in row.metrics.items()}
    return {"model": row.model, "trained on": row.train_samples, **metrics}
