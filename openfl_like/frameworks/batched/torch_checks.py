"""What of a PyTorch runner stands in the way of training its model for many sites at once."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from openfl_like.federation.task import Phase, TaskCall
from openfl_like.frameworks.batched.obstacles import NotBatched, Obstacle
from openfl_like.frameworks.batched.torch_stack import belongs, elementwise
from openfl_like.frameworks.torch import TorchRunner
from openfl_like.frameworks.training import Training, is_own

_HOOKS = frozenset({"build_model", "build_optimizer", "loss", "pure_loss"})
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_DTYPES = (torch.float32, torch.float64)


def runner_obstacle(runner: TorchRunner) -> NotBatched | None:
    """Say what a runner replaces that is done otherwise here."""
    kind = type(runner).__name__
    for name in vars(TorchRunner):
        ours = not (name.startswith(("__", "_abc_")) or name in _HOOKS)
        if ours and (getattr(type(runner), name) is not getattr(TorchRunner, name) or name in vars(runner)):
            return NotBatched(Obstacle.RUNNER, f"{kind} has a '{name}' of its own")
    if type(runner.training) is not Training:
        return NotBatched(Obstacle.RUNNER, f"{kind} has a training loop of its own")
    if is_own(runner.loss, TorchRunner.loss) and not runner.pure_loss:
        detail = f"{kind} has a loss of its own that is not declared pure (pure_loss = True, see docs/simulation.md)"
        return NotBatched(Obstacle.LOSS, detail)
    return None


def tasks_obstacle(phase: Phase, tasks: Sequence[TaskCall]) -> str:
    """Say which of the tasks are others than those that are done here; empty: none."""
    if sum(call.trains for call in tasks) != (phase is Phase.TRAIN):
        return "another number of its tasks trains than one"
    for call in tasks:
        known = {"train": {"epochs"}, "validate": set[str]()}.get(call.function)
        if known is None or call.trains is not (call.function == "train"):
            return f"task '{call.name}' calls '{call.function}'"
        if set(call.arguments) - known or not _counts(call.arguments.get("epochs", 1)):
            return f"task '{call.name}' has arguments of its own"
        if call.apply not in {"global", "local"}:
            return f"task '{call.name}' looks at another model"
    first_look = next((place for place, call in enumerate(tasks) if not call.trains), len(tasks))
    return "a task trains after another one has looked" if any(call.trains for call in tasks[first_look:]) else ""


def _counts(epochs: object) -> bool:
    return type(epochs) is int and epochs > 0


def model_obstacle(model: nn.Module, phase: Phase) -> NotBatched | None:
    """Say what of a model is not the same for each sample, or not trained by its parameters alone."""
    for training in (True, False) if phase is Phase.TRAIN else (False,):
        model.train(training)
        for name, module in model.named_modules():
            problem = _of_module(module)
            if problem:
                where = f"'{name}'" if name else "the model"
                return NotBatched(Obstacle.MODEL, f"{where} is {type(module).__name__}, which {problem}", phase)
    detail = next(_of_tensors(model), "")
    return NotBatched(Obstacle.MODEL, detail, phase) if detail else None


def _of_module(module: nn.Module) -> str:
    """Say why a layer in its present mode cannot be called for many sites; empty: it can."""
    if isinstance(module, _NORMS) and (module.training or module.running_mean is None):
        return "mixes the samples of a batch"
    if isinstance(module, _INSTANCE_NORMS) and module.training and module.track_running_stats:
        return "keeps averages while it trains"
    if isinstance(module, _DROPOUTS) and module.training and module.p > 0:
        return f"draws at random (p={module.p:g})"
    drops = isinstance(module, nn.RNNBase | nn.MultiheadAttention) and module.training and module.dropout > 0
    return "draws at random" if drops or (isinstance(module, nn.RReLU) and module.training) else ""


def _of_tensors(model: nn.Module) -> Iterator[str]:
    names = dict(model.named_parameters(remove_duplicate=False))
    if len(names) != len({id(value) for value in names.values()}):
        yield "two layers share a parameter"
    known = {**names, **dict(model.named_buffers())}
    for name, value in model.state_dict().items():
        if name not in known:
            yield f"'{name}' in the state_dict is neither a parameter nor a buffer"
        elif value.is_floating_point() and value.dtype not in _DTYPES:
            yield f"'{name}' is {str(value.dtype).removeprefix('torch.')}; float32 and float64 are batched"
    if any(value.is_complex() for value in names.values()):
        yield "it has complex parameters"


def optimizer_obstacle(runner: TorchRunner) -> NotBatched | None:
    """Say why an optimizer cannot step many models at once; None if it can."""
    optimizer = runner.build_optimizer(runner.model)
    kind = type(optimizer).__name__
    if not elementwise(optimizer):
        detail = f"the optimizer {kind} is not known to treat every number of a parameter alone"
        return NotBatched(Obstacle.OPTIMIZER, detail, Phase.TRAIN)
    if not belongs(optimizer, runner.model.parameters()):
        detail = f"the optimizer {kind} steps what is no parameter of the model"
        return NotBatched(Obstacle.OPTIMIZER, detail, Phase.TRAIN)
    return None
