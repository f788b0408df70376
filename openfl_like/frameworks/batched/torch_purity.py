"""Whether each sample of a batch is by itself: what fills a batch up must not be seen in what others get."""

from collections.abc import Sequence

import torch

from openfl_like.federation.task import Phase
from openfl_like.frameworks.batched.obstacles import NotBatched, Obstacle
from openfl_like.frameworks.batched.torch_site import Rows
from openfl_like.frameworks.batched.trial import TOLERANCE
from openfl_like.frameworks.torch import TorchRunner

_MOST = 8
"""How many samples of a batch are looked at."""


def mixing_obstacle(runner: TorchRunner, rows: Sequence[Rows], phase: Phase) -> NotBatched | None:
    """Compare a batch with its samples one by one: the model's outputs in its present mode, and the loss.

    Args:
        runner: With a model that has values.
        rows: Of some sites; the largest batch is looked at.
        phase: Of the round.
    """
    one = max(rows, key=lambda each: int(each.counts.max()))
    step = int(one.counts.argmax())
    places = torch.from_numpy(one.indices[step, : min(_MOST, int(one.counts[step]))].copy())
    samples, targets = (whole[places.to(whole.device)].to(runner.device) for whole in (one.samples, one.targets))
    with torch.no_grad():
        outputs = runner.model(samples)
        alone = torch.cat([runner.model(sample[None]) for sample in samples])
        if not _close(outputs, alone):
            detail = "what the model gives for a sample depends on the others of its batch, or on chance"
            return NotBatched(Obstacle.MODEL, detail, phase)
        together = runner.loss(outputs, targets)
        each = [runner.loss(output[None], target[None]) for output, target in zip(outputs, targets, strict=True)]
        if not _close(together, torch.stack(each).mean()):
            detail = f"the loss of {type(runner).__name__} is not the mean of the losses of a batch's samples"
            return NotBatched(Obstacle.LOSS, detail, phase)
    return None


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
