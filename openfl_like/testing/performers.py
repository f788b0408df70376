"""A site without data, framework or workspace: updates that can be computed in the head."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from openfl_like.errors import TaskError
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.tensors.container import TensorFile, write_tensors
from openfl_like.tensors.manifest import file_digest

Mistake = str | Callable[[], None]


@dataclass(slots=True)
class FakePerformer:
    """A `runtimes.local.Performs`: its model is one float32 vector, training adds a constant to every element.

    The initial model is zeros, ``accuracy`` is the mean of the model that is evaluated. Its batches have one sample.

    Attributes:
        step: What a training adds.
        num_samples: Weight of its updates.
        elements: Length of the vector.
        mistakes: (round, phase) -> the reason of the TaskError it raises then, or a function to call first.
        performed: Every assignment it was given, in order.
    """

    step: float = 1.0
    num_samples: int = 10
    elements: int = 4
    mistakes: Mapping[tuple[int, Phase], Mistake] = field(default_factory=dict)
    performed: list[Assignment] = field(default_factory=list)

    def perform(self, assignment: Assignment, model: Path | None, out: Path) -> Update:
        """Do the assignment, or make the mistake that is due."""
        self.performed.append(assignment)
        mistake = self.mistakes.get((assignment.round, assignment.phase))
        if isinstance(mistake, str):
            raise TaskError(mistake)
        if mistake is not None:
            mistake()
        vector = np.zeros(self.elements, np.float32) if model is None else read_vector(model)
        digest, metrics = "", {}
        if not assignment.phase.returns_model:
            metrics = {"validate": {"accuracy": float(vector.mean())}}
        else:
            step = self.step if assignment.phase is Phase.TRAIN else 0.0
            write_tensors(out, {"weights": vector + np.float32(step)}, sync=False)
            digest = file_digest(out)
        key, limit = (assignment.round, assignment.phase, assignment.collaborator), assignment.batch_limit
        samples = self.num_samples if limit is None else min(limit, self.num_samples)
        return Update(*key, digest, samples, metrics, partial=limit is not None, batches=limit or 0)


def read_vector(model: Path) -> np.ndarray:
    """Read the vector of a model file that began with a `FakePerformer`."""
    with TensorFile(model) as file:
        return np.array(file.tensor("weights"))
