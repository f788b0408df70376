"""Many PyTorch models trained at once: vmap over stacked parameters, one backward pass, one optimizer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.func import vmap

from openfl_like.federation.task import Phase, TaskCall
from openfl_like.frameworks.algorithms.base import LocalAlgorithm, LocalStart
from openfl_like.frameworks.batched.form import BatchMember, BatchResults, BatchWork
from openfl_like.frameworks.batched.obstacles import (
    BatchTooLargeError,
    CannotBatchError,
    NotBatched,
    Obstacle,
    UnfitMembersError,
)
from openfl_like.frameworks.batched.torch_checks import (
    model_obstacle,
    optimizer_obstacle,
    runner_obstacle,
    tasks_obstacle,
)
from openfl_like.frameworks.batched.torch_losses import own_losses, platform_losses
from openfl_like.frameworks.batched.torch_measured import Measured, class_count, takes_class_numbers
from openfl_like.frameworks.batched.torch_memory import room_for_data, saved_bytes
from openfl_like.frameworks.batched.torch_purity import mixing_obstacle
from openfl_like.frameworks.batched.torch_site import Rows, TorchSite
from openfl_like.frameworks.batched.torch_stack import Stack, StackedModel
from openfl_like.frameworks.batched.torch_steps import BatchStep, Steps
from openfl_like.frameworks.metrics.base import ChosenMetrics
from openfl_like.frameworks.runner import DataLoader, TaskRunner
from openfl_like.frameworks.torch import TorchRunner
from openfl_like.frameworks.torch_arrays import to_numpy, to_torch
from openfl_like.frameworks.training import is_own

Metrics = list[dict[str, float]]
Find = Callable[[BatchMember], Rows | None]


@dataclass(frozen=True, slots=True)
class _Trained:
    """Models that were trained at once.

    Attributes:
        weights: Stacked.
        order: Which member each row is of.
        metrics: Of each member.
    """

    weights: Mapping[str, torch.Tensor]
    order: np.ndarray
    metrics: Metrics

    def of(self, members: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the weights of some members, in their order."""
        rows = np.argsort(self.order)[members]
        if len(rows) == len(self.order) and (rows == np.arange(len(rows))).all():
            return dict(self.weights)
        places = torch.from_numpy(rows)
        return {name: value.index_select(0, places.to(value.device)) for name, value in self.weights.items()}


