"""What the models of many sites made of their samples: the metrics of each, as it would have them alone."""

from dataclasses import dataclass, field

import numpy as np
import torch

from openfl_like.frameworks.batched.torch_steps import BatchStep
from openfl_like.frameworks.metrics.base import ChosenMetrics
from openfl_like.frameworks.metrics.seen import Seen
from openfl_like.frameworks.targets import outputs_of, per_sample
from openfl_like.frameworks.torch_arrays import to_numpy


def takes_class_numbers(targets: torch.Tensor) -> bool:
    """Whether targets are integers."""
    return not (targets.is_floating_point() or targets.is_complex())


def names_classes(targets: torch.Tensor) -> bool:
    """Whether targets ``[sites, n, …]`` are numbers of classes, see `targets.class_numbers`."""
    return takes_class_numbers(targets) and len(per_sample(targets.shape[1:])) == 1


def class_count(outputs: torch.Tensor, targets: torch.Tensor) -> int:
    """How many classes outputs ``[sites, n, …]`` tell apart; targets ``[n, …]`` are integers."""
    if len(per_sample(targets.shape)) == 1:
        return outputs_of(_like(outputs))
    return outputs.shape[2] if outputs.ndim == targets.ndim + 2 else 0


@dataclass(frozen=True, slots=True)
class _Kept:
    """One step, for metrics that are taken of each site."""

    losses: np.ndarray
    scores: np.ndarray
    targets: np.ndarray
    counts: np.ndarray
    wanted: np.ndarray


@dataclass(slots=True)
class Measured:
    """Adds up what was seen of some sites.

    Attributes:
        sites: How many there are.
        chosen: The metrics that their task names; None: none.
    """

    sites: int
    chosen: ChosenMetrics | None = None
    _loss: torch.Tensor | None = None
    _right: torch.Tensor | None = None
    _samples: np.ndarray = field(init=False)
    _kept: list[_Kept] = field(default_factory=list)
    _classified: bool = False

    def __post_init__(self) -> None:
        self._samples = np.zeros(self.sites, np.int64)

    def add(self, step: BatchStep, losses: torch.Tensor, outputs: torch.Tensor, seen: np.ndarray) -> None:
        """Take a step in.

        Args:
            step: Of which sites.
            losses: Mean loss of each active site, ``[active]``.
            outputs: ``[active, n, …]``.
            seen: How many samples of each active site count, ``[active]``; 0: this step of it does not.
        """
        if not seen.any():
            return
        classes = outputs_of(_like(outputs)) if names_classes(step.targets) else 0
        if self.chosen is not None or (names_classes(step.targets) and (classes <= 2 or outputs.ndim != 3)):
            self._keep(step, losses, outputs, seen)
            return
        weights = torch.from_numpy(seen).to(losses.device)
        self._loss = self._plus(self._loss, losses.double() * weights)
        self._samples[: len(seen)] += seen
        if names_classes(step.targets):
            self._classified = True
            hits = outputs.argmax(-1) == step.targets.reshape(outputs.shape[:2])
            if step.counts is not None:
                hits &= torch.arange(hits.shape[1], device=hits.device) < weights[:, None]
            self._right = self._plus(self._right, hits.sum(1) * (weights > 0))

    def _plus(self, total: torch.Tensor | None, more: torch.Tensor) -> torch.Tensor:
        if total is None:
            if len(more) == self.sites:
                return more
            total = torch.zeros(self.sites, dtype=more.dtype, device=more.device)
        total[: len(more)] += more
        return total

    def _keep(self, step: BatchStep, losses: torch.Tensor, outputs: torch.Tensor, seen: np.ndarray) -> None:
        scores = to_numpy(outputs.to(torch.float64))
        counts = np.full(step.active, scores.shape[1]) if step.counts is None else to_numpy(step.counts)
        self._kept.append(_Kept(to_numpy(losses), scores, to_numpy(step.targets), counts, seen))

    def metrics(self) -> list[dict[str, float]]:
        """Return the metrics of each site; empty for one that nothing was seen of."""
        if self._kept:
            return [self._alone(site) for site in range(self.sites)]
        if self._loss is None:
            return [{} for _ in range(self.sites)]
        return self._together(self._loss)

    def _together(self, loss: torch.Tensor) -> list[dict[str, float]]:
        means = {"loss": self._means(loss)}
        if self._classified and self._right is not None:
            means["accuracy"] = self._means(self._right)
        found = [dict(zip(means, values, strict=True)) for values in zip(*means.values(), strict=True)]
        return [own if count else {} for own, count in zip(found, self._samples.tolist(), strict=True)]

    def _means(self, total: torch.Tensor) -> list[float]:
        means: list[float] = (to_numpy(total) / np.maximum(self._samples, 1)).tolist()
        return means

    def _alone(self, site: int) -> dict[str, float]:
        seen = Seen(chosen=self.chosen)
        for step in self._kept:
            if site < len(step.counts) and step.wanted[site]:
                count = int(step.counts[site])
                seen.add(float(step.losses[site]), step.scores[site, :count], step.targets[site, :count])
        return seen.metrics()


def _like(outputs: torch.Tensor) -> np.ndarray:
    """Return an array of the shape that one site's outputs have, without their values."""
    return np.broadcast_to(np.float32(0), tuple(outputs.shape[1:]))
