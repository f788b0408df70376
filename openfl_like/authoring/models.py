"""Models on the user's own machine: as files of other programs, and as the start of an experiment.

No daemon does any of this; what leaves the machine is a safetensors file.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from openfl_like.data.made_sites import make_sites
from openfl_like.data.shard import build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import UsageError
from openfl_like.frameworks.algorithms.personal import PersonalTensors
from openfl_like.frameworks.algorithms.session import build_session
from openfl_like.frameworks.formats.files import NEEDS_RUNNER, read_model, write_model
from openfl_like.frameworks.perform import Performer
from openfl_like.frameworks.runner import TaskRunner, without_algorithm, without_optimizer
from openfl_like.module_scope import ModuleScope
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import SHARDS, shards_in
from openfl_like.tensors.container import write_tensors
from openfl_like.tensors.named import OPTIMIZER

INITIAL_MODEL = "initial_model.safetensors"
"""Name of an initial model in the bundle of an experiment that starts from one."""


@contextmanager
def own_runner(
    plan: Plan, workspace: Path, shard: Path | None = None, *, with_optimizer: bool = False
) -> Iterator[TaskRunner]:
    """Yield the plan's task runner with its model.

    Args:
        plan: Names runner and settings.
        workspace: Its code, which is run.
        shard: A shard file, for the shapes; None: that of the first site that is simulated.
        with_optimizer: Whether the state of a shared optimizer is among its tensors.

    Raises:
        UsageError: If there is no shard.
        TaskError: If the code cannot be loaded.
    """
    meant = plan if with_optimizer else plan.with_reset_optimizer()
    with TemporaryDirectory(prefix="fx-shard-") as folder:
        config = shard or first_shard(workspace, plan, Path(folder))
        data = build_shard(load_shard_config(config), config.parent)
    with Performer(meant, data, workspace).runner() as runner:
        yield runner


def export_model(source: Path, target: Path, runner: TaskRunner | None = None, *, with_optimizer: bool = False) -> int:
    """Convert a model file; the suffixes say from what into what. Every element keeps its bits.

    Args:
        source: The model.
        target: The file to write.
        runner: The plan's; needed for ``.keras`` only.
        with_optimizer: Whether the state of a shared optimizer is kept.

    Returns:
        The number of tensors.

    Raises:
        UsageError: If a suffix is unknown, or a runner is needed.
        TensorError: If the model cannot be read, or the other format cannot hold it.
    """
    tensors = read_model(source, runner)
    kept = without_algorithm(tensors if with_optimizer else without_optimizer(tensors))
    write_model(target, kept, runner)
    return len(kept)


def prepare_initial_model(source: Path, plan: Plan, workspace: Path, folder: Path) -> Plan:
    """Convert a model file for an experiment that shall start from it.

    The state of an optimizer is kept only for a plan that shares it; a file without it gets that of a new optimizer.
    The tensors of the plan's algorithm are made anew.

    Args:
        source: Any kind of file that `read_model` knows.
        plan: The plan.
        workspace: Its code; it is run only for a ``.keras`` file, where the state of an optimizer is missing, and for
            an algorithm of its own.
        folder: Where `INITIAL_MODEL` is written.

    Returns:
        The plan that names it.

    Raises:
        TensorError: If the file cannot be read.
        UsageError: If its suffix is unknown.
    """
    tensors = without_algorithm(_read(source, plan, workspace))
    if plan.collaborator.settings.opt_treatment != "CONTINUE_GLOBAL":
        tensors = without_optimizer(tensors)
    elif not any(name.startswith(OPTIMIZER) for name in tensors):
        with own_runner(plan, workspace, with_optimizer=True) as runner:
            new = runner.get_tensors()
            tensors |= {name: array.copy() for name, array in new.items() if name.startswith(OPTIMIZER)}
    tensors |= _first_shared(plan, workspace, tensors)
    write_tensors(folder / INITIAL_MODEL, tensors, sync=False)
    settings = plan.aggregator.settings.model_copy(update={"init_state_path": INITIAL_MODEL})
    return plan.model_copy(update={"aggregator": plan.aggregator.model_copy(update={"settings": settings})})


def prepare_given_models(models: Mapping[str, Path], plan: Plan, workspace: Path, folder: Path) -> dict[str, Path]:
    """Convert model files for an experiment that evaluates them: without the state of optimizers.

    Args:
        models: Name -> any kind of file that `read_model` knows.
        plan: The plan.
        workspace: Its code; it is run only for ``.keras`` files.
        folder: Where they are written.

    Returns:
        Name -> the file to send.

    Raises:
        TensorError: If a file cannot be read.
        UsageError: If a suffix is unknown.
    """
    prepared = {name: folder / f"{number}.safetensors" for number, name in enumerate(models)}
    for name, source in models.items():
        tensors = without_algorithm(_read(source, plan, workspace))
        write_tensors(prepared[name], without_optimizer(tensors), sync=False)
    return prepared


def _first_shared(plan: Plan, workspace: Path, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    with ModuleScope(workspace).active():
        session = build_session(plan.algorithm)
        if session is None:
            return {}
        personal = PersonalTensors(plan.aggregation.rules)
        personal.look_at(tensors)
        own = without_optimizer(tensors)
        return session.initial({name: array for name, array in own.items() if name not in personal.names})


def _read(source: Path, plan: Plan, workspace: Path) -> dict[str, np.ndarray]:
    needed = source.suffix.removeprefix(".") in NEEDS_RUNNER
    with own_runner(plan, workspace) if needed else nullcontext() as runner:
        return read_model(source, runner)


def first_shard(workspace: Path, plan: Plan, folder: Path) -> Path:
    """Return the shard file of the first site that is simulated, for shapes and figures.

    Args:
        workspace: The plan's.
        plan: Says whether sites are made.
        folder: Where the file is written if they are.

    Raises:
        UsageError: If there is none.
        ShardError: If sites are to be made, and cannot be.
    """
    made = make_sites(plan, workspace)
    if made is not None:
        return made.files(folder)[next(iter(made.numbers))]
    first = next(iter(shards_in(workspace).values()), None)
    if first is None:
        raise UsageError(
            "there is no shard, and the shapes of data and model come from one",
            place=str(workspace / SHARDS),
            cure="name one with --shard FILE, or write shards/<site>.yaml",
        )
    return first