class TorchBatch:
    """A `form.BatchForm` of a runner of PyTorch.

    A step is taken by all sites that have a batch left: one call of the model under `torch.func.vmap`, one backward
    pass through the sum of the sites' losses, whose gradient is each site's own, and one step of the runner's optimizer
    over the stacks. Sites whose batches are of different sizes are filled up, and the loss is taken of each sample.

    Args:
        runner: Of no site; its loader refuses to be looked at.
    """

    def __init__(self, runner: TaskRunner) -> None:
        self._runner = cast("TorchRunner", runner)
        self._device = self._runner.device
        self.kept_bytes = room_for_data(self._device)
        self._own_loss = is_own(self._runner.loss, TorchRunner.loss)
        self._pure: set[tuple[bool, object]] = set()
        self._pattern: torch.optim.Optimizer | None = None
        self._weight_bytes = 0
        self._activation_bytes: int | None = None

    def obstacle(self, phase: Phase, tasks: Sequence[TaskCall]) -> NotBatched | None:
        """See `form.BatchForm`."""
        runner = self._runner
        found = runner_obstacle(runner)
        if found is not None:
            return found
        problem = tasks_obstacle(phase, tasks)
        if problem:
            return NotBatched(Obstacle.TASKS, problem, phase)
        found = model_obstacle(runner.model, phase)
        if found is None and phase is Phase.TRAIN:
            found = optimizer_obstacle(runner)
        return found

    def site(self, loader: object) -> TorchSite:
        """See `form.BatchForm`."""
        shape = self._runner.context.sample_shape
        return TorchSite(cast("DataLoader[torch.Tensor]", loader), self._device, shape)

    def size_bytes(self, site: object, tasks: Sequence[TaskCall]) -> int:
        """See `form.BatchForm`."""
        ours = cast("TorchSite", site)
        if not self._weight_bytes:
            self._weight_bytes = sum(value.nbytes for value in self._runner.model.parameters())
        if self._activation_bytes is None:
            self._activation_bytes = saved_bytes(self._runner.model, ours, self._device)
        trains = any(call.trains for call in tasks)
        batch = min(ours.most, max(ours.num_train if trains else ours.num_validate, 1))
        return (5 if trains else 1) * self._weight_bytes + batch * self._activation_bytes + ours.data_bytes

    def perform(self, work: BatchWork, members: Sequence[BatchMember]) -> BatchResults:
        """See `form.BatchForm`."""
        runner = self._runner
        runner.begin(members[0].seed)
        runner.set_tensors(work.model)
        trained: _Trained | None = None
        metrics: list[dict[str, dict[str, float]]] = [{} for _ in members]
        try:
            for call in work.tasks:
                if call.trains:
                    trained = self._train(call, work, members)
                    found = trained.metrics
                else:
                    chosen = work.metrics.get(call.name)
                    found = self._validate(members, trained if call.apply == "local" else None, work.phase, chosen)
                for own, values in zip(metrics, found, strict=True):
                    own[call.name] = values
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise BatchTooLargeError(str(error)) from error
        return BatchResults(metrics, self._tensors(trained, len(members)) if trained is not None else {})

    def _train(self, call: TaskCall, work: BatchWork, members: Sequence[BatchMember]) -> _Trained:
        model = self._runner.model
        epochs = cast("int", call.arguments.get("epochs", 1))
        model.train()
        rows = _rows(members, lambda member: cast("TorchSite", member.site).training(member.seed, epochs))
        missing = [place for place, one in enumerate(rows) if one is None]
        if missing:
            raise UnfitMembersError(missing)
        self._check_purity(cast("list[Rows]", rows), work.phase)
        steps = Steps(cast("list[Rows]", rows), self._device)
        stack = Stack(model, len(members))
        stack.optimize_by(self._optimizer())
        adjust = _adjusting(work, model)
        called, measured = StackedModel(model), Measured(len(members), work.metrics.get(call.name))
        for number, step in enumerate(steps):
            stack.narrow(step.active)
            outputs = called.outputs(stack.leaves, step.samples)
            if not number:
                self._check_targets(outputs, steps)
            losses = self._losses(outputs, step)
            found = torch.autograd.grad(losses.sum(), list(stack.leaves.values()), allow_unused=True)
            pairs = zip(stack.leaves, cast("tuple[torch.Tensor | None, ...]", found), strict=True)
            gradients = {name: value for name, value in pairs if value is not None}
            stack.step(adjust(gradients, stack.leaves))
            measured.add(step, losses.detach(), outputs.detach(), steps.counted(number))
        return _Trained(stack.values(), steps.order, _in_order(measured.metrics(), steps.order, len(members)))

    def _optimizer(self) -> torch.optim.Optimizer:
        """Return an optimizer of the model, which takes no step; that of each site would be like it."""
        if self._pattern is None:
            self._pattern = self._runner.build_optimizer(self._runner.model)
        return self._pattern

    def _validate(
        self,
        members: Sequence[BatchMember],
        trained: _Trained | None,
        phase: Phase,
        chosen: ChosenMetrics | None,
    ) -> Metrics:
        self._runner.model.eval()
        found = _rows(members, lambda member: cast("TorchSite", member.site).held_out())
        places = np.array([place for place, one in enumerate(found) if one is not None], np.int64)
        if not len(places):
            return [{} for _ in members]
        held = [one for one in found if one is not None]
        self._check_purity(held, phase)
        steps = Steps(held, self._device)
        order = places[steps.order]
        weights = None if trained is None else trained.of(order)
        called, measured = StackedModel(self._runner.model), Measured(len(places), chosen)
        with torch.no_grad():
            for number, step in enumerate(steps):
                own = None if weights is None else {name: value[: step.active] for name, value in weights.items()}
                outputs = called.outputs(own, step.samples)
                if not number:
                    self._check_targets(outputs, steps, places)
                measured.add(step, self._losses(outputs, step), outputs, steps.counted(number))
        return _in_order(measured.metrics(), order, len(members))

    def _check_purity(self, rows: Sequence[Rows], phase: Phase) -> None:
        """Look at what a batch does to its samples: once for each form of them, in each mode of the model."""
        key = self._runner.model.training, rows[0].form
        if key in self._pure:
            return
        reason = mixing_obstacle(self._runner, rows, phase)
        if reason is not None:
            raise CannotBatchError(reason)
        if any((one.counts > 1).any() for one in rows):  # of one sample alone nothing shows
            self._pure.add(key)

    def _losses(self, outputs: torch.Tensor, step: BatchStep) -> torch.Tensor:
        """Return the mean loss of each site's batch, ``[active]``."""
        if self._own_loss and step.counts is None:
            even: torch.Tensor = vmap(self._runner.loss)(outputs, step.targets)
            return even
        if self._own_loss:
            alone = own_losses(self._runner.loss, outputs, step.targets)
        else:
            alone = platform_losses(outputs, step.targets)
        if step.counts is None:
            return alone.mean(1)
        own = torch.arange(alone.shape[1], device=alone.device) < step.counts[:, None]
        return torch.where(own, alone, torch.zeros_like(alone)).sum(1) / step.counts

    @staticmethod
    def _check_targets(outputs: torch.Tensor, steps: Steps, places: np.ndarray | None = None) -> None:
        """Set sites apart that have integers among their targets which are no classes of the model."""
        classes = class_count(outputs, steps.targets) if takes_class_numbers(steps.targets) else 0
        if not classes:
            return
        if steps.targets.min() >= 0 and steps.targets.max() < classes:
            return
        wrong = np.array(
            [place for place, own in enumerate(steps.targets_of_each()) if own.min() < 0 or own.max() >= classes]
        )
        members = steps.order[wrong]
        raise UnfitMembersError(members.tolist() if places is None else places[members].tolist())

    def _tensors(self, trained: _Trained, count: int) -> dict[str, np.ndarray]:
        """Return the updates: what was trained of each, and what was not as it came."""
        own = {name: to_numpy(value) for name, value in trained.of(np.arange(count)).items()}
        rest = self._runner.get_tensors()
        return {name: own.get(name, np.broadcast_to(value, (count, *value.shape))) for name, value in rest.items()}


