"""``fx model``: models as files of other programs."""

from pathlib import Path

import click

from openfl_like.cli.options import FILE, HELP, check_output, overrides_option
from openfl_like.cli.output.console import emit, file_facts, json_option


@click.group(context_settings=HELP)
def model() -> None:
    """Export models to files of other programs: numpy, PyTorch, Keras.

    Example: fx model export best.safetensors -o best.pt
    """


@model.command()
@click.argument("source", metavar="FILE", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="File to write; its suffix says what it will be.")
@click.option("--plan", "plan_file", type=FILE, help="The model's plan; needed for .keras only. Its code is run.")
@click.option("--shard", type=FILE, help="A shard.yaml, for the shapes of the data.  [default: one of the workspace]")
@click.option("--with-optimizer", is_flag=True, help="Keep the state of an optimizer that the sites shared.")
@overrides_option
@json_option
def export(
    source: Path,
    output: Path,
    plan_file: Path | None,
    shard: Path | None,
    overrides: tuple[str, ...],
    *,
    with_optimizer: bool,
    as_json: bool,
) -> None:
    """Convert a model: .safetensors, .npz (numpy), .pt (state dict of PyTorch), .keras (whole model of Keras).

    Every element keeps its bits. Reading a .pt file runs nothing in it; still, read only what you made or trust.

    Example: fx model export best.safetensors -o best.pt

    Example: fx model export best.safetensors -o best.keras --plan plan.yaml
    """
    from contextlib import nullcontext

    from openfl_like.authoring.models import export_model, own_runner
    from openfl_like.cli.plan_file import read_plan

    check_output(output)
    with own_runner(*read_plan(plan_file, None, overrides), shard) if plan_file else nullcontext() as runner:
        count = export_model(source, output, runner, with_optimizer=with_optimizer)
    emit({**file_facts(output), "tensors": count}, as_json=as_json)