def _rows(members: Sequence[BatchMember], find: Find) -> list[Rows | None]:
    """Ask each site for its samples; those whose loader raises, or whose samples are of another kind, are set apart."""
    found: list[Rows | None] = []
    unfit: list[int] = []
    forms: dict[object, list[int]] = {}
    for place, member in enumerate(members):
        try:
            rows = find(member)
        except Exception:  # noqa: BLE001 (it is the workspace's code; alone it fails with its own words)
            rows = None
            unfit.append(place)
        if rows is not None:
            forms.setdefault(rows.form, []).append(place)
        found.append(rows)
    most = max(forms.values(), key=len, default=[])
    unfit += [place for places in forms.values() if places is not most for place in places]
    if unfit:
        raise UnfitMembersError(unfit)
    return found


def _in_order(found: Metrics, order: np.ndarray, count: int) -> Metrics:
    """Put what rows have found to the members that they are of."""
    metrics: Metrics = [{} for _ in range(count)]
    for member, values in zip(order.tolist(), found, strict=True):
        metrics[member] = values
    return metrics


Adjust = Callable[[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]]


def _adjusting(work: BatchWork, model: nn.Module) -> Adjust:
    """Return what an algorithm makes of gradients; they and the weights are stacked, the global model is not."""
    algorithm: LocalAlgorithm | None = work.algorithm
    if algorithm is None:
        return lambda gradients, _: gradients
    anchor = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    device = next(model.parameters()).device
    algorithm.begin(LocalStart(work.round, work.rounds, anchor, lambda array: to_torch(array).to(device)))

    def adjust(gradients: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return dict(algorithm.adjust(gradients, {name: value.detach() for name, value in weights.items()}))

    return adjust
